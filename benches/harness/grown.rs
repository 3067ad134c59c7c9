//! A log of millions of rows, out of one that the pipeline wrote.

use sluice::store::event_log::{self, Month};
use sqlx::{AssertSqlSafe, Executor, PgPool};

use super::figures::number;
use super::mix::Ids;
use super::pipeline::settle;

/// The mix tells eighteen months.
const DAYS: i64 = 550;
/// Less than any month has.
const MONTH_MILLIS: i64 = 27 * 86_400_000;

/// Where the copies go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Each copy into the months before: the same companies for years.
    Months,
    /// All into this month's partition.
    OneMonth,
    /// Each copy to other companies of the same time.
    Companies,
}

/// Copies the log's rows to other topic ids until there are `rows`; `events` are there already. The
/// newest events are the last. Indexes and counts are made again at the end, which takes a fraction
/// of the time.
pub async fn grow(
    pool: &PgPool,
    rows: i64,
    events: i64,
    spread: Spread,
    ids: Ids,
) -> anyhow::Result<()> {
    let indexes: Vec<(String, String)> = sqlx::query_as(
        "SELECT indexname, replace(indexdef, ' ON ONLY ', ' ON ') FROM pg_indexes
         WHERE tablename = 'event_log' AND indexname <> 'event_log_pkey'",
    )
    .fetch_all(pool)
    .await?;
    anyhow::ensure!(indexes.len() == 4, "{indexes:?}");
    pool.execute("ALTER TABLE event_log DISABLE TRIGGER event_log_recorded")
        .await?;
    for (name, _) in &indexes {
        pool.execute(AssertSqlSafe(format!("DROP INDEX {name}")))
            .await?;
    }
    loop {
        let held: i64 = sqlx::query_scalar("SELECT count(*) FROM event_log")
            .fetch_one(pool)
            .await?;
        println!("the log holds {} rows", number(held as f64));
        if held >= rows {
            break;
        }
        // As many months before as there are copies already, so that each month has as many rows.
        let months = if spread == Spread::OneMonth {
            0
        } else {
            held / events
        };
        let days = if spread == Spread::Companies {
            0
        } else {
            DAYS * held / events
        };
        let suffix = if spread == Spread::Companies {
            format!("-{held}")
        } else {
            String::new()
        };
        let until = jiff::Timestamp::now().as_millisecond();
        let each = (0..=months * 3).filter_map(|n| Month::of_millis(until - n * MONTH_MILLIS));
        event_log::ensure_months(pool, &each.collect()).await?;
        sqlx::query(
            r#"INSERT INTO event_log (topic_id, partition, "offset", appended_at, topic, id, type, user_id,
                   company_id, "timestamp", data, metadata, key, headers, schema_id, schema_fingerprint, raw, record_hash)
               SELECT md5(topic_id::text || $1::text)::uuid, partition, "offset",
                   appended_at - make_interval(months => $4), topic,
                   CASE WHEN $6 THEN gen_random_uuid()
                        ELSE uuidv7("timestamp" - make_interval(days => $3) - now()) END,
                   type, user_id, company_id || $5, "timestamp" - make_interval(days => $3), data, metadata, key, headers, schema_id,
                   schema_fingerprint, raw, record_hash
               FROM event_log LIMIT $2"#,
        )
        .bind(held)
        .bind((rows - held).min(held))
        .bind(i32::try_from(days)?)
        .bind(i32::try_from(months)?)
        .bind(suffix)
        .bind(ids == Ids::Random)
        .execute(pool)
        .await?;
    }
    for (name, definition) in indexes {
        println!("making {name} again");
        pool.execute(AssertSqlSafe(definition)).await?;
    }
    println!("counting again");
    pool.execute("TRUNCATE event_counts").await?;
    // By company and hour, as if it had come in that order.
    pool.execute(
        r#"INSERT INTO event_counts
           SELECT company_id, date_trunc('hour', "timestamp", 'UTC'), type, topic_id, partition,
               count(*), min("timestamp"), max("timestamp")
           FROM event_log GROUP BY 1, 2, 3, 4, 5 ORDER BY 2"#,
    )
    .await?;
    pool.execute("ALTER TABLE event_log ENABLE TRIGGER event_log_recorded")
        .await?;
    pool.execute("VACUUM (FREEZE, ANALYZE) event_log, event_counts")
        .await?;
    settle(pool).await
}
