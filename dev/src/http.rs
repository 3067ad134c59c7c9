//! HTTP over loopback, enough for a health check, a setting, a page of metrics, a call of the API or its stream of
//! events. Fails as the connection does.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
const LONGEST: u64 = 16 * 1024 * 1024;

/// An answer: its status and its body.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body as text, cut at 16 MiB.
    pub body: String,
    /// The body as it is, cut at 16 MiB.
    pub bytes: Vec<u8>,
}

/// GET `path` from `127.0.0.1:port`, within five seconds for each step.
pub fn get(port: u16, path: &str) -> io::Result<Answer> {
    request(port, "GET", path, &[], "")
}

/// PUT of a JSON body to `path` of `127.0.0.1:port`.
pub fn put(port: u16, path: &str, body: &str) -> io::Result<Answer> {
    request(
        port,
        "PUT",
        path,
        &[("Content-Type", "application/json")],
        body,
    )
}

/// A request with further headers and a body.
pub fn request(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    ask(port, method, path, headers, body)?
        .take(LONGEST)
        .read_to_end(&mut bytes)?;
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let body = end.map_or_else(Vec::new, |end| bytes.split_off(end + 4));
    let head = String::from_utf8_lossy(&bytes);
    let status = head.split_whitespace().nth(1).and_then(|s| s.parse().ok());
    let status = status.ok_or_else(|| {
        io::Error::new(io::ErrorKind::InvalidData, "no HTTP status in the answer")
    })?;
    Ok(Answer {
        status,
        body: String::from_utf8_lossy(&body).into_owned(),
        bytes: body,
    })
}

/// A stream of Server-Sent Events. Source: the HTML standard, "Server-sent events".
#[derive(Debug)]
pub struct EventStream(BufReader<TcpStream>);

impl EventStream {
    /// Asks for `path` of `127.0.0.1:port`.
    pub fn open(port: u16, path: &str, headers: &[(&str, &str)]) -> io::Result<Self> {
        let stream = ask(port, "GET", path, headers, "")?;
        let mut stream = Self(BufReader::new(stream));
        let status = stream.line()?;
        if status.split_whitespace().nth(1) != Some("200") {
            return Err(io::Error::other(status));
        }
        while !stream.line()?.is_empty() {}
        Ok(stream)
    }

    /// The data of the next event of this name, within five seconds for each line.
    pub fn next(&mut self, name: &str) -> io::Result<String> {
        let mut found = false;
        loop {
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("event", event)) => found = event == name,
                Some(("data", data)) if found => return Ok(data.to_owned()),
                _ => {}
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        let read = (&mut self.0).take(LONGEST).read_line(&mut line)?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

fn ask(
    port: u16,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &str,
) -> io::Result<TcpStream> {
    let length = body.len();
    let headers: String = headers
        .iter()
        .map(|(name, value)| format!("{name}: {value}\r\n"))
        .collect();
    let request = format!(
        "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n{body}"
    );
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(request.as_bytes())?;
    Ok(stream)
}
