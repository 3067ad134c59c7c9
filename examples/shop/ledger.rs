//! What was sent and where it is, for checks: one JSON object a line, in the order of sending.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value, json};

use super::story::Fact;
use sluice::event::timestamp_text;
use sluice::produce::Receipt;

/// Fields of data that a check adds up or looks for.
const ESSENTIALS: [&str; 12] = [
    "orderId",
    "customerId",
    "total",
    "currency",
    "status",
    "userId",
    "email",
    "productId",
    "currentStock",
    "severity",
    "requestId",
    "targetCompanyId",
];

/// The file, or nothing where none was asked for.
pub struct Ledger(Option<BufWriter<File>>);

impl Ledger {
    /// Starts the file anew.
    pub fn create(path: Option<&Path>) -> std::io::Result<Self> {
        let file = path.map(File::create).transpose()?;
        Ok(Self(file.map(BufWriter::new)))
    }

    /// Writes one event that Kafka has acknowledged.
    pub fn write(&mut self, fact: &Fact, receipt: &Receipt) -> std::io::Result<()> {
        let Some(file) = &mut self.0 else {
            return Ok(());
        };
        let data: Map<String, Value> = ESSENTIALS
            .iter()
            .filter_map(|name| Some(((*name).to_owned(), fact.data.get(name)?.clone())))
            .collect();
        let line = json!({
            "id": fact.id,
            "type": fact.event_type,
            "key": fact.key,
            "companyId": fact.company,
            "timestamp": timestamp_text(fact.at),
            "topic": receipt.topic,
            "partition": receipt.partition,
            "offset": receipt.offset,
            "data": data,
        });
        writeln!(file, "{line}")
    }

    /// Writes what is buffered.
    pub fn finish(&mut self) -> std::io::Result<()> {
        self.0.as_mut().map_or(Ok(()), Write::flush)
    }
}
