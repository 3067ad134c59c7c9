//! A writer's schema as an arena: named types are resolved, and a type that contains itself does
//! so by index. Decoding and encoding walk this and nothing else.

/// Index of a type in the arena.
pub(super) type NodeId = u32;

/// What one step of a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Millis,
    Micros,
    Nanos,
}

impl Unit {
    /// Steps in a second.
    pub(super) fn per_second(self) -> i64 {
        match self {
            Self::Millis => 1_000,
            Self::Micros => 1_000_000,
            Self::Nanos => 1_000_000_000,
        }
    }
}

/// One Avro type, with the logical types that have a JSON form of their own.
#[derive(Debug)]
pub(super) enum Node {
    Null,
    Boolean,
    Int,
    Long,
    Float,
    Double,
    Bytes,
    String,
    /// A string with the logical type uuid: checked when it is written, read as it is.
    UuidText,
    Fixed(usize),
    /// A decimal in bytes, or in a fixed of `size`.
    Decimal {
        precision: usize,
        scale: usize,
        size: Option<usize>,
    },
    UuidFixed,
    Date,
    /// Time of day, of an int (millis) or a long (micros).
    Time(Unit),
    Timestamp {
        unit: Unit,
        /// Without a zone.
        local: bool,
    },
    Duration,
    Enum(Box<Symbols>),
    Array(NodeId),
    Map(NodeId),
    Union(Box<[NodeId]>),
    Record(Box<Record>),
}

impl Node {
    /// Bytes of JSON that one value of this type takes at most, beside those of its parts and 6
    /// for each byte of its Avro form.
    pub(super) fn json_bytes(&self) -> usize {
        match self {
            Self::Decimal { scale, .. } => scale + 4,
            Self::Enum(symbols) => symbols.quoted.iter().map(|s| s.len()).max().unwrap_or(0),
            Self::Record(record) => {
                let keys = record.fields.iter().map(|field| field.key.len());
                keys.max().unwrap_or(0) + 2
            }
            // A uuid, a time or a number.
            _ => 40,
        }
    }
}

/// The symbols of an enum.
#[derive(Debug)]
pub(super) struct Symbols {
    /// In the schema's order.
    pub(super) names: Box<[Box<str>]>,
    /// Quoted, as JSON has them.
    pub(super) quoted: Box<[Box<str>]>,
    /// Indices in the order of the names, to look a name up.
    sorted: Box<[u32]>,
}

impl Symbols {
    pub(super) fn new(names: Vec<Box<str>>) -> Self {
        let mut sorted: Vec<u32> = (0..).take(names.len()).collect();
        sorted.sort_by(|a, b| names[*a as usize].cmp(&names[*b as usize]));
        Self {
            quoted: names.iter().map(|n| format!("\"{n}\"").into()).collect(),
            names: names.into(),
            sorted: sorted.into(),
        }
    }

    /// The index of a symbol.
    pub(super) fn position(&self, symbol: &str) -> Option<u32> {
        let found = self
            .sorted
            .binary_search_by(|i| (*self.names[*i as usize]).cmp(symbol));
        found.ok().map(|at| self.sorted[at])
    }
}

/// A record; `fields` is all that decoding touches.
#[derive(Debug, Default)]
pub(super) struct Record {
    pub(super) fields: Box<[Field]>,
    /// One for each field, in the same order.
    pub(super) inputs: Box<[Input]>,
}

/// A field as it is read.
#[derive(Debug)]
pub(super) struct Field {
    /// What comes before the value in JSON: `{"name":` for the first, `,"name":` for the others.
    pub(super) key: Box<str>,
    pub(super) node: NodeId,
}

/// A field as it is written.
#[derive(Debug)]
pub(super) struct Input {
    pub(super) name: Box<str>,
    /// Its default in Avro's binary form.
    pub(super) default: Option<Box<[u8]>>,
}
