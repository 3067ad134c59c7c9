//! Running the program in a test's space, and what it said.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use sluice::config::Kafka;

use crate::support::Space;

/// Settings of Kafka in a space.
pub fn kafka(space: &Space) -> Kafka {
    Kafka {
        brokers: space.servers.brokers.clone(),
        namespace: space.namespace.clone(),
        ..Kafka::default()
    }
}

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ran {
    /// Exit status.
    pub exit: i32,
    /// Data, with the namespace written as `NS.`.
    pub out: String,
    /// Messages, likewise.
    pub err: String,
}

impl Ran {
    /// How it ended.
    pub fn new(space: &Space, output: Output) -> Self {
        let text = |bytes: Vec<u8>| {
            String::from_utf8(bytes)
                .unwrap()
                .replace(&space.namespace, "NS.")
        };
        Self {
            exit: output.status.code().unwrap_or(-1),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }
}

/// Runs the program to its end, without a terminal.
pub fn run(space: &Space, args: &[&str]) -> Ran {
    let mut command = space.sluice(args);
    command.env("USER", "ada").stdin(Stdio::null());
    Ran::new(space, command.output().unwrap())
}

/// Runs the program with this on its stdin.
pub fn run_with_input(space: &Space, args: &[&str], input: &str) -> Ran {
    let mut child = piped(space.sluice(args)).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    // The program may stop reading early; what it says of that is what the test is after.
    let writer = std::thread::spawn(move || drop(stdin.write_all(input.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Ran::new(space, output)
}

fn piped(mut command: Command) -> Command {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}
