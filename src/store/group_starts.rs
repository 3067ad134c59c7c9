//! `group_starts`: where a group began in each partition, so that "from the start" is a number
//! that does not move, and a partition that appears later starts at its first record.

use sqlx::PgPool;
use uuid::Uuid;

use super::StoreError;
use super::transaction::begin_locked;

/// One existing partition and where a new group would begin in it.
#[derive(Clone, Debug)]
pub struct Beginning {
    /// Topic name, namespace included.
    pub topic: String,
    /// Kafka's id of the topic.
    pub topic_id: Uuid,
    /// Partition number.
    pub partition: i32,
    /// The first offset that the group will process.
    pub start_offset: i64,
}

/// What is known of a topic to a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// This topic id is the group's; a partition without a row starts at 0.
    Start(Option<i64>),
    /// The group has a history with another topic of this name.
    AnotherTopicId(Uuid),
    /// The group has never seen a topic of this name.
    Never,
}

/// What the group knows of one partition of a topic.
///
/// # Errors
/// Where Postgres is away.
pub async fn look_up(
    pool: &PgPool,
    group: &str,
    topic: &str,
    topic_id: Uuid,
    partition: i32,
) -> Result<Known, StoreError> {
    let rows = sqlx::query!(
        r#"SELECT topic_id, partition, start_offset FROM group_starts
           WHERE "group" = $1 AND topic = $2 ORDER BY created_at DESC"#,
        group,
        topic
    )
    .fetch_all(pool)
    .await?;
    let ours: Vec<_> = rows.iter().filter(|row| row.topic_id == topic_id).collect();
    Ok(match (ours.as_slice(), rows.first()) {
        ([], None) => Known::Never,
        ([], Some(other)) => Known::AnotherTopicId(other.topic_id),
        (found, _) => Known::Start(
            found
                .iter()
                .find(|row| row.partition == partition)
                .map(|row| row.start_offset),
        ),
    })
}

/// Writes where the group begins, for the topics that it has never seen, in one transaction under
/// a lock that all members of the group share. What is there stays.
///
/// # Errors
/// Where Postgres is away.
pub async fn write_first(
    pool: &PgPool,
    group: &str,
    beginnings: &[Beginning],
) -> Result<(), StoreError> {
    let mut tx = begin_locked(pool, &format!("sluice group_starts {group}")).await?;
    for beginning in beginnings {
        sqlx::query!(
            r#"INSERT INTO group_starts ("group", topic, topic_id, partition, start_offset)
               SELECT $1, $2, $3, $4, $5
               WHERE NOT EXISTS (SELECT FROM group_starts WHERE "group" = $1 AND topic = $2 AND created_at < now())
               ON CONFLICT DO NOTHING"#,
            group,
            beginning.topic,
            beginning.topic_id,
            beginning.partition,
            beginning.start_offset
        )
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    Ok(())
}
