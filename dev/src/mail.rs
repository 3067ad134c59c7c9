//! The mail server: GreenMail, which takes every message by SMTP and gives it back by IMAP.
//!
//! It keeps nothing but in memory, so a test that needs one starts its own.

use std::fs;
use std::path::Path;

use anyhow::Context;

use crate::cache::Cache;
use crate::kafka::JAVA;
use crate::ports;
use crate::server::{Ready, Server, Spec};
use crate::watchdog::Ending;

/// A running mail server.
#[derive(Debug)]
pub struct MailServer {
    server: Server,
    smtp: u16,
    imap: u16,
}

impl MailServer {
    /// Fetches GreenMail where it is missing, starts it and waits until it serves.
    ///
    /// Fails where it cannot be fetched or does not come up.
    pub fn start(folder: &Path) -> anyhow::Result<Self> {
        let free = ports::free(3)?.try_into();
        Self::start_at(folder, free.ok().context("too few ports")?)
    }

    /// The same at these ports: of SMTP, of IMAP, and of the server's own API.
    ///
    /// Fails as [`MailServer::start`].
    pub fn start_at(folder: &Path, [smtp, imap, api]: [u16; 3]) -> anyhow::Result<Self> {
        let jar = Cache::open()?.greenmail()?;
        let data = folder.join("mail");
        fs::create_dir_all(&data)?;
        let mut arguments = vec!["-Xmx512m".to_owned()];
        arguments.extend(JAVA.map(str::to_owned));
        arguments.extend([
            format!("-Dgreenmail.smtp.port={smtp}"),
            format!("-Dgreenmail.imap.port={imap}"),
            format!("-Dgreenmail.api.port={api}"),
            "-Dgreenmail.hostname=127.0.0.1".to_owned(),
            // Any address is a mailbox, and its password is its name.
            "-Dgreenmail.auth.disabled".to_owned(),
            "-jar".to_owned(),
            jar.display().to_string(),
        ]);
        let server = Server::new(
            Spec {
                name: "mail".to_owned(),
                port: api,
                program: "java".into(),
                arguments,
                environment: Vec::new(),
                data,
                log: folder.join("mail.log"),
                user: None,
                ready: Ready::Http("/api/service/readiness".to_owned()),
                stop_signal: libc::SIGTERM,
                ending: Ending::Kill,
            },
            false,
        );
        if let Err(error) = server.start() {
            server.kill();
            return Err(error);
        }
        Ok(Self { server, smtp, imap })
    }

    /// The process.
    #[must_use]
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// The port of SMTP.
    #[must_use]
    pub fn smtp(&self) -> u16 {
        self.smtp
    }

    /// The port of IMAP.
    #[must_use]
    pub fn imap(&self) -> u16 {
        self.imap
    }
}

impl Drop for MailServer {
    fn drop(&mut self) {
        self.server.kill();
    }
}
