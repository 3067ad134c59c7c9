//! `orders`: where the first `order.created` of each order stands in the log.

use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use uuid::Uuid;

use super::users::Position;
use super::{Micros, StoreError, View};

/// The longest that a look-up may take, in milliseconds.
pub const TIMEOUT: u32 = 5_000;

/// An order, and the record that says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewOrder {
    /// The company.
    pub company_id: String,
    /// The order's id there.
    pub order_id: String,
    /// Where the record stands.
    pub position: Position,
    /// Its append time in milliseconds since the Unix epoch.
    pub appended_millis: i64,
}

/// Writes orders that are not there; the first record of one counts.
///
/// # Errors
/// Where Postgres is away, or refuses a row.
pub async fn put(tx: &mut PgConnection, orders: &[&NewOrder]) -> Result<(), StoreError> {
    let text = |f: fn(&NewOrder) -> &String| orders.iter().map(|order| f(order).clone()).collect();
    let companies: Vec<String> = text(|order| &order.company_id);
    let ids: Vec<String> = text(|order| &order.order_id);
    let topics: Vec<Uuid> = orders.iter().map(|o| o.position.topic_id).collect();
    let partitions: Vec<i32> = orders.iter().map(|o| o.position.partition).collect();
    let offsets: Vec<i64> = orders.iter().map(|o| o.position.offset).collect();
    let appended: Vec<i64> = orders.iter().map(|o| o.appended_millis).collect();
    sqlx::query!(
        r#"INSERT INTO orders (company_id, order_id, topic_id, partition, "offset", appended_at)
           SELECT company_id, order_id, topic_id, partition, off,
               'epoch'::timestamptz + appended * interval '1 millisecond'
           FROM unnest($1::text[], $2::text[], $3::uuid[], $4::int[], $5::bigint[], $6::bigint[])
               AS o(company_id, order_id, topic_id, partition, off, appended)
           -- In one order, for another may write the same orders; of one the first record first.
           ORDER BY company_id, order_id, partition, off
           ON CONFLICT DO NOTHING"#,
        &companies,
        &ids,
        &topics,
        &partitions,
        &offsets,
        &appended
    )
    .execute(tx)
    .await?;
    Ok(())
}

/// Where an order begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OrderPlace {
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// Offset in the partition.
    pub offset: i64,
    /// The record's append time.
    pub appended_at: Micros,
}

/// Where an order of a company begins, as far as the view sees it.
///
/// # Errors
/// Where Postgres is away.
pub async fn find(
    pool: &PgPool,
    view: &View,
    company_id: &str,
    order_id: &str,
) -> Result<Option<OrderPlace>, StoreError> {
    let mut tx = view.begin(pool, TIMEOUT).await?;
    let found = sqlx::query_as!(
        OrderPlace,
        r#"SELECT topic_id, partition, "offset", appended_at AS "appended_at: Micros"
           FROM orders WHERE company_id = $1 AND order_id = $2"#,
        company_id,
        order_id
    )
    .fetch_optional(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(found)
}
