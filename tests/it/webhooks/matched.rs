//! Who gets what.

use std::collections::BTreeSet;

use serde_json::json;

use super::world::{Wanted, World, id_of};
use super::{Group, order, orders_at, wait_for};
use crate::support::eventually;

/// What each path got, as types.
fn got(world: &World, path: &str) -> BTreeSet<String> {
    let requests = world.receiver.at(path);
    let types = requests.iter().map(|r| r.header("x-event-type").to_owned());
    types.collect()
}

fn set(types: &[&str]) -> BTreeSet<String> {
    types.iter().map(|t| (*t).to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_goes_to_those_who_asked_for_it_and_to_nobody_else() {
    let world = World::new("hooks_matched").await;
    let group = Group::start(&world).await;
    let wants = |company: &str, types: &[&str], path: &str| {
        Wanted::new(company, types, &world.receiver.url(path))
    };
    world
        .subscribe(wants("c1", &["order.created"], "/ok/one"))
        .await;
    world
        .subscribe(wants("c1", &["order.*", "user.login"], "/ok/domain"))
        .await;
    world.subscribe(wants("c1", &["*"], "/ok/all")).await;
    world.subscribe(wants("c2", &["*"], "/ok/others")).await;
    world
        .subscribe(wants("c1", &["system.error"], "/ok/system"))
        .await;
    let off = world.subscribe(wants("c1", &["*"], "/ok/off")).await;
    let later = world.subscribe(wants("c1", &["*"], "/ok/later")).await;
    world
        .change(
            "UPDATE webhook_subscriptions SET active = false, disabled_reason = 'asked',
                 disabled_at = clock_timestamp() WHERE id = $1",
            off,
        )
        .await;
    world
        .change(
            "UPDATE webhook_subscriptions SET matches_from = clock_timestamp() + interval '1 hour'
             WHERE id = $1",
            later,
        )
        .await;
    let login = json!({"type": "user.login", "companyId": "c1", "data": {"userId": "u1"}});
    let shipped = json!({"type": "order.shipped", "companyId": "c1", "data": {"orderId": "o1"}});
    let complaint = json!({"type": "system.error", "companyId": "c1", "data": {"error": "no"}});
    let nobodys = json!({"type": "user.login", "data": {"userId": "u1"}});
    world
        .publish([order("c1", 1), shipped, login, complaint, nobodys])
        .await;
    wait_for(&world, &[("delivered", 1 + 3 + 3 + 1)]).await;
    world.passed(4).await;
    assert_eq!(got(&world, "/ok/one"), set(&["order.created"]));
    let orders = ["order.created", "order.shipped", "user.login"];
    assert_eq!(got(&world, "/ok/domain"), set(&orders));
    assert_eq!(got(&world, "/ok/all"), set(&orders));
    assert_eq!(got(&world, "/ok/system"), set(&["system.error"]));
    for path in ["/ok/others", "/ok/off", "/ok/later"] {
        assert_eq!(got(&world, path), set(&[]), "{path}");
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_between_companies_goes_to_both_and_each_sees_its_own_delivery() {
    let world = World::new("hooks_between").await;
    let group = Group::start(&world).await;
    let all = |company: &str| {
        let url = world.receiver.url(&format!("/ok/{company}"));
        Wanted::new(company, &["marketplace.*"], &url)
    };
    for company in ["c1", "c2", "c3"] {
        world.subscribe(all(company)).await;
    }
    let between = |event_type: &str, target: &str| {
        json!({"type": event_type, "companyId": "c1", "data": {
            "requestId": "r1", "requestingCompanyId": "c1", "targetCompanyId": target}})
    };
    let (requested, approved) = (
        between("marketplace.connection_requested", "c2"),
        between("marketplace.connection_approved", "c1"),
    );
    world.publish([requested, approved]).await;
    wait_for(&world, &[("delivered", 3)]).await;
    world.passed(2).await;
    assert_eq!(world.receiver.at("/ok/c1").len(), 2, "once each");
    assert_eq!(world.receiver.at("/ok/c2").len(), 1);
    assert!(world.receiver.at("/ok/c3").is_empty());
    for table in [
        "SELECT string_agg(company_id, ' ' ORDER BY company_id) FROM deliveries WHERE $1 IS NOT NULL",
        "SELECT string_agg(company_id, ' ' ORDER BY company_id) FROM delivery_attempts WHERE $1 IS NOT NULL",
    ] {
        let companies = world.row(table, uuid::Uuid::nil()).await;
        assert_eq!(companies.as_deref(), Ok("c1 c1 c2"), "{table}");
    }
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_are_those_of_the_data() {
    let world = World::new("hooks_conditions").await;
    let group = Group::start(&world).await;
    let mut wanted = orders_at(&world, "/ok/big");
    wanted.conditions = json!([
        {"field": "total", "op": "gte", "value": "100.0001"},
        {"field": "items.0.quantity", "op": "in", "value": [1, "2"]},
        {"field": "status", "op": "ne", "value": "cancelled"}
    ]);
    world.subscribe(wanted).await;
    let priced = |n: usize, total: &str| {
        let mut order = order("c1", n);
        order["data"]["total"] = total.into();
        order["data"]["items"][0]["quantity"] = 2.into();
        order
    };
    let (small, exact, big) = (
        priced(1, "100.0000"),
        priced(2, "100.0001"),
        priced(3, "9000"),
    );
    let mut many = priced(4, "9000");
    many["data"]["items"][0]["quantity"] = 3.into();
    let receipts = world.publish([small, exact, big, many]).await;
    wait_for(&world, &[("delivered", 2)]).await;
    world.passed(4).await;
    let got: BTreeSet<String> = (world.receiver.at("/ok/big").iter())
        .map(|request| id_of(&request.body))
        .collect();
    let wanted = receipts[1..3].iter().map(|receipt| receipt.id.to_string());
    assert_eq!(got, wanted.collect());
    group.stop().await;
}

/// Each is made a moment before its event, by somebody of whom the process knows nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_made_just_before_an_event_gets_it() {
    let world = World::new("hooks_fresh").await;
    let group = Group::start(&world).await;
    for n in 0..20 {
        let company = format!("company-{n}");
        let url = world.receiver.url("/ok/fresh");
        world
            .subscribe(Wanted::new(&company, &["order.created"], &url))
            .await;
        world.publish([order(&company, n)]).await;
    }
    wait_for(&world, &[("delivered", 20)]).await;
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_reaches_the_process() {
    let world = World::new("hooks_change").await;
    let group = Group::start(&world).await;
    let id = world.subscribe(orders_at(&world, "/as/one")).await;
    world.receiver.behave("one", "/status/500 No");
    world.publish([order("c1", 1)]).await;
    eventually("a failure", async || {
        let failed = world.receiver.at("/as/one").len();
        (failed > 0).then_some(()).ok_or("none".to_owned())
    })
    .await;
    // What waits in a tier goes where the subscription now points.
    let url = world.receiver.url("/ok/moved");
    sqlx::query("UPDATE webhook_subscriptions SET url = $2 WHERE id = $1")
        .bind(id)
        .bind(url)
        .execute(&world.space.pool)
        .await
        .expect("changed");
    wait_for(&world, &[("delivered", 1)]).await;
    assert_eq!(world.receiver.at("/ok/moved").len(), 1);
    // And what is matched, too.
    world
        .change("DELETE FROM webhook_subscriptions WHERE id = $1", id)
        .await;
    world.publish([order("c1", 2)]).await;
    world.passed(2).await;
    wait_for(&world, &[("delivered", 1)]).await;
    group.stop().await;
}
