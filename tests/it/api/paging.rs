//! `GET /api/events` page by page: each event once, whatever comes and whatever is equal.

use std::collections::HashSet;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::{Service, low_stock};
use crate::support::soak;

fn at(mut event: Value, minute: usize) -> Value {
    event["timestamp"] = format!("2026-01-01T00:{minute:02}:00Z").into();
    event
}

/// What is appended before the reader's place moves no page, and what is appended beyond it is read.
#[tokio::test(flavor = "multi_thread")]
async fn pages_have_no_gap_and_no_repeat_while_events_arrive() {
    let service = Service::start("pages").await;
    for (order, passed, ahead) in [("newest", 50, 1), ("oldest", 1, 50)] {
        let key = service.key(Some(order), &["events:publish", "events:read"]);
        // Several at one time, so that the time alone does not order them.
        let events: Vec<Value> = (0..40).map(|n| at(low_stock("p"), n / 5 + 10)).collect();
        let published = service.recorded(&key, &events).await;
        let mut expected: HashSet<String> = published.into_iter().collect();
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let path = format!("/api/events?limit=9&order={order}{cursor}");
            let page = service.get(&path, &key).await;
            assert_eq!(page.status, 200, "{page:?}");
            let events = page.body["events"].as_array().expect("events").iter();
            seen.extend(events.map(|event| event["id"].as_str().expect("an id").to_owned()));
            let Some(next) = page.body["next"].as_str() else {
                break;
            };
            cursor = format!("&cursor={next}");
            let arriving = [at(low_stock("late"), passed), at(low_stock("early"), ahead)];
            expected.insert(service.recorded(&key, &arriving).await.remove(1));
        }
        assert!(expected.len() > 43, "{order}: {} events", expected.len());
        assert_eq!(seen.len(), expected.len(), "{order}");
        assert_eq!(
            seen.into_iter().collect::<HashSet<_>>(),
            expected,
            "{order}"
        );
    }
}

/// An event's place, as the list is ordered.
fn place(event: &Value) -> (String, String, String, i64, i64) {
    let text = |value: &Value| value.as_str().expect("text").to_owned();
    let number = |value: &Value| value.as_i64().expect("a number");
    let position = &event["position"];
    (
        text(&event["timestamp"]),
        text(&event["id"]),
        text(&position["topicId"]),
        number(&position["partition"]),
        number(&position["offset"]),
    )
}

/// Events of few times, ids, keys, types and users.
fn alike(random: &mut StdRng) -> Value {
    let user = format!("u{}", random.random_range(0..2));
    let mut event = if random.random() {
        low_stock("p")
    } else {
        json!({"type": "user.login", "data": {"userId": user}})
    };
    event["userId"] = user.into();
    event["id"] = uuid::Uuid::from_u128(random.random_range(1..6))
        .to_string()
        .into();
    event["key"] = format!("k{}", random.random_range(0..4)).into();
    at(event, random.random_range(0..3))
}

async fn pages(service: &Service, key: &str, query: &str, limit: usize) -> Vec<Value> {
    let (mut all, mut cursor) = (Vec::new(), String::new());
    loop {
        let path = format!("/api/events?limit={limit}{query}{cursor}");
        let page = service.get(&path, key).await;
        let events = page.body["events"].as_array().expect("events");
        all.extend(events.iter().cloned());
        match page.body["next"].as_str() {
            Some(next) => {
                assert_eq!(events.len(), limit, "{path}");
                cursor = format!("&cursor={next}");
            }
            None => return all,
        }
    }
}

/// The law of paging: the pages put together are the list.
#[tokio::test(flavor = "multi_thread")]
async fn pages_of_any_size_are_the_list_whatever_ties() {
    type Keeps = fn(&Value) -> bool;
    let filters: [(&str, Keeps); 4] = [
        ("", |_| true),
        ("&type=product.*", |event| {
            event["type"] == "product.low_stock"
        }),
        ("&userId=u1", |event| event["userId"] == "u1"),
        (
            "&type=user.login&userId=u1&startDate=2026-01-01T00:01:00Z",
            |event| {
                let time = event["timestamp"].as_str().expect("a time");
                event["type"] == "user.login"
                    && event["userId"] == "u1"
                    && time >= "2026-01-01T00:01"
            },
        ),
    ];
    let service = Service::start("paging_law").await;
    for seed in 0..if soak() { 20 } else { 1 } {
        let company = format!("c{seed}");
        let key = service.key(Some(&company), &["events:publish", "events:read"]);
        let mut random = StdRng::seed_from_u64(seed);
        let events: Vec<Value> = (0..30).map(|_| alike(&mut random)).collect();
        service.recorded(&key, &events).await;
        let mut whole = pages(&service, &key, "", 500).await;
        assert_eq!(whole.len(), 30, "seed {seed}");
        for order in ["oldest", "newest"] {
            whole.sort_by_key(place);
            if order == "newest" {
                whole.reverse();
            }
            for (filter, keeps) in filters {
                let expected: Vec<&Value> = whole.iter().filter(|event| keeps(event)).collect();
                assert!(expected.len() > 3, "seed {seed}, {filter}");
                for limit in [1, 2, 3, 7, 29, 30, 31] {
                    let query = format!("&order={order}{filter}");
                    let read = pages(&service, &key, &query, limit).await;
                    let read: Vec<&Value> = read.iter().collect();
                    assert_eq!(read, expected, "seed {seed}, limit={limit}{query}");
                }
            }
        }
    }
}
