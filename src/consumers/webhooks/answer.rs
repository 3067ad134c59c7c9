//! What an answer, or its absence, means: for the delivery, and for what is thought of the endpoint.

use serde_json::{Value, json};

use crate::deliver::{Answer, SendError, Verdict};
use crate::failure::FailureClass;
use crate::stream::{Outcome, Unavailable};

/// What is kept of an answer, in bytes.
const KEPT: usize = 1_024;

/// What a request came to.
pub(super) struct Read {
    pub outcome: Outcome,
    /// Why it failed; none where it did not.
    pub failure: Option<(&'static str, String)>,
    pub health: Health,
    /// The endpoint wants no more.
    pub gone: bool,
}

/// What it says of the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It is there, whatever it thinks of the request.
    Answers,
    /// It is not, or says that it cannot.
    Fails,
    /// Nothing: it was not called.
    Unknown,
}

/// Reads what came back from a URL.
pub(super) fn read(url: &str, sent: Result<Answer, SendError>) -> Read {
    match sent {
        Ok(answer) => of_answer(url, &answer),
        Err(error) => of_error(url, error),
    }
}

fn of_answer(url: &str, answer: &Answer) -> Read {
    let detail = detail(url, answer);
    let status = answer.status;
    let reason = format!("the endpoint answered {status}");
    let (class, health) = match (answer.verdict, status) {
        (Verdict::Accepted, _) => {
            return Read {
                outcome: Outcome::done().detail(detail),
                failure: None,
                health: Health::Answers,
                gone: false,
            };
        }
        (Verdict::Gone, _) => ("gone", Health::Answers),
        (Verdict::Busy { .. }, _) => ("busy", Health::Fails),
        (Verdict::Failed, 300..=399) => ("redirect", Health::Answers),
        (Verdict::Failed, 500..) => ("server_error", Health::Fails),
        (Verdict::Failed, _) => ("client_error", Health::Answers),
    };
    let outcome = match answer.verdict {
        Verdict::Gone => Outcome::dead(class, &reason),
        Verdict::Busy {
            retry_after: Some(wait),
        } => Outcome::retry(class, &reason).after(wait),
        _ => Outcome::retry(class, &reason),
    };
    Read {
        outcome: outcome.detail(detail),
        failure: Some((class, reason)),
        health,
        gone: answer.verdict == Verdict::Gone,
    }
}

fn detail(url: &str, answer: &Answer) -> Value {
    let kept = &answer.body[..answer.body.len().min(KEPT)];
    json!({
        "url": url,
        "status": answer.status,
        "answer": String::from_utf8_lossy(kept).replace('\0', "\u{fffd}"),
        "answerCut": answer.cut || answer.body.len() > KEPT,
    })
}

fn of_error(url: &str, error: SendError) -> Read {
    let (class, reason) = (error.label(), error.to_string());
    let status = match &error {
        SendError::Timeout { status, .. } | SendError::Answer { status, .. } => *status,
        _ => None,
    };
    let detail = json!({"url": url, "status": status});
    let refused = matches!(error, SendError::Refused(_));
    let (outcome, health) = match error.class() {
        FailureClass::Transient => {
            let what = "this machine";
            let reason = reason.clone();
            let outcome = Outcome::unavailable(Unavailable { what, reason });
            (outcome, Health::Unknown)
        }
        FailureClass::Permanent => (Outcome::dead(class, &reason), Health::Unknown),
        // A name that had an address of our own may have another soon.
        FailureClass::Target if refused => (Outcome::retry(class, &reason), Health::Unknown),
        FailureClass::Target => (Outcome::retry(class, &reason), Health::Fails),
    };
    let ours = error.class() == FailureClass::Transient;
    Read {
        outcome: outcome.detail(detail),
        failure: (!ours).then_some((class, reason)),
        health,
        gone: false,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::deliver::Refusal;

    const URL: &str = "https://example.com/hook";

    fn answered(status: u16, verdict: Verdict) -> String {
        let answer = Answer {
            status,
            verdict,
            body: vec![b'x'; 3],
            cut: false,
        };
        said(read(URL, Ok(answer)))
    }

    fn said(read: Read) -> String {
        let class = read.failure.map_or("-", |(class, _)| class);
        let gone = if read.gone { " gone" } else { "" };
        format!("{class} {:?}{gone}", read.health)
    }

    #[test]
    fn a_status_says_what_becomes_of_the_delivery() {
        let busy = Verdict::Busy { retry_after: None };
        let texts = [
            answered(204, Verdict::Accepted),
            answered(410, Verdict::Gone),
            answered(429, busy),
            answered(503, busy),
            answered(302, Verdict::Failed),
            answered(404, Verdict::Failed),
            answered(500, Verdict::Failed),
        ];
        insta::assert_snapshot!(texts.join("\n"), @"
- Answers
gone Answers gone
busy Fails
busy Fails
redirect Answers
client_error Answers
server_error Fails
");
    }

    #[test]
    fn no_answer_is_the_endpoints_failure_unless_it_was_not_called() {
        let (what, after) = (String::new(), Duration::from_secs(5));
        let of = |error: SendError| said(read(URL, Err(error)));
        assert_eq!(
            of(SendError::Connect { what: what.clone() }),
            "connect Fails"
        );
        assert_eq!(of(SendError::ConnectTimeout { after }), "timeout Fails");
        let ours = SendError::Local { what };
        assert_eq!(of(ours), "- Unknown");
        let refused = |refusal: Refusal| of(SendError::Refused(refusal));
        assert_eq!(refused(Refusal::UserInfo), "refused Unknown");
    }

    #[test]
    fn the_begin_of_an_answer_is_kept_as_text() {
        let body = [b"a\0\xff".as_slice(), &[b'x'; KEPT]].concat();
        let answer = Answer {
            status: 500,
            verdict: Verdict::Failed,
            body,
            cut: false,
        };
        let detail = detail(URL, &answer);
        let text = detail["answer"].as_str().expect("text");
        assert!(text.starts_with("a\u{fffd}\u{fffd}x"), "{text}");
        assert_eq!(text.chars().count(), KEPT);
        assert_eq!(detail["answerCut"], true);
        assert_eq!(detail["status"], 500);
    }
}
