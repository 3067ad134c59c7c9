//! `sluice webhooks` and `sluice deadletters`, as a person at a shell has them.

mod again;
mod letters;
mod manage;
mod verify;

use std::process::Stdio;

use serde_json::Value;

use crate::place::Ran;
use crate::receiver::Receiver;
use crate::support::{Serve, Space};

/// Keys that encrypt secrets at rest.
const KEYS: [&str; 2] = [
    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=",
    "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=",
];

/// A space in which a receiver on loopback may be called.
struct World {
    space: Space,
    receiver: Receiver,
}

impl World {
    /// Without topics: for what administers only.
    async fn bare(name: &str) -> Self {
        Self {
            space: Space::bare(name).await,
            receiver: Receiver::start("127.0.0.1:0").await,
        }
    }

    /// With topics and schemas.
    async fn new(name: &str) -> Self {
        let world = Self::bare(name).await;
        world.ok(&["topics", "apply", "--yes"]);
        world.ok(&["schemas", "register"]);
        world
    }

    fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("SLUICE_WEBHOOKS__ALLOW_HTTP", "true".to_owned()),
            (
                "SLUICE_WEBHOOKS__PORTS",
                format!("[{}]", self.receiver.address.port()),
            ),
            (
                "SLUICE_WEBHOOKS__ALLOWED_NETWORKS",
                "[\"127.0.0.1/32\"]".to_owned(),
            ),
            ("SLUICE_WEBHOOKS__ENCRYPTION_KEYS", keys(&[0])),
            ("SLUICE_EFFECTS__RETRY_TIERS", "[\"200ms\"]".to_owned()),
        ]
    }

    /// The program, with settings that win over the usual ones.
    fn run_with(&self, arguments: &[&str], settings: &[(&'static str, String)]) -> Ran {
        let mut command = self.space.sluice(arguments);
        command
            .envs(self.settings())
            .envs(settings.iter().cloned())
            .env("USER", "ada")
            .stdin(Stdio::null());
        Ran::new(&self.space, command.output().expect("sluice runs"))
    }

    fn run(&self, arguments: &[&str]) -> Ran {
        self.run_with(arguments, &[])
    }

    /// Its stdout; fails where it fails.
    fn ok(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.exit, 0, "{arguments:?}: {ran:?}");
        ran.out
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["-o", "json"]].concat();
        serde_json::from_str(&self.ok(&arguments)).expect("JSON")
    }

    /// A subscription of company-1 to orders at this path of the receiver; its id.
    fn subscribe(&self, path: &str) -> String {
        let url = self.receiver.url(path);
        let created = self.json(&[
            "webhooks",
            "create",
            "--company",
            "company-1",
            "--url",
            &url,
            "--type",
            "order.*",
        ]);
        text(&created["subscription"]["id"])
    }

    /// What delivers, and what records, for what is sent again is read from the log.
    async fn serve(&self) -> Serve {
        let settings = self.settings();
        let settings: Vec<(&str, &str)> = settings
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        let serve = Serve::start_as(&self.space, &["--roles", "audit,webhooks"], &settings);
        serve.ready().await;
        serve
    }

    /// Text with what differs from run to run named instead.
    fn plain(&self, text: &str) -> String {
        plain(&text.replace(&self.receiver.address.to_string(), "RECEIVER"))
    }
}

/// The setting of these of [`KEYS`].
fn keys(which: &[usize]) -> String {
    let keys: Vec<&str> = which.iter().map(|&index| KEYS[index]).collect();
    serde_json::to_string(&keys).expect("JSON")
}

fn text(value: &Value) -> String {
    value.as_str().expect("text").to_owned()
}

/// Ids as ID, times as TIME, durations as N ms, the numbers of a position as AT, and the white space
/// of columns as two spaces.
fn plain(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain_line).collect();
    lines.join("\n")
}

fn plain_line(line: &str) -> String {
    let named = name_all(line);
    let mut out = String::new();
    let (mut spaces, indent) = (0, named.len() - named.trim_start().len());
    out.push_str(&named[..indent]);
    for c in named[indent..].chars() {
        if c == ' ' {
            spaces += 1;
            continue;
        }
        out.push_str(match spaces {
            0 => "",
            1 => " ",
            _ => "  ",
        });
        spaces = 0;
        out.push(c);
    }
    out
}

fn name_all(line: &str) -> String {
    let mut out = String::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (name, length) = match () {
            () if rest
                .get(..36)
                .is_some_and(|id| uuid::Uuid::try_parse(id).is_ok()) =>
            {
                ("ID", 36)
            }
            () if rest.get(..27).is_some_and(is_time) => ("TIME", 27),
            () if digits > 0 && rest[digits..].starts_with(" ms") => ("N", digits),
            () if numbers(rest).is_some() => (":AT", numbers(rest).unwrap_or_default()),
            () => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
                continue;
            }
        };
        out.push_str(name);
        rest = &rest[length..];
    }
    out
}

/// How long `:4:17` or `:4:17:0` is, where the text begins so.
fn numbers(text: &str) -> Option<usize> {
    let (mut end, mut count) = (0, 0);
    while text[end..].starts_with(':') {
        let digits = text[end + 1..].bytes().take_while(u8::is_ascii_digit);
        match digits.count() {
            0 => break,
            length => (end, count) = (end + 1 + length, count + 1),
        }
    }
    (count > 1).then_some(end)
}

fn is_time(text: &str) -> bool {
    text.ends_with('Z') && text.parse::<jiff::Timestamp>().is_ok()
}

/// Every command of both, by its help.
#[test]
fn each_help_has_an_example() {
    for (command, subcommands) in [
        (
            "webhooks",
            "create list show update delete rotate test deliveries attempts redeliver recover health \
             reencrypt verify",
        ),
        ("deadletters", "list show redrive"),
    ] {
        for subcommand in subcommands.split_whitespace() {
            let output = std::process::Command::new(env!("CARGO_BIN_EXE_sluice"))
                .args([command, subcommand, "--help"])
                .output()
                .expect("sluice runs");
            let help = String::from_utf8_lossy(&output.stdout);
            let example = help.split_once("Example").map(|(_, example)| example);
            let shown = example.is_some_and(|text| text.contains(&format!("sluice {command}")));
            assert!(shown, "{command} {subcommand}: {help}");
        }
    }
}
