//! `rd_kafka_IncrementalAlterConfigs`: some settings of a topic, leaving the others as they are.

use std::time::Duration;

use rdkafka::client::Client;
use rdkafka_sys as sys;

use super::native::{Owned, ask, c_text, error_of, slice_of, text_of};
use crate::broker::client::{BrokerError, ClientLog};

pub(super) fn alter_configs(
    client: &Client<ClientLog>,
    topic: &str,
    changes: &[(String, String)],
    timeout: Duration,
) -> Result<(), BrokerError> {
    let what = format!("change settings of {topic}");
    let name = c_text(&what, topic)?;
    let kind = sys::rd_kafka_ResourceType_t::RD_KAFKA_RESOURCE_TOPIC;
    // SAFETY: the name ends in NUL; librdkafka copies it.
    let resource = unsafe {
        Owned::new(
            sys::rd_kafka_ConfigResource_new(kind, name.as_ptr()),
            sys::rd_kafka_ConfigResource_destroy,
        )
    }
    .ok_or_else(|| BrokerError::interrupted("librdkafka has no memory left"))?;
    for (key, value) in changes {
        let (key, value) = (c_text(&what, key)?, c_text(&what, value)?);
        // SAFETY: both texts end in NUL and are copied; an error is ours to release.
        let error = unsafe {
            Owned::new(
                sys::rd_kafka_ConfigResource_add_incremental_config(
                    resource.pointer,
                    key.as_ptr(),
                    sys::rd_kafka_AlterConfigOpType_t::RD_KAFKA_ALTER_CONFIG_OP_TYPE_SET,
                    value.as_ptr(),
                ),
                sys::rd_kafka_error_destroy,
            )
        };
        // SAFETY: the error is alive.
        if let Some((code, text)) = error.and_then(|error| unsafe { error_of(error.pointer) }) {
            return Err(BrokerError::code(&what, code.into(), text));
        }
    }
    let mut resources = [resource.pointer];
    let operation = sys::rd_kafka_admin_op_t::RD_KAFKA_ADMIN_OP_INCREMENTALALTERCONFIGS;
    // SAFETY: one resource, alive during the call, which copies it.
    let event = ask(
        client,
        &what,
        operation,
        timeout,
        |handle, options, queue| unsafe {
            sys::rd_kafka_IncrementalAlterConfigs(
                handle,
                resources.as_mut_ptr(),
                1,
                options,
                queue,
            );
        },
    )?;
    // SAFETY: the event is alive while its resources are read.
    unsafe {
        let result = sys::rd_kafka_event_IncrementalAlterConfigs_result(event.pointer);
        if result.is_null() {
            return Err(BrokerError::interrupted("the answer is of another kind"));
        }
        let mut count = 0;
        let list = sys::rd_kafka_IncrementalAlterConfigs_result_resources(result, &mut count);
        for &resource in slice_of(list.cast_const(), count) {
            let code = sys::rd_kafka_ConfigResource_error(resource);
            if code != sys::rd_kafka_resp_err_t::RD_KAFKA_RESP_ERR_NO_ERROR {
                let text = text_of(sys::rd_kafka_ConfigResource_error_string(resource));
                return Err(BrokerError::code(&what, code.into(), text));
            }
        }
    }
    Ok(())
}
