//! What operators see: every metric's name, the log's form, and health.

mod logging;
pub mod metrics;

pub use logging::init_logging;
