//! What a customer gets: an order's confirmation by mail, with the order sheet, and in the application.
//!
//! What enters is one order; what leaves is a mail in a real mail server, and the sheet as a file. A process of its own
//! tells people, after the shop: nobody needs the confirmations of 1997.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use sluice_dev::{MailServer, commands, http, ports, query};

use super::Demo;
use super::api::COMPANY;
use super::program::Program;
use super::watch::LOOK_EVERY;

/// Who orders.
const USER: &str = "demo";
const ADDRESS: &str = "demo@example.com";
/// What they order.
const ORDER: &str = r#"{"orderId":"demo-1","orderNumber":"1001","customerId":"demo","items":[
    {"productId":"cd-1","productName":"Goldberg Variations","quantity":1,"unitPrice":"14.99"},
    {"productId":"cd-2","productName":"Große Fuge, Op. 133","quantity":2,"unitPrice":"11.50"}],
    "total":"37.99","currency":"USD","status":"pending"}"#;
const MAIL_WITHIN: Duration = Duration::from_secs(30);

/// The mail server, with the mail; and who put it there.
pub struct Told {
    mail: MailServer,
    _serve: Program,
    sheet: PathBuf,
}

/// Orders, waits for the mail, and leaves the sheet in the demo's folder.
pub fn visit(demo: &Demo, key: &str) -> anyhow::Result<Told> {
    let mail = MailServer::start(&demo.folder)?;
    let serve = start(demo, &mail)?;
    let people = demo.folder.join("people.ndjson");
    let person = format!(
        r#"{{"companyId":"{COMPANY}","userId":"{USER}","email":"{ADDRESS}","name":"Demo Customer"}}"#
    );
    std::fs::write(&people, person)?;
    let path = people
        .to_str()
        .context("a folder's name that is not UTF-8")?;
    demo.step(&["users", "import", path])?;
    let since = Instant::now();
    let mut publish = demo.command("sluice");
    publish.args([
        "publish",
        "order.created",
        "--company",
        COMPANY,
        "--user",
        USER,
    ]);
    publish.args(["--data", ORDER]);
    commands::output(publish).context("`sluice publish` failed")?;
    let title = arrived(demo, since)?;
    println!(
        "  notifications: \"{title}\" reached {ADDRESS} by mail and in the application ({:.1} s after it was ordered)",
        since.elapsed().as_secs_f64()
    );
    let sheet = demo.folder.join("order-sheet.pdf");
    std::fs::write(&sheet, fetch(demo, key)?)?;
    println!("  notifications: its order sheet is {}", sheet.display());
    Ok(Told {
        mail,
        _serve: serve,
        sheet,
    })
}

fn start(demo: &Demo, mail: &MailServer) -> anyhow::Result<Program> {
    let [port] = ports::free(1)?[..] else {
        anyhow::bail!("no free port")
    };
    let mut command = demo.command("sluice");
    command.args(["serve", "--log-format", "json", "--roles", "notifications"]);
    command.env("SLUICE_HTTP__LISTEN", format!("127.0.0.1:{port}"));
    command.env(
        "SLUICE_HTTP__PUBLIC_URL",
        format!("http://127.0.0.1:{}", demo.http),
    );
    command.env(
        "SLUICE_MAIL__SMTP_URL",
        format!("smtp://127.0.0.1:{}", mail.smtp()),
    );
    command.env("SLUICE_MAIL__FROM", "The shop <shop@example.com>");
    let log = demo.folder.join("notifications.log");
    let mut serve = Program::start("sluice serve --roles notifications", command, log)?;
    demo.ready(&mut serve, port)?;
    Ok(serve)
}

/// The title, once the mail server has the mail and the person's list the notification.
fn arrived(demo: &Demo, since: Instant) -> anyhow::Result<String> {
    let sql = "SELECT min(n.title) FROM notifications n JOIN deliveries d ON split_part(d.target, '/', 2) = n.id::text
               WHERE d.status = 'delivered' HAVING count(*) = 2";
    loop {
        let title = query(&demo.stack.database_url(), sql)?.trim().to_owned();
        if !title.is_empty() {
            return Ok(title);
        }
        ensure!(
            since.elapsed() < MAIL_WITHIN,
            "no mail within {} s",
            MAIL_WITHIN.as_secs()
        );
        thread::sleep(LOOK_EVERY);
    }
}

/// The sheet, once the order is recorded.
fn fetch(demo: &Demo, key: &str) -> anyhow::Result<Vec<u8>> {
    let (since, bearer) = (Instant::now(), format!("Bearer {key}"));
    loop {
        let headers = [("Authorization", bearer.as_str())];
        let answer = http::request(
            demo.http,
            "GET",
            "/api/orders/demo-1/sheet.pdf",
            &headers,
            "",
        )?;
        if answer.status == 200 {
            return Ok(answer.bytes);
        }
        ensure!(
            since.elapsed() < MAIL_WITHIN,
            "no order sheet: {}",
            answer.body
        );
        thread::sleep(LOOK_EVERY);
    }
}

impl Told {
    /// Where a person reads it.
    pub fn print(&self) {
        println!(
            "  mail       read it by IMAP: 127.0.0.1:{}, user and password {ADDRESS}",
            self.mail.imap()
        );
        println!(
            "             or with curl imap://127.0.0.1:{}/INBOX -u {ADDRESS}:{ADDRESS} -X 'FETCH 1 BODY[TEXT]'",
            self.mail.imap()
        );
        println!("  sheet      {}", self.sheet.display());
    }
}
