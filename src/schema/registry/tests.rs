//! The faults that a real registry does not make on demand; the rest is in `tests/it/schemas.rs`.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::failure::FailureClass;

/// A registry for the faults that a real one does not make on demand: it gives one canned
/// answer to every request, by the number of the request.
pub(in crate::schema) struct Canned {
    pub client: RegistryClient,
    pub requests: Arc<AtomicUsize>,
}

impl Canned {
    pub(in crate::schema) async fn new(
        answer: impl Fn(usize, &str) -> String + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let counter = requests.clone();
        let answer = Arc::new(answer);
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                let (counter, answer) = (counter.clone(), answer.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    let size = socket.read(&mut bytes).await.unwrap_or(0);
                    let request = String::from_utf8_lossy(&bytes[..size]).into_owned();
                    let n = counter.fetch_add(1, Ordering::SeqCst);
                    let _ = socket.write_all(answer(n, &request).as_bytes()).await;
                    let _ = socket.shutdown().await;
                });
            }
        });
        let client = RegistryClient::new(&config::Registry {
            url: format!("http://127.0.0.1:{}/base/", address.port()),
            username: Some("u".to_owned()),
            password: Some("secret".into()),
            schemas: None,
        });
        Self {
            client: client.unwrap(),
            requests,
        }
    }
}

/// A whole HTTP answer.
pub(in crate::schema) fn answer(status: u16, body: &str) -> String {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\nlocation: /x\r\n\r\n{body}",
        body.len()
    )
}

async fn by_id(status: u16, body: &str) -> Result<Option<String>, RegistryError> {
    let body = body.to_owned();
    let canned = Canned::new(move |_, _| answer(status, &body)).await;
    canned.client.schema_by_id(7).await
}

#[tokio::test]
async fn an_id_is_unknown_only_where_the_registry_says_so() {
    let unknown = by_id(404, r#"{"error_code":40403,"message":"x"}"#).await;
    assert_eq!(unknown.unwrap(), None);
    let found = by_id(200, r#"{"schema":"\"int\""}"#).await;
    assert_eq!(found.unwrap().as_deref(), Some("\"int\""));
    for (status, body) in [
        (404, ""),
        (404, "<html>"),
        (404, r#"{"error_code":404,"message":"HTTP 404 Not Found"}"#),
        (404, r#"{"error_code":40401}"#),
        (301, ""),
        (200, "<html>"),
        (200, "{}"),
        (400, ""),
        (401, ""),
        (403, r#"{"error_code":40301}"#),
        (429, ""),
        (500, r#"{"error_code":0}"#),
        (503, ""),
    ] {
        let error = by_id(status, body).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Transient, "{status} {body}");
        let text = error.to_string();
        assert!(text.contains("/base/schemas/ids/7"), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
    // No registry gives out such an id, and no request is made for it.
    let canned = Canned::new(|_, _| answer(500, "")).await;
    assert_eq!(canned.client.schema_by_id(u32::MAX).await.unwrap(), None);
    assert_eq!(canned.requests.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_refused_schema_is_permanent() {
    for (status, body) in [
        (409, r#"{"error_code":409,"message":"m"}"#),
        (422, r#"{"error_code":42201,"message":"m"}"#),
    ] {
        let canned = Canned::new(move |_, _| answer(status, body)).await;
        let error = canned.client.register("s", "{}").await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Permanent);
    }
}

#[tokio::test]
async fn an_answer_is_bounded_and_a_closed_port_is_said() {
    let canned = Canned::new(|_, _| answer(200, &"x".repeat(MAX_ANSWER + 1))).await;
    let error = canned.client.schema_by_id(1).await.unwrap_err();
    assert!(matches!(error, RegistryError::Strange { .. }), "{error}");
    let closed = RegistryClient::new(&config::Registry {
        url: "http://127.0.0.1:1".to_owned(),
        ..config::Registry::default()
    });
    let error = closed.unwrap().schema_by_id(1).await.unwrap_err();
    assert!(
        matches!(error, RegistryError::Unreachable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn subjects_are_escaped_and_credentials_are_sent() {
    let canned = Canned::new(|_, request| {
        let right = request.starts_with("GET /base/subjects/a%2Fb%20c/versions HTTP")
            && request.contains("authorization: Basic dTpzZWNyZXQ=");
        answer(if right { 200 } else { 500 }, "[1,2]")
    })
    .await;
    assert_eq!(canned.client.versions("a/b c").await.unwrap(), [1, 2]);
    let client = RegistryClient::new(&config::Registry {
        url: "https://me:p%40ss@registry.example/x?y=z".to_owned(),
        ..config::Registry::default()
    })
    .unwrap();
    let (user, password) = client.credentials.as_ref().unwrap();
    assert_eq!((user.as_str(), password.expose_secret()), ("me", "p@ss"));
    let url = client.url(&["subjects"], &[]);
    assert_eq!(url.as_str(), "https://registry.example/x/subjects");
}
