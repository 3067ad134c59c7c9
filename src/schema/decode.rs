//! Avro bytes to JSON text in one pass, by the writer's schema.
//!
//! Time and memory are bounded whatever the bytes say: every value writes at least one byte, and
//! the text may not outgrow its limit; lengths are checked by the reader; depth is counted.

use uuid::Uuid;

use super::decimal::BadDecimal;
use super::node::{Node, NodeId, Record};
use super::reader::{Reader, Step, fault, in_field, in_item};
use super::{FaultClass, decimal, json, time};

/// What decoding may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How many records, arrays and maps may lie in each other.
    pub depth: usize,
    /// Bytes of all JSON text made from one event.
    pub json_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth: 64,
            json_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// What an event of the pipeline may take: its JSON grows with its bytes, so that a batch of
    /// small bombs is bounded as a whole and not only each of them.
    pub fn of_event(avro: &[u8]) -> Self {
        let most = Self::default();
        Self {
            json_bytes: most.json_bytes.min(64 * 1024 + 32 * avro.len()),
            ..most
        }
    }
}

/// One walk over the bytes of a value.
pub(super) struct Decoder<'a> {
    nodes: &'a [Node],
    pub(super) input: Reader<'a>,
    /// The JSON text so far.
    out: String,
    /// The most bytes that `out` may reach.
    limit: usize,
    /// Containers that may still be opened.
    depth: usize,
}

impl<'a> Decoder<'a> {
    pub(super) fn new(nodes: &'a [Node], avro: &'a [u8], limits: &Limits) -> Self {
        Self {
            nodes,
            input: Reader::new(avro),
            out: String::new(),
            limit: limits.json_bytes,
            depth: limits.depth,
        }
    }

    /// Decodes one value into text of its own, which counts against the limit.
    pub(super) fn text_of(&mut self, id: NodeId) -> Step<String> {
        let expected = self.input.left().min(1 << 20) * 2;
        self.out = String::with_capacity(expected.min(self.limit) + 64);
        self.counted(id)?;
        Ok(std::mem::take(&mut self.out))
    }

    /// Checks one value as if it were decoded, and shows nothing of it.
    pub(super) fn skip(&mut self, id: NodeId) -> Step {
        self.out.clear();
        self.counted(id)
    }

    fn counted(&mut self, id: NodeId) -> Step {
        self.value(id)?;
        let room = self.limit.checked_sub(self.out.len());
        self.limit = room.ok_or_else(|| self.too_large())?;
        Ok(())
    }

    #[cold]
    fn too_large(&self) -> Box<super::Fault> {
        fault(
            FaultClass::TooLarge,
            format!("the JSON form is larger than {} bytes", self.limit),
        )
    }

    /// Whether `more` bytes fit; every value asks, so that bytes of no width end soon.
    #[inline]
    fn room(&self, more: usize) -> Step {
        if self.out.len().saturating_add(more) > self.limit {
            return Err(self.too_large());
        }
        Ok(())
    }

    fn value(&mut self, id: NodeId) -> Step {
        self.room(0)?;
        let nodes = self.nodes;
        match &nodes[id as usize] {
            Node::Null => self.out.push_str("null"),
            Node::Boolean => {
                let text = if self.input.boolean()? {
                    "true"
                } else {
                    "false"
                };
                self.out.push_str(text);
            }
            Node::Int => json::integer(&mut self.out, self.input.int()?),
            Node::Long => json::integer(&mut self.out, self.input.long()?),
            Node::Float => json::float(&mut self.out, f32::from_le_bytes(self.input.array()?)),
            Node::Double => json::float(&mut self.out, f64::from_le_bytes(self.input.array()?)),
            Node::String | Node::UuidText => self.text()?,
            Node::Enum(symbols) => {
                let symbol = self.input.index(symbols.quoted.len(), "symbol")?;
                self.out.push_str(&symbols.quoted[symbol]);
            }
            Node::Union(branches) => {
                let branch = self.input.index(branches.len(), "union branch")?;
                return self.value(branches[branch]);
            }
            Node::Record(record) => return self.record(record),
            Node::Array(items) => return self.array(*items),
            Node::Map(values) => return self.map(*values),
            node => return self.logical(node),
        }
        Ok(())
    }

