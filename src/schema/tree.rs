//! The event types that this program knows by name: one `.avsc` file each.
//!
//! What enters: `schemas/<domain>/<Name>.avsc` and `schemas/released/<domain>/<Name>/<n>.avsc`,
//! built in or from the folder of `registry.schemas`. What leaves: an [`Entry`] for each type.
//! What can fail: a file that is not such a schema, or a name that does not say its type; whether
//! a schema is a good one is [`super::compat`]'s question.

mod files;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::config;
use crate::event::{DOMAINS, type_from_full_name};
use crate::failure::FailureClass;

/// Why the schemas cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TreeError {
    /// The folder or a file of it cannot be read.
    #[error("{}: {source}; check registry.schemas", path.display())]
    Read {
        /// What was to be read.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// More, deeper or larger than a folder of schemas is.
    #[error("{}: {what}; is registry.schemas the right folder?", path.display())]
    TooLarge {
        /// The folder or file.
        path: PathBuf,
        /// Which bound it exceeds.
        what: String,
    },
    /// A file that is not what its place says.
    #[error("{file}: {what}")]
    File {
        /// Path within the tree.
        file: String,
        /// What is wrong and what to write instead.
        what: String,
    },
}

impl TreeError {
    /// Always permanent: the files are as they are.
    pub fn class(&self) -> FailureClass {
        FailureClass::Permanent
    }

    fn file(file: &str, what: impl Into<String>) -> Self {
        Self::File {
            file: file.to_owned(),
            what: what.into(),
        }
    }
}

/// A released text and its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Released {
    /// 1 for the first.
    pub version: u32,
    /// Minified JSON.
    pub text: String,
}

/// One event type.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Dotted type, such as `order.created`.
    pub event_type: String,
    /// The domain, such as `order`.
    pub domain: String,
    /// Full name of the record, such as `events.order.OrderCreated`.
    pub full_name: String,
    /// The field of `data` whose value is the record's key; none where the company is.
    pub key_field: Option<String>,
    /// The one text that is sent to the registry: minified JSON, keys in the file's order.
    pub text: String,
    /// Released texts, oldest first, numbered from 1 without a gap.
    pub versions: Vec<Released>,
    /// Path within the tree, for messages.
    pub file: String,
}

impl Entry {
    /// The topic without the namespace: `events.<domain>.v1`.
    pub fn topic(&self) -> String {
        format!("events.{}.v1", self.domain)
    }

    /// The subject by TopicRecordNameStrategy: `<namespace><topic>-<full name>`.
    pub fn subject(&self, namespace: &str) -> String {
        format!("{namespace}{}-{}", self.topic(), self.full_name)
    }

    /// Whether the current text is the newest released one.
    pub fn is_released(&self) -> bool {
        self.versions
            .last()
            .is_some_and(|released| released.text == self.text)
    }
}

/// All event types, by name.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    entries: BTreeMap<String, Entry>,
    by_full_name: BTreeMap<String, String>,
}

impl Tree {
    /// The schemas built in, or those of the folder that the settings name.
    ///
    /// # Errors
    /// The first file that is not what its place says.
    pub fn load(registry: &config::Registry) -> Result<Self, TreeError> {
        match &registry.schemas {
            Some(folder) => Self::from_files(files::read_folder(folder)?),
            None => Self::from_files(files::built_in()),
        }
    }

    /// Builds the tree from paths (with `/`, from the tree's root) and contents.
    ///
    /// # Errors
    /// As [`Tree::load`].
    pub(crate) fn from_files(files: Vec<(String, Vec<u8>)>) -> Result<Self, TreeError> {
        let mut tree = Self::default();
        let mut released = Vec::new();
        for (path, bytes) in files {
            let Some(bare) = path.strip_suffix(".avsc") else {
                continue;
            };
            match bare.split('/').collect::<Vec<_>>()[..] {
                ["released", domain, name, version] => {
                    let version = version.parse::<u32>().map_err(|_| {
                        TreeError::file(&path, "a released schema is named by its number: 1.avsc")
                    })?;
                    let full_name = format!("events.{domain}.{name}");
                    let text = Parsed::read(&path, &bytes)?.text;
                    released.push((full_name, Released { version, text }, path));
                }
                [domain, name] => tree.insert(entry(&path, domain, name, &bytes)?)?,
                _ => {
                    return Err(TreeError::file(
                        &path,
                        "out of place; schemas are <domain>/<Name>.avsc and released/<domain>/<Name>/<n>.avsc",
                    ));
                }
            }
        }
        released.sort_by(|a, b| (&a.0, a.1.version).cmp(&(&b.0, b.1.version)));
        for (full_name, version, path) in released {
            tree.release(&full_name, version, &path)?;
        }
        Ok(tree)
    }

