//! Whether a schema keeps the rules of the house, without a registry.
//!
//! What enters: the entries of a [`Tree`]. What leaves: a list of [`Problem`]s, each with the file,
//! the path of the field, what is wrong and what to do. Three questions are asked of an entry: is
//! it Avro, does it keep the rules for one schema (`rules`), and may it follow every version that
//! was released (`evolution`). Nothing here fails.

mod evolution;
mod rules;

use apache_avro::Schema;
use apache_avro::schema_compatibility::{Compatibility, SchemaCompatibility};
use serde::Serialize;
use serde_json::Value;

use super::{Entry, Tree};

/// Something in a schema that must be changed before it can be registered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Path within the tree, such as `order/OrderCreated.avsc`.
    pub file: String,
    /// Path of the field, such as `data.items[].quantity`; empty for the whole schema.
    pub path: String,
    /// What is wrong.
    pub wrong: String,
    /// What to do.
    pub fix: String,
}

/// Collects the problems of one file.
struct Problems {
    file: String,
    list: Vec<Problem>,
}

impl Problems {
    fn of(entry: &Entry) -> Self {
        Self {
            file: entry.file.clone(),
            list: Vec::new(),
        }
    }

    fn add(&mut self, path: &str, wrong: impl Into<String>, fix: impl Into<String>) {
        self.list.push(Problem {
            file: self.file.clone(),
            path: path.to_owned(),
            wrong: wrong.into(),
            fix: fix.into(),
        });
    }
}

/// The problems of all entries.
pub fn check(tree: &Tree) -> Vec<Problem> {
    tree.iter().flat_map(check_entry).collect()
}

/// The problems of one entry: its current text, and that text against every released one.
pub fn check_entry(entry: &Entry) -> Vec<Problem> {
    let mut problems = Problems::of(entry);
    if let Some((current, _)) = parse(&entry.text, "", &mut problems) {
        rules::check(&current, &mut problems);
        for released in &entry.versions {
            let whose = format!("released version {}", released.version);
            problems
                .list
                .extend(check_against(entry, &whose, &released.text));
        }
    }
    problems.list
}

/// The problems of an entry's current text as a successor of another text; `whose` names that one
/// in messages, such as `registered version 2`.
pub fn check_against(entry: &Entry, whose: &str, old: &str) -> Vec<Problem> {
    let mut problems = Problems::of(entry);
    let current = parse(&entry.text, "", &mut problems);
    let old = parse(old, &format!("{whose}: "), &mut problems);
    if let (Some((current, schema)), Some((old, old_schema))) = (current, old) {
        evolution::check(&old, &current, whose, &mut problems);
        if problems.list.is_empty() {
            second_opinion(&old_schema, &schema, whose, &mut problems);
        }
    }
    problems.list
}

/// The text as JSON, which keeps every property, and as Avro, which knows the format's rules.
fn parse(text: &str, whose: &str, problems: &mut Problems) -> Option<(Value, Schema)> {
    let read = serde_json::from_str::<Value>(text)
        .map_err(|error| error.to_string())
        .and_then(|value| match Schema::parse(&value) {
            Ok(schema) => Ok((value, schema)),
            Err(error) => Err(error.to_string()),
        });
    read.map_err(|error| {
        problems.add(
            "",
            format!("{whose}not an Avro schema: {}", short(&error)),
            "mend it; every named type must be written out in this file, since schema references are not used",
        );
    })
    .ok()
}

/// Avro's own answer, for what the comparison by path may have missed.
fn second_opinion(old: &Schema, new: &Schema, whose: &str, problems: &mut Problems) {
    let says = match SchemaCompatibility::mutual_read(old, new) {
        Ok(Compatibility::Full) => return,
        Ok(Compatibility::Partial) => "some values of one cannot be read by the other".to_owned(),
        Err(error) => short(&error.to_string()),
    };
    problems.add(
        "",
        format!("not compatible in both directions with {whose}: {says}"),
        "keep what is released; add fields with a default instead",
    );
}

