//! Asking librdkafka for what `rdkafka` does not offer: one request, one event, nothing leaked.
//!
//! Each pointer that librdkafka gives is owned by an [`Owned`] and released by its `Drop`.

use std::ffi::{CStr, CString, c_char};
use std::time::Duration;

use rdkafka::client::Client;
use rdkafka_sys as sys;

use crate::broker::client::{BrokerError, ClientLog, log_error, log_line};
use crate::failure::FailureClass;

/// A pointer of librdkafka and the function that releases it.
pub(super) struct Owned<T> {
    pub(super) pointer: *mut T,
    release: unsafe extern "C" fn(*mut T),
}

impl<T> Owned<T> {
    /// `None` where librdkafka gave null.
    pub(super) fn new(pointer: *mut T, release: unsafe extern "C" fn(*mut T)) -> Option<Self> {
        (!pointer.is_null()).then_some(Self { pointer, release })
    }
}

impl<T> Drop for Owned<T> {
    fn drop(&mut self) {
        // SAFETY: the pointer is not null, is ours alone and is released only here, by the
        // function that librdkafka names for it.
        unsafe { (self.release)(self.pointer) }
    }
}

pub(super) type Event = Owned<sys::rd_kafka_event_t>;
pub(super) type Handle = *mut sys::rd_kafka_t;
pub(super) type Options = *mut sys::rd_kafka_AdminOptions_t;
pub(super) type Queue = *mut sys::rd_kafka_queue_t;

/// Sends one admin request and waits for its result, which carries no error of its own.
pub(super) fn ask(
    client: &Client<ClientLog>,
    what: &str,
    operation: sys::rd_kafka_admin_op_t,
    timeout: Duration,
    send: impl FnOnce(Handle, Options, Queue),
) -> Result<Event, BrokerError> {
    let handle = client.native_ptr();
    let millis = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX - 1_000);
    // SAFETY: the client is alive for the whole function; options and queue are released after
    // the event, which is the reverse of their making.
    let (options, queue) = unsafe {
        (
            Owned::new(
                sys::rd_kafka_AdminOptions_new(handle, operation),
                sys::rd_kafka_AdminOptions_destroy,
            ),
            Owned::new(sys::rd_kafka_queue_new(handle), sys::rd_kafka_queue_destroy),
        )
    };
    let (Some(options), Some(queue)) = (options, queue) else {
        return Err(BrokerError::interrupted("librdkafka has no memory left"));
    };
    let mut text = [0 as c_char; 256];
    // SAFETY: the buffer is as long as told; librdkafka refuses a limit that it cannot take, and
    // then its own default stands.
    unsafe {
        sys::rd_kafka_AdminOptions_set_request_timeout(
            options.pointer,
            millis,
            text.as_mut_ptr(),
            text.len(),
        );
    }
    send(handle, options.pointer, queue.pointer);
    // The request's own limit ends first; a second more is for the queue to hand it over.
    // SAFETY: the queue is alive; null means that the time is up.
    let event = unsafe { sys::rd_kafka_queue_poll(queue.pointer, millis + 1_000) };
    drain_logs(client);
    let Some(event) = Owned::new(event, sys::rd_kafka_event_destroy) else {
        let code = rdkafka::error::RDKafkaErrorCode::OperationTimedOut;
        return Err(BrokerError::code(what, code, String::new()));
    };
    // SAFETY: the event is alive; its text, if any, lives as long.
    let (code, text) = unsafe {
        (
            sys::rd_kafka_event_error(event.pointer),
            text_of(sys::rd_kafka_event_error_string(event.pointer)),
        )
    };
    if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
        return Err(BrokerError::code(what, code.into(), text));
    }
    Ok(event)
}

/// Takes what the client wants to log: nobody else polls an admin client's main queue, and it
/// would grow for ever.
pub(in crate::broker) fn drain_logs(client: &Client<ClientLog>) {
    // SAFETY: the client is alive; the reference to its queue is released before it.
    let queue = unsafe {
        Owned::new(
            sys::rd_kafka_queue_get_main(client.native_ptr()),
            sys::rd_kafka_queue_destroy,
        )
    };
    let Some(queue) = queue else { return };
    loop {
        // SAFETY: the queue is alive; null means that it is empty.
        let event = unsafe { sys::rd_kafka_queue_poll(queue.pointer, 0) };
        let Some(event) = Owned::new(event, sys::rd_kafka_event_destroy) else {
            return;
        };
        // SAFETY: the event is alive and of the kind that was asked for; its texts live as long.
        unsafe {
            match sys::rd_kafka_event_type(event.pointer) {
                sys::RD_KAFKA_EVENT_LOG => {
                    let (mut facility, mut line, mut level) =
                        (std::ptr::null(), std::ptr::null(), 0);
                    if sys::rd_kafka_event_log(event.pointer, &mut facility, &mut line, &mut level)
                        == 0
                    {
                        log_line(level, &text_of(facility), &text_of(line));
                    }
                }
                sys::RD_KAFKA_EVENT_ERROR => log_error(
                    &rdkafka::error::KafkaError::Global(
                        sys::rd_kafka_event_error(event.pointer).into(),
                    ),
                    &text_of(sys::rd_kafka_event_error_string(event.pointer)),
                ),
                _ => {}
            }
        }
    }
}

pub(super) fn c_text(what: &str, text: &str) -> Result<CString, BrokerError> {
    CString::new(text).map_err(|_| BrokerError::Failed {
        what: what.to_owned(),
        reason: "a name or value holds the character U+0000".to_owned(),
        class: FailureClass::Permanent,
    })
}

/// # Safety
/// Null, or a text that ends in NUL and is alive.
pub(super) unsafe fn text_of(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: by the caller.
    unsafe { CStr::from_ptr(text) }
        .to_string_lossy()
        .trim()
        .to_owned()
}

/// # Safety
/// Null, or `count` elements that live as long as the slice is used.
pub(super) unsafe fn slice_of<'a, T>(start: *const T, count: usize) -> &'a [T] {
    if start.is_null() || count == 0 {
        return &[];
    }
    // SAFETY: by the caller.
    unsafe { std::slice::from_raw_parts(start, count) }
}

/// # Safety
/// Null, or an error that is alive.
pub(super) unsafe fn error_of(
    error: *const sys::rd_kafka_error_t,
) -> Option<(sys::rd_kafka_resp_err_t, String)> {
    if error.is_null() {
        return None;
    }
    // SAFETY: by the caller.
    let (code, text) = unsafe {
        (
            sys::rd_kafka_error_code(error),
            text_of(sys::rd_kafka_error_string(error)),
        )
    };
    (code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR).then_some((code, text))
}
