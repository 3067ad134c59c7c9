//! Names whose addresses change, lie or do not exist, by a real name server.

use std::net::IpAddr;

use sluice::deliver::{Client, Refusal, SendError, Verdict};
use sluice::failure::FailureClass;

use super::name_server::{NameServer, Says};
use super::{client, post};
use crate::receiver::Receiver;

const NAME: &str = "receiver.example.com";
const GOOD: &str = "/status/200%20OK";

/// A receiver that may be reached, one on the same port that may not, and who tells where.
struct World {
    allowed: Receiver,
    internal: Receiver,
    names: NameServer,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let allowed = Receiver::start("127.0.0.2:0").await;
        let port = allowed.address.port();
        let internal = Receiver::start(&format!("127.0.0.3:{port}")).await;
        let names = NameServer::start(at("127.0.0.2")).await;
        let client = client(port, &["127.0.0.2/32"], |settings| {
            settings.name_servers = vec![names.address];
            settings.timeout_millis = 2_000;
        });
        Self {
            allowed,
            internal,
            names,
            client,
        }
    }

    fn url(&self) -> String {
        format!("http://{NAME}:{}{GOOD}", self.allowed.address.port())
    }
}

fn at(address: &str) -> Says {
    Says::Addresses(vec![ip(address)])
}

fn ip(address: &str) -> IpAddr {
    address.parse().expect("an address")
}

#[tokio::test]
async fn a_name_that_is_bound_again_after_the_check_leads_nowhere() {
    let world = World::new().await;
    let checked = world.client.check(&world.url()).await;
    assert_eq!(checked.expect("a good URL").as_str(), world.url());
    world.names.say(&[at("127.0.0.3")]);
    let checked = world.client.check(&world.url()).await;
    assert_eq!(checked.unwrap_err().label(), "refused");
    let error = post(&world.client, &world.url()).await.unwrap_err();
    assert_eq!(error.class(), FailureClass::Target);
    assert!(!error.to_string().contains("127.0.0"), "{error}");
    match error {
        SendError::Refused(Refusal::Resolved { address, .. }) => {
            assert_eq!(address, ip("127.0.0.3"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        world.allowed.connections() + world.internal.connections(),
        0
    );
}

#[tokio::test]
async fn a_name_that_changes_with_each_query_never_reaches_the_inside() {
    let world = World::new().await;
    world.names.say(&[at("127.0.0.2"), at("127.0.0.3")]);
    let mut accepted = 0;
    for _ in 0..40 {
        match post(&world.client, &world.url()).await {
            Ok(answer) => {
                assert_eq!(answer.verdict, Verdict::Accepted);
                accepted += 1;
            }
            Err(error) => assert_eq!(error.label(), "refused", "{error}"),
        }
    }
    assert_eq!(world.allowed.requests().len(), accepted);
    assert!((1..40).contains(&accepted), "{accepted} of 40");
    assert_eq!(world.internal.connections(), 0);
    let host = format!("host: {NAME}:{}", world.allowed.address.port());
    let first = &world.allowed.requests()[0];
    assert!(first.to_ascii_lowercase().contains(&host), "{first}");
}

#[tokio::test]
async fn one_address_that_is_not_public_refuses_the_name() {
    let world = World::new().await;
    let both = |other: &str| Says::Addresses(vec![ip("127.0.0.2"), ip(other)]);
    for says in [
        both("127.0.0.3"),
        both("169.254.169.254"),
        both("::1"),
        both("::ffff:127.0.0.2"),
        both("64:ff9b::7f00:3"),
        both("fd00:ec2::254"),
        Says::Alias("inside.example.net", ip("127.0.0.3")),
    ] {
        world.names.say(std::slice::from_ref(&says));
        let sent = post(&world.client, &world.url()).await;
        let error = sent.expect_err("a refusal");
        assert_eq!(error.label(), "refused", "{says:?}: {error}");
    }
    world
        .names
        .say(&[Says::Alias("outside.example.net", ip("127.0.0.2"))]);
    let sent = post(&world.client, &world.url()).await.expect("an answer");
    assert_eq!(sent.verdict, Verdict::Accepted);
    assert_eq!(world.allowed.connections(), 1);
    assert_eq!(world.internal.connections(), 0);
}

#[tokio::test]
async fn a_name_without_an_address_is_a_failure_of_dns() {
    let world = World::new().await;
    for (n, (says, what)) in [
        (Says::Code(3), "no such name"),
        (Says::Addresses(vec![]), "no address"),
        (Says::Code(2), ""),
        (Says::Silence, ""),
    ]
    .into_iter()
    .enumerate()
    {
        // A name of its own each time, for that it is absent may be remembered.
        let name = format!("x{n}.example.com");
        let url = world.url().replace(NAME, &name);
        world.names.say(std::slice::from_ref(&says));
        let error = post(&world.client, &url).await.unwrap_err();
        assert_eq!(error.label(), "dns", "{says:?}: {error}");
        assert!(error.to_string().contains(what), "{says:?}: {error}");
    }
    let only = |name: &String| name.ends_with(".example.com.");
    assert!(
        world.names.asked().iter().all(only),
        "the search list is not used"
    );
}
