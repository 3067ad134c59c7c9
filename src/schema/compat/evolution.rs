//! Whether a schema may follow a released one: each must read what the other wrote
//! (FULL compatibility; every released version is asked, hence transitive), and what neither a
//! registry nor Avro's rules notice must be as it was.
//!
//! Because both directions must hold, a type may not change at all: no promotion works backwards.
//! Only fields with a default and enum symbols (where the enum has a default) come and go.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::Problems;
use crate::schema::model::{
    Names, Node, describe, fields, full_name, inner_namespace, logical, text,
};

pub(super) fn check(old: &Value, new: &Value, version: &str, problems: &mut Problems) {
    let mut walk = Walk {
        old: &Names::of(old),
        new: &Names::of(new),
        version,
        problems,
        seen: HashSet::new(),
    };
    walk.schema(
        Place {
            schema: old,
            namespace: "",
        },
        Place {
            schema: new,
            namespace: "",
        },
        "",
    );
}

/// A schema and the namespace in which it is written.
#[derive(Clone, Copy)]
struct Place<'a> {
    schema: &'a Value,
    namespace: &'a str,
}

struct Walk<'a, 'p> {
    old: &'a Names<'a>,
    new: &'a Names<'a>,
    /// Whose rule it is, such as `released version 2`.
    version: &'a str,
    problems: &'p mut Problems,
    /// Records already compared, so that a type that holds itself ends.
    seen: HashSet<String>,
}

/// Properties that give bytes their meaning, and that no registry compares.
const MEANING: [&str; 2] = ["event_type", "event_key"];

