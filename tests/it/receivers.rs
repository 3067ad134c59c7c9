//! The receivers of `examples/receiver`, in three languages, each as a process: they take what is
//! signed right, once, and nothing else.

use std::fs::File;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret;
use sluice::deliver::{Bytes, Client, Message, Secret, signature_headers};
use sluice_dev::cache::Cache;
use uuid::Uuid;

use crate::deliver::client;
use crate::support::{eventually, example};

/// What another library would write otherwise: white space, escapes, the zeros of a number.
const BODY: &str =
    r#"{"id":"1","type":"order.created","data":{"total": 1.50,"name":"Zoë","sign":"\u00df"}}"#;

/// A receiver that runs, killed when dropped.
struct Receiver {
    child: Child,
    log: tempfile::NamedTempFile,
    secret: Secret,
    url: String,
    client: Client,
    _folder: Option<tempfile::TempDir>,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("examples/receiver")
        .join(name)
}

fn cache() -> Cache {
    Cache::open().expect("the cache")
}

impl Receiver {
    async fn rust(arguments: &[&str]) -> Self {
        let mut command = Command::new(example("receiver"));
        command.args(arguments);
        Self::start(command, None).await
    }

    async fn python() -> Self {
        let requirements = include_str!("../../examples/receiver/python/requirements.txt");
        let python = tokio::task::block_in_place(|| {
            cache().python("the receiver in Python (1 MB)", requirements)
        });
        let mut command = Command::new(python.expect("the packages for Python"));
        command.arg(folder("python").join("receiver.py"));
        Self::start(command, None).await
    }

    /// Node looks for packages beside the program, so both go into a folder of their own.
    async fn javascript() -> Self {
        let package = include_str!("../../examples/receiver/javascript/package.json");
        let lock = include_str!("../../examples/receiver/javascript/package-lock.json");
        let (packages, node) = tokio::task::block_in_place(|| {
            let cache = cache();
            let packages = cache.npm("the receiver in JavaScript (1 MB)", package, lock);
            (
                packages.expect("the packages for Node"),
                cache.node().expect("Node"),
            )
        });
        let place = tempfile::tempdir().expect("a folder");
        let program = place.path().join("receiver.mjs");
        std::fs::copy(folder("javascript").join("receiver.mjs"), &program).expect("a copy");
        symlink(
            packages.join("node_modules"),
            place.path().join("node_modules"),
        )
        .expect("a link");
        let mut command = Command::new(node);
        command.arg(program);
        Self::start(command, Some(place)).await
    }

    async fn start(mut command: Command, folder: Option<tempfile::TempDir>) -> Self {
        let secret = Secret::generate().expect("a secret");
        let log = tempfile::NamedTempFile::new().expect("a file");
        let child = command
            .env("WEBHOOK_SECRET", secret.text().expose_secret())
            .env("PORT", "0")
            .stdin(Stdio::null())
            .stdout(File::create(log.path()).expect("a file"))
            .spawn()
            .expect("the receiver starts");
        let path = log.path().to_owned();
        let url = eventually("the receiver to listen", async || {
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let line = text.split_inclusive('\n').next().unwrap_or_default();
            let url = line.strip_prefix("listening on ").map(str::trim_end);
            url.map(str::to_owned).ok_or(text)
        })
        .await;
        let port = url::Url::parse(&url).expect("a URL").port();
        Self {
            child,
            log,
            secret,
            url,
            client: client(port.expect("a port"), &["127.0.0.1/32"], |_| {}),
            _folder: folder,
        }
    }

    /// Sends this body with the headers of a signed [`BODY`]; the answer's status.
    async fn post(&self, id: Uuid, at: Timestamp, secrets: &[&Secret], body: &str) -> u16 {
        let id_text = id.to_string();
        let message = Message {
            id: &id_text,
            timestamp: at,
            event_type: "order.created",
            event_id: id,
            body: BODY.as_bytes(),
        };
        let secrets: Vec<Secret> = secrets.iter().map(|&secret| secret.clone()).collect();
        let headers = signature_headers(&message, &secrets).expect("headers");
        let target = self.client.target(&self.url).expect("a URL");
        let body = Bytes::copy_from_slice(body.as_bytes());
        let answer = self.client.post(&target, headers, body).await;
        answer.expect("an answer").status
    }

    /// What it said of each request; a refusal without its reason, which is the library's.
    fn said(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.log.path()).expect("what it said");
        let lines = text.lines().skip(1).map(|line| match line {
            line if line.starts_with("refused: ") => "refused".to_owned(),
            line => line.to_owned(),
        });
        lines.collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

async fn takes_what_is_signed_right_and_once(receiver: Receiver) {
    let (right, other) = (&receiver.secret, &Secret::generate().expect("a secret"));
    let (now, minutes) = (Timestamp::now(), SignedDuration::from_mins);
    let ids: Vec<Uuid> = (0..3).map(|_| Uuid::now_v7()).collect();
    let changed = BODY.replace("1.50", "1.51");
    let again: serde_json::Value = serde_json::from_str(BODY).expect("JSON");
    for (id, at, secrets, body, status) in [
        (ids[0], now, &[right][..], BODY, 204),
        // Another attempt, with a time of its own.
        (ids[0], now - minutes(1), &[right], BODY, 204),
        // While two secrets are in force.
        (ids[1], now, &[other, right], BODY, 204),
        (ids[2], now, &[right], &changed, 400),
        (ids[2], now, &[right], &again.to_string(), 400),
        (ids[2], now - minutes(10), &[right], BODY, 400),
        (ids[2], now + minutes(10), &[right], BODY, 400),
        (ids[2], now, &[other], BODY, 400),
        // What was refused is not remembered.
        (ids[2], now, &[right], BODY, 204),
    ] {
        let answered = receiver.post(id, at, secrets, body).await;
        assert_eq!(
            answered,
            status,
            "{id} {at} {body}: {:?}",
            receiver.said().last()
        );
    }
    let mut expected = vec![
        format!("received order.created {}", ids[0]),
        format!("repeat order.created {}", ids[0]),
        format!("received order.created {}", ids[1]),
    ];
    expected.extend(vec!["refused".to_owned(); 5]);
    expected.push(format!("received order.created {}", ids[2]));
    assert_eq!(receiver.said(), expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_rust() {
    takes_what_is_signed_right_and_once(Receiver::rust(&[]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_python() {
    takes_what_is_signed_right_and_once(Receiver::python().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receiver_in_javascript() {
    takes_what_is_signed_right_and_once(Receiver::javascript().await).await;
}

#[tokio::test]
async fn the_receiver_in_rust_fails_as_it_is_told() {
    let receiver = Receiver::rust(&["--fail-every", "2"]).await;
    let (id, now) = (Uuid::now_v7(), Timestamp::now());
    for (id, status) in [(Uuid::now_v7(), 204), (id, 500), (id, 204), (id, 500)] {
        let answered = receiver.post(id, now, &[&receiver.secret], BODY).await;
        assert_eq!(answered, status);
    }
    let gone = Receiver::rust(&["--answer", "410"]).await;
    assert_eq!(gone.post(id, now, &[&gone.secret], BODY).await, 410);
}
