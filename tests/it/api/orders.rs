//! `GET /api/orders/{id}/sheet.pdf`.

use reqwest::Method;
use serde_json::json;

use super::{SECRET, Service, person};
use crate::support::{Serve, Space, eventually, order};

#[tokio::test(flavor = "multi_thread")]
async fn an_orders_sheet_is_its_companys_and_always_the_same() {
    let space = Space::new("sheets").await;
    let roles = ["--roles", "audit,projections,api"];
    let serve = Serve::start_as(&space, &roles, &[("SLUICE_AUTH__JWT_SECRET", SECRET)]);
    serve.ready().await;
    let service = Service { space, serve };
    let mut named = order(1);
    named["data"]["orderId"] = "o/1 \"x\"".into();
    service.space.publish(&[named, order(4)]);
    let path = "/api/orders/o%2F1%20%22x%22/sheet.pdf";
    let own = person("u1", "company-1", "member");
    eventually("the order", async || {
        let answer = service.get(path, &own).await;
        (answer.status == 200)
            .then_some(())
            .ok_or(format!("{answer:?}"))
    })
    .await;
    let sheet = async || {
        let answer = service
            .request(Method::GET, path, &own)
            .send()
            .await
            .expect("an answer");
        let headers = answer.headers().clone();
        (headers, answer.bytes().await.expect("a body"))
    };
    let ((headers, first), (_, second)) = (sheet().await, sheet().await);
    assert!(first.starts_with(b"%PDF-") && first == second);
    assert_eq!(headers["content-type"], "application/pdf");
    assert_eq!(
        headers["content-disposition"],
        "inline; filename=\"order-o_1__x_.pdf\""
    );
    let known = service.request(Method::GET, path, &own);
    let known = known
        .header("if-none-match", headers["etag"].clone())
        .send()
        .await;
    assert_eq!(known.expect("an answer").status(), 304);

    let theirs = person("u1", "company-2", "company_admin");
    assert_eq!(
        service.get(path, &theirs).await.problem(),
        (404, "not-found")
    );
    let named = format!("{path}?companyId=company-1");
    assert_eq!(service.get(&named, &theirs).await.problem().0, 403);
    let operator = person("op", "ours", "admin");
    assert_eq!(service.get(&named, &operator).await.status, 200);
    assert_eq!(
        service.get(path, &operator).await.problem(),
        (404, "not-found"),
        "of its own company"
    );
    let any = service.key(None, &["events:read:any"]);
    assert_eq!(
        service.get(path, &any).await.problem(),
        (422, "invalid-query")
    );
    let publisher = service.key(Some("company-1"), &["events:publish"]);
    assert_eq!(service.get(path, &publisher).await.problem().0, 403);
    for unknown in ["nothing", "%00", &"x".repeat(600)] {
        let answer = service
            .get(&format!("/api/orders/{unknown}/sheet.pdf"), &own)
            .await;
        assert_eq!(answer.problem(), (404, "not-found"), "{unknown}");
    }
    // What its event says is no longer there to be drawn.
    let gone = "DELETE FROM event_log WHERE data->>'orderId' LIKE 'o/%'";
    sqlx::query(gone)
        .execute(&service.space.pool)
        .await
        .expect(gone);
    let answer = service.get(path, &own).await;
    assert_eq!(answer.problem(), (404, "not-found"));
    assert!(
        answer.body["detail"].to_string().contains("archived"),
        "{}",
        json!(answer.body)
    );
}
