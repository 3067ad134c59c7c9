//! Kafka in KRaft combined mode, one node or three: its settings, the formatting of its storage, its own tools.
//!
//! Fails where the settings cannot be written or the storage cannot be formatted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;

use crate::commands;
use crate::server::{Ready, Spec};
use crate::watchdog::Ending;

/// A Kafka id is 16 bytes in base64; these say what cluster it is.
const CLUSTER_ID: &str = "c2x1aWNlLWRldi1zdGFjaw";

/// The memory and start-up settings of every Java program here: quick to start, small, one collector thread.
pub(crate) const JAVA: [&str; 3] = [
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-Djava.net.preferIPv4Stack=true",
];

/// The ports of one node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub broker: u16,
    pub controller: u16,
}

/// Writes the settings of node `index`, formats its storage if it is not yet, and gives its [`Spec`].
pub(crate) fn prepare(
    libraries: &Path,
    folder: &Path,
    nodes: &[Node],
    index: usize,
) -> anyhow::Result<Spec> {
    let id = index + 1;
    let name = if nodes.len() == 1 {
        "kafka".to_owned()
    } else {
        format!("kafka-{id}")
    };
    let data = folder.join(&name);
    fs::create_dir_all(&data)?;
    let node = nodes.get(index).context("no such node")?;
    let settings = data.join("server.properties");
    fs::write(&settings, properties(&data, nodes, id, *node))
        .with_context(|| format!("cannot write {}", settings.display()))?;
    if !data.join("log/meta.properties").exists() {
        let mut format = java(libraries, "kafka.tools.StorageTool");
        format
            .args(["format", "--cluster-id", CLUSTER_ID, "--config"])
            .arg(&settings);
        commands::output(format).with_context(|| format!("cannot format the storage of {name}"))?;
    }
    let mut arguments = vec!["-Xmx512m".to_owned()];
    arguments.extend(JAVA.map(str::to_owned));
    arguments.extend(
        [
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
        ]
        .map(str::to_owned),
    );
    arguments.extend([
        "-cp".to_owned(),
        class_path(libraries),
        "kafka.Kafka".to_owned(),
        settings.display().to_string(),
    ]);
    Ok(Spec {
        log: folder.join(format!("{name}.log")),
        name,
        port: node.broker,
        program: "java".into(),
        arguments,
        environment: Vec::new(),
        data,
        user: None,
        ready: Ready::Log("Kafka Server started".to_owned()),
        stop_signal: libc::SIGTERM,
        ending: Ending::Kill,
    })
}

fn properties(data: &Path, nodes: &[Node], id: usize, node: Node) -> String {
    let voters: Vec<String> = (1..)
        .zip(nodes)
        .map(|(id, n)| format!("{id}@127.0.0.1:{}", n.controller))
        .collect();
    let replicas = nodes.len().min(3);
    let in_sync = if replicas == 3 { 2 } else { 1 };
    format!(
        "process.roles=broker,controller
node.id={id}
controller.quorum.voters={voters}
controller.listener.names=CONTROLLER
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
log.dirs={log}

# Nothing is made by accident.
auto.create.topics.enable=false
default.replication.factor={replicas}
min.insync.replicas={in_sync}

# Small internal topics: they are made at first use, and their number of partitions is most of that time.
offsets.topic.num.partitions=4
offsets.topic.replication.factor={replicas}
transaction.state.log.num.partitions=4
transaction.state.log.replication.factor={replicas}
transaction.state.log.min.isr={in_sync}
share.coordinator.state.topic.num.partitions=4
share.coordinator.state.topic.replication.factor={replicas}
share.coordinator.state.topic.min.isr={in_sync}
log.cleaner.dedupe.buffer.size=16777216

# A crashed member's partitions stand still for the session timeout: 45 s by default.
group.initial.rebalance.delay.ms=0
group.consumer.min.session.timeout.ms=3000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=500
group.consumer.heartbeat.interval.ms=1000

# Retention acts within a second, so that it can be seen acting.
log.retention.check.interval.ms=1000
log.initial.task.delay.ms=1000
# So does the timeout of a transaction.
transaction.abort.timed.out.transaction.cleanup.interval.ms=1000
",
        voters = voters.join(","),
        broker = node.broker,
        controller = node.controller,
        log = data.join("log").display(),
    )
}