    fn insert(&mut self, entry: Entry) -> Result<(), TreeError> {
        if let Some(other) = self.entries.get(&entry.event_type) {
            return Err(TreeError::file(
                &entry.file,
                format!("{} is also in {}", entry.event_type, other.file),
            ));
        }
        self.by_full_name
            .insert(entry.full_name.clone(), entry.event_type.clone());
        self.entries.insert(entry.event_type.clone(), entry);
        Ok(())
    }

    fn release(&mut self, name: &str, released: Released, path: &str) -> Result<(), TreeError> {
        let entry = self
            .by_full_name
            .get(name)
            .and_then(|event_type| self.entries.get_mut(event_type))
            .ok_or_else(|| {
                TreeError::file(
                    path,
                    "released, but there is no current schema of this name; a released type cannot be removed or renamed",
                )
            })?;
        let expected = entry.versions.len() as u32 + 1;
        if released.version != expected {
            return Err(TreeError::file(
                path,
                format!(
                    "version {}, expected {expected}: versions count from 1 without a gap",
                    released.version
                ),
            ));
        }
        entry.versions.push(released);
        Ok(())
    }

    /// The entry of a type.
    pub fn get(&self, event_type: &str) -> Option<&Entry> {
        self.entries.get(event_type)
    }

    /// All entries, by type.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.values()
    }

    /// The type of a record's full name, where the tree has it.
    pub fn type_of_full_name(&self, full_name: &str) -> Option<&str> {
        self.by_full_name.get(full_name).map(String::as_str)
    }

    /// The known type that looks most like this one, to suggest it.
    pub fn nearest(&self, event_type: &str) -> Option<&str> {
        // A name from outside may be long, and the distance costs its length.
        let name: String = event_type.chars().take(100).collect();
        self.entries
            .keys()
            .map(|known| (strsim::osa_distance(&name, known), known))
            .filter(|(distance, known)| *distance <= 3.max(known.len() / 3))
            .min()
            .map(|(_, known)| known.as_str())
    }
}

/// What the tree reads of one schema file.
struct Parsed {
    text: String,
    full_name: String,
    event_type: Option<String>,
    key_field: Option<String>,
}

impl Parsed {
    fn read(path: &str, bytes: &[u8]) -> Result<Self, TreeError> {
        // serde_json itself stops at a depth of 128.
        let value: Value = serde_json::from_slice(bytes)
            .map_err(|error| TreeError::file(path, format!("not JSON: {error}")))?;
        let property = |key: &str| match value.get(key) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(TreeError::file(path, format!("\"{key}\" is not a string"))),
        };
        let name = property("name")?
            .filter(|_| value.get("type").is_some_and(|kind| kind == "record"))
            .ok_or_else(|| TreeError::file(path, "not an Avro record with a name"))?;
        let full_name = match property("namespace")? {
            Some(namespace) if !name.contains('.') => format!("{namespace}.{name}"),
            _ => name,
        };
        Ok(Self {
            full_name,
            event_type: property("event_type")?,
            key_field: property("event_key")?,
            text: value.to_string(),
        })
    }
}

