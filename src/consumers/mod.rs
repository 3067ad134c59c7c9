//! One folder a consumer group.
pub mod audit;
pub mod live;
pub mod notifications;
pub mod projections;
pub mod webhooks;
