//! The stack against itself: what it starts serves, survives what tests do to it, and ends with its owner.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sluice_dev::cache::Cache;
use sluice_dev::{Stack, StackOptions, commands, kafka, process, query};

fn postgres_only() -> anyhow::Result<Stack> {
    Stack::start(StackOptions {
        kafka: false,
        registry: false,
        ..StackOptions::default()
    })
}

fn tool(stack: &Stack, name: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let libraries = Cache::open()?.kafka()?;
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let mut command = kafka::tool(&libraries, &stack.brokers(), name, &arguments)?;
    command.stdin(Stdio::null());
    commands::output(command)
}

#[test]
fn postgres_keeps_its_data_through_kill_stop_and_pause() -> anyhow::Result<()> {
    let stack = postgres_only()?;
    let postgres = stack.postgres()?;
    stack.query("sluice", "CREATE TABLE kept (n int)")?;
    stack.query("sluice", "INSERT INTO kept VALUES (1)")?;

    // A backend that is busy, not waiting, is the one that outlives its postmaster.
    let url = stack.postgres_url("postgres");
    let busy = std::thread::spawn(move || {
        query(&url, "SELECT count(*) FROM generate_series(1, 1000000000)")
    });
    std::thread::sleep(Duration::from_millis(500));
    let pid = postgres.pid().context("Postgres does not run")?;
    let backends = process::descendants(pid);
    ensure!(backends.len() > 3, "only {} backends", backends.len());
    postgres.kill();
    ensure!(!postgres.is_running());
    ensure!(
        backends.iter().all(|b| !process::is_alive(*b)),
        "a backend outlived the kill"
    );
    ensure!(
        busy.join().is_ok_and(|r| r.is_err()),
        "the query survived the kill"
    );

    postgres.start()?;
    stack.query("sluice", "INSERT INTO kept VALUES (2)")?;
    postgres.stop()?;
    postgres.start()?;

    postgres.pause();
    ensure!(postgres.is_paused() && postgres.is_running());
    let url = stack.postgres_url("sluice");
    let waiting = std::thread::spawn(move || query(&url, "SELECT sum(n) FROM kept"));
    std::thread::sleep(Duration::from_millis(300));
    ensure!(!waiting.is_finished(), "a paused server answered");
    postgres.resume();
    let sum = waiting.join().map_err(|_| anyhow::anyhow!("panicked"))??;
    ensure!(sum.trim() == "3", "found {sum}");
    Ok(())
}

#[test]
fn kafka_keeps_its_data_through_kill_and_pause() -> anyhow::Result<()> {
    let stack = Stack::start(StackOptions {
        registry: false,
        postgres: false,
        ..StackOptions::default()
    })?;
    let kafka = stack.kafka()?;
    tool(
        &stack,
        "kafka-topics",
        &["--create", "--topic", "kept", "--partitions", "3"],
    )?;
    kafka.kill();
    ensure!(!kafka.is_running());
    kafka.start()?;
    kafka.pause();
    ensure!(kafka.is_paused());
    kafka.resume();
    let listed = tool(&stack, "topics", &["--list"])?;
    ensure!(listed.lines().any(|l| l == "kept"), "found only: {listed}");
    kafka.stop()?;
    Ok(())
}

fn names(processes: &[u32]) -> BTreeSet<String> {
    let name = |p: &u32| std::fs::read_to_string(format!("/proc/{p}/comm")).ok();
    processes
        .iter()
        .filter_map(name)
        .map(|n| n.trim().to_owned())
        .collect()
}

/// `kill -9` of the owner: servers, backends, the command and the temporary folder all go.
#[test]
fn a_killed_owner_leaves_nothing_behind() -> anyhow::Result<()> {
    let mut owner = Command::new(env!("CARGO_BIN_EXE_sluice-dev"))
        .args(["run", "--", "sh", "-c", "sleep 600 & echo ready; wait"])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().context("no output")?).read_line(&mut line)?;
    let expected = ["java", "postgres", "sh", "sleep"];
    let deadline = Instant::now() + Duration::from_secs(10);
    // Between fork and exec a process still has its parent's name.
    let (owned, found) = loop {
        let owned = process::descendants(owner.id());
        let found = names(&owned);
        if expected.iter().all(|n| found.contains(*n)) || Instant::now() > deadline {
            break (owned, found);
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let folders: BTreeSet<_> = owned
        .iter()
        .filter_map(|p| std::fs::read_link(format!("/proc/{p}/cwd")).ok())
        .filter(|d| d.to_string_lossy().contains("sluice-dev-"))
        .collect();
    let sweeps = |p: &u32| {
        let line = std::fs::read_to_string(format!("/proc/{p}/cmdline"));
        line.is_ok_and(|line| line.contains("postmasters"))
    };
    let (sweepers, owned): (Vec<u32>, Vec<u32>) = owned.into_iter().partition(sweeps);
    owner.kill()?;
    owner.wait()?;
    ensure!(line.trim() == "ready", "the owner said {line:?}");
    ensure!(
        expected.iter().all(|n| found.contains(*n)),
        "owned only {found:?}"
    );
    ensure!(sweepers.len() == 1, "owned {sweepers:?}");
    let left = |processes: &[u32], patience| {
        let stays = |p: &&u32| !process::wait_exited(**p, patience);
        let staying: Vec<u32> = processes.iter().filter(stays).copied().collect();
        names(&staying)
    };
    let stay = left(&owned, Duration::from_secs(10));
    ensure!(stay.is_empty(), "these are left: {stay:?}");
    // On a disk that is busy, removing the folders takes longer than ending whoever wrote them.
    let stay = left(&sweepers, Duration::from_secs(30));
    ensure!(stay.is_empty(), "the folders are still being removed");
    ensure!(
        folders.len() >= 3 && folders.iter().all(|f| !f.exists()),
        "left behind: {folders:?}"
    );
    Ok(())
}

#[test]
fn a_server_that_does_not_come_up_says_why() -> anyhow::Result<()> {
    let stack = postgres_only()?;
    let postgres = stack.postgres()?;
    postgres.stop()?;
    std::fs::write(
        postgres.data_path().join("postgresql.conf"),
        "no_such_setting = 1\n",
    )?;
    let error = postgres
        .start()
        .err()
        .context("it started with a wrong setting")?;
    ensure!(
        format!("{error:#}").contains("no_such_setting"),
        "{error:#}"
    );
    Ok(())
}