fn short(message: &str) -> String {
    let line = message.lines().next().unwrap_or_default();
    line.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    /// A schema with the envelope; `data` is its data fields, `top` further properties.
    fn event(top: &str, data: &str) -> String {
        format!(
            r#"{{"type":"record","name":"Paid","namespace":"events.order","event_type":"order.paid"{top},"doc":"d","fields":[
            {{"name":"id","type":{{"type":"string","logicalType":"uuid"}},"doc":"d"}},
            {{"name":"occurred_at","type":{{"type":"long","logicalType":"timestamp-micros"}},"doc":"d"}},
            {{"name":"user_id","type":["null","string"],"default":null,"doc":"d"}},
            {{"name":"company_id","type":["null","string"],"default":null,"doc":"d"}},
            {{"name":"data","type":{{"type":"record","name":"PaidData","doc":"d","fields":[{data}]}},"doc":"d"}},
            {{"name":"metadata","type":{{"type":"map","values":["null","boolean","long","double","string"]}},"default":{{}},"doc":"d"}}]}}"#
        )
    }

    fn tree(current: String, released: &[String]) -> Tree {
        let mut files = vec![("order/Paid.avsc".to_owned(), current.into_bytes())];
        for (i, text) in released.iter().enumerate() {
            let path = format!("released/order/Paid/{}.avsc", i + 1);
            files.push((path, text.clone().into_bytes()));
        }
        Tree::from_files(files).unwrap()
    }

    fn problems(current: &str, released: &[&str]) -> Vec<Problem> {
        let released: Vec<_> = released.iter().map(|data| event("", data)).collect();
        check(&tree(event("", current), &released))
    }

    fn field(name: &str, kind: &str) -> String {
        format!(r#"{{"name":"{name}","type":{kind},"doc":"d"}}"#)
    }

    fn money(precision: u8, scale: u8) -> String {
        format!(
            r#"{{"type":"bytes","logicalType":"decimal","precision":{precision},"scale":{scale}}}"#
        )
    }

    #[test]
    fn the_built_in_schemas_have_no_problem() {
        let tree = Tree::load(&config::Registry::default()).unwrap();
        assert_eq!(check(&tree), []);
    }

    #[track_caller]
    fn one(found: &[Problem], path: &str, says: &str) {
        assert!(
            found.len() == 1 && found[0].path == path && found[0].wrong.contains(says),
            "expected one problem at {path} that says {says:?}: {found:#?}"
        );
    }

    #[test]
    fn one_schema_keeps_the_rules() {
        one(
            &problems(r#"{"name":"a","type":"int"}"#, &[]),
            "data.a",
            "doc",
        );
        let bare = r#"{"type":"enum","name":"S","doc":"d","symbols":["a","b"]}"#;
        one(&problems(&field("a", bare), &[]), "data.a", "unknown");
        let item = r#"{"type":"array","items":{"type":"record","name":"I","fields":[]}}"#;
        one(&problems(&field("a", item), &[]), "data.a[]", "doc");
        one(
            &problems(&field("a", &money(18, 4)), &[]),
            "data.a",
            "currency",
        );
        let with =
            |kind: &str| format!("{},{}", field("a", kind), field("currency", r#""string""#));
        assert_eq!(problems(&with(&money(18, 4)), &[]), []);
        one(
            &problems(&with(&money(12, 2)), &[]),
            "data.a",
            "decimal(12,2)",
        );
        one(
            &problems(&field("a", r#""events.order.Elsewhere""#), &[]),
            "",
            "not an Avro schema",
        );
    }

    #[test]
    fn the_envelope_is_whole_and_the_key_is_a_field() {
        let wrong = event("", "").replace("timestamp-micros", "timestamp-millis");
        one(&check(&tree(wrong, &[])), "occurred_at", "timestamp-micros");
        let wrong = event("", "").replace("company_id", "company");
        one(&check(&tree(wrong, &[])), "company_id", "missing");
        let wrong = event(r#","event_key":"orderId""#, "");
        one(&check(&tree(wrong, &[])), "data.orderId", "event_key");
        let right = event(
            r#","event_key":"orderId""#,
            &field("orderId", r#""string""#),
        );
        assert_eq!(check(&tree(right, &[])), []);
    }

    #[test]
    fn what_avro_refuses_is_refused_with_its_path() {
        let a = field("a", r#""int""#);
        let optional = r#"{"name":"b","type":["null","int"],"default":null,"doc":"d"}"#;
        // Both directions: an optional field may come and go.
        assert_eq!(problems(&format!("{a},{optional}"), &[&a]), []);
        assert_eq!(problems(&a, &[&format!("{a},{optional}")]), []);
        let two = format!("{a},{}", field("b", r#""int""#));
        one(&problems(&a, &[&two]), "data.b", "removed");
        one(&problems(&two, &[&a]), "data.b", "no default");
        one(
            &problems(&field("a", r#""long""#), &[&a]),
            "data.a",
            "int to long",
        );
        // Every released version counts, not only the newest.
        one(&problems(&two, &[&a, &two]), "data.b", "version 1");
        let nullable = field("a", r#"["null","int"]"#);
        one(&problems(&nullable, &[&a]), "data.a", "int to");
        let wider = field("a", r#"["null","int","string"]"#);
        one(&problems(&wider, &[&nullable]), "data.a", "string");
        let record = |name: &str| {
            field(
                "a",
                &format!(r#"{{"type":"record","name":"{name}","doc":"d","fields":[]}}"#),
            )
        };
        one(
            &problems(&record("B"), &[&record("A")]),
            "data.a",
            "events.order.A",
        );
        let bytes = field("a", r#""bytes""#);
        one(
            &problems(&bytes, &[&field("a", r#""string""#)]),
            "data.a",
            "string to bytes",
        );
    }

    #[test]
    fn a_symbol_goes_only_where_a_default_takes_its_place() {
        let symbols = |list: &str, default: &str| {
            field(
                "a",
                &format!(
                    r#"{{"type":"enum","name":"S","doc":"d","symbols":["unknown",{list}]{default}}}"#
                ),
            )
        };
        let with = r#","default":"unknown""#;
        assert_eq!(
            problems(&symbols(r#""x""#, with), &[&symbols(r#""x","y""#, with)]),
            []
        );
        let found = problems(&symbols(r#""x""#, ""), &[&symbols(r#""x","y""#, with)]);
        assert!(found.iter().any(|p| p.wrong.contains("'y'")), "{found:#?}");
        let found = problems(&symbols(r#""x","y""#, with), &[&symbols(r#""x""#, "")]);
        assert!(found.iter().any(|p| p.wrong.contains("'y'")), "{found:#?}");
    }

    #[test]
    fn what_neither_registry_nor_avro_notices_is_refused() {
        let time = |unit: &str| {
            field(
                "a",
                &format!(r#"{{"type":"long","logicalType":"timestamp-{unit}"}}"#),
            )
        };
        one(
            &problems(&time("micros"), &[&time("millis")]),
            "data.a",
            "long (timestamp-millis) to long (timestamp-micros)",
        );
        one(
            &problems(&field("a", r#""long""#), &[&time("millis")]),
            "data.a",
            "logical type",
        );
        let priced = |kind: String| {
            format!(
                "{},{}",
                field("currency", r#""string""#),
                field("a", &format!(r#"{{"type":"array","items":{kind}}}"#))
            )
        };
        one(
            &problems(&priced(money(18, 4)), &[&priced(money(18, 2))]),
            "data.a[]",
            "decimal(18,2)",
        );
        one(
            &problems(&priced(money(18, 4)), &[&priced(money(12, 4))]),
            "data.a[]",
            "decimal(12,4)",
        );
        let renamed = event("", "").replace("order.paid", "order.settled");
        one(
            &check(&tree(event("", ""), &[renamed])),
            "",
            "order.settled",
        );
        let inner = |kind: &str| {
            field(
                "a",
                &format!(
                    r#"{{"type":"record","name":"A","doc":"d","event_type":"{kind}","fields":[]}}"#
                ),
            )
        };
        one(
            &problems(&inner("x.y"), &[&inner("x.z")]),
            "data.a",
            "event_type",
        );
    }

    #[test]
    fn avro_itself_is_asked_as_well() {
        let asked = |old: &str, new: &str| {
            let schema = |fields: &str| {
                let text = format!(r#"{{"type":"record","name":"A","fields":[{fields}]}}"#);
                Schema::parse_str(&text).unwrap()
            };
            let mut problems = Problems {
                file: String::new(),
                list: Vec::new(),
            };
            second_opinion(&schema(old), &schema(new), "version 1", &mut problems);
            !problems.list.is_empty()
        };
        let int = r#"{"name":"a","type":"int"}"#;
        let long = r#"{"name":"a","type":"long"}"#;
        let other = r#"{"name":"b","type":"int","default":0}"#;
        let with = |kind: &str| format!(r#"{{"name":"a","type":{kind}}}"#);
        assert!(!asked(int, int) && !asked(int, &format!("{int},{other}")));
        assert!(asked(int, "") && asked("", int) && asked(int, other) && asked(int, long));
        assert!(asked(&with(r#"["null","int"]"#), int));
        let symbols = |list: &str| {
            with(&format!(
                r#"{{"type":"enum","name":"E","symbols":[{list}]}}"#
            ))
        };
        assert!(asked(&symbols(r#""x","y""#), &symbols(r#""x""#)));
        assert!(asked(&with(&money(18, 4)), &with(&money(18, 2))));
        // What it does not notice, and `evolution` does.
        let time = |unit: &str| {
            with(&format!(
                r#"{{"type":"long","logicalType":"timestamp-{unit}"}}"#
            ))
        };
        assert!(!asked(&time("micros"), &time("millis")));
        assert!(!asked(&with(r#""bytes""#), &with(r#""string""#)));
    }

    #[test]
    fn a_type_that_holds_itself_ends() {
        let tree = field(
            "a",
            r#"{"type":"record","name":"Node","doc":"d","fields":[{"name":"next","type":["null","Node"],"default":null,"doc":"d"}]}"#,
        );
        assert_eq!(problems(&tree, &[&tree]), []);
    }
}
