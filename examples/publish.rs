//! Publishes one event and prints where it is.
//!
//! ```sh
//! cargo run --example publish
//! ```

use serde_json::json;
use sluice::produce::{NewEvent, Publisher};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = sluice::config::load(None)?;
    let publisher = Publisher::connect(&config).await?;
    let stock = json!({
        "productId": "p-17",
        "productName": "Desk lamp",
        "currentStock": 3,
        "reorderPoint": 10,
    });
    let event = NewEvent::new("product.low_stock", stock)
        .company("c-1")
        .metadata("correlationId", "nightly-count");
    let receipt = publisher.publish(event).await?;
    println!(
        "{} is in {} partition {}",
        receipt.id, receipt.topic, receipt.partition
    );
    Ok(())
}