fn class_path(libraries: &Path) -> String {
    libraries.join("*").display().to_string()
}

/// A Java program on Kafka's class path.
pub(crate) fn java(libraries: &Path, class: &str) -> Command {
    let mut command = Command::new("java");
    command
        .arg("-Xmx256m")
        .args(JAVA)
        .arg("-Dorg.slf4j.simpleLogger.defaultLogLevel=warn");
    command.args(["-cp", &class_path(libraries), class]);
    command
}

/// Kafka's own command-line tools by the names of its scripts, the classes behind them, and the option that
/// names the brokers.
const TOOLS: [(&str, &str, &str); 21] = [
    (
        "kafka-acls",
        "org.apache.kafka.tools.AclCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-broker-api-versions",
        "org.apache.kafka.tools.BrokerApiVersionsCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-cluster",
        "org.apache.kafka.tools.ClusterTool",
        "--bootstrap-server",
    ),
    (
        "kafka-configs",
        "kafka.admin.ConfigCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-console-consumer",
        "org.apache.kafka.tools.consumer.ConsoleConsumer",
        "--bootstrap-server",
    ),
    (
        "kafka-console-producer",
        "org.apache.kafka.tools.ConsoleProducer",
        "--bootstrap-server",
    ),
    (
        "kafka-consumer-groups",
        "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-consumer-perf-test",
        "org.apache.kafka.tools.ConsumerPerformance",
        "--bootstrap-server",
    ),
    (
        "kafka-delete-records",
        "org.apache.kafka.tools.DeleteRecordsCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-dump-log",
        "org.apache.kafka.tools.DumpLogSegments",
        "",
    ),
    (
        "kafka-features",
        "org.apache.kafka.tools.FeatureCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-get-offsets",
        "org.apache.kafka.tools.GetOffsetShell",
        "--bootstrap-server",
    ),
    (
        "kafka-groups",
        "org.apache.kafka.tools.GroupsCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-leader-election",
        "org.apache.kafka.tools.LeaderElectionCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-log-dirs",
        "org.apache.kafka.tools.LogDirsCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-metadata-quorum",
        "org.apache.kafka.tools.MetadataQuorumCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-producer-perf-test",
        "org.apache.kafka.tools.ProducerPerformance",
        "--bootstrap-server",
    ),
    (
        "kafka-reassign-partitions",
        "org.apache.kafka.tools.reassign.ReassignPartitionsCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-topics",
        "org.apache.kafka.tools.TopicCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-transactions",
        "org.apache.kafka.tools.TransactionsCommand",
        "--bootstrap-server",
    ),
    (
        "kafka-verifiable-producer",
        "org.apache.kafka.tools.VerifiableProducer",
        "--bootstrap-server",
    ),
];

/// One of Kafka's own tools, by its script's name with or without `kafka-` and `.sh`, against `brokers`.
///
/// Fails for a tool that is not known, with the names of those that are.
pub fn tool(
    libraries: &Path,
    brokers: &str,
    name: &str,
    arguments: &[String],
) -> anyhow::Result<Command> {
    let short = name.trim_end_matches(".sh").trim_start_matches("kafka-");
    let found = TOOLS
        .iter()
        .find(|(tool, _, _)| tool.trim_start_matches("kafka-") == short);
    let Some((_, class, option)) = found else {
        let names: Vec<&str> = TOOLS.iter().map(|t| t.0).collect();
        anyhow::bail!(
            "no Kafka tool `{name}`; there are:\n  {}",
            names.join("\n  ")
        );
    };
    let mut command = java(libraries, class);
    let given = arguments.iter().any(|argument| {
        let name = argument.split('=').next().unwrap_or_default();
        name == *option || name == "--bootstrap-controller"
    });
    let added: &[&str] = if option.is_empty() || given {
        &[]
    } else {
        &[option, brokers]
    };
    // With subcommands it stands before them, but for `kafka-cluster`.
    if short == "cluster" {
        command.args(arguments).args(added);
    } else {
        command.args(added).args(arguments);
    }
    Ok(command)
}
