//! One folder a consumer group.
pub mod audit;
pub mod live;
pub mod webhooks;
