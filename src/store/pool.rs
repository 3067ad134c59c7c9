//! The pool of connections.

use std::time::Duration;

use secrecy::ExposeSecret;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{Connection, Executor, PgPool, Row};

use super::{StoreError, nodelay};
use crate::config::Config;
use crate::event::TypeFilter;

/// How long a caller waits for a connection.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that was lent within this time is taken to be alive.
const IN_STEADY_USE: Duration = Duration::from_millis(500);

/// A pool that connects when first asked, so that it can be had while Postgres is away.
/// `application_name` is what the connections are for; Postgres shows `sluice <name>`.
///
/// # Errors
/// [`StoreError::Url`] where the URL cannot be read.
pub fn connect(config: &Config, application_name: &str) -> Result<PgPool, StoreError> {
    let database = &config.database;
    let security_types = patterns(&config.audit.security_types);
    let options: PgConnectOptions = database
        .url
        .expose_secret()
        .parse()
        .map_err(StoreError::Url)?;
    let options = options.application_name(&format!("sluice {application_name}"));
    let port = options.get_port();
    Ok(PgPoolOptions::new()
        .max_connections(database.max_connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .test_before_acquire(false)
        .after_connect(move |connection, _| {
            nodelay::set_for_port(port);
            Box::pin(tell_security_types(connection, security_types.clone()))
        })
        .before_acquire(|connection, meta| Box::pin(is_alive(connection, meta.idle_for)))
        .after_release(|connection, _| Box::pin(outside_transaction(connection)))
        .connect_lazy_with(options))
}

/// For the trigger of `event_log`, which marks events of these types.
async fn tell_security_types(
    connection: &mut PgConnection,
    patterns: String,
) -> Result<(), sqlx::Error> {
    sqlx::query("SELECT set_config('sluice.security_types', $1, false)")
        .bind(patterns)
        .execute(connection)
        .await?;
    Ok(())
}

/// Patterns of LIKE, with commas between them; the types have neither commas nor percent signs.
fn patterns(types: &[TypeFilter]) -> String {
    let pattern = |filter: &TypeFilter| match filter {
        TypeFilter::All => "%".to_owned(),
        TypeFilter::Domain(domain) => format!("{}.%", domain.replace('_', "\\_")),
        TypeFilter::Exact(name) => name.replace('_', "\\_"),
    };
    // An empty setting would mean the default.
    let all: Vec<String> = types.iter().map(pattern).collect();
    if all.is_empty() {
        ",".to_owned()
    } else {
        all.join(",")
    }
}

/// Whether a connection may be lent. When Postgres has been away every idle one is dead, and a
/// borrower that met them one by one would back off between them; those in steady use are not
/// asked, for that costs a round trip.
async fn is_alive(connection: &mut PgConnection, idle: Duration) -> Result<bool, sqlx::Error> {
    if idle >= IN_STEADY_USE {
        connection.ping().await?;
    }
    Ok(true)
}

/// Whether a connection that comes back may be used again; the pool closes it otherwise.
///
/// A `begin` that was cancelled leaves the session inside a transaction of which sqlx 0.9 knows
/// nothing, and the next borrower's writes would be lost with it (sqlx#4393). In a simple query
/// outside any transaction the two clocks are one value; inside one, the transaction is older.
async fn outside_transaction(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = connection
        .fetch_one(sqlx::raw_sql("SELECT now() = statement_timestamp()"))
        .await?;
    row.try_get(0)
}
