//! `POST /api/ws/tickets`: what a browser puts into the address of `/ws`, for it can send no
//! header there. A ticket is taken once, by whichever instance it reaches.

use std::net::IpAddr;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use sha2::{Digest, Sha256};
use utoipa::ToSchema;
use uuid::Uuid;

use super::live;
use crate::consumers::live::Listener;
use crate::http::api::{Api, OfApi};
use crate::http::auth::Caller;
use crate::http::problem::Problem;
use crate::store::Micros;
use crate::store::live::{self as store, TicketHolder};

/// How long a ticket may wait to be taken.
const LIVES: Duration = Duration::from_secs(30);
/// Tickets of one company that wait at the same time.
const MOST_WAITING: i64 = 1_000;

/// A ticket for `/ws`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::http::api) struct Ticket {
    /// Goes into `/ws?ticket=`, once.
    #[schema(example = "8f14e45fceea167a5a36dedd4bea2543f1a5d3f0c6b7a8e9d0c1b2a3f4e5d6c7")]
    ticket: String,
    /// How long it is taken, in seconds.
    #[schema(example = 30)]
    expires_in: u64,
}

/// Get a ticket for a WebSocket
///
/// A browser cannot send a header with a WebSocket: it opens `/ws?ticket=…` instead. A ticket is
/// taken once and lives for 30 s; the connection sees what the caller sees, until the caller's key
/// or token ends.
#[utoipa::path(
    post, path = "/api/ws/tickets", tag = "live",
    responses(
        (status = 201, description = "The ticket", body = Ticket),
        (status = 401, description = "Who calls is not known", body = Problem, content_type = "application/problem+json"),
        (status = 403, description = "The caller may not read events, or belongs to no company", body = Problem, content_type = "application/problem+json"),
        (status = 429, description = "Too many of the company's tickets wait", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "The database is away, or this process does not push events", body = Problem, content_type = "application/problem+json"),
    ),
    security(("bearer" = []))
)]
pub(in crate::http::api) async fn ticket(
    State(api): OfApi,
    caller: Caller,
) -> Result<(StatusCode, Json<Ticket>), Problem> {
    live(&api)?;
    let listener = caller.listens_as()?;
    // 122 random bits each, from the system's generator.
    let mut random = Sha256::new();
    for _ in 0..3 {
        random.update(Uuid::new_v4().as_bytes());
    }
    let ticket = hex::encode(random.finalize());
    let holder = TicketHolder {
        company_id: listener.company,
        user_id: listener.user,
        member: listener.member,
        key_prefix: listener.key,
        expires_at: listener.expires_micros.map(Micros),
    };
    let hash = Sha256::digest(&ticket).into();
    if !store::put_ticket(&api.0.pool, &hash, &holder, LIVES, MOST_WAITING).await? {
        return Err(
            Problem::too_many("the company has 1,000 tickets that nobody took yet")
                .retry_after(LIVES.as_secs() as u32),
        );
    }
    let ticket = Ticket {
        ticket,
        expires_in: LIVES.as_secs(),
    };
    Ok((StatusCode::CREATED, Json(ticket)))
}

/// Who got this ticket, which is then no ticket any more.
pub(super) async fn holder(api: &Api, ticket: &str, from: IpAddr) -> Result<Listener, Problem> {
    let hash = Sha256::digest(ticket).into();
    let holder = store::take_ticket(&api.0.pool, &hash).await?;
    let holder = holder.ok_or_else(|| {
        let why =
            "the ticket was used, is older than 30 s, or is none; POST /api/ws/tickets gives one";
        api.0.authenticator.refuse("anonymous", None, from, why)
    })?;
    Ok(Listener {
        company: holder.company_id,
        user: holder.user_id,
        member: holder.member,
        key: holder.key_prefix,
        expires_micros: holder.expires_at.map(|at| at.0),
    })
}
