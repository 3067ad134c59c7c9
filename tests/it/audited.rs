//! A namespace of its own with one domain topic, and a database of its own whose log is filled
//! from it: what the tests of reading and proving the log start with.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use secrecy::ExposeSecret;
use sluice::broker::{PartitionScan, Record, Scanned};
use sluice::config::Config;
use sluice::consumers::audit::reconcile::{Report, Selection, Sources, reconcile};
use sluice::schema::derive;
use sluice::schema::{Lookup, RegistryClient, SchemaCache, Tree, framing};
use sluice::store::PgPool;
use sluice::store::event_log::{self, LogRow, Month};
use uuid::Uuid;

const SCHEMA: &str = r#"{"type":"record","name":"OrderCreated","namespace":"events.order","fields":[
  {"name":"id","type":{"type":"string","logicalType":"uuid"}},
  {"name":"occurred_at","type":{"type":"long","logicalType":"timestamp-micros"}},
  {"name":"user_id","type":["null","string"],"default":null},
  {"name":"company_id","type":["null","string"],"default":null},
  {"name":"data","type":{"type":"record","name":"OrderCreatedData","fields":[
    {"name":"orderId","type":"string"},
    {"name":"weight","type":"double"},
    {"name":"quantity","type":"long"}]}},
  {"name":"metadata","type":{"type":"map","values":["null","boolean","long","double","string"]},"default":{}}]}"#;

/// What one event says.
#[derive(Clone, Debug)]
pub struct Order {
    pub id: Uuid,
    pub occurred_at: i64,
    pub user: Option<String>,
    pub company: Option<String>,
    pub order: String,
    pub weight: f64,
    pub quantity: i64,
}

impl Order {
    /// The n-th order: of company c1 or c2, by one of three users, one a second.
    pub fn nth(n: i64) -> Self {
        Self {
            id: Uuid::now_v7(),
            occurred_at: 1_700_000_000_000_000 + n * 1_000_000,
            user: (n % 4 != 0).then(|| format!("u{}", n % 3)),
            company: Some(format!("c{}", 1 + n % 2)),
            order: format!("o{n} \"quoted\", ü"),
            weight: [0.1, 1e300, -0.0, 5e-324, 1234.5][(n % 5) as usize],
            quantity: i64::MAX - n,
        }
    }

    /// The framed Avro value.
    pub fn value(&self, schema_id: u32) -> Vec<u8> {
        let mut out = Vec::new();
        framing::begin(schema_id, &mut out);
        put_text(&mut out, &self.id.to_string());
        put_long(&mut out, self.occurred_at);
        for text in [&self.user, &self.company] {
            put_long(&mut out, i64::from(text.is_some()));
            if let Some(text) = text {
                put_text(&mut out, text);
            }
        }
        put_text(&mut out, &self.order);
        out.extend_from_slice(&self.weight.to_le_bytes());
        put_long(&mut out, self.quantity);
        // metadata: {"source": "shop", "rank": 9007199254740993}
        put_long(&mut out, 2);
        put_text(&mut out, "source");
        put_long(&mut out, 4);
        put_text(&mut out, "shop");
        put_text(&mut out, "rank");
        put_long(&mut out, 2);
        put_long(&mut out, 9_007_199_254_740_993);
        put_long(&mut out, 0);
        out
    }
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_text(out: &mut Vec<u8>, text: &str) {
    put_long(out, text.len() as i64);
    out.extend_from_slice(text.as_bytes());
}

fn needed(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set; run `cargo dev test`"))
}

/// The namespace, the topic and the database.
pub struct Audited {
    pub config: Config,
    pub pool: PgPool,
    pub topic: Arc<str>,
    pub topic_id: Uuid,
    pub schema_id: u32,
    producer: FutureProducer,
}

impl Audited {
    /// Makes all three, empty. The topic has one partition.
    pub async fn new() -> Self {
        let name = format!("t{}", &Uuid::new_v4().simple().to_string()[..12]);
        let mut config = Config::default();
        config.kafka.brokers = needed("SLUICE_TEST_BROKERS");
        config.kafka.namespace = format!("{name}.");
        config.registry.url = needed("SLUICE_TEST_REGISTRY_URL");
        config.database.url = new_database(&name).await.into();
        let pool = sluice::store::connect(&config, "test").unwrap();
        sqlx::migrate!().run(&pool).await.unwrap();

        let topic: Arc<str> = config.kafka.name("events.order.v1").into();
        create_topic(&config, &topic).await;
        let ids = sluice::broker::topic_ids(&config.kafka, &[topic.to_string()]).await;
        let (topic_id, _) = ids.unwrap()[0].unwrap();
        let subject = format!("{topic}-events.order.OrderCreated");
        Self {
            schema_id: register(&config.registry.url, &subject, SCHEMA).await,
            producer: producer(&config, None),
            config,
            pool,
            topic,
            topic_id,
        }
    }

