//! `sluice webhooks verify`, which needs no server.

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use sluice::deliver::{Message, Secret, signature_headers};
use uuid::Uuid;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OTHER: &str = "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH";
const BODY: &str = r#"{"id":"1","type":"order.created","data":{"total":"12.50"}}"#;
/// Ten seconds after it was signed.
const AT: &str = "2027-01-15T08:00:10Z";

/// A request as its receiver kept it.
struct Kept(tempfile::TempDir);

impl Kept {
    /// The headers of a signed [`BODY`], and this body.
    fn new(body: &str) -> Self {
        let message = Message {
            id: "01a20949-1106-7099-9ff3-cd50e42f1ab4",
            timestamp: Timestamp::from_second(1_800_000_000).expect("a time"),
            event_type: "order.created",
            event_id: Uuid::nil(),
            body: BODY.as_bytes(),
        };
        let secret = Secret::parse(SECRET).expect("a secret");
        let headers = signature_headers(&message, &[secret]).expect("headers");
        let lines: String = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}\r\n", value.to_str().expect("ASCII")))
            .collect();
        let kept = Self(tempfile::tempdir().expect("a folder"));
        kept.write("headers", &format!("POST /hooks HTTP/1.1\r\n{lines}\r\n"));
        kept.write("body", body);
        kept.write("secret", &format!("{SECRET}\n"));
        kept
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).expect("a file");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Exit status, stdout and stderr.
    fn verify(&self, arguments: &[&str], input: &str) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command
            .args(["webhooks", "verify"])
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("SLUICE_WEBHOOK_SECRET")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("sluice runs");
        let mut stdin = child.stdin.take().expect("a pipe");
        // It may not read it.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("sluice ends");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let exit = output.status.code().unwrap_or(-1);
        (exit, text(output.stdout), text(output.stderr))
    }

    /// The verdict of the files.
    fn found(&self, arguments: &[&str]) -> (i32, String) {
        let mut all = vec!["--headers", "headers", "--body", "body"];
        all.extend(arguments);
        let (exit, out, err) = self.verify(&all, "");
        assert_eq!(err, "");
        (exit, out.trim_end().to_owned())
    }
}

#[test]
fn a_right_signature_is_valid_however_it_is_given() {
    let kept = Kept::new(BODY);
    let file = ["--secret-file", "secret", "--at", AT];
    assert_eq!(kept.found(&file), (0, "valid".to_owned()));
    let both = ["--secret", OTHER, "--secret", SECRET, "--at", AT];
    assert_eq!(kept.found(&both), (0, "valid".to_owned()));
    let headers = std::fs::read_to_string(kept.path("headers")).expect("the headers");
    let piped = [&file[..], &["--headers", "-", "--body", "body"]].concat();
    assert_eq!(kept.verify(&piped, &headers).0, 0);
    let mut single = vec!["--body", "-"];
    single.extend(file);
    for line in headers.lines().skip(1).filter(|line| !line.is_empty()) {
        single.extend(["--header", line]);
    }
    assert_eq!(kept.verify(&single, BODY).0, 0);
    let json = [&file[..], &["-o", "json"]].concat();
    insta::assert_snapshot!(kept.found(&json).1, @r#"
    {
      "valid": true,
      "reason": null,
      "explanation": null
    }
    "#);
}

#[test]
fn each_mistake_is_explained() {
    let file = ["--secret-file", "secret", "--at", AT];
    let pretty = serde_json::from_str::<serde_json::Value>(BODY).expect("JSON");
    let pretty = serde_json::to_string_pretty(&pretty).expect("JSON");
    let of = |body: &str, arguments: &[&str]| {
        let (exit, said) = Kept::new(body).found(arguments);
        assert_eq!(exit, 1, "{said}");
        said
    };
    insta::assert_snapshot!(of(&pretty, &file), @"not valid: the body was parsed and written again; verify the bytes as they came, before any parser");
    insta::assert_snapshot!(of(&format!("{BODY}\n"), &file), @"not valid: the body was changed: white space was added around it; verify the bytes as they came");
    insta::assert_snapshot!(of(BODY, &["--secret", OTHER, "--at", AT]), @"not valid: signed with another secret, or another body");
    insta::assert_snapshot!(of(BODY, &["--secret", SECRET, "--at", "2027-01-15T08:10:00Z"]), @"not valid: the signature is right, but the timestamp is 600 s old; check the clock, or this is an old request sent again");
    insta::assert_snapshot!(of(BODY, &["--secret", SECRET, "--at", AT, "--tolerance", "9"]), @"not valid: the signature is right, but the timestamp is 10 s old; check the clock, or this is an old request sent again");
    insta::assert_snapshot!(of(BODY, &["--secret", OTHER, "--at", AT, "-o", "yaml"]), @"
    valid: false
    reason: wrong_secret
    explanation: signed with another secret, or another body
    ");
    let kept = Kept::new(BODY);
    kept.write(
        "headers",
        r#"{"svix-id": "1", "webhook-signature": ["v1,AAAA"]}"#,
    );
    insta::assert_snapshot!(kept.found(&file).1, @"not valid: no header webhook-id; 'svix-id' looks like it");
}

#[test]
fn what_cannot_be_checked_is_no_verdict() {
    let kept = Kept::new(BODY);
    let files = ["--headers", "headers", "--body", "body"];
    let error = |arguments: &[&str]| {
        let (exit, out, err) = kept.verify(arguments, "");
        assert_eq!(out, "");
        format!("{exit}: {}", err.trim_end())
    };
    insta::assert_snapshot!(error(&files), @"1: sluice: which secret? give --secret-file or SLUICE_WEBHOOK_SECRET");
    let wrong = [&files[..], &["--secret", "whsec_x"]].concat();
    insta::assert_snapshot!(error(&wrong), @"1: sluice: --secret: a secret is 'whsec_' and base64, in the standard alphabet and with its padding");
    let none = ["--secret", SECRET, "--headers", "headers", "--body", "none"];
    insta::assert_snapshot!(error(&none), @"1: sluice: none: No such file or directory (os error 2)");
    let both = ["--secret", SECRET, "--headers", "-", "--body", "-"];
    insta::assert_snapshot!(error(&both), @"2: error: headers and body cannot both come from stdin");
    kept.write("headers", "webhook-id: 1\nwhat is this");
    let told = [&files[..], &["--secret", SECRET]].concat();
    insta::assert_snapshot!(error(&told), @"1: sluice: headers: line 2: write 'name: value'");
}