    fn text(&mut self) -> Step {
        let text = self.input.text()?;
        self.room(text.len())?;
        json::text(&mut self.out, text)
            .map_err(|json::Nul| fault(FaultClass::NulInText, "text holds U+0000"))
    }

    /// The types that are rarer or have a text form of their own.
    fn logical(&mut self, node: &Node) -> Step {
        let out_of_range = |time::OutOfRange| {
            let detail = "outside the years 0001 to 9999, or outside a day";
            fault(FaultClass::TimeOutOfRange, detail)
        };
        let (input, out) = (&mut self.input, &mut self.out);
        match *node {
            Node::Date => time::date(out, input.int()?).map_err(out_of_range),
            Node::Time(unit) => {
                let value = match unit {
                    super::node::Unit::Millis => input.int()?.into(),
                    _ => input.long()?,
                };
                time::time_of_day(out, value, unit).map_err(out_of_range)
            }
            Node::Timestamp { unit, local } => {
                time::timestamp(out, input.long()?, unit, local).map_err(out_of_range)
            }
            Node::Decimal {
                precision,
                scale,
                size,
            } => {
                let bytes = match size {
                    Some(size) => input.take(size)?,
                    None => input.bytes()?,
                };
                self.decimal(bytes, precision, scale)
            }
            Node::Fixed(size) => {
                let bytes = input.take(size)?;
                self.base64(bytes)
            }
            Node::UuidFixed => {
                let id = Uuid::from_bytes(input.array()?).hyphenated();
                out.push('"');
                out.push_str(id.encode_lower(&mut Uuid::encode_buffer()));
                out.push('"');
                Ok(())
            }
            Node::Duration => {
                for key in ["{\"months\":", ",\"days\":", ",\"millis\":"] {
                    out.push_str(key);
                    json::integer(out, u32::from_le_bytes(input.array()?));
                }
                out.push('}');
                Ok(())
            }
            // All others are in `value`.
            _ => {
                let bytes = input.bytes()?;
                self.base64(bytes)
            }
        }
    }

    fn base64(&mut self, bytes: &[u8]) -> Step {
        self.room(bytes.len().saturating_add(bytes.len() / 3))?;
        json::base64(&mut self.out, bytes);
        Ok(())
    }

    fn decimal(&mut self, bytes: &[u8], precision: usize, scale: usize) -> Step {
        self.room(scale)?;
        decimal::write(&mut self.out, bytes, precision, scale).map_err(|bad| match bad {
            BadDecimal::Empty => fault(FaultClass::Malformed, "a decimal of no bytes"),
            BadDecimal::Overflow => fault(
                FaultClass::DecimalOverflow,
                format!("more digits than the precision of {precision}, or than 64 bytes hold"),
            ),
        })
    }

    fn open(&mut self) -> Step {
        let Some(depth) = self.depth.checked_sub(1) else {
            let detail = "values are nested deeper than the limit";
            return Err(fault(FaultClass::TooDeep, detail));
        };
        self.depth = depth;
        Ok(())
    }

    fn record(&mut self, record: &Record) -> Step {
        self.open()?;
        for (at, field) in record.fields.iter().enumerate() {
            self.out.push_str(&field.key);
            if let Err(fault) = self.value(field.node) {
                return Err(in_field(fault, &record.inputs[at].name));
            }
        }
        self.out
            .push_str(if record.fields.is_empty() { "{}" } else { "}" });
        self.depth += 1;
        Ok(())
    }

    fn array(&mut self, items: NodeId) -> Step {
        self.out.push('[');
        self.blocks(|decoder| decoder.value(items))?;
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, values: NodeId) -> Step {
        self.out.push('{');
        self.blocks(|decoder| {
            decoder.text()?;
            decoder.out.push(':');
            decoder.value(values)
        })?;
        self.out.push('}');
        Ok(())
    }

