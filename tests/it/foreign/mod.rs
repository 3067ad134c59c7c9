//! Applications in other languages, with the clients and serializers that are usual there: what
//! the log holds is what fastavro reads from the same bytes, value for value.

mod compare;
mod producers;

use std::collections::BTreeMap;

use serde_json::Value as Json;

use crate::support::{Serve, Space, eventually};
use compare::{difference, jsonb_difference};
use producers::{java, python};

/// A row of the log.
struct Row {
    id: String,
    key: Option<String>,
    headers: String,
    data: String,
}

/// A namespace with the tree's topics, an audit of it, and the topic to which the producers send.
struct World {
    space: Space,
    topic: String,
    _serve: Serve,
}

impl World {
    async fn new(name: &str) -> Self {
        let space = Space::bare(name).await;
        space.ok(&["topics", "apply", "--yes"]);
        Self {
            topic: space.topic("order"),
            _serve: Serve::start(&space),
            space,
        }
    }

    /// What the producer says that it sent: positions with the class of those that are to be
    /// quarantined.
    fn produce(&self, producer: impl FnOnce(&Self) -> Vec<Json>) -> BTreeMap<String, Json> {
        let sent = tokio::task::block_in_place(|| producer(self));
        sent.iter()
            .map(|line| (text(&line["position"]), line["class"].clone()))
            .collect()
    }

    /// What fastavro reads from the topic, by position.
    fn expected(&self) -> BTreeMap<String, Json> {
        let servers = &self.space.servers;
        let arguments = [&*servers.brokers, &servers.registry_url, &self.topic];
        let lines = tokio::task::block_in_place(|| python("expect.py", &arguments));
        lines
            .into_iter()
            .map(|line| (text(&line["position"]), line))
            .collect()
    }

    async fn wait_for(&self, records: usize) {
        eventually(&format!("{records} records"), async || {
            let sql =
                "SELECT (SELECT count(*) FROM event_log) + (SELECT count(*) FROM event_quarantine)";
            let now = self.space.count(sql).await;
            let all = usize::try_from(now).expect("a count") >= records;
            all.then_some(()).ok_or(format!("{now} of them"))
        })
        .await;
    }

    async fn rows(&self) -> BTreeMap<String, Row> {
        let sql = r#"SELECT topic || ':' || partition || ':' || "offset", id::text,
            encode(key, 'hex'), encode(headers, 'hex'), data::text FROM event_log"#;
        type Columns = (String, String, Option<String>, String, String);
        let rows: Vec<Columns> = sqlx::query_as(sql)
            .fetch_all(&self.space.pool)
            .await
            .expect(sql);
        rows.into_iter()
            .map(|(position, id, key, headers, data)| {
                let row = Row {
                    id,
                    key,
                    headers,
                    data,
                };
                (position, row)
            })
            .collect()
    }

    /// The log's events by id, exactly as they are exported.
    fn exported(&self) -> BTreeMap<String, Json> {
        let lines = self.space.ok(&["events", "export"]);
        lines
            .lines()
            .map(|line| serde_json::from_str::<Json>(line).expect("JSON"))
            .map(|event| (text(&event["id"]), event))
            .collect()
    }

    async fn quarantined(&self) -> BTreeMap<String, Json> {
        let sql =
            r#"SELECT topic || ':' || partition || ':' || "offset", class FROM event_quarantine"#;
        let rows: Vec<(String, String)> = sqlx::query_as(sql)
            .fetch_all(&self.space.pool)
            .await
            .expect(sql);
        rows.into_iter()
            .map(|(at, class)| (at, class.into()))
            .collect()
    }

    /// Every record that was sent is in the log as fastavro reads it, or in the quarantine under
    /// its class.
    async fn holds(&self, sent: BTreeMap<String, Json>) {
        self.wait_for(sent.len()).await;
        let (refused, taken): (BTreeMap<_, _>, BTreeMap<_, _>) =
            sent.into_iter().partition(|(_, class)| !class.is_null());
        assert_eq!(self.quarantined().await, refused);
        let (rows, exported, expected) = (self.rows().await, self.exported(), self.expected());
        assert!(
            rows.keys().eq(taken.keys()),
            "other positions are in the log"
        );
        assert_eq!(exported.len(), rows.len(), "an id for each record");
        for (position, row) in &rows {
            let expected = &expected[position];
            let event = &expected["event"];
            let jsonb: Json = serde_json::from_str(&row.data).expect("JSON");
            let found = difference(event, &exported[&row.id])
                .or_else(|| jsonb_difference(&event["data"], &jsonb));
            assert_eq!(found, None, "{position}: {}", expected["unread"]);
            assert_eq!(Json::from(row.key.clone()), expected["key"], "{position}");
            assert_eq!(row.headers, text(&expected["headers"]), "{position}");
        }
        self.space.reconciled();
    }
}

fn text(value: &Json) -> String {
    value.as_str().expect("text").to_owned()
}

fn by_python(how: &str, world: &World) -> Vec<Json> {
    let servers = &world.space.servers;
    let arguments = [
        how,
        &*servers.brokers,
        &servers.registry_url,
        &world.topic,
        "7",
    ];
    python("produce.py", &arguments)
}

#[tokio::test(flavor = "multi_thread")]
async fn confluents_serializer_for_python_is_read_as_fastavro_reads_it() {
    let world = World::new("foreign_serializer").await;
    let sent = world.produce(|world| by_python("serializer", world));
    world.holds(sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn python_that_frames_by_hand_is_read_as_fastavro_reads_it() {
    let world = World::new("foreign_framed").await;
    let sent = world.produce(|world| by_python("framed", world));
    world.holds(sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn apicurios_serializer_for_java_is_read_as_fastavro_reads_it() {
    let world = World::new("foreign_java").await;
    let sent = world.produce(|world| java(&world.space.servers, &world.topic, 7));
    world.holds(sent).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_quarantined_and_holds_nothing_up() {
    let world = World::new("foreign_broken").await;
    let sent = world.produce(|world| by_python("broken", world));
    world.holds(sent).await;
}
