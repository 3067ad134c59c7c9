//! `Idempotency-Key`: a request that a client may send again when it did not hear the answer.
//!
//! The key is kept for 24 h with the caller, a hash of what was sent and the answer. A repeat gets
//! the answer that was given. Where none was given, because the service or Kafka went away, the
//! repeat runs again and its events get the same ids, so that receivers can tell them.

use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::Pool;
use crate::store::idempotent::{self, Claim, KEPT_HOURS, Request};

/// The header's name.
const HEADER: &str = "idempotency-key";
/// The longest key, in bytes.
const MAX_KEY: usize = 255;

/// The header, for the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[allow(dead_code, reason = "describes the header")]
pub(super) struct IdempotencyKey {
    /// 1 to 255 visible ASCII characters, such as a UUID
    #[param(
        rename = "Idempotency-Key",
        min_length = 1,
        max_length = 255,
        pattern = "^[!-~]+$",
        example = "5f0c7c1e-6b0e-4a57-9d0c-0a5f3f4c7b11"
    )]
    key: Option<String>,
}

/// A request with a key, or one without, which is run each time.
pub(super) struct Repeatable {
    keyed: Option<Keyed>,
}

struct Keyed {
    pool: Pool,
    caller: String,
    company: Option<String>,
    key: String,
    body_hash: [u8; 32],
    first_millis: u64,
}

/// What to do with a request.
pub(super) enum Turn {
    /// Run it.
    Run(Repeatable),
    /// It was answered before, with this body.
    Answered(Vec<u8>),
}

impl Keyed {
    fn request(&self) -> Request<'_> {
        Request {
            caller: &self.caller,
            key: &self.key,
            company: self.company.as_deref(),
            body_hash: &self.body_hash,
        }
    }
}

impl Repeatable {
    /// Claims the key of a request, where it has one. `parts` are what makes it the same request.
    ///
    /// # Errors
    /// A problem: the key is none, another request has it, or the database is away.
    pub(super) async fn begin(
        pool: &Pool,
        caller: &Caller,
        headers: &HeaderMap,
        parts: &[&[u8]],
    ) -> Result<Turn, Problem> {
        let Some(value) = headers.get(HEADER) else {
            return Ok(Turn::Run(Self { keyed: None }));
        };
        let key = value.to_str().unwrap_or_default();
        if key.is_empty() || key.len() > MAX_KEY || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Problem::bad_request(
                "Idempotency-Key: 1 to 255 visible ASCII characters, such as a UUID",
            ));
        }
        let mut hash = Sha256::new();
        for part in parts {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut keyed = Keyed {
            pool: pool.clone(),
            caller: caller.name(),
            company: caller.company().map(str::to_owned),
            key: key.to_owned(),
            body_hash: hash.finalize().into(),
            first_millis: 0,
        };
        match idempotent::claim(pool, &keyed.request()).await? {
            Claim::Run { first_at } => {
                keyed.first_millis = u64::try_from(first_at.0 / 1_000).unwrap_or(0);
                Ok(Turn::Run(Self { keyed: Some(keyed) }))
            }
            Claim::Answered { response } => Ok(Turn::Answered(response)),
            Claim::Differs => Err(Problem::key_used(format!(
                "this Idempotency-Key came with another request in the last {KEPT_HOURS} h; take a new one"
            ))),
            Claim::UnderWay => Err(Problem::key_under_way(
                "the request of this Idempotency-Key is still being worked on; ask again for its answer",
            )
            .retry_after(2)),
        }
    }

    /// The id of the event at `index` where the caller gave none: the same in each repeat.
    pub(super) fn event_id(&self, index: usize) -> Option<Uuid> {
        let keyed = self.keyed.as_ref()?;
        let mut hash = Sha256::new();
        hash.update((keyed.caller.len() as u64).to_be_bytes());
        hash.update(&keyed.caller);
        hash.update((keyed.key.len() as u64).to_be_bytes());
        hash.update(&keyed.key);
        hash.update(keyed.body_hash);
        hash.update((index as u64).to_be_bytes());
        let digest: [u8; 32] = hash.finalize().into();
        let (random, _) = digest.split_first_chunk::<10>()?;
        Some(uuid::Builder::from_unix_timestamp_millis(keyed.first_millis, random).into_uuid())
    }

    /// Keeps the answer for repeats. Where that fails a repeat runs again, with the same ids.
    pub(super) async fn answered(self, response: &[u8]) {
        if let Some(keyed) = &self.keyed
            && let Err(error) = idempotent::answered(&keyed.pool, &keyed.request(), response).await
        {
            tracing::warn!(%error, "an answer cannot be kept for its repeat");
        }
    }

    /// Gives the key up: for the same request, where its outcome is not known, else for any.
    pub(super) async fn failed(self, problem: &Problem) {
        let Some(keyed) = &self.keyed else {
            return;
        };
        let given_up = if problem.is_outcome_unknown() {
            idempotent::unanswered(&keyed.pool, &keyed.request()).await
        } else {
            idempotent::forget(&keyed.pool, &keyed.request()).await
        };
        if let Err(error) = given_up {
            tracing::warn!(%error, "a key is given up when its time is over");
        }
    }
}

/// The JSON of an answer, as it is given and kept.
pub(super) struct Answer(Vec<u8>);

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(header::CONTENT_TYPE, "application/json")], self.0).into_response()
    }
}

/// Runs a request, or gives the answer that it was given when it came first.
///
/// # Errors
/// Those of [`Repeatable::begin`] and of the request.
pub(super) async fn answered<T: Serialize>(
    pool: &Pool,
    caller: &Caller,
    headers: &HeaderMap,
    parts: &[&[u8]],
    run: impl AsyncFnOnce() -> Result<T, Problem>,
) -> Result<Answer, Problem> {
    let repeatable = match Repeatable::begin(pool, caller, headers, parts).await? {
        Turn::Run(repeatable) => repeatable,
        Turn::Answered(answer) => return Ok(Answer(answer)),
    };
    let answer = run().await.and_then(|answer| {
        serde_json::to_vec(&answer).map_err(|error| Problem::internal(error.to_string()))
    });
    match answer {
        Ok(answer) => {
            repeatable.answered(&answer).await;
            Ok(Answer(answer))
        }
        Err(problem) => {
            repeatable.failed(&problem).await;
            Err(problem)
        }
    }
}
