//! Schemas: the registry, the released tree, and Avro to and from JSON.
//! The only place for `apache-avro`.

mod cache;
pub mod compat;
mod compile;
mod decimal;
mod decode;
mod defaults;
pub mod derive;
mod encode;
mod envelope;
mod example;
mod fault;
pub mod framing;
mod json;
mod json_schema;
mod model;
mod node;
mod reader;
mod registry;
mod scalar;
mod time;
mod tree;
mod writer;

pub use cache::{Known, Lookup, SchemaCache};
pub use decode::Limits;
pub use encode::{EventFields, FieldFault};
pub use example::example;
pub use fault::{Fault, FaultClass};
pub use json_schema::json_schema;
pub use registry::{COMPATIBILITY, Registered, RegistryClient, RegistryError};
pub use tree::{Entry, Released, Tree, TreeError};
pub use writer::WriterSchema;