    /// Produces a value under a key with two headers; returns the offset.
    pub async fn produce(&self, key: &str, value: Option<&[u8]>) -> i64 {
        send(&self.producer, &self.topic, key, value).await
    }

    /// Produces orders `from..to`.
    pub async fn produce_orders(&self, range: std::ops::Range<i64>) {
        for n in range {
            let value = Order::nth(n).value(self.schema_id);
            self.produce(&format!("o{n}"), Some(&value)).await;
        }
    }

    /// Produces one order in a transaction, which leaves a marker behind it.
    pub async fn produce_in_transaction(&self, n: i64, commit: bool) {
        let timeout = Duration::from_secs(10);
        let producer = producer(&self.config, Some(&format!("{}-{n}", self.topic)));
        producer.init_transactions(timeout).unwrap();
        producer.begin_transaction().unwrap();
        let value = Order::nth(n).value(self.schema_id);
        send(&producer, &self.topic, "tx", Some(&value)).await;
        match commit {
            true => producer.commit_transaction(timeout).unwrap(),
            false => producer.abort_transaction(timeout).unwrap(),
        }
    }

    /// Deletes Kafka's records below an offset, as retention does.
    pub async fn expire(&self, before: i64) {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&self.topic, 0, Offset::Offset(before))
            .unwrap();
        let admin = admin(&self.config);
        admin
            .delete_records(&list, &AdminOptions::new())
            .await
            .unwrap();
    }

    /// Writes everything up to the end of the topic into log and quarantine, as the sink does, and
    /// moves the group there.
    pub async fn audit(&self) {
        let (from, end) = watermarks(&self.config, &self.topic);
        let mut scan = PartitionScan::start(&self.config.kafka, self.topic.clone(), 0, from, end);
        let schemas = self.schemas();
        while let Some(found) = scan.next().await.unwrap() {
            if let Scanned::Record(record) = found {
                self.audit_record(&schemas, &record).await;
            }
        }
        self.progress(end, end).await;
    }

    async fn audit_record(&self, schemas: &SchemaCache, record: &Record) {
        let value = record.value.as_deref();
        let (class, schema_id) = match derive::schema_id(value) {
            Err(fault) => (fault.class.as_str(), None),
            Ok(id) => match schemas.get(id, &self.topic).await.unwrap() {
                Lookup::Unknown => ("unknown_schema", Some(id)),
                Lookup::Bad(fault) => (fault.class.as_str(), Some(id)),
                Lookup::Known(known) => match derive::derive(&known, value) {
                    Err(fault) => (fault.class.as_str(), Some(id)),
                    Ok(event) => {
                        let row = LogRow {
                            topic_id: self.topic_id,
                            topic: &self.topic,
                            partition: 0,
                            offset: record.offset,
                            appended_millis: record.timestamp_millis,
                            event: &event,
                            key: record.key.as_deref(),
                            headers: &record.headers.0,
                            schema_id: id,
                            schema_fingerprint: known.schema.fingerprint(),
                            raw: value.unwrap_or_default(),
                            record_hash: &record.hash(),
                        };
                        return self.log(&row, known.schema.text()).await;
                    }
                },
            },
        };
        sqlx::query(
            r#"INSERT INTO event_quarantine (topic_id, partition, "offset", appended_at, topic, class, reason,
                   key, headers, raw, schema_id, record_hash)
               VALUES ($1, 0, $2, 'epoch'::timestamptz + $3 * interval '1 millisecond', $4, $5, 'a reason',
                   $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING"#,
        )
        .bind(self.topic_id)
        .bind(record.offset)
        .bind(record.timestamp_millis)
        .bind(&*self.topic)
        .bind(class)
        .bind(&record.key)
        .bind(&record.headers.0)
        .bind(&record.value)
        .bind(schema_id.map(i64::from))
        .bind(record.hash().as_slice())
        .execute(&self.pool)
        .await
        .unwrap();
    }

    async fn log(&self, row: &LogRow<'_>, text: &str) {
        let month = Month::of_millis(row.appended_millis).unwrap();
        event_log::ensure_months(&self.pool, &BTreeSet::from([month]))
            .await
            .unwrap();
        let mut tx = self.pool.begin().await.unwrap();
        event_log::put_schemas(
            &mut tx,
            &[row.schema_fingerprint.to_vec()],
            &[text.to_owned()],
        )
        .await
        .unwrap();
        event_log::copy_one(&mut tx, row).await.unwrap();
        tx.commit().await.unwrap();
    }

    /// Puts the group's progress where it says.
    pub async fn progress(&self, next: i64, high: i64) {
        sqlx::query(
            r#"INSERT INTO consumer_progress ("group", topic, topic_id, partition, epoch, next_offset, high_offset)
               VALUES ($1, $2, $3, 0, 1, $4, $5)
               ON CONFLICT ("group", topic, topic_id, partition)
               DO UPDATE SET next_offset = $4, high_offset = $5"#,
        )
        .bind(self.config.kafka.name("sluice.audit"))
        .bind(&*self.topic)
        .bind(self.topic_id)
        .bind(next)
        .bind(high)
        .execute(&self.pool)
        .await
        .unwrap();
    }

