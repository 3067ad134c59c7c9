//! A mail server that is away, slow, busy, or refuses.

use sluice_dev::MailServer;
use tokio::task::block_in_place;

use super::gate::Gate;
use super::mailbox::mailbox;
use super::world::{Group, World, order};
use crate::support::{Space, eventually};

/// A mail server of the test's own.
pub struct Server {
    pub mail: MailServer,
    _folder: tempfile::TempDir,
}

impl Server {
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let mail = block_in_place(|| MailServer::start(folder.path())).expect("a mail server");
        Self {
            mail,
            _folder: folder,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_refused_holds_up_no_other() {
    let server = Server::start();
    let gate = Gate::before(server.mail.smtp()).await;
    let ports = (gate.port, server.mail.imap());
    let world = World::at(Space::bare("mail_refused").await, ports, |_| {}).await;
    for user in ["refused", "busy", "slow", "well", "nowhere"] {
        world.person("c1", user, "staff").await;
    }
    world
        .change("UPDATE users SET email = 'nobody' WHERE user_id = 'nowhere'")
        .await;
    let group = Group::start(&world).await;
    let users = ["refused", "busy", "slow", "nowhere"];
    let users = users.into_iter().chain(std::iter::repeat_n("well", 40));
    world
        .publish(users.enumerate().map(|(n, user)| order("c1", user, n)))
        .await;
    world.mails("c1", "well", 40).await;
    let busy = world.mails("c1", "busy", 1).await;
    assert_eq!(gate.asked(&world.address("c1", "busy")), 3);
    // The server had it, and nobody could know: it has it twice, under one Message-ID.
    let slow = world.mails("c1", "slow", 2).await;
    assert_eq!(slow[0].header("message-id"), slow[1].header("message-id"));
    assert_ne!(slow[0].header("message-id"), busy[0].header("message-id"));
    world
        .wait_for(&[
            ("plan delivered", 44),
            ("in_app delivered", 44),
            ("email delivered", 42),
            ("email dead no_such_address", 1),
            ("email dead unfit", 1),
        ])
        .await;
    assert_eq!(gate.asked(&world.address("c1", "refused")), 1);
    // Connections are kept: far fewer than mails.
    assert!(gate.connections() <= 20, "{}", gate.connections());

    // To an address that was refused nothing goes any more.
    world.publish([order("c1", "refused", 99)]).await;
    eventually("the second mail", async || {
        let deliveries = world.deliveries().await;
        match deliveries.get("email dead suppressed") {
            Some(1) => Ok(()),
            _ => Err(format!("{deliveries:?}")),
        }
    })
    .await;
    assert_eq!(gate.asked(&world.address("c1", "refused")), 1);
    group.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mails_wait_for_a_server_that_is_away() {
    let server = Server::start();
    let ports = (server.mail.smtp(), server.mail.imap());
    let world = World::at(Space::bare("mail_away").await, ports, |_| {}).await;
    world.person("c1", "buyer", "staff").await;
    let group = Group::start(&world).await;
    world.publish([order("c1", "buyer", 0)]).await;
    world.mails("c1", "buyer", 1).await;
    block_in_place(|| server.mail.server().kill());
    world
        .publish((1..20).map(|n| order("c1", "buyer", n)))
        .await;
    world
        .wait_for(&[
            ("plan delivered", 20),
            ("in_app delivered", 20),
            ("email delivered", 1),
            ("email retrying mail_server", 19),
        ])
        .await;
    block_in_place(|| server.mail.server().start()).expect("started");
    // It keeps nothing: what it had is gone.
    let address = world.address("c1", "buyer");
    eventually("19 mails", async || {
        let found = mailbox(server.mail.imap(), &address).await?;
        (found.len() == 19)
            .then_some(())
            .ok_or(format!("{}", found.len()))
    })
    .await;
    world
        .wait_for(&[
            ("plan delivered", 20),
            ("in_app delivered", 20),
            ("email delivered", 20),
        ])
        .await;
    group.stop().await;
}
