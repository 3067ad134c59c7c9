//! A schema that this tree does not know, written by hand byte by byte, so that a test can send
//! what no serializer would.

use serde_json::json;

use super::Space;

/// An event of the type `order.probe`.
#[derive(Clone, Debug)]
pub struct Probe {
    pub id: String,
    pub occurred_at: i64,
    pub user_id: Vec<u8>,
    pub text: Vec<u8>,
    /// Unscaled decimal(4,2), big-endian two's complement.
    pub amount: Vec<u8>,
    /// How many nodes the chain has.
    pub depth: usize,
    /// How many nulls the array claims to have.
    pub nulls: i64,
    /// The branch of company_id's union.
    pub branch: i64,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            id: uuid::Uuid::new_v4().to_string(),
            occurred_at: 1_700_000_000_000_000,
            user_id: b"user-1".to_vec(),
            text: b"plain".to_vec(),
            amount: vec![0x01, 0x02],
            depth: 1,
            nulls: 0,
            branch: 0,
        }
    }
}

/// The probe's schema; the envelope's unions stand in the other order than in the tree.
pub fn schema() -> serde_json::Value {
    json!({
        "type": "record", "name": "OrderProbe", "namespace": "events.order",
        "fields": [
            {"name": "id", "type": {"type": "string", "logicalType": "uuid"}},
            {"name": "occurred_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
            {"name": "user_id", "type": ["string", "null"]},
            {"name": "company_id", "type": ["null", "string"], "default": null},
            {"name": "data", "type": {"type": "record", "name": "OrderProbeData", "fields": [
                {"name": "text", "type": "string"},
                {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 4, "scale": 2}},
                {"name": "chain", "type": ["null", {"type": "record", "name": "Node", "fields": [
                    {"name": "next", "type": ["null", "Node"]}]}]},
                {"name": "nulls", "type": {"type": "array", "items": "null"}}
            ]}},
            {"name": "metadata", "type": {"type": "map", "values": ["null", "boolean", "long", "double", "string"]}}
        ]
    })
}

impl Probe {
    /// Avro binary of the event.
    pub fn avro(&self) -> Vec<u8> {
        let mut out = Vec::new();
        put_bytes(&mut out, self.id.as_bytes());
        put_long(&mut out, self.occurred_at);
        put_long(&mut out, 0);
        put_bytes(&mut out, &self.user_id);
        put_long(&mut out, self.branch);
        put_bytes(&mut out, &self.text);
        put_bytes(&mut out, &self.amount);
        for _ in 0..self.depth {
            put_long(&mut out, 1);
        }
        put_long(&mut out, 0);
        if self.nulls > 0 {
            put_long(&mut out, self.nulls);
        }
        put_long(&mut out, 0);
        put_long(&mut out, 0);
        out
    }

    /// The framed value.
    pub fn framed(&self, schema_id: u32) -> Vec<u8> {
        framed(schema_id, &self.avro())
    }
}

/// 0x00, the schema id, the Avro bytes.
pub fn framed(schema_id: u32, avro: &[u8]) -> Vec<u8> {
    [&[0], schema_id.to_be_bytes().as_slice(), avro].concat()
}

fn put_long(out: &mut Vec<u8>, value: i64) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push((rest as u8 & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_long(out, i64::try_from(bytes.len()).expect("a length"));
    out.extend_from_slice(bytes);
}

/// Registers a schema as a foreign application would and gives its id.
pub async fn register(space: &Space, topic: &str, schema: &serde_json::Value) -> u32 {
    let name = schema["name"].as_str().expect("a name");
    let namespace = schema["namespace"].as_str().unwrap_or("foreign");
    let url = format!(
        "{}/subjects/{topic}-{namespace}.{name}/versions",
        space.servers.registry_url
    );
    let body = json!({"schema": schema.to_string()});
    // A registry whose own database has just come back answers 500 until it has noticed.
    let id = super::eventually("a schema's id", async || {
        let answer = super::http().post(&url).json(&body).send().await;
        let answer = answer.map_err(|error| error.to_string())?;
        let answer: serde_json::Value = answer.json().await.map_err(|error| error.to_string())?;
        answer["id"].as_u64().ok_or(answer.to_string())
    });
    u32::try_from(id.await).expect("an id")
}
