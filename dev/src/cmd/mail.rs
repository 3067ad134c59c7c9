//! `mail`: a mail server for trying out notifications, until Ctrl-C.

use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::ensure;
use sluice_dev::{MailServer, ports, prerequisites};

use super::root;

/// Where SMTP, IMAP and the server's own API listen.
const PORTS: [u16; 3] = [2525, 2143, 2180];

pub fn run() -> anyhow::Result<ExitCode> {
    prerequisites::ensure()?;
    for port in PORTS {
        ensure!(
            ports::is_free(port),
            "port {port} is taken: end what listens there first"
        );
    }
    let mail = MailServer::start_at(&root()?.join(".dev"), PORTS)?;
    println!("  SMTP  smtp://127.0.0.1:{}", mail.smtp());
    println!(
        "  IMAP  127.0.0.1:{}, each address is a user and its own password",
        mail.imap()
    );
    println!(
        "\n  export SLUICE_MAIL__SMTP_URL=smtp://127.0.0.1:{}   leads `sluice serve` to it",
        mail.smtp()
    );
    println!("  mails are kept in memory; Ctrl-C ends it");
    while mail.server().is_running() {
        thread::sleep(Duration::from_millis(500));
    }
    Ok(ExitCode::FAILURE)
}
