//! The story that `examples/shop` tells: deterministic, in order, and true to the purchases.

#[path = "../../examples/shop/chance.rs"]
mod chance;
#[path = "../../examples/shop/order.rs"]
mod order;
#[path = "../../examples/shop/purchases.rs"]
mod purchases;
#[path = "../../examples/shop/revenue.rs"]
mod revenue;
#[path = "../../examples/shop/stock.rs"]
mod stock;
#[path = "../../examples/shop/story.rs"]
mod story;

use std::collections::{BTreeMap, HashSet};

use purchases::{PURCHASES, decode};
use sluice::schema::{EventFields, Tree, WriterSchema};
use story::{EPOCH, Fact, Story, company_id};

fn story(customers: u32, seed: u64) -> Vec<Fact> {
    Story::new(&decode(PURCHASES, customers).unwrap(), seed).collect()
}

fn counts(facts: &[Fact]) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for fact in facts {
        *counts.entry(fact.event_type).or_default() += 1;
    }
    counts
}

#[test]
fn the_purchases_are_those_of_the_file() {
    let all = decode(PURCHASES, u32::MAX).unwrap();
    assert_eq!(all.len(), 69_659);
    assert_eq!(all.last().unwrap().customer, 23_570);
    assert_eq!(
        all.iter().map(|p| u64::from(p.quantity)).sum::<u64>(),
        167_881
    );
    assert_eq!(
        all.iter().map(|p| u64::from(p.cents)).sum::<u64>(),
        250_031_563
    );
    assert_eq!(all.iter().map(|p| p.day).max(), Some(545));
    assert_eq!(decode(PURCHASES, 2).unwrap().len(), 3);
    assert_eq!(decode(&PURCHASES[..PURCHASES.len() - 1], u32::MAX), None);
}

#[test]
fn the_story_is_deterministic_and_in_order() {
    let (one, other) = (story(300, 7), story(300, 7));
    assert!(one == other);
    assert!(one != story(300, 8));
    assert!(one.is_sorted_by_key(|fact| fact.at));
    let ids: HashSet<_> = one.iter().map(|fact| fact.id).collect();
    assert_eq!(ids.len(), one.len());
}

#[test]
fn the_story_is_true_to_all_purchases() {
    let mut story = Story::new(&decode(PURCHASES, u32::MAX).unwrap(), 1);
    let facts: Vec<Fact> = story.by_ref().collect();
    assert_eq!(story.ordered(), 69_659);
    let counts = counts(&facts);
    let count = |kind: &str| counts.get(kind).copied().unwrap_or(0);
    assert_eq!(count("order.created"), 69_659);
    assert_eq!(count("user.login"), 69_659);
    assert_eq!(count("user.created"), 23_570);
    let cancelled = count("order.cancelled");
    assert!((1_200..1_600).contains(&cancelled), "{cancelled}");
    for kind in ["order.updated", "order.shipped", "order.delivered"] {
        assert_eq!(count(kind) + cancelled, 69_659, "{kind}");
    }
    assert_eq!(count("product.created"), 200);
    for (kind, least) in [
        ("product.low_stock", 500),
        ("product.out_of_stock", 5),
        ("product.updated", 500),
        ("ai.anomaly_detected", 5),
    ] {
        assert!(count(kind) >= least, "{counts:?}");
    }
    assert_eq!(count("marketplace.connection_requested"), 20);
    assert!(count("marketplace.connection_approved") > 5);
    assert!(count("marketplace.connection_rejected") > 0);
    let cents: u64 = facts
        .iter()
        .filter(|fact| fact.event_type == "order.created")
        .map(|fact| {
            let total = fact.data["total"].as_str().unwrap();
            let digits: u64 = total.replace('.', "").parse().unwrap();
            digits / 100
        })
        .sum();
    assert_eq!(cents, 250_031_563);
    let companies: HashSet<_> = facts.iter().map(|fact| fact.company.as_str()).collect();
    assert_eq!(companies.len(), 5);
    assert!(facts.first().unwrap().at >= EPOCH);
    assert_eq!(company_id(0), "c1");
}

/// Each event fits its schema, and its key is the one that the schema names.
#[test]
fn the_events_are_of_the_tree() {
    let tree = Tree::load(&sluice::config::Registry::default()).unwrap();
    let mut schemas = BTreeMap::new();
    for fact in story(2_000, 1) {
        let entry = tree.get(fact.event_type).unwrap();
        match &entry.key_field {
            Some(field) => assert_eq!(fact.data[field], fact.key.as_str()),
            None => assert_eq!(fact.key, fact.company),
        }
        let schema = schemas
            .entry(fact.event_type)
            .or_insert_with(|| WriterSchema::parse(&entry.text).unwrap());
        let fields = EventFields {
            id: fact.id,
            timestamp_micros: fact.at,
            user_id: fact.user.as_deref(),
            company_id: Some(&fact.company),
            data: &fact.data,
            metadata: None,
        };
        let encoded = schema.encode(&fields, &mut Vec::new());
        assert_eq!(encoded, Ok(()), "{fact:?}");
    }
}
