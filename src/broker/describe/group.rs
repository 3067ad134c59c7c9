//! `rd_kafka_DescribeConsumerGroups`: a group of either protocol and its members.

use std::time::Duration;

use rdkafka::client::Client;
use rdkafka_sys as sys;

use super::native::{ask, c_text, error_of, slice_of, text_of};
use super::{GroupInfo, GroupMember, GroupProtocol, GroupState};
use crate::broker::client::{BrokerError, ClientLog};

pub(super) fn describe_group(
    client: &Client<ClientLog>,
    group: &str,
    timeout: Duration,
) -> Result<GroupInfo, BrokerError> {
    let what = format!("describe group {group}");
    let name = c_text(&what, group)?;
    let mut names = [name.as_ptr()];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS;
    // SAFETY: one pointer to a text that ends in NUL; the call copies it.
    let event = ask(
        client,
        &what,
        operation,
        timeout,
        |handle, options, queue| unsafe {
            sys::rd_kafka_DescribeConsumerGroups(handle, names.as_mut_ptr(), 1, options, queue);
        },
    )?;
    // SAFETY: the event is alive while its description is read and copied.
    unsafe {
        let result = sys::rd_kafka_event_DescribeConsumerGroups_result(event.pointer);
        if result.is_null() {
            return Err(BrokerError::interrupted("the answer is of another kind"));
        }
        let mut count = 0;
        let list = sys::rd_kafka_DescribeConsumerGroups_result_groups(result, &mut count);
        match slice_of(list.cast_const(), count) {
            &[description] => group_info(&what, group, description),
            _ => Err(BrokerError::interrupted("the answer names no group")),
        }
    }
}

/// # Safety
/// The description is alive.
unsafe fn group_info(
    what: &str,
    group: &str,
    description: *const sys::rd_kafka_ConsumerGroupDescription_t,
) -> Result<GroupInfo, BrokerError> {
    use sys::rd_kafka_consumer_group_state_t as state;
    use sys::rd_kafka_consumer_group_type_t as kind;
    // SAFETY: by the caller; all that is read here lives as long as the description.
    unsafe {
        let mut info = GroupInfo {
            group: group.to_owned(),
            state: GroupState::Missing,
            protocol: GroupProtocol::Unknown,
            members: Vec::new(),
        };
        match error_of(sys::rd_kafka_ConsumerGroupDescription_error(description)) {
            None => {}
            Some((sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND, _)) => {
                return Ok(info);
            }
            Some((code, text)) => return Err(BrokerError::code(what, code.into(), text)),
        }
        info.state = match sys::rd_kafka_ConsumerGroupDescription_state(description) {
            state::RD_KAFKA_CONSUMER_GROUP_STATE_PREPARING_REBALANCE => {
                GroupState::PreparingRebalance
            }
            state::RD_KAFKA_CONSUMER_GROUP_STATE_COMPLETING_REBALANCE => {
                GroupState::CompletingRebalance
            }
            state::RD_KAFKA_CONSUMER_GROUP_STATE_STABLE => GroupState::Stable,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_EMPTY => GroupState::Empty,
            state::RD_KAFKA_CONSUMER_GROUP_STATE_DEAD => GroupState::Missing,
            _ => GroupState::Unknown,
        };
        info.protocol = match sys::rd_kafka_ConsumerGroupDescription_type(description) {
            kind::RD_KAFKA_CONSUMER_GROUP_TYPE_CONSUMER => GroupProtocol::Consumer,
            kind::RD_KAFKA_CONSUMER_GROUP_TYPE_CLASSIC => GroupProtocol::Classic,
            _ => GroupProtocol::Unknown,
        };
        let count = sys::rd_kafka_ConsumerGroupDescription_member_count(description);
        info.members = (0..count)
            .map(|index| sys::rd_kafka_ConsumerGroupDescription_member(description, index))
            .filter(|member| !member.is_null())
            .map(|member| GroupMember {
                member_id: text_of(sys::rd_kafka_MemberDescription_consumer_id(member)),
                client_id: text_of(sys::rd_kafka_MemberDescription_client_id(member)),
                host: text_of(sys::rd_kafka_MemberDescription_host(member)),
                assignment: assignment_of(member),
            })
            .collect();
        Ok(info)
    }
}

/// # Safety
/// The member is alive.
unsafe fn assignment_of(member: *const sys::rd_kafka_MemberDescription_t) -> Vec<(String, i32)> {
    // SAFETY: by the caller; assignment and list live as long as the member, and a list holds
    // `cnt` elements.
    unsafe {
        let assignment = sys::rd_kafka_MemberDescription_assignment(member);
        if assignment.is_null() {
            return Vec::new();
        }
        let list = sys::rd_kafka_MemberAssignment_partitions(assignment);
        if list.is_null() {
            return Vec::new();
        }
        let count = usize::try_from((*list).cnt).unwrap_or_default();
        slice_of((*list).elems.cast_const(), count)
            .iter()
            .map(|element| (text_of(element.topic), element.partition))
            .collect()
    }
}
