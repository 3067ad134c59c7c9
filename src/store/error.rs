//! What can go wrong with the database, and what that means for the work that met it.

use std::borrow::Cow;

use crate::failure::FailureClass;

/// A failure of the database, or of what it holds.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The URL cannot be used.
    #[error("database.url: {0}")]
    Url(#[source] sqlx::Error),
    /// A statement or the connection failed.
    #[error("database: {}", explain(.0))]
    Database(#[from] sqlx::Error),
    /// The migrations that are there and those of this program do not fit.
    #[error("migrations: {0}")]
    Migration(String),
    /// A row holds what we never wrote.
    #[error("database: {0}")]
    Corrupt(String),
}

impl StoreError {
    /// [`FailureClass::Permanent`] where the rows themselves are refused (see
    /// [`StoreError::is_data_fault`], and 23505) or hold what we never wrote; everything else,
    /// also what we do not know, passes or is mended by an operator: pause and lose nothing.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Url(_) | Self::Corrupt(_) | Self::Migration(_) => FailureClass::Permanent,
            Self::Database(_) if self.is_data_fault() => FailureClass::Permanent,
            Self::Database(_) if self.is_unique_violation() => FailureClass::Permanent,
            Self::Database(_) => FailureClass::Transient,
        }
    }

    /// The five characters of the SQLSTATE, where the server answered with one.
    pub fn sqlstate(&self) -> Option<Cow<'_, str>> {
        self.server_error()?.code()
    }

    /// Whether one of the rows is to blame, so that it may be quarantined: class 22 (without
    /// 22P03 and 22P04, which are our own encoding), class 54, or a 23514 that names a constraint.
    pub fn is_data_fault(&self) -> bool {
        let Some(code) = self.sqlstate() else {
            return false;
        };
        match &*code {
            "22P03" | "22P04" => false,
            "23514" => self.constraint().is_some(),
            code => code.starts_with("22") || code.starts_with("54"),
        }
    }

    /// Whether a month of the log has no partition (a 23514 without a name): make it and repeat.
    pub fn is_missing_month(&self) -> bool {
        self.sqlstate().as_deref() == Some("23514") && self.constraint().is_none()
    }

    /// Whether a row is there already (23505): compare with what is there.
    pub fn is_unique_violation(&self) -> bool {
        self.sqlstate().as_deref() == Some("23505")
    }

    /// Whether the transaction lost against another one (class 40): repeat it at once.
    pub fn is_serialization_failure(&self) -> bool {
        self.sqlstate().is_some_and(|code| code.starts_with("40"))
    }

    fn constraint(&self) -> Option<&str> {
        self.server_error()?.constraint()
    }

    fn server_error(&self) -> Option<&dyn sqlx::error::DatabaseError> {
        match self {
            Self::Url(error) | Self::Database(error) => error.as_database_error(),
            Self::Corrupt(_) | Self::Migration(_) => None,
        }
    }
}

fn explain(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::PoolTimedOut => format!(
            "no connection within {} s; check that Postgres is up and that database.url is right",
            super::pool::ACQUIRE_TIMEOUT.as_secs()
        ),
        sqlx::Error::Database(server) => match server.code().as_deref() {
            Some(code @ ("42P01" | "42703")) => {
                format!("{} ({code}); run `sluice migrate`", server.message())
            }
            Some(code) => format!("{} ({code})", server.message()),
            None => server.message().to_owned(),
        },
        other => other.to_string(),
    }
}
