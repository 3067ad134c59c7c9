//! The hub without a wire.

use super::*;
use crate::config::{LiveRoute, LiveTo};
use crate::consumers::live::queue::{QUEUE_BYTES, QUEUE_MESSAGES};
use crate::consumers::live::seat::Removed;

fn hub(per_company: usize, in_all: usize) -> Arc<Hub> {
    let routes = Routes::new(&[LiveRoute {
        types: vec!["product.*".to_owned()],
        to: LiveTo::Company,
    }]);
    let hub = Arc::new(Hub::new(Arc::new(routes), per_company, in_all));
    hub.begin("events.product.v1".into(), Uuid::nil(), 0, 10);
    hub.ready();
    hub
}

fn listener(company: &str) -> Arc<Listener> {
    Arc::new(Listener {
        company: company.to_owned(),
        user: None,
        member: false,
        key: Some("key".to_owned()),
        expires_micros: None,
    })
}

fn push(hub: &Hub, offset: i64, bytes: usize) {
    let event = Event {
        id: Uuid::nil(),
        event_type: "product.low_stock".into(),
        timestamp_micros: 0,
        user_id: None,
        company_id: Some("a".to_owned()),
        data: format!("\"{}\"", "x".repeat(bytes)),
        metadata: "{}".to_owned(),
    };
    let position = Position {
        topic: "events.product.v1",
        topic_id: Uuid::nil(),
        partition: 0,
        offset,
    };
    hub.push(&event, &position, 0);
}

#[tokio::test]
async fn one_that_does_not_read_is_removed_and_delays_nobody() {
    for bytes in [1, QUEUE_BYTES / 4] {
        let hub = hub(10, 10);
        let slow = hub.seat(listener("a"), [].into()).unwrap();
        let quick = hub.seat(listener("a"), [].into()).unwrap();
        let (positions, _, mut kept) = slow.listen();
        let (_, _, mut read) = quick.listen();
        assert_eq!(positions.get(Uuid::nil(), 0), 10);
        for offset in 10..10 + 2 * QUEUE_MESSAGES as i64 {
            push(&hub, offset, bytes);
            let message = read.next().await.unwrap();
            assert_eq!(message.place, Some((Uuid::nil(), 0, offset)));
        }
        assert_eq!(slow.removed(), Some(Removed::Slow));
        assert_eq!(quick.removed(), None);
        // What it has is its own up to the gap, and nothing after.
        let mut next = 10;
        while let Some(message) = kept.next().await {
            assert_eq!(message.place, Some((Uuid::nil(), 0, next)));
            next += 1;
            assert_eq!(message.sealed().positions().get(Uuid::nil(), 0), next);
        }
        assert!(next > 12, "{next}");
    }
}

#[tokio::test]
async fn seats_are_counted_and_given_back() {
    let hub = hub(2, 3);
    let seat = |company: &str| hub.seat(listener(company), [].into());
    let first = seat("a").unwrap();
    let second = seat("a").unwrap();
    assert_eq!(seat("a").err(), Some(Full::Company));
    let third = seat("b").unwrap();
    assert_eq!(seat("b").err(), Some(Full::Process));
    drop(first);
    let again = seat("a").unwrap();
    hub.keep_keys(&["key".to_owned()], &["key".to_owned()]);
    assert_eq!(again.removed(), None);
    hub.keep_keys(&["key".to_owned()], &[]);
    assert_eq!(again.removed(), Some(Removed::Revoked));
    again.ended().await;
    hub.stop();
    assert_eq!(seat("a").err(), Some(Full::Stopping));
    drop((second, third, again));
    assert_eq!(hub.lock().seats, 0);
    assert_eq!(hub.lock().listening, 0);
}

#[tokio::test]
async fn one_that_is_slow_keeps_its_place_and_is_stopped_too() {
    let hub = hub(2, 1);
    let slow = hub.seat(listener("a"), [].into()).unwrap();
    let _queue = slow.listen();
    for offset in 10..12 + QUEUE_MESSAGES as i64 {
        push(&hub, offset, 1);
    }
    assert_eq!(slow.removed(), Some(Removed::Slow));
    assert_eq!(hub.lock().listening, 0);
    let other = hub.seat(listener("b"), [].into());
    assert_eq!(other.err(), Some(Full::Process));
    hub.stop();
    slow.ended().await;
    assert_eq!(slow.removed(), Some(Removed::Stopping));
    drop(slow);
    assert_eq!(hub.lock().seats, 0);
}

#[test]
fn what_comes_late_of_a_topic_that_is_gone_changes_nothing() {
    let hub = hub(2, 3);
    let seat = hub.seat(listener("a"), [].into()).unwrap();
    let (_, _, mut queue) = seat.listen();
    hub.end_topic(Uuid::nil());
    assert!(queue.next_now().is_some_and(|told| told.place.is_none()));
    push(&hub, 10, 1);
    hub.pass(Uuid::nil(), 0, 12);
    hub.lost(Uuid::nil(), 0, 13);
    hub.pass_unwanted(Some("order.shipped"), (Uuid::nil(), 0, 14));
    assert!(queue.next_now().is_none());
    assert!(hub.positions().0.is_empty());
}

#[test]
fn what_nobody_wants_is_passed_without_decoding() {
    let hub = hub(2, 3);
    let at = |offset| (Uuid::nil(), 0, offset);
    assert!(hub.pass_unwanted(None, at(10)));
    let types: Arc<[TypeFilter]> = [TypeFilter::Exact("product.created".to_owned())].into();
    let seat = hub.seat(listener("a"), types).unwrap();
    assert!(hub.pass_unwanted(None, at(11)));
    let _queue = seat.listen();
    assert!(!hub.pass_unwanted(None, at(12)));
    assert!(hub.pass_unwanted(Some("product.low_stock"), at(12)));
    assert!(hub.pass_unwanted(Some("order.shipped"), at(13)));
    assert!(!hub.pass_unwanted(Some("product.created"), at(14)));
    assert_eq!(hub.positions().0.get(Uuid::nil(), 0), 14);
}
