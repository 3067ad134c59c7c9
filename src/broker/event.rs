//! What librdkafka puts into a consumer's queue, and what it says.
//!
//! In: an event. Out: what [`Polled`] calls it, with copies of all that belongs to the event.

use std::collections::HashMap;
use std::ffi::CStr;
use std::sync::Arc;

use rdkafka::error::KafkaError;
use rdkafka_sys as sys;

use super::client::BrokerError;
use super::consumer::{Polled, TopicPartition};
use super::record::{Headers, Record};

/// An event of the queue, destroyed when dropped.
pub(super) struct Event(pub(super) *mut sys::rd_kafka_event_t);

impl Event {
    /// Whether it says that something is wrong, or that a partition ends.
    pub(super) fn is_error(&self) -> bool {
        // SAFETY: the event is alive.
        unsafe { sys::rd_kafka_event_type(self.0) == sys::RD_KAFKA_EVENT_ERROR }
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: the event came from rd_kafka_queue_poll and is destroyed once.
        unsafe { sys::rd_kafka_event_destroy(self.0) }
    }
}

/// Interned topic names, so that a record costs no allocation for its topic.
#[derive(Debug, Default)]
pub struct TopicNames(HashMap<Box<CStr>, Arc<str>>);

impl TopicNames {
    fn intern(&mut self, name: &CStr) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return known.clone();
        }
        let text: Arc<str> = name.to_string_lossy().into();
        self.0.insert(name.into(), text.clone());
        text
    }
}

/// # Safety
/// `list` is null or a list that stays alive during the call.
pub(super) unsafe fn partitions_of(
    list: *const sys::rd_kafka_topic_partition_list_t,
    names: &mut TopicNames,
) -> Vec<TopicPartition> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: a list holds `cnt` elements, each with a topic name that ends in NUL.
    unsafe {
        (0..(*list).cnt as usize)
            .map(|i| {
                let element = &*(*list).elems.add(i);
                (
                    names.intern(CStr::from_ptr(element.topic)),
                    element.partition,
                )
            })
            .collect()
    }
}

/// # Safety
/// The event is a fetch event.
pub(super) unsafe fn fetched(event: &Event, names: &mut TopicNames) -> Polled {
    // SAFETY: a fetch event holds one message, which lives as long as the event.
    unsafe {
        let message = sys::rd_kafka_event_message_next(event.0);
        if message.is_null() {
            return Polled::Nothing;
        }
        let message = &*message;
        let mut kind = sys::rd_kafka_timestamp_type_t::RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
        Polled::Record(Record {
            topic: names.intern(CStr::from_ptr(sys::rd_kafka_topic_name(message.rkt))),
            partition: message.partition,
            offset: message.offset,
            timestamp_millis: sys::rd_kafka_message_timestamp(message, &mut kind),
            key: bytes_of(message.key, message.key_len),
            value: bytes_of(message.payload, message.len),
            headers: headers_of(message),
        })
    }
}

/// # Safety
/// `start` is null or points to `length` bytes.
unsafe fn bytes_of(start: *const std::ffi::c_void, length: usize) -> Option<Vec<u8>> {
    if start.is_null() {
        return None;
    }
    // SAFETY: by the caller.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<u8>(), length) }.to_vec())
}

/// # Safety
/// The message is alive.
unsafe fn headers_of(message: &sys::rd_kafka_message_t) -> Headers {
    let mut headers = Headers::default();
    let mut list = std::ptr::null_mut();
    // SAFETY: the headers belong to the message; each name ends in NUL, each value has its size.
    unsafe {
        let found = sys::rd_kafka_message_headers(message, &mut list);
        if found != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
            return headers;
        }
        for index in 0.. {
            let mut name = std::ptr::null();
            let mut value = std::ptr::null();
            let mut size = 0;
            let got = sys::rd_kafka_header_get_all(list, index, &mut name, &mut value, &mut size);
            if got != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                break;
            }
            let value =
                (!value.is_null()).then(|| std::slice::from_raw_parts(value.cast::<u8>(), size));
            headers.push(CStr::from_ptr(name).to_bytes(), value);
        }
    }
    headers
}

