//! Why a record cannot be read: the class that the quarantine stores, and where it went wrong.

/// The class of a fault. Its text is stored in `event_quarantine.class` and never changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// The value is null.
    Tombstone,
    /// The value does not begin with 0x00 and a four-byte schema id.
    NoFraming,
    /// The registry does not know the schema id, asked twice.
    UnknownSchema,
    /// The registry's text for the id is not an Avro schema that we can read.
    BadSchema,
    /// The schema does not carry the envelope.
    WrongEnvelope,
    /// The bytes end before the schema does.
    Truncated,
    /// Bytes are left when the schema has ended.
    TrailingBytes,
    /// The bytes do not follow the schema (a union branch or symbol that is not there, a negative length).
    Malformed,
    /// Text is not UTF-8.
    BadText,
    /// Text holds U+0000, which Postgres cannot store.
    NulInText,
    /// The id is not a UUID.
    BadUuid,
    /// A time that RFC 3339 cannot write (outside the years 0001 to 9999).
    TimeOutOfRange,
    /// A decimal has more digits than its precision.
    DecimalOverflow,
    /// A text for an indexed column is longer than 512 bytes.
    OverLong,
    /// Values are nested deeper than the limit.
    TooDeep,
    /// The JSON form is larger than the limit.
    TooLarge,
    /// Postgres refuses the value.
    RejectedByDatabase,
    /// The position was read before with other content; the log's row stays.
    Conflict,
}

impl FaultClass {
    /// The stored text, in snake case.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tombstone => "tombstone",
            Self::NoFraming => "no_framing",
            Self::UnknownSchema => "unknown_schema",
            Self::BadSchema => "bad_schema",
            Self::WrongEnvelope => "wrong_envelope",
            Self::Truncated => "truncated",
            Self::TrailingBytes => "trailing_bytes",
            Self::Malformed => "malformed",
            Self::BadText => "bad_text",
            Self::NulInText => "nul_in_text",
            Self::BadUuid => "bad_uuid",
            Self::TimeOutOfRange => "time_out_of_range",
            Self::DecimalOverflow => "decimal_overflow",
            Self::OverLong => "over_long",
            Self::TooDeep => "too_deep",
            Self::TooLarge => "too_large",
            Self::RejectedByDatabase => "rejected_by_database",
            Self::Conflict => "conflict",
        }
    }
}

/// A fault and where it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}{}: {detail}", class.as_str(), if path.is_empty() { String::new() } else { format!(" at {path}") })]
pub struct Fault {
    /// What kind.
    pub class: FaultClass,
    /// Path of the field, such as `data.items[2].quantity`; empty for the whole value.
    pub path: String,
    /// What was found and what was expected, without the event's own data.
    pub detail: String,
}

impl Fault {
    /// A fault of the whole value.
    pub fn new(class: FaultClass, detail: impl Into<String>) -> Self {
        Self {
            class,
            path: String::new(),
            detail: detail.into(),
        }
    }
}
