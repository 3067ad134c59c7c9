//! The channel `in_app`: a notification appears in its person's list, and who listens is told.
//!
//! Many at once become one statement.

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

use super::channel::{Channel, Message};
use crate::store::{Pool, notifications};
use crate::stream::{Outcome, Unavailable};

/// Notifications of one statement, at most.
const TOGETHER: usize = 500;

type Asked = (Uuid, oneshot::Sender<Result<(), String>>);

/// The channel.
#[derive(Clone, Debug)]
pub(super) struct InApp(mpsc::Sender<Asked>);

impl InApp {
    /// The channel, whose task ends with it.
    pub(super) fn start(pool: Pool) -> (Self, impl Future<Output = ()>) {
        let (sender, asked) = mpsc::channel(2 * TOGETHER);
        (Self(sender), show_loop(pool, asked))
    }

    async fn show(&self, id: Uuid) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let ended = || "the channel has ended".to_owned();
        self.0.send((id, answer)).await.map_err(|_| ended())?;
        answered.await.unwrap_or_else(|_| Err(ended()))
    }
}

impl Channel for InApp {
    fn name(&self) -> &'static str {
        "in_app"
    }

    fn at_once(&self) -> usize {
        TOGETHER
    }

    fn send<'a>(&'a self, message: &'a Message) -> BoxFuture<'a, Outcome> {
        async {
            match self.show(message.notification.id).await {
                Ok(()) => Outcome::done(),
                Err(reason) => Outcome::unavailable(Unavailable {
                    what: "postgres",
                    reason,
                }),
            }
        }
        .boxed()
    }
}

async fn show_loop(pool: Pool, mut asked: mpsc::Receiver<Asked>) {
    let mut batch: Vec<Asked> = Vec::new();
    while asked.recv_many(&mut batch, TOGETHER).await > 0 {
        let (ids, answers): (Vec<Uuid>, Vec<_>) = batch.drain(..).unzip();
        let shown = notifications::show(&pool, &ids).await;
        let shown = shown.map_err(|error| error.to_string());
        answers.into_iter().for_each(|answer| {
            // Nobody waits for what took too long, and then it is asked again.
            let _ = answer.send(shown.clone());
        });
    }
}