    #[inline]
    fn blocks(&mut self, item: impl Fn(&mut Self) -> Step) -> Step {
        self.open()?;
        let mut index = 0_u64;
        loop {
            let block = self.input.block()?;
            if block.count == 0 {
                self.input.end_of_block(&block)?;
                break;
            }
            for _ in 0..block.count {
                if index > 0 {
                    self.out.push(',');
                }
                item(self).map_err(|fault| in_item(fault, index))?;
                index += 1;
            }
            self.input.end_of_block(&block)?;
        }
        self.depth += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Fault;
    use crate::schema::compile::compile;

    fn limited(schema: &str, bytes: &[u8], limits: Limits) -> Result<String, Fault> {
        let compiled = compile(&serde_json::from_str(schema).unwrap()).unwrap();
        let mut decoder = Decoder::new(&compiled.nodes, bytes, &limits);
        let text = decoder.text_of(compiled.root).map_err(|fault| *fault)?;
        assert_eq!(decoder.input.left(), 0, "{schema}");
        serde_json::from_str::<serde_json::Value>(&text).expect("JSON");
        Ok(text)
    }

    fn decoded(schema: &str, bytes: &[u8]) -> Result<String, Fault> {
        limited(schema, bytes, Limits::default())
    }

    fn class(schema: &str, bytes: &[u8]) -> FaultClass {
        decoded(schema, bytes).expect_err("a fault").class
    }

    #[test]
    fn every_type_by_hand() {
        let record = r#"{"type":"record","name":"R","fields":[
            {"name":"a","type":"int"},{"name":"b","type":["null","string"]}]}"#;
        let suit = r#"{"type":"enum","name":"Suit","symbols":["SPADES","HEARTS"]}"#;
        for (schema, bytes, json) in [
            (r#""null""#, &[][..], "null"),
            (r#""boolean""#, &[1], "true"),
            (r#""int""#, &[0x7f], "-64"),
            (r#""long""#, &[0x80, 0x01], "64"),
            (r#""float""#, &[0xcd, 0xcc, 0xcc, 0x3d], "0.1"),
            (r#""float""#, &[0, 0, 0x80, 0x7f], "\"Infinity\""),
            (r#""double""#, &[0, 0, 0, 0, 0, 0, 0xf8, 0xbf], "-1.5"),
            (r#""bytes""#, &[4, 0xfb, 0xff], "\"+/8=\""),
            (r#""string""#, b"\x06f\"o", r#""f\"o""#),
            (r#"{"type":"array","items":"int"}"#, &[4, 2, 4, 0], "[1,2]"),
            // A block with its size, then one without.
            (
                r#"{"type":"array","items":"int"}"#,
                &[3, 4, 2, 4, 2, 6, 0],
                "[1,2,3]",
            ),
            (r#"{"type":"array","items":"int"}"#, &[0], "[]"),
            (
                r#"{"type":"map","values":"int"}"#,
                b"\x04\x02a\x02\x02a\x04\x00",
                r#"{"a":1,"a":2}"#,
            ),
            (r#"["null","int"]"#, &[0], "null"),
            (r#"["null","int"]"#, &[2, 4], "2"),
            (record, b"\x02\x02\x02x", r#"{"a":1,"b":"x"}"#),
            (suit, &[2], "\"HEARTS\""),
            (
                r#"{"type":"fixed","name":"F","size":2}"#,
                &[0, 1],
                "\"AAE=\"",
            ),
            (r#"{"type":"record","name":"E","fields":[]}"#, &[], "{}"),
        ] {
            assert_eq!(decoded(schema, bytes).unwrap(), json, "{schema}");
        }
    }

    #[test]
    fn every_logical_type_by_hand() {
        let of =
            |kind: &str, logical: &str| format!(r#"{{"type":"{kind}","logicalType":"{logical}"}}"#);
        let fixed = |size: u8, rest: &str| {
            format!(r#"{{"type":"fixed","name":"F","size":{size},"logicalType":{rest}}}"#)
        };
        let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":18,"scale":4}"#;
        let no_decimal = r#"{"type":"bytes","logicalType":"decimal","precision":2,"scale":4}"#;
        let uuid: Vec<u8> = (0..16).collect();
        for (schema, bytes, json) in [
            (decimal.to_owned(), &[4, 0x04, 0xe2][..], "\"0.1250\""),
            (no_decimal.to_owned(), &[4, 0x04, 0xe2], "\"BOI=\""),
            (
                fixed(4, r#""decimal","precision":9,"scale":2"#),
                &[0xff, 0xff, 0xff, 0xfb],
                "\"-0.05\"",
            ),
            (
                fixed(16, r#""uuid""#),
                &uuid,
                "\"00010203-0405-0607-0809-0a0b0c0d0e0f\"",
            ),
            (of("string", "uuid"), b"\x04no", "\"no\""),
            (of("int", "date"), &[0x01], "\"1969-12-31\""),
            (of("int", "time-millis"), &[0x02], "\"00:00:00.001000\""),
            (of("long", "time-micros"), &[0x02], "\"00:00:00.000001\""),
            (
                of("long", "timestamp-millis"),
                &[0x01],
                "\"1969-12-31T23:59:59.999000Z\"",
            ),
            (
                of("long", "timestamp-micros"),
                &[0x02],
                "\"1970-01-01T00:00:00.000001Z\"",
            ),
            (
                of("long", "timestamp-nanos"),
                &[0x02],
                "\"1970-01-01T00:00:00.000000001Z\"",
            ),
            (
                of("long", "local-timestamp-millis"),
                &[0x02],
                "\"1970-01-01T00:00:00.001000\"",
            ),
            (
                of("long", "local-timestamp-micros"),
                &[0x02],
                "\"1970-01-01T00:00:00.000001\"",
            ),
            (
                of("long", "local-timestamp-nanos"),
                &[0x02],
                "\"1970-01-01T00:00:00.000000001\"",
            ),
            (
                fixed(12, r#""duration""#),
                &[1, 0, 0, 0, 2, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
                r#"{"months":1,"days":2,"millis":4294967295}"#,
            ),
            // Unknown, and on a type that it does not belong to: the type below it.
            (of("long", "unheard-of"), &[0x02], "1"),
            (of("int", "timestamp-micros"), &[0x02], "1"),
        ] {
            assert_eq!(decoded(&schema, bytes).unwrap(), json, "{schema}");
        }
    }

    #[test]
    fn each_fault_has_its_class_and_path() {
        let text = r#""string""#;
        assert_eq!(class(text, b"\x02\0"), FaultClass::NulInText);
        assert_eq!(class(text, b"\x02\xff"), FaultClass::BadText);
        assert_eq!(class(text, b"\x04x"), FaultClass::Truncated);
        assert_eq!(class(r#""boolean""#, &[2]), FaultClass::Malformed);
        assert_eq!(class(r#"["null"]"#, &[2]), FaultClass::Malformed);
        let items = r#"{"type":"array","items":"int"}"#;
        assert_eq!(class(items, &[1, 4, 2, 0]), FaultClass::Malformed);
        assert_eq!(class(items, &[1, 4, 2]), FaultClass::Truncated);
        let map = r#"{"type":"map","values":"null"}"#;
        assert_eq!(class(map, b"\x02\x02\0\0"), FaultClass::NulInText);
        let date = r#"{"type":"int","logicalType":"date"}"#;
        let far = [0xc2, 0x82, 0xe6, 0x02];
        assert_eq!(
            decoded(date, &[0xc0, 0x82, 0xe6, 0x02]).unwrap(),
            "\"9999-12-31\""
        );
        assert_eq!(class(date, &far), FaultClass::TimeOutOfRange);
        let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":3,"scale":1}"#;
        assert_eq!(
            class(decimal, &[4, 0x03, 0xe8]),
            FaultClass::DecimalOverflow
        );
        assert_eq!(class(decimal, &[0]), FaultClass::Malformed);
        let nested = r#"{"type":"record","name":"R","fields":[{"name":"items","type":
            {"type":"array","items":{"type":"record","name":"I","fields":[
            {"name":"tags","type":{"type":"map","values":"boolean"}}]}}}]}"#;
        let fault = decoded(nested, b"\x04\x00\x02\x02x\x07").unwrap_err();
        assert_eq!(fault.path, "items[1].tags[0]");
        assert_eq!(fault.class, FaultClass::Malformed);
    }

    #[test]
    fn names_are_found_in_their_namespaces() {
        let schema = r#"{"type":"record","name":"Top","namespace":"a.b","fields":[
            {"name":"x","type":{"type":"fixed","name":"Money","size":1,
                "logicalType":"decimal","precision":2,"scale":1}},
            {"name":"y","type":{"type":"record","name":"c.Inner","fields":[
                {"name":"own","type":{"type":"enum","name":"Money","symbols":["A","B"]}},
                {"name":"other","type":"a.b.Money"},
                {"name":"near","type":["Money","null"]}]}},
            {"name":"z","type":"Money"},
            {"name":"w","type":"c.Money"},
            {"name":"v","type":{"type":["null",{"type":{"type":"int"},"logicalType":"date"}]}}]}"#;
        assert_eq!(
            decoded(schema, &[1, 2, 2, 0, 0, 3, 0, 2, 2]).unwrap(),
            r#"{"x":"0.1","y":{"own":"B","other":"0.2","near":"A"},"z":"0.3","w":"A","v":"1970-01-02"}"#
        );
    }

    #[test]
    fn bombs_end_quickly() {
        // A count of 2^40.
        let count = [0x80, 0x80, 0x80, 0x80, 0x80, 0x40];
        let nulls = r#"{"type":"array","items":"null"}"#;
        let empties = r#"{"type":"array","items":{"type":"record","name":"E","fields":[]}}"#;
        let zeros = r#"{"type":"array","items":{"type":"fixed","name":"Z","size":0}}"#;
        for schema in [nulls, empties, zeros] {
            assert_eq!(class(schema, &count), FaultClass::TooLarge, "{schema}");
        }
        let nested = format!(r#"{{"type":"array","items":{nulls}}}"#);
        let twice = [&count[..], &count].concat();
        assert_eq!(class(&nested, &twice), FaultClass::TooLarge);
        assert_eq!(class(&nested, &count), FaultClass::Truncated);
        let endless = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"R"}]}"#;
        assert_eq!(class(endless, &[]), FaultClass::TooDeep);
        let doubling: String = (0..40).fold("\"null\"".into(), |inner, level| {
            format!(
                r#"{{"type":"record","name":"R{level}","fields":[{{"name":"a","type":{inner}}},{{"name":"b","type":"{}"}}]}}"#,
                if level == 0 { "null".into() } else { format!("R{}", level - 1) }
            )
        });
        assert_eq!(class(&doubling, &[]), FaultClass::TooLarge);
        let scale =
            r#"{"type":"bytes","logicalType":"decimal","precision":4000000000,"scale":4000000000}"#;
        assert_eq!(class(scale, &[2, 1]), FaultClass::TooLarge);
        let limits = Limits {
            json_bytes: 7,
            ..Limits::default()
        };
        assert_eq!(
            limited(r#""string""#, b"\x0aabcde", limits).unwrap().len(),
            7
        );
        assert!(limited(r#""string""#, b"\x0cabcdef", limits).is_err());
    }

    #[test]
    fn depth_is_counted_and_not_the_stack() {
        let list = r#"{"type":"record","name":"L","fields":[{"name":"next","type":["null","L"]}]}"#;
        let deep = |levels: usize| {
            let mut bytes = vec![2; levels - 1];
            bytes.push(0);
            bytes
        };
        assert!(decoded(list, &deep(64)).is_ok());
        assert_eq!(class(list, &deep(65)), FaultClass::TooDeep);
        assert_eq!(class(list, &deep(1_000_000)), FaultClass::TooDeep);
    }
}
