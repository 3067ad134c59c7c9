//! The connection pool.

use sluice::config::Database;
use sqlx::postgres::PgConnection;
use sqlx::{Executor, Row};

async fn backend_pid(connection: &mut PgConnection) -> i32 {
    let row = connection.fetch_one("SELECT pg_backend_pid()").await;
    row.unwrap().get(0)
}

/// What a cancelled `begin` leaves behind, made on purpose: an open transaction on a connection
/// that goes back to the pool.
#[tokio::test]
async fn a_connection_inside_a_transaction_is_not_reused() {
    let url = std::env::var("SLUICE_TEST_DATABASE_URL").expect("SLUICE_TEST_DATABASE_URL");
    let database = Database {
        url: url.into(),
        max_connections: 1,
    };
    let pool = sluice::store::connect(&database, "test").unwrap();

    let mut connection = pool.acquire().await.unwrap();
    let first = backend_pid(&mut connection).await;
    drop(connection);
    let mut connection = pool.acquire().await.unwrap();
    assert_eq!(backend_pid(&mut connection).await, first, "a clean one is");
    connection.execute(sqlx::raw_sql("BEGIN")).await.unwrap();
    drop(connection);
    let mut connection = pool.acquire().await.unwrap();
    assert_ne!(backend_pid(&mut connection).await, first);
}
