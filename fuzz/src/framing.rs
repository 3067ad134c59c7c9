//! Any bytes as a framed value.

use std::time::Duration;

use sluice::schema::{FaultClass, framing};

use super::cost::{Cost, within};

/// A value is split where its framing is, and begun again it is the same.
pub fn holds(input: &[u8]) {
    let cost = Cost {
        bytes: 4 << 10,
        time: Duration::from_millis(50),
    };
    match within(cost, || framing::split(input)) {
        Ok((id, avro)) => {
            let mut value = Vec::new();
            framing::begin(id, &mut value);
            value.extend_from_slice(avro);
            assert_eq!(value, input);
        }
        Err(fault) => {
            assert_eq!(fault.class, FaultClass::NoFraming);
            assert!(input.len() < 5 || input[0] != 0, "{fault}");
        }
    }
}
