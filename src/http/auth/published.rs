//! The keys that the identity provider publishes (RFC 7517), as they were last read. In: a token's
//! `kid`. Out: its key, or that the provider has never answered.
//!
//! One caller asks the provider and the others go on with the keys that are known; only those
//! without a key wait for that one answer. A failed ask is remembered like any other, so that
//! nobody waits for a provider that is away.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::JwkSet;
use tokio::sync::Mutex;

use super::token::{TokenError, explain};
use crate::tls;

/// Keys are asked for again after this time.
const KEYS_LIVE: Duration = Duration::from_secs(600);
/// A `kid` that is not known makes us ask again, but not more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(30);
/// A provider that has never answered is not asked more often than this; longer than
/// [`ASK_TIMEOUT`], so that who waited for a failed ask does not begin another.
const NEVER_ANSWERED: Duration = Duration::from_secs(10);
/// The longest that the provider may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest list of keys that is read, in bytes.
const MAX_JWKS: usize = 256 * 1024;

pub(super) struct Published {
    url: String,
    client: Result<reqwest::Client, String>,
    known: RwLock<Known>,
    asking: Mutex<()>,
}

struct Known {
    asked: Option<Instant>,
    /// The keys, or why the provider has never given any.
    keys: Result<JwkSet, String>,
}

impl Known {
    fn has(&self, kid: &str) -> bool {
        self.keys
            .as_ref()
            .is_ok_and(|keys| keys.find(kid).is_some())
    }

    /// Whether the provider is to be asked for the sake of this key.
    fn is_due(&self, kid: &str, now: Instant) -> bool {
        let pause = match &self.keys {
            Ok(_) if self.has(kid) => KEYS_LIVE,
            Ok(_) => ASK_AGAIN,
            Err(_) => NEVER_ANSWERED,
        };
        self.asked
            .is_none_or(|at| now.saturating_duration_since(at) > pause)
    }
}

impl Published {
    pub(super) fn at(url: &str) -> Self {
        tls::install_provider();
        let client = reqwest::Client::builder()
            .timeout(ASK_TIMEOUT)
            .redirect(reqwest::redirect::Policy::limited(3))
            .build()
            .map_err(|error| error.to_string());
        Self {
            url: url.to_owned(),
            client,
            known: RwLock::new(Known {
                asked: None,
                keys: Err("it was not asked yet".to_owned()),
            }),
            asking: Mutex::default(),
        }
    }

    /// The key of this id; `None` where the provider does not publish it. Keys that were read are
    /// used while the provider is away.
    ///
    /// # Errors
    /// Where the provider has never answered, or the key is of no known kind.
    pub(super) async fn key(
        &self,
        kid: &str,
        now: Instant,
    ) -> Result<Option<DecodingKey>, TokenError> {
        if self.known().is_due(kid, now) {
            let asking = if self.known().has(kid) {
                self.asking.try_lock().ok()
            } else {
                Some(self.asking.lock().await)
            };
            // Another may have asked while this one waited.
            if asking.is_some() && self.known().is_due(kid, now) {
                self.renew(now).await;
            }
        }
        let known = self.known();
        let keys = known
            .keys
            .as_ref()
            .map_err(|why| TokenError::NoKeys(why.clone()))?;
        keys.find(kid)
            .map(|key| DecodingKey::from_jwk(key).map_err(explain))
            .transpose()
    }

    async fn renew(&self, now: Instant) {
        let answered = self.ask().await;
        let mut known = self.known_mut();
        known.asked = Some(now);
        match (answered, &known.keys) {
            (Err(why), Ok(_)) => tracing::warn!(
                url = self.url,
                why,
                "the identity provider's keys stay as they were"
            ),
            (answered, _) => known.keys = answered,
        }
    }

