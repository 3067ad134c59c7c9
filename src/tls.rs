//! The crypto provider of every TLS connection of the process.

/// Sets it; the first to ask does, and the others find it.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
