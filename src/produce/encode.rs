//! From an event to the bytes of its record; needs no server.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jiff::Timestamp;
use serde_json::Value;
use uuid::Uuid;

use super::{NewEvent, PublishError};
use crate::config::Config;
use crate::schema::{Entry, EventFields, Tree, WriterSchema, framing};

/// The known event types, each schema compiled when it is first needed.
pub struct Catalog {
    tree: Tree,
    schemas: BTreeMap<String, OnceLock<WriterSchema>>,
}

/// What an event becomes, but for the schema's id.
pub(super) struct Prepared<'a> {
    pub(super) entry: &'a Entry,
    pub(super) schema: &'a WriterSchema,
    pub(super) id: Uuid,
    pub(super) timestamp_micros: i64,
}

impl Catalog {
    /// Reads the schemas that the settings name.
    ///
    /// # Errors
    /// [`PublishError::Schemas`] where they cannot be read.
    pub fn load(config: &Config) -> Result<Self, PublishError> {
        let tree = Tree::load(&config.registry)?;
        let schemas = tree
            .iter()
            .map(|entry| (entry.event_type.clone(), OnceLock::new()))
            .collect();
        Ok(Self { tree, schemas })
    }

    /// The names of the known types.
    pub(super) fn types(&self) -> impl Iterator<Item = &str> {
        self.schemas.keys().map(String::as_str)
    }

    /// Checks an event against its schema, as publishing it would.
    ///
    /// # Errors
    /// [`PublishError::UnknownType`] or [`PublishError::Invalid`].
    pub fn validate(&self, event: &NewEvent) -> Result<(), PublishError> {
        let prepared = self.prepare(event)?;
        prepared.value(event, 0).map(drop)
    }

    pub(super) fn prepare(&self, event: &NewEvent) -> Result<Prepared<'_>, PublishError> {
        let (entry, schema) = self.schema(&event.event_type)?;
        Ok(Prepared {
            entry,
            schema,
            id: event.id.unwrap_or_else(Uuid::now_v7),
            timestamp_micros: event
                .timestamp_micros
                .unwrap_or_else(|| Timestamp::now().as_microsecond()),
        })
    }

    fn schema(&self, event_type: &str) -> Result<(&Entry, &WriterSchema), PublishError> {
        let known = self.tree.get(event_type).zip(self.schemas.get(event_type));
        let Some((entry, cell)) = known else {
            return Err(PublishError::UnknownType {
                event_type: event_type.chars().take(100).collect(),
                nearest: self.tree.nearest(event_type).map(str::to_owned),
            });
        };
        if let Some(schema) = cell.get() {
            return Ok((entry, schema));
        }
        let schema = WriterSchema::parse(&entry.text).map_err(|fault| PublishError::Schema {
            event_type: event_type.to_owned(),
            fault,
        })?;
        Ok((entry, cell.get_or_init(|| schema)))
    }
}

impl Prepared<'_> {
    /// The framed value.
    pub(super) fn value(&self, event: &NewEvent, schema_id: u32) -> Result<Vec<u8>, PublishError> {
        let mut value = Vec::with_capacity(512);
        framing::begin(schema_id, &mut value);
        let fields = EventFields {
            id: self.id,
            timestamp_micros: self.timestamp_micros,
            user_id: event.user.as_deref(),
            company_id: event.company.as_deref(),
            data: &event.data,
            metadata: Some(&event.metadata),
        };
        self.schema
            .encode(&fields, &mut value)
            .map_err(|faults| PublishError::Invalid { faults })?;
        Ok(value)
    }

    /// The record's key: given, else the field that the schema names, else the company, else the
    /// id.
    pub(super) fn key(&self, event: &NewEvent) -> String {
        let of_data = || match event.data.get(self.entry.key_field.as_deref()?)? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        };
        event
            .key
            .clone()
            .or_else(of_data)
            .or_else(|| event.company.clone())
            .unwrap_or_else(|| self.id.to_string())
    }
}