    fn known(&self) -> RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn known_mut(&self) -> RwLockWriteGuard<'_, Known> {
        self.known.write().unwrap_or_else(PoisonError::into_inner)
    }

    async fn ask(&self) -> Result<JwkSet, String> {
        let client = self.client.as_ref().map_err(Clone::clone)?;
        let explain = |error: reqwest::Error| error.without_url().to_string();
        let answer = client.get(&self.url).send().await;
        let mut answer = answer
            .and_then(reqwest::Response::error_for_status)
            .map_err(explain)?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(explain)? {
            body.extend_from_slice(&chunk);
            if body.len() > MAX_JWKS {
                return Err("the list of keys is longer than 256 KiB".to_owned());
            }
        }
        serde_json::from_slice(&body).map_err(|error| format!("not a JWK set: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use axum::Json;
    use axum::extract::State;
    use axum::http::StatusCode;
    use serde_json::{Value, json};
    use tokio::sync::Semaphore;

    use super::*;

    /// A provider whose keys change.
    struct Provider {
        /// Ids of its keys; `None` while it is away.
        kids: RwLock<Option<Vec<&'static str>>>,
        asked: AtomicUsize,
        /// How many more asks it answers.
        answers: Semaphore,
    }

    impl Provider {
        async fn start() -> (Arc<Self>, Arc<Published>) {
            let provider = Arc::new(Self {
                kids: RwLock::default(),
                asked: AtomicUsize::new(0),
                answers: Semaphore::new(1_000),
            });
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}/", listener.local_addr().unwrap());
            let router = axum::Router::new()
                .route("/", axum::routing::get(Self::answer))
                .with_state(provider.clone());
            tokio::spawn(crate::http::server::serve(
                listener,
                router,
                tokio_util::sync::CancellationToken::new(),
            ));
            (provider, Arc::new(Published::at(&url)))
        }

        async fn answer(State(provider): State<Arc<Self>>) -> Result<Json<Value>, StatusCode> {
            provider.asked.fetch_add(1, Ordering::SeqCst);
            provider.answers.acquire().await.unwrap().forget();
            let kids = provider.kids.read().unwrap();
            let kids = kids.as_ref().ok_or(StatusCode::BAD_GATEWAY)?.iter();
            let keys: Vec<_> = kids
                .map(|kid| json!({"kty": "oct", "kid": kid, "k": "c2VjcmV0"}))
                .collect();
            Ok(Json(json!({ "keys": keys })))
        }

        fn publishes(&self, kids: Option<Vec<&'static str>>) {
            *self.kids.write().unwrap() = kids;
        }

        fn asked(&self) -> usize {
            self.asked.load(Ordering::SeqCst)
        }
    }

    #[tokio::test]
    async fn keys_are_kept_and_asked_for_again_in_their_time() {
        let (provider, published) = Provider::start().await;
        let start = Instant::now();
        let key = async |kid: &str, second: u64| {
            let found = published.key(kid, start + Duration::from_secs(second));
            found.await.map(|key| key.is_some()).ok()
        };
        // Away from the start: all wait for one ask, and then nobody for a while.
        let all = futures::future::join_all((0..20).map(|_| key("a", 0))).await;
        assert_eq!((all, provider.asked()), (vec![None; 20], 1));
        provider.publishes(Some(vec!["a"]));
        assert_eq!((key("a", 5).await, provider.asked()), (None, 1));
        assert_eq!((key("a", 11).await, provider.asked()), (Some(true), 2));
        assert_eq!((key("a", 600).await, provider.asked()), (Some(true), 2));
        // Rotated: found, but not asked for more often than every 30 s.
        provider.publishes(Some(vec!["b"]));
        assert_eq!((key("b", 40).await, provider.asked()), (Some(false), 2));
        assert_eq!((key("b", 42).await, provider.asked()), (Some(true), 3));
        assert_eq!((key("a", 43).await, provider.asked()), (Some(false), 3));
        // Away again: what is known stays, and each further ask waits its time.
        provider.publishes(None);
        assert_eq!((key("b", 643).await, provider.asked()), (Some(true), 4));
        assert_eq!((key("b", 644).await, provider.asked()), (Some(true), 4));
        assert_eq!((key("c", 644).await, provider.asked()), (Some(false), 4));
        assert_eq!((key("c", 674).await, provider.asked()), (Some(false), 5));
    }

    #[tokio::test]
    async fn who_has_a_key_does_not_wait_for_the_provider() {
        let (provider, published) = Provider::start().await;
        provider.publishes(Some(vec!["a"]));
        let now = Instant::now();
        assert!(published.key("a", now).await.unwrap().is_some());
        provider.answers.forget_permits(1_000);
        let later = now + KEYS_LIVE * 2;
        let asking = tokio::spawn({
            let published = published.clone();
            async move { published.key("b", later).await.map(|key| key.is_some()) }
        });
        while provider.asked() < 2 {
            tokio::task::yield_now().await;
        }
        assert!(published.key("a", later).await.unwrap().is_some());
        assert!(!asking.is_finished());
        provider.answers.add_permits(1);
        assert!(!asking.await.unwrap().unwrap());
    }
}
