//! Orders and requests for connections, as the events say them.

use serde_json::{Value, json};

use crate::support::{Serve, Space, eventually, order};

/// Company, id, and what else a row says.
type Row = (String, String, Option<String>);

async fn rows(space: &Space, sql: &'static str) -> Vec<Row> {
    let rows = sqlx::query_as(sql).fetch_all(&space.pool).await;
    rows.expect(sql)
}

fn request(company: Option<&str>, id: &str, by: Option<&str>) -> Value {
    let data = json!({"requestId": id, "requestingCompanyId": "c1", "targetCompanyId": "c2", "requestedBy": by});
    json!({"type": "marketplace.connection_requested", "companyId": company, "userId": "u1", "data": data})
}

#[tokio::test]
async fn the_first_record_of_an_order_is_where_it_begins() {
    let space = Space::new("projected_orders").await;
    let mut nobodys = order(3);
    nobodys["companyId"] = Value::Null;
    space.publish(&[order(1), order(2), order(1), nobodys]);
    space.publish(&[
        request(Some("c1"), "r1", Some("u2")),
        request(Some("c1"), "r2", None),
    ]);
    // Nobody asks for another, and what was asked is not asked again by somebody else.
    space.publish(&[
        request(Some("c3"), "r3", None),
        request(Some("c1"), "r1", Some("u9")),
    ]);
    let serve = Serve::start_as(&space, &["--roles", "audit,projections"], &[]);
    space.wait_for_rows(8).await;
    let orders = "SELECT o.company_id, o.order_id,
                      (SELECT l.data->>'orderId' FROM event_log l JOIN event_log f USING (id)
                       WHERE l.topic_id = o.topic_id AND l.partition = o.partition AND l.\"offset\" = o.\"offset\"
                         AND l.appended_at = o.appended_at LIMIT 1)
                  FROM orders o ORDER BY 1, 2";
    let requests = "SELECT company_id || '>' || target_company_id, request_id, user_id
                    FROM connection_requests ORDER BY 1, 2";
    let row = |company: &str, id: &str, more: &str| {
        (company.to_owned(), id.to_owned(), Some(more.to_owned()))
    };
    eventually("the projections", async || {
        let now = (rows(&space, orders).await, rows(&space, requests).await);
        let wanted = (
            vec![
                row("company-1", "order-1", "order-1"),
                row("company-2", "order-2", "order-2"),
            ],
            vec![row("c1>c2", "r1", "u2"), row("c1>c2", "r2", "u1")],
        );
        (now == wanted).then_some(()).ok_or(format!("{now:?}"))
    })
    .await;
    let first = "SELECT count(*) FROM orders o WHERE EXISTS (
                     SELECT FROM event_log l WHERE l.topic_id = o.topic_id AND l.partition = o.partition
                       AND l.data->>'orderId' = o.order_id AND l.\"offset\" < o.\"offset\")";
    assert_eq!(space.count(first).await, 0, "a later record");
    assert!(serve.stop().success());
}
