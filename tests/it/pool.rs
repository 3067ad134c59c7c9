//! The connection pool.

use sluice::config::Config;
use sqlx::postgres::PgConnection;
use sqlx::{Executor, PgPool, Row};
use std::time::Duration;

fn pool(max_connections: u32) -> PgPool {
    let url = std::env::var("SLUICE_TEST_DATABASE_URL").expect("SLUICE_TEST_DATABASE_URL");
    let mut config = Config::default();
    config.database.url = url.into();
    config.database.max_connections = max_connections;
    sluice::store::connect(&config, "test").unwrap()
}

async fn backend_pid(connection: &mut PgConnection) -> i32 {
    let row = connection.fetch_one("SELECT pg_backend_pid()").await;
    row.unwrap().get(0)
}

/// What a cancelled `begin` leaves behind, made on purpose: an open transaction on a connection
/// that goes back to the pool.
#[tokio::test]
async fn a_connection_inside_a_transaction_is_not_reused() {
    let pool = pool(1);

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

/// As after a restart of Postgres: none of the dead ones is lent, or each would cost its borrower
/// a failure and a wait.
#[tokio::test]
async fn an_idle_connection_that_has_died_is_not_lent() {
    let pool = pool(5);
    let mut held = Vec::new();
    for _ in 0..4 {
        held.push(pool.acquire().await.unwrap());
    }
    let mut ended = Vec::new();
    for connection in &mut held {
        ended.push(backend_pid(connection).await);
    }
    drop(held);
    let killer = self::pool(1);
    let kill = "SELECT count(*) FROM unnest($1::int[]) pid WHERE pg_terminate_backend(pid, 10000)";
    let killed: i64 = sqlx::query_scalar(kill)
        .bind(&ended)
        .fetch_one(&killer)
        .await
        .unwrap();
    assert_eq!(killed, 4);
    // What was lent a moment ago is not asked.
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..4 {
        let mut connection = pool.acquire().await.unwrap();
        assert!(!ended.contains(&backend_pid(&mut connection).await));
    }
}
