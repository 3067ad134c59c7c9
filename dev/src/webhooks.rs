//! What lets a local pipeline deliver webhooks to loopback: its settings, and a key that encrypts their signing
//! secrets. Fails where the system gives no random bytes or the key cannot be kept.

use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Where the receiver of `examples/receiver` listens by default.
pub const PORT: u16 = 9000;

/// The settings for a receiver on this port of 127.0.0.1.
#[must_use]
pub fn settings(port: u16, key: &str) -> Vec<(String, String)> {
    let all = [
        ("ALLOW_HTTP", "true".to_owned()),
        ("PORTS", format!("[{port}]")),
        ("ALLOWED_NETWORKS", r#"["127.0.0.1/32"]"#.to_owned()),
        ("ENCRYPTION_KEYS", format!("[\"{key}\"]")),
    ];
    let named = |(name, value)| (format!("SLUICE_WEBHOOKS__{name}"), value);
    all.into_iter().map(named).collect()
}

/// A new key.
pub fn new_key() -> anyhow::Result<String> {
    let mut bytes = [0; 32];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(STANDARD.encode(bytes))
}

/// The key of the stack that has its data in this folder, made when it is first asked for: what it encrypted is
/// there as long as the stack's data.
pub fn kept_key(folder: &Path) -> anyhow::Result<String> {
    let path = folder.join("webhooks.key");
    if let Ok(key) = fs::read_to_string(&path) {
        return Ok(key);
    }
    let key = new_key()?;
    fs::write(&path, &key).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(key)
}
