//! Whatever a receiver answers, the client gives one answer or one error, in time and memory.

use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

use sluice::deliver::{MAX_ANSWER, SendError, Verdict};
use sluice::failure::FailureClass;

use super::{client, post};
use crate::receiver::{Receiver, bomb};
use crate::support::eventually;

const LOOPBACK: &[&str] = &["127.0.0.1/32"];

#[tokio::test]
async fn each_answer_has_its_verdict() {
    let receiver = Receiver::start("127.0.0.1:0").await;
    let client = client(receiver.address.port(), LOOPBACK, |_| {});
    let busy = |seconds: Option<u64>| Verdict::Busy {
        retry_after: seconds.map(Duration::from_secs),
    };
    for (path, status, verdict) in [
        ("/status/200 OK", 200, Verdict::Accepted),
        ("/status/202 Accepted", 202, Verdict::Accepted),
        (
            "/status/301 Moved;Location: /status/200 OK",
            301,
            Verdict::Failed,
        ),
        (
            "/status/307 Moved;Location: /status/200 OK",
            307,
            Verdict::Failed,
        ),
        ("/status/404 No", 404, Verdict::Failed),
        ("/status/410 Gone", 410, Verdict::Gone),
        ("/status/429 Busy", 429, busy(None)),
        ("/status/429 Busy;Retry-After: 7", 429, busy(Some(7))),
        (
            "/status/503 Busy;Retry-After: 999999",
            503,
            busy(Some(86_400)),
        ),
        ("/status/500 No;Retry-After: 7", 500, Verdict::Failed),
        ("/failed-half", 500, Verdict::Failed),
    ] {
        let answer = post(&client, &receiver.url(path)).await;
        let answer = answer.unwrap_or_else(|error| panic!("{path}: {error}"));
        assert_eq!((answer.status, answer.verdict), (status, verdict), "{path}");
        assert_eq!(answer.cut, path == "/failed-half", "{path}");
    }
    let requests = receiver.requests();
    assert_eq!(
        requests.len(),
        11,
        "no redirect is followed, nothing is sent twice"
    );
    let first = requests[0].to_ascii_lowercase();
    assert!(
        first.starts_with("post /status/200%20ok http/1.1\r\n"),
        "{first}"
    );
    assert!(first.ends_with(r#"{"id":"1"}"#), "{first}");
    assert!(!first.contains("accept-encoding"), "{first}");
}

#[tokio::test]
async fn each_failure_is_told_as_what_it_is() {
    let receiver = Receiver::start("127.0.0.1:0").await;
    let port = receiver.address.port();
    let patient = client(port, LOOPBACK, |_| {});
    let hasty = client(port, LOOPBACK, |settings| settings.timeout_millis = 300);
    for (path, client, label) in [
        ("/never", &hasty, "timeout"),
        ("/drip", &hasty, "timeout"),
        ("/reset", &patient, "answer"),
        ("/close", &patient, "answer"),
        ("/garbage", &patient, "answer"),
        ("/half", &patient, "answer"),
        ("/heads", &patient, "answer"),
    ] {
        let error = post(client, &receiver.url(path)).await;
        let error = error.expect_err(path);
        assert_eq!(error.label(), label, "{path}: {error}");
        assert_eq!(error.class(), FailureClass::Target, "{path}: {error}");
    }
    let half = post(&patient, &receiver.url("/half")).await;
    let status = Some(200);
    assert!(matches!(half, Err(SendError::Answer { status: found, .. }) if found == status));
    assert!(receiver.written() < 64 << 20, "{}", receiver.written());
    let forbidden = patient.target(&format!("http://10.0.0.1:{port}/"));
    let refused = SendError::from(forbidden.expect_err("a private address"));
    assert_eq!(refused.class(), FailureClass::Permanent);
}

#[tokio::test]
async fn of_an_answer_64_kib_are_read_and_nothing_is_unpacked() {
    let receiver = Receiver::start("127.0.0.1:0").await;
    let client = client(receiver.address.port(), LOOPBACK, |_| {});
    let endless = post(&client, &receiver.url("/endless"))
        .await
        .expect("an answer");
    assert_eq!((endless.status, endless.cut), (200, true));
    assert_eq!(endless.body, vec![b'x'; MAX_ANSWER]);
    let packed = post(&client, &receiver.url("/bomb"))
        .await
        .expect("an answer");
    let bomb = bomb();
    assert_eq!(packed.body, bomb[..bomb.len().min(MAX_ANSWER)]);
    // The connection is closed, and what the system's buffers took is all that was sent.
    let written = eventually("the endless answer to end", async || {
        let written = receiver.written();
        receiver
            .ended()
            .then_some(written)
            .ok_or(format!("{written} bytes"))
    })
    .await;
    assert!(written < 64 << 20, "{written} bytes were taken");
}

/// Runs one of these tests again with proxies in its environment.
#[tokio::test]
async fn the_environments_proxies_are_not_used() {
    let proxy = TcpListener::bind("127.0.0.1:0").expect("a port");
    proxy.set_nonblocking(true).expect("a socket");
    let address = format!("http://{}", proxy.local_addr().expect("an address"));
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--exact", "deliver::answers::each_answer_has_its_verdict"]);
    for name in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(name, &address);
    }
    command.env_remove("NO_PROXY").env_remove("no_proxy");
    let run = tokio::task::spawn_blocking(move || command.output());
    let output = run.await.expect("a thread").expect("this program runs");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}"
    );
    assert!(proxy.accept().is_err(), "a request went to the proxy");
}
