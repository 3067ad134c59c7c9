//! The body of `POST /api/events`: the events that are right, and a fault with its JSON pointer for
//! whatever is wrong with the others.

use serde_json::value::RawValue;
use uuid::Uuid;

use super::events::of_failure;
use crate::http::auth::Caller;
use crate::http::problem::{Fault, Problem};
use crate::produce::{NewEvent, PublishError};

/// The most events of a batch.
const MAX_BATCH: usize = 1_000;

/// What a body holds.
pub(super) struct Read {
    /// The events that are right.
    pub events: Vec<NewEvent>,
    /// What is wrong with the others.
    pub faults: Vec<Fault>,
    /// Where the caller may not publish one of them: which one first, and why.
    pub forbidden: Option<String>,
}

/// Reads a body and checks each event.
///
/// # Errors
/// Where it is not JSON, has too many events, or our own schemas cannot be used.
pub(super) fn read(
    caller: &Caller,
    body: &[u8],
    id: impl Fn(usize) -> Option<Uuid>,
    check: impl Fn(&NewEvent) -> Result<(), PublishError>,
) -> Result<Read, Problem> {
    let is_batch = body.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'[');
    let parts: Vec<&RawValue> = if is_batch {
        serde_json::from_slice(body)
    } else {
        serde_json::from_slice(body).map(|one| vec![one])
    }
    .map_err(|error| Problem::bad_request(format!("the body is not JSON: {error}")))?;
    if parts.len() > MAX_BATCH {
        let sent = parts.len();
        return Err(Problem::too_large(format!(
            "{sent} events, at most {MAX_BATCH} at once"
        )));
    }
    let mut all = Read {
        events: Vec::with_capacity(parts.len()),
        faults: Vec::new(),
        forbidden: None,
    };
    for (index, part) in parts.iter().enumerate() {
        let at = is_batch.then_some(index);
        let read = NewEvent::from_json(part.get().as_bytes())
            .and_then(|event| check(&event).map(|()| event));
        match read {
            Ok(event) => match owned(caller, event.id_or(id(index)), at) {
                Ok(event) => all.events.push(event),
                Err(fault) => {
                    let why = || format!("{}: expected {}", fault.pointer, fault.expected);
                    all.forbidden.get_or_insert_with(why);
                    all.faults.push(fault);
                }
            },
            Err(error) => all.faults.extend(faults_of(error, at)?),
        }
    }
    Ok(all)
}

/// The event as this caller, who may publish, may publish it.
fn owned(caller: &Caller, event: NewEvent, at: Option<usize>) -> Result<NewEvent, Fault> {
    let (company, user) = (event.company_id().cloned(), event.user_id().cloned());
    if let Ok((company, user)) = caller.publishes_as(company.clone(), user.clone()) {
        return Ok(event.owned_by(company, user));
    }
    let (name, expected, found) = if caller.publishes_as(None, user.clone()).is_err() {
        ("userId", "the caller's own user, or none", user)
    } else {
        ("companyId", "the caller's own company, or none", company)
    };
    let prefix = at.map_or(String::new(), |index| format!("/{index}"));
    Err(Fault {
        pointer: format!("{prefix}/{name}"),
        expected: expected.to_owned(),
        found: found.unwrap_or_default().chars().take(100).collect(),
    })
}

fn faults_of(error: PublishError, at: Option<usize>) -> Result<Vec<Fault>, Problem> {
    match error {
        PublishError::Invalid { faults } => Ok(faults
            .into_iter()
            .map(|fault| Fault::of_field(fault, at))
            .collect()),
        PublishError::UnknownType {
            event_type,
            nearest,
        } => Ok(vec![Fault {
            pointer: at.map_or("/type".to_owned(), |index| format!("/{index}/type")),
            expected: match nearest {
                Some(known) => format!("a known type; did you mean '{known}'?"),
                None => "a known type; GET /api/event-types lists them".to_owned(),
            },
            found: event_type,
        }]),
        other => Err(of_failure(&other)),
    }
}
