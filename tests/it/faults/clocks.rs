//! Kafka's clock and Postgres' an hour apart, on the two sides of a month's end.

use jiff::{Timestamp, tz::TimeZone};

use super::ground::Field;
use super::preload::Preloaded;
use super::rounds::CLOCKS;
use crate::support::{Serve, Space};

/// Seconds after the month's end, the first time on its two sides. Postgres only steps forward:
/// the checker takes the order of effects from its clock.
fn an_hour_apart(time: u64) -> (i64, i64) {
    let time = i64::try_from(time).expect("a few");
    (-1_800 + time * 4_200, 1_800 + time * 4_200)
}

/// Starts the server anew with its clock this many seconds after the end of this month.
fn at_the_months_end(server: &Preloaded, after: i64) {
    let now = Timestamp::now();
    let today = now.to_zoned(TimeZone::UTC);
    let next_month = today.date().last_of_month().tomorrow().expect("a date");
    let until = next_month
        .to_zoned(TimeZone::UTC)
        .expect("a time")
        .timestamp()
        .as_second()
        - now.as_second();
    let ahead = (until + after).to_string();
    server.restart_under("clock.c", &[("CLOCK_AHEAD", &ahead)]);
}

/// Rows that Postgres dates at least 50 minutes before Kafka does, and after.
async fn dated_apart(space: &Space) -> (i64, i64) {
    sqlx::query_as(
        "SELECT count(*) FILTER (WHERE recorded_at < appended_at - interval '50 minutes'),
                count(*) FILTER (WHERE recorded_at > appended_at + interval '50 minutes')
         FROM event_log",
    )
    .fetch_one(&space.pool)
    .await
    .expect("rows")
}

/// Kafka stands in the next month and Postgres in this one, then the other way round, and so on;
/// so Kafka's clock also steps back in mid-log.
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_apart_nothing_is_lost_halted_or_put_elsewhere() {
    let field = Field::new("clocks", 1).await;
    let broker = Preloaded::new(&field, field.stack.kafka());
    let postgres = Preloaded::new(&field, field.stack.postgres());
    let serve = Serve::start(&field.space);
    field.goes_on().await;
    for round in 0..CLOCKS.rounds() {
        let (early, late) = an_hour_apart(round / 2);
        let (of_kafka, of_postgres) = if round % 2 == 0 {
            (late, early)
        } else {
            (early, late)
        };
        // A broker that wakes up days later has forgotten its producers' sequences
        // (`producer.id.expiration.ms`), and a batch in flight would be appended twice.
        field.load.pause().await;
        at_the_months_end(&broker, of_kafka);
        at_the_months_end(&postgres, of_postgres);
        field.load.resume();
        field.goes_on().await;
        field.load.acknowledges(500).await;
        serve.ready().await;
    }
    let proven = field.proven(serve).await;
    let (before, after) = dated_apart(&proven.space).await;
    assert!(
        before > 100 && after > 100,
        "{before} before, {after} after"
    );
    let months = "SELECT count(DISTINCT tableoid) FROM event_log WHERE appended_at > now() - interval '3 hours'";
    assert_eq!(
        proven.space.count(months).await,
        2,
        "each in its month by Kafka's clock"
    );
}
