//! `rd_kafka_DescribeTopics`: topics with their ids.

use std::collections::HashMap;
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka_sys as sys;
use uuid::Uuid;

use super::native::{Owned, ask, c_text, error_of, slice_of, text_of};
use super::{PartitionInfo, TopicInfo};
use crate::broker::client::{BrokerError, ClientLog};
use crate::failure::FailureClass;

pub(super) fn describe_topics(
    client: &Client<ClientLog>,
    names: &[String],
    timeout: Duration,
) -> Result<Vec<Option<TopicInfo>>, BrokerError> {
    let what = "describe topics";
    let mut distinct: Vec<&String> = names.iter().collect();
    distinct.sort();
    distinct.dedup();
    if distinct.is_empty() {
        return Ok(Vec::new());
    }
    let texts = distinct
        .into_iter()
        .map(|name| c_text(what, name))
        .collect::<Result<Vec<_>, _>>()?;
    let mut pointers: Vec<_> = texts.iter().map(|text| text.as_ptr()).collect();
    // SAFETY: as many pointers as told, each to a text that ends in NUL; librdkafka copies them.
    let topics = unsafe {
        Owned::new(
            sys::rd_kafka_TopicCollection_of_topic_names(pointers.as_mut_ptr(), pointers.len()),
            sys::rd_kafka_TopicCollection_destroy,
        )
    }
    .ok_or_else(|| BrokerError::interrupted("librdkafka has no memory left"))?;
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBETOPICS;
    // SAFETY: every pointer is alive during the call, which copies what it needs.
    let event = ask(
        client,
        what,
        operation,
        timeout,
        |handle, options, queue| unsafe {
            sys::rd_kafka_DescribeTopics(handle, topics.pointer, options, queue);
        },
    )?;
    let mut found = HashMap::new();
    // SAFETY: the event is alive while its descriptions are read and copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeTopics_result(event.pointer);
        if result.is_null() {
            return Err(BrokerError::interrupted("the answer is of another kind"));
        }
        let mut count = 0;
        let list = sys::rd_kafka_DescribeTopics_result_topics(result, &mut count);
        for &topic in slice_of(list.cast_const(), count) {
            if let Some(info) = topic_info(what, topic)? {
                found.insert(info.name.clone(), info);
            }
        }
    }
    Ok(names.iter().map(|name| found.get(name).cloned()).collect())
}

/// # Safety
/// The description is alive.
unsafe fn topic_info(
    what: &str,
    topic: *const sys::rd_kafka_TopicDescription_t,
) -> Result<Option<TopicInfo>, BrokerError> {
    use sys::rd_kafka_resp_err_t as code;
    // SAFETY: by the caller; all that is read here lives as long as the description.
    unsafe {
        let name = text_of(sys::rd_kafka_TopicDescription_name(topic));
        let what = format!("{what}: {name}");
        match error_of(sys::rd_kafka_TopicDescription_error(topic)) {
            None => {}
            Some((
                code::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART
                | code::RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC,
                _,
            )) => return Ok(None),
            Some((code, text)) => return Err(BrokerError::code(&what, code.into(), text)),
        }
        let id = sys::rd_kafka_TopicDescription_topic_id(topic);
        let id = if id.is_null() {
            Uuid::nil()
        } else {
            Uuid::from_u64_pair(
                sys::rd_kafka_Uuid_most_significant_bits(id) as u64,
                sys::rd_kafka_Uuid_least_significant_bits(id) as u64,
            )
        };
        if id.is_nil() {
            return Err(BrokerError::Failed {
                what,
                reason: "the brokers give no topic ids; Kafka 2.8 or later does".to_owned(),
                class: FailureClass::Permanent,
            });
        }
        let mut count = 0;
        let list = sys::rd_kafka_TopicDescription_partitions(topic, &mut count);
        let mut partitions: Vec<PartitionInfo> = slice_of(list.cast_const(), count)
            .iter()
            .map(|&partition| partition_info(partition))
            .collect();
        partitions.sort_by_key(|partition| partition.id);
        Ok(Some(TopicInfo {
            name,
            id,
            partitions,
        }))
    }
}

/// # Safety
/// The partition's description is alive.
unsafe fn partition_info(partition: *const sys::rd_kafka_TopicPartitionInfo_t) -> PartitionInfo {
    // SAFETY: by the caller; the nodes live as long as the description.
    unsafe {
        let ids = |list: *mut *const sys::rd_kafka_Node_t, count| {
            slice_of(list.cast_const(), count)
                .iter()
                .map(|&node| sys::rd_kafka_Node_id(node))
                .collect()
        };
        let leader = sys::rd_kafka_TopicPartitionInfo_leader(partition);
        let (mut replicas, mut in_sync) = (0, 0);
        let replica_list = sys::rd_kafka_TopicPartitionInfo_replicas(partition, &mut replicas);
        let in_sync_list = sys::rd_kafka_TopicPartitionInfo_isr(partition, &mut in_sync);
        PartitionInfo {
            id: sys::rd_kafka_TopicPartitionInfo_partition(partition),
            leader: (!leader.is_null())
                .then(|| sys::rd_kafka_Node_id(leader))
                .filter(|id| *id >= 0),
            replicas: ids(replica_list, replicas),
            in_sync: ids(in_sync_list, in_sync),
        }
    }
}