fn entry(path: &str, domain: &str, name: &str, bytes: &[u8]) -> Result<Entry, TreeError> {
    let wrong = |what: String| TreeError::file(path, what);
    if !DOMAINS.contains(&domain) {
        return Err(wrong(format!(
            "there is no domain '{domain}'; the domains are {}",
            DOMAINS.join(", ")
        )));
    }
    let parsed = Parsed::read(path, bytes)?;
    let full_name = format!("events.{domain}.{name}");
    if parsed.full_name != full_name {
        return Err(wrong(format!(
            "the record is named {}, its place says {full_name}",
            parsed.full_name
        )));
    }
    let derived = type_from_full_name(&full_name);
    let event_type = parsed
        .event_type
        .ok_or_else(|| wrong(format!("add \"event_type\": \"{derived}\"")))?;
    if event_type != derived {
        return Err(wrong(format!(
            "\"event_type\" is {event_type}, but the name {full_name} says {derived}; change one of them"
        )));
    }
    Ok(Entry {
        event_type,
        domain: domain.to_owned(),
        full_name,
        key_field: parsed.key_field,
        text: parsed.text,
        versions: Vec::new(),
        file: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, event_type: &str) -> (String, Vec<u8>) {
        let stem = path.trim_end_matches(".avsc");
        let (domain, name) = match stem.split('/').collect::<Vec<_>>()[..] {
            ["released", domain, name, _] => (domain, name),
            [domain, name] => (domain, name),
            _ => ("x", "Y"),
        };
        let text = format!(
            r#"{{ "type": "record", "name": "{name}", "namespace": "events.{domain}", "event_type": "{event_type}", "fields": [] }}"#
        );
        (path.to_owned(), text.into_bytes())
    }

    #[test]
    fn the_built_in_tree_has_every_type_of_the_design() {
        let tree = Tree::load(&config::Registry::default()).unwrap();
        assert_eq!(tree.iter().len(), 21);
        let created = tree.get("order.created").unwrap();
        assert_eq!(created.full_name, "events.order.OrderCreated");
        assert_eq!(created.key_field.as_deref(), Some("orderId"));
        assert_eq!(
            created.subject("staging."),
            "staging.events.order.v1-events.order.OrderCreated"
        );
        assert!(created.text.starts_with(r#"{"type":"record","name":"#));
        assert!(tree.iter().all(Entry::is_released));
        assert!(tree.get("ai.anomaly_detected").unwrap().key_field.is_none());
        assert_eq!(
            tree.type_of_full_name("events.product.ProductLowStock"),
            Some("product.low_stock")
        );
        assert_eq!(tree.nearest("order.create"), Some("order.created"));
        assert_eq!(tree.nearest("something.else.entirely"), None);
    }

    #[test]
    fn a_folder_is_read_like_the_built_in_tree() {
        let registry = config::Registry {
            schemas: Some(concat!(env!("CARGO_MANIFEST_DIR"), "/schemas").into()),
            ..config::Registry::default()
        };
        assert_eq!(Tree::load(&registry).unwrap().iter().len(), 21);
        let missing = config::Registry {
            schemas: Some("/nonexistent".into()),
            ..config::Registry::default()
        };
        assert!(matches!(Tree::load(&missing), Err(TreeError::Read { .. })));
    }

    #[test]
    fn a_file_that_is_not_what_its_place_says_is_refused() {
        for (files, says) in [
            (
                vec![file("order/OrderPaid.avsc", "order.payed")],
                "says order.paid",
            ),
            (vec![file("shop/Paid.avsc", "shop.paid")], "no domain"),
            (
                vec![file("order/a/Paid.avsc", "order.paid")],
                "out of place",
            ),
            (
                vec![
                    file("order/Paid.avsc", "order.paid"),
                    file("order/OrderPaid.avsc", "order.paid"),
                ],
                "is also in",
            ),
            (
                vec![file("released/order/Paid/1.avsc", "order.paid")],
                "no current schema",
            ),
            (
                vec![
                    file("order/Paid.avsc", "order.paid"),
                    file("released/order/Paid/2.avsc", "order.paid"),
                ],
                "expected 1",
            ),
            (
                vec![("order/Paid.avsc".to_owned(), b"{".to_vec())],
                "not JSON",
            ),
        ] {
            let error = Tree::from_files(files).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
