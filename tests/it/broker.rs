//! Topics, groups and offsets as the cluster tells them.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use sluice::broker::{
    Admin, Committed, GroupOffset, GroupProtocol, GroupState, NewTopic, Offsets, Watermarks,
};
use sluice::config::Kafka;

use crate::place::kafka;
use crate::support::Space;

async fn make(admin: &Admin, kafka: &Kafka, partitions: i32) -> String {
    let name = kafka.name("events.order.v1");
    let topic = NewTopic {
        name: name.clone(),
        partitions,
        replication: -1,
        config: [("retention.ms".to_owned(), "1000000".to_owned())].into(),
    };
    admin.create_topics(&[topic]).await.unwrap();
    name
}

#[tokio::test]
async fn a_topic_made_again_has_another_id() {
    let space = Space::bare("broker_id").await;
    let kafka = kafka(&space);
    let admin = Admin::open(&kafka).unwrap();
    let name = make(&admin, &kafka, 3).await;
    let missing = kafka.name("events.none.v1");
    let names = [missing, name.clone(), name.clone()];
    let found = admin.describe_topics(&names).await.unwrap();
    assert_eq!(found[0], None);
    assert_eq!(found[1], found[2]);
    let first = found[1].clone().unwrap();
    assert_eq!(first.name, name);
    assert_eq!(first.partitions.len(), 3);
    assert!(first.partitions.iter().all(|p| p.leader.is_some()));
    assert!(!first.id.is_nil());

    let native: rdkafka::admin::AdminClient<_> = client(&kafka).create().unwrap();
    native
        .delete_topics(&[&name], &rdkafka::admin::AdminOptions::new())
        .await
        .unwrap();
    while admin.describe_topics(&names[1..2]).await.unwrap()[0].is_some() {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    make(&admin, &kafka, 3).await;
    let second = sluice::broker::topic_ids(&kafka, &[name]).await.unwrap();
    let (id, partitions) = second[0].unwrap();
    assert_ne!(id, first.id);
    assert_eq!(partitions, 3);
}

#[tokio::test]
async fn settings_change_one_by_one() {
    let space = Space::bare("broker_configs").await;
    let kafka = kafka(&space);
    let admin = Admin::open(&kafka).unwrap();
    let name = make(&admin, &kafka, 1).await;
    let change = [("segment.bytes".to_owned(), "2000000".to_owned())];
    admin.alter_topic_configs(&name, &change).await.unwrap();
    let configs = admin
        .topic_configs(std::slice::from_ref(&name))
        .await
        .unwrap();
    let value = |key: &str| configs[0][key].value.as_deref().unwrap();
    assert_eq!(value("segment.bytes"), "2000000");
    assert_eq!(value("retention.ms"), "1000000", "kept");
    let change = [("retention.ms".to_owned(), "soon".to_owned())];
    let error = admin.alter_topic_configs(&name, &change).await.unwrap_err();
    assert!(error.to_string().contains("retention.ms"), "{error}");
}

#[tokio::test]
async fn the_end_is_the_last_stable_offset() {
    let space = Space::bare("broker_lso").await;
    let kafka = kafka(&space);
    let admin = Admin::open(&kafka).unwrap();
    let topic = make(&admin, &kafka, 1).await;
    let producer: BaseProducer = client(&kafka)
        .set("transactional.id", kafka.name("writer"))
        .create()
        .unwrap();
    producer.init_transactions(Duration::from_secs(10)).unwrap();
    let send = |count| {
        producer.begin_transaction().unwrap();
        for _ in 0..count {
            producer
                .send(BaseRecord::<(), _>::to(&topic).payload("x"))
                .unwrap();
        }
        producer.flush(Duration::from_secs(10)).unwrap();
    };
    send(3);
    producer
        .commit_transaction(Duration::from_secs(10))
        .unwrap();
    let offsets = Offsets::open(&kafka, &kafka.name("none")).unwrap();
    let asked = [(topic.clone(), 0)];
    let end_is = async |end| {
        // A transaction's marker is written a little after its end is acknowledged.
        for _ in 0..200 {
            let found = offsets.watermarks(&asked).await.unwrap();
            if found == [Watermarks { low: 0, end }] {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("the end is not {end} after ten seconds");
    };
    end_is(4).await;
    send(2);
    let found = offsets.watermarks(&asked).await.unwrap();
    assert_eq!(found, [Watermarks { low: 0, end: 4 }], "one is open");
    producer.abort_transaction(Duration::from_secs(10)).unwrap();
    end_is(7).await;

    assert_eq!(offsets.for_time(&asked, 0).await.unwrap(), [Some(0)]);
    let future = 4_000_000_000_000;
    assert_eq!(offsets.for_time(&asked, future).await.unwrap(), [None]);
}

#[tokio::test]
async fn an_empty_group_is_given_offsets_with_metadata() {
    for protocol in ["consumer", "classic"] {
        let space = Space::bare("broker_group").await;
        let kafka = kafka(&space);
        let admin = Admin::open(&kafka).unwrap();
        let topic = make(&admin, &kafka, 2).await;
        let group = kafka.name("sluice.audit");
        let missing = admin.describe_group(&group).await.unwrap();
        assert_eq!(missing.state, GroupState::Missing);

        let member: BaseConsumer = client(&kafka)
            .set("group.id", &group)
            .set("group.protocol", protocol)
            .create()
            .unwrap();
        member.subscribe(&[&topic]).unwrap();
        while member.assignment().unwrap().count() < 2 {
            let _ = member.poll(Duration::from_millis(100));
        }
        let info = admin.describe_group(&group).await.unwrap();
        assert_eq!(info.state, GroupState::Stable);
        let expected = match protocol {
            "consumer" => GroupProtocol::Consumer,
            _ => GroupProtocol::Classic,
        };
        assert_eq!(info.protocol, expected);
        assert_eq!(info.members.len(), 1);
        let mut assignment = info.members[0].assignment.clone();
        assignment.sort();
        assert_eq!(assignment, [(topic.clone(), 0), (topic.clone(), 1)]);

        let offsets = Offsets::open(&kafka, &group).unwrap();
        let to = GroupOffset {
            topic: topic.clone(),
            partition: 1,
            committed: Committed {
                offset: 7,
                metadata: "sluice/1:3".to_owned(),
            },
        };
        let refused = offsets
            .commit_with_metadata(std::slice::from_ref(&to))
            .await;
        assert!(refused.is_err(), "a member is in the group");
        drop(member);
        while admin.describe_group(&group).await.unwrap().state != GroupState::Empty {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        offsets
            .commit_with_metadata(std::slice::from_ref(&to))
            .await
            .unwrap();
        let asked = [(topic.clone(), 0), (topic.clone(), 1)];
        let found = offsets.committed(&asked).await.unwrap();
        assert_eq!(found, [None, Some(to.committed)]);
    }
}

#[tokio::test]
async fn a_broker_that_is_away_is_named() {
    let kafka = Kafka {
        brokers: "127.0.0.1:1".to_owned(),
        ..Kafka::default()
    };
    let admin = Admin::open(&kafka).unwrap();
    let error = admin.list_topics("").await.unwrap_err();
    assert!(error.class().is_transient());
    insta::assert_snapshot!(error, @"cannot list topics: no broker of 127.0.0.1:1 answers (BrokerTransportFailure (Local: Broker transport failure)); check kafka.brokers, that Kafka is up, and that kafka.properties fit its listener (security.protocol, SASL)");
}

fn client(kafka: &Kafka) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &kafka.brokers);
    config
}