/// Where the partition ended for a reader that has come there, or what went wrong.
///
/// # Safety
/// The event is an error event.
pub(super) unsafe fn end_or_error(event: &Event) -> Result<i64, KafkaError> {
    // SAFETY: the event is alive; the partition is a copy of ours.
    unsafe {
        let code = sys::rd_kafka_event_error(event.0);
        if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF {
            return Err(match sys::rd_kafka_event_error_is_fatal(event.0) {
                0 => KafkaError::MessageConsumption(code.into()),
                _ => KafkaError::MessageConsumptionFatal(code.into()),
            });
        }
        let place = sys::rd_kafka_event_topic_partition(event.0);
        if place.is_null() {
            return Err(KafkaError::MessageConsumption(code.into()));
        }
        let position = (*place).offset;
        sys::rd_kafka_topic_partition_destroy(place);
        Ok(position)
    }
}

/// # Safety
/// The event is an error event.
pub(super) unsafe fn error_event(event: &Event, names: &mut TopicNames) -> Polled {
    // SAFETY: the strings and the partition belong to the event; the partition is a copy of ours.
    unsafe {
        let code = sys::rd_kafka_event_error(event.0);
        let text = CStr::from_ptr(sys::rd_kafka_event_error_string(event.0))
            .to_string_lossy()
            .into_owned();
        let place = sys::rd_kafka_event_topic_partition(event.0);
        let partition = (!place.is_null()).then(|| {
            let found = (
                (
                    names.intern(CStr::from_ptr((*place).topic)),
                    (*place).partition,
                ),
                (*place).offset,
            );
            sys::rd_kafka_topic_partition_destroy(place);
            found
        });
        let error = BrokerError::code("consume", code.into(), text);
        match partition {
            Some((partition, position))
                if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__PARTITION_EOF =>
            {
                Polled::EndOfPartition {
                    partition,
                    position,
                }
            }
            // The fetcher of that partition is gone for good: a seek answers "Erroneous state" for
            // ever, and assigning it again has ended in a failed assertion.
            _ if code == sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET => {
                Polled::Fatal(error)
            }
            _ if sys::rd_kafka_event_error_is_fatal(event.0) != 0 => Polled::Fatal(error),
            Some((partition, _)) if partition.1 >= 0 => Polled::PartitionError { partition, error },
            _ => {
                tracing::warn!(%error, "kafka");
                Polled::Nothing
            }
        }
    }
}

/// # Safety
/// The event is an offset commit event.
pub(super) unsafe fn committed(event: &Event) -> Polled {
    // SAFETY: the event is alive.
    let code = unsafe { sys::rd_kafka_event_error(event.0) };
    let harmless = matches!(
        code,
        sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR
            | sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR__NO_OFFSET
    );
    if !harmless {
        // Progress is Postgres' word; whoever watches the group finds Kafka behind and commits again.
        let error = BrokerError::code("commit", code.into(), String::new());
        tracing::debug!(%error, "an asynchronous offset commit did not arrive");
    }
    Polled::Nothing
}

/// # Safety
/// The event is a log event.
pub(super) unsafe fn log_event(event: &Event) -> Polled {
    let mut facility = std::ptr::null();
    let mut text = std::ptr::null();
    let mut level = 0;
    // SAFETY: the strings belong to the event.
    unsafe {
        if sys::rd_kafka_event_log(event.0, &mut facility, &mut text, &mut level) == 0 {
            super::client::log_line(
                level,
                &CStr::from_ptr(facility).to_string_lossy(),
                &CStr::from_ptr(text).to_string_lossy(),
            );
        }
    }
    Polled::Nothing
}