impl<'a> Walk<'a, '_> {
    fn refuse(&mut self, path: &str, wrong: String, fix: &str) {
        let wrong = format!("{wrong} since {}", self.version);
        self.problems.add(path, wrong, fix);
    }

    fn schema(&mut self, old: Place<'a>, new: Place<'a>, path: &str) {
        let was = self.old.node(old.schema, old.namespace);
        let is = self.new.node(new.schema, new.namespace);
        match (was, is) {
            (
                Node::Union {
                    branches: a,
                    namespace: in_a,
                },
                Node::Union {
                    branches: b,
                    namespace: in_b,
                },
            ) => self.union((a, in_a), (b, in_b), path),
            (
                Node::Type {
                    kind: a,
                    properties: p,
                    namespace: in_a,
                },
                Node::Type {
                    kind: b,
                    properties: q,
                    namespace: in_b,
                },
            ) if a == b && self.same_name(was, is) => {
                let empty = Map::new();
                if !self.same_meaning(p.unwrap_or(&empty), q.unwrap_or(&empty), path, (was, is)) {
                    return;
                }
                let (Some(p), Some(q)) = (p, q) else { return };
                match a {
                    "record" => self.record((p, in_a), (q, in_b), path),
                    "enum" => self.symbols(p, q, path),
                    "fixed" => self.size(p, q, path),
                    "array" => self.nested("items", (p, in_a), (q, in_b), &format!("{path}[]")),
                    "map" => self.nested("values", (p, in_a), (q, in_b), &format!("{path}{{}}")),
                    _ => {}
                }
            }
            _ => {
                let wrong = format!(
                    "changed from {} to {}",
                    describe(self.old, was),
                    describe(self.new, is)
                );
                self.refuse(
                    path,
                    wrong,
                    "keep the type; add another field with a default instead",
                );
            }
        }
    }

    fn same_name(&self, was: Node<'_>, is: Node<'_>) -> bool {
        name_of(was) == name_of(is)
    }

    /// Logical type, precision, scale and the event's own properties.
    fn same_meaning(
        &mut self,
        p: &Map<String, Value>,
        q: &Map<String, Value>,
        path: &str,
        (was, is): (Node<'_>, Node<'_>),
    ) -> bool {
        if logical(p) != logical(q) {
            let wrong = format!(
                "logical type changed from {} to {}",
                describe(self.old, was),
                describe(self.new, is)
            );
            let fix = "keep it: bytes that are already written would be read as another value; add another field with a default instead";
            self.refuse(path, wrong, fix);
            return false;
        }
        for key in MEANING {
            if p.get(key) != q.get(key) {
                let show =
                    |value: Option<&Value>| value.map_or("none".to_owned(), Value::to_string);
                let wrong = format!(
                    "\"{key}\" changed from {} to {}",
                    show(p.get(key)),
                    show(q.get(key))
                );
                self.refuse(path, wrong, "keep it; another type is another schema");
            }
        }
        true
    }

    fn union(
        &mut self,
        (old, in_old): (&'a [Value], &'a str),
        (new, in_new): (&'a [Value], &'a str),
        path: &str,
    ) {
        let fix = "keep the branches; add another field with a default instead";
        let mut matched = vec![false; new.len()];
        for branch in old {
            let was = self.old.node(branch, in_old);
            let found = new
                .iter()
                .position(|other| branch_id(self.new.node(other, in_new)) == branch_id(was));
            match found {
                Some(i) => {
                    matched[i] = true;
                    let (old, new) = (
                        Place {
                            schema: branch,
                            namespace: in_old,
                        },
                        Place {
                            schema: &new[i],
                            namespace: in_new,
                        },
                    );
                    self.schema(old, new, path);
                }
                None => {
                    let wrong = format!("the branch {} was removed", describe(self.old, was));
                    self.refuse(path, wrong, fix);
                }
            }
        }
        for (branch, _) in new.iter().zip(matched).filter(|(_, matched)| !matched) {
            let is = self.new.node(branch, in_new);
            let wrong = format!("the branch {} was added", describe(self.new, is));
            self.refuse(path, wrong, fix);
        }
    }

    fn record(
        &mut self,
        (old, in_old): (&'a Map<String, Value>, &'a str),
        (new, in_new): (&'a Map<String, Value>, &'a str),
        path: &str,
    ) {
        if !self.seen.insert(full_name(old, in_old)) {
            return;
        }
        let (in_old, in_new) = (inner_namespace(old, in_old), inner_namespace(new, in_new));
        let (before, after) = (fields(old), fields(new));
        for field in before {
            let name = name(field);
            let path = join(path, name);
            match after.iter().find(|other| self::name(other) == name) {
                Some(other) => {
                    let (Some(a), Some(b)) = (field.get("type"), other.get("type")) else {
                        continue;
                    };
                    let (a, b) = (
                        Place {
                            schema: a,
                            namespace: in_old,
                        },
                        Place {
                            schema: b,
                            namespace: in_new,
                        },
                    );
                    self.schema(a, b, &path);
                }
                None if field.get("default").is_none() => self.refuse(
                    &path,
                    "a field without a default was removed or renamed".to_owned(),
                    "put it back: earlier readers need it",
                ),
                None => {}
            }
        }
        for field in after {
            let name = name(field);
            let is_new = !before.iter().any(|other| self::name(other) == name);
            if is_new && field.get("default").is_none() {
                self.refuse(
                    &join(path, name),
                    "a field with no default was added".to_owned(),
                    "make it nullable with \"default\": null: events already written lack it",
                );
            }
        }
    }

    fn symbols(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let list = |enumeration: &Map<String, Value>| -> Vec<String> {
            let symbols = enumeration.get("symbols").and_then(Value::as_array);
            let texts = symbols.into_iter().flatten().filter_map(Value::as_str);
            texts.map(str::to_owned).collect()
        };
        let (before, after) = (list(old), list(new));
        let has_default = |enumeration: &Map<String, Value>| enumeration.contains_key("default");
        for symbol in before.iter().filter(|symbol| !after.contains(symbol)) {
            if !has_default(new) {
                let wrong = format!("the symbol '{symbol}' was removed, and there is no default");
                self.refuse(
                    path,
                    wrong,
                    "put it back, or give the enum \"default\": \"unknown\"",
                );
            }
        }
        for symbol in after.iter().filter(|symbol| !before.contains(symbol)) {
            if !has_default(old) {
                let wrong = format!(
                    "the symbol '{symbol}' was added, and the released enum has no default"
                );
                self.refuse(path, wrong, "take it out: earlier readers cannot read it");
            }
        }
    }

    fn size(&mut self, old: &Map<String, Value>, new: &Map<String, Value>, path: &str) {
        let (was, is) = (old.get("size"), new.get("size"));
        if was != is {
            let show = |size: Option<&Value>| size.map_or("none".to_owned(), Value::to_string);
            let wrong = format!("size changed from {} to {}", show(was), show(is));
            self.refuse(
                path,
                wrong,
                "keep the size; add another field with a default instead",
            );
        }
    }

    fn nested(
        &mut self,
        key: &str,
        (old, in_old): (&'a Map<String, Value>, &'a str),
        (new, in_new): (&'a Map<String, Value>, &'a str),
        path: &str,
    ) {
        if let (Some(a), Some(b)) = (old.get(key), new.get(key)) {
            let (a, b) = (
                Place {
                    schema: a,
                    namespace: in_old,
                },
                Place {
                    schema: b,
                    namespace: in_new,
                },
            );
            self.schema(a, b, path);
        }
    }
}

/// The full name of a named type; none of the others.
fn name_of(node: Node<'_>) -> Option<String> {
    match node {
        Node::Type {
            kind: "record" | "enum" | "fixed",
            properties: Some(properties),
            namespace,
        } => Some(full_name(properties, namespace)),
        _ => None,
    }
}

/// What tells the branches of a union apart.
fn branch_id(node: Node<'_>) -> Option<(&str, Option<String>)> {
    match node {
        Node::Type { kind, .. } => Some((kind, name_of(node))),
        _ => None,
    }
}

fn name(field: &Value) -> &str {
    field
        .as_object()
        .and_then(|f| text(f, "name"))
        .unwrap_or_default()
}

fn join(path: &str, name: &str) -> String {
    match path {
        "" => name.to_owned(),
        _ => format!("{path}.{name}"),
    }
}