    /// Runs statements; `$topic_id` in them is replaced.
    pub async fn sql(&self, statements: &str) {
        let statements = statements.replace("$topic_id", &format!("'{}'", self.topic_id));
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements))
            .execute(&self.pool)
            .await
            .unwrap();
    }

    pub fn schemas(&self) -> SchemaCache {
        let tree = Tree::load(&self.config.registry).unwrap();
        let client = RegistryClient::new(&self.config.registry).unwrap();
        SchemaCache::new(client, Arc::new(tree))
    }

    /// The library's reconcile over everything.
    pub async fn reconcile(&self) -> Report {
        self.reconcile_with(None).await
    }

    /// The same with a folder of archives.
    pub async fn reconcile_with(&self, archive: Option<&std::path::Path>) -> Report {
        let sources = Arc::new(Sources {
            kafka: self.config.kafka.clone(),
            pool: self.pool.clone(),
            registry: Arc::new(self.schemas()),
            tree: Arc::new(Tree::load(&self.config.registry).unwrap()),
        });
        let selection = Selection {
            group: self.config.kafka.name("sluice.audit"),
            topics: Vec::new(),
            examples: 100,
            archive: archive.map(Into::into),
        };
        reconcile(sources, &selection, Arc::new(|_| {}))
            .await
            .unwrap()
    }

    /// The program with this namespace's settings.
    pub fn sluice(&self, args: &[&str]) -> std::process::Output {
        std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(args)
            .envs(self.environment())
            .output()
            .unwrap()
    }

    /// This namespace's settings, for the program.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        let Config {
            kafka,
            registry,
            database,
            ..
        } = &self.config;
        [
            ("SLUICE_KAFKA__BROKERS", kafka.brokers.clone()),
            ("SLUICE_KAFKA__NAMESPACE", kafka.namespace.clone()),
            ("SLUICE_REGISTRY__URL", registry.url.clone()),
            (
                "SLUICE_DATABASE__URL",
                database.url.expose_secret().to_owned(),
            ),
        ]
    }
}

/// Registers a schema under a subject; returns its id.
pub async fn register(registry: &str, subject: &str, schema: &str) -> u32 {
    let response = crate::support::http()
        .post(format!("{registry}/subjects/{subject}/versions"))
        .json(&serde_json::json!({ "schema": schema }))
        .send()
        .await
        .unwrap();
    assert!(
        response.status().is_success(),
        "{:?}",
        response.text().await
    );
    let answer: serde_json::Value = response.json().await.unwrap();
    answer["id"].as_u64().unwrap() as u32
}

async fn new_database(name: &str) -> String {
    let mut url = url::Url::parse(&needed("SLUICE_TEST_DATABASE_URL")).unwrap();
    let server = sqlx::PgPool::connect(url.as_str()).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}")))
        .execute(&server)
        .await
        .unwrap();
    url.set_path(name);
    url.into()
}

fn client(config: &Config) -> ClientConfig {
    let mut client = ClientConfig::new();
    client.set("bootstrap.servers", &config.kafka.brokers);
    client
}

fn admin(config: &Config) -> AdminClient<DefaultClientContext> {
    client(config).create().unwrap()
}

async fn create_topic(config: &Config, topic: &str) {
    let new = NewTopic::new(topic, 1, TopicReplication::Fixed(1))
        .set("message.timestamp.type", "LogAppendTime");
    let made = admin(config)
        .create_topics([&new], &AdminOptions::new())
        .await;
    made.unwrap().remove(0).unwrap();
}

fn producer(config: &Config, transactional: Option<&str>) -> FutureProducer {
    let mut client = client(config);
    client.set("linger.ms", "0");
    if let Some(id) = transactional {
        client.set("transactional.id", id);
    }
    client.create().unwrap()
}

async fn send(producer: &FutureProducer, topic: &str, key: &str, value: Option<&[u8]>) -> i64 {
    let headers = OwnedHeaders::new()
        .insert(Header {
            key: "content-type",
            value: Some("application/avro"),
        })
        .insert(Header::<&str> {
            key: "empty",
            value: None,
        });
    let mut record: FutureRecord<'_, str, [u8]> = FutureRecord::to(topic).key(key).headers(headers);
    record.payload = value;
    let sent = producer.send(record, Duration::from_secs(10)).await;
    sent.unwrap().offset
}

fn watermarks(config: &Config, topic: &str) -> (i64, i64) {
    use rdkafka::consumer::{BaseConsumer, Consumer};
    let consumer: BaseConsumer = client(config).create().unwrap();
    consumer
        .fetch_watermarks(topic, 0, Duration::from_secs(10))
        .unwrap()
}
