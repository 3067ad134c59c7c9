//! Certificates, by a client that trusts an authority of the test's own.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::failure::FailureClass;

/// An authority, of which each receiver has a certificate.
struct Authority {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().der().clone();
        let issuer = Issuer::new(params, key);
        Self { root, issuer }
    }

    /// A receiver whose certificate names `name` and ends in `year`; gives its port.
    async fn receiver(&self, name: &str, year: i32) -> u16 {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(2000, 1, 1);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        tls::install_provider();
        let config = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        receiver(move |stream| {
            let acceptor = acceptor.clone();
            async move {
                let mut stream = acceptor.accept(stream).await?;
                let mut request = Vec::new();
                while !request.ends_with(b"{}") && stream.read_buf(&mut request).await? > 0 {}
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await?;
                stream.shutdown().await
            }
        })
        .await
    }
}

async fn receiver<F>(mut serve: impl FnMut(TcpStream) -> F + Send + 'static) -> u16
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    port
}

async fn post(port: u16, root: Option<&CertificateDer<'_>>) -> Result<Answer, SendError> {
    post_within(port, root, Webhooks::default().timeout_millis).await
}

async fn post_within(
    port: u16,
    root: Option<&CertificateDer<'_>>,
    timeout_millis: u64,
) -> Result<Answer, SendError> {
    let settings = Webhooks {
        ports: vec![port],
        allowed_networks: vec!["127.0.0.1/32".parse().unwrap()],
        timeout_millis,
        ..Webhooks::default()
    };
    let root = root.map(|der| Certificate::from_der(der).unwrap());
    let client = Client::trusting(&settings, root).unwrap();
    let target = client
        .target(&format!("https://127.0.0.1:{port}/"))
        .unwrap();
    client
        .post(&target, HeaderMap::new(), Bytes::from_static(b"{}"))
        .await
}

/// What the TLS library says.
async fn refused(port: u16, root: Option<&CertificateDer<'_>>) -> String {
    match post(port, root).await {
        Err(SendError::Tls { what }) => what,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn only_a_valid_certificate_is_taken() {
    let (authority, other) = (Authority::new(), Authority::new());
    let root = Some(&authority.root);
    let good = authority.receiver("127.0.0.1", 2100).await;
    assert_eq!(post(good, root).await.unwrap().verdict, Verdict::Accepted);

    let unknown = refused(good, Some(&other.root)).await;
    assert!(
        unknown.contains("UnknownIssuer") || unknown.contains("BadSignature"),
        "{unknown}"
    );
    let system = refused(good, None).await;
    assert!(system.contains("UnknownIssuer"), "{system}");
    let named = authority.receiver("receiver.example.com", 2100).await;
    let named = refused(named, root).await;
    assert!(named.contains("not valid for name"), "{named}");
    let expired = authority.receiver("127.0.0.1", 2020).await;
    let expired = refused(expired, root).await;
    assert!(expired.contains("expired"), "{expired}");
}

#[tokio::test]
async fn what_is_not_tls_is_told_as_that() {
    let plain =
        receiver(|mut stream| async move { stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await });
    let closed = receiver(|stream| async move {
        drop(stream);
        Ok(())
    });
    for port in [plain.await, closed.await] {
        let error = post(port, None).await.unwrap_err();
        assert_eq!(
            (error.label(), error.class()),
            ("tls", FailureClass::Target),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_connection_that_does_not_come_about_is_told_as_that() {
    let silent = receiver(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
        Ok(())
    });
    let error = post_within(silent.await, None, 300).await.unwrap_err();
    assert!(
        matches!(error, SendError::ConnectTimeout { .. }),
        "{error:?}"
    );
    let freed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = freed.local_addr().unwrap().port();
    drop(freed);
    let error = post(port, None).await.unwrap_err();
    assert_eq!(
        (error.label(), error.class()),
        ("connect", FailureClass::Target),
        "{error}"
    );
}
