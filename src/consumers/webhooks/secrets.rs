//! Signing secrets of subscriptions: given or made, rotated, encrypted anew.

use std::time::Duration;

use uuid::Uuid;

use super::error::SubscriptionError;
use super::faults::Faults;
use super::shown::{Created, Reencrypted};
use super::subscriptions::Subscriptions;
use crate::deliver::{Secret, SecretError};
use crate::store::webhook_secrets::SecretRow;
use crate::store::{View, commit, webhook_secrets, webhook_subscriptions as store};

/// The longest that an old secret signs beside a new one.
pub const MAX_OVERLAP: Duration = Duration::from_secs(7 * 86_400);
/// Secrets of one subscription that sign at the same time, at most.
const MOST_SECRETS: usize = 4;
/// Secrets that are read at once to encrypt them anew.
const AT_ONCE: i64 = 500;

impl Subscriptions {
    /// Gives a subscription a new secret; those before it sign too, until the overlap is over.
    ///
    /// # Errors
    /// As [`Subscriptions::create`] and [`Subscriptions::get`]; the overlap is at most 7 days.
    pub async fn rotate(
        &self,
        view: &View,
        id: Uuid,
        secret: Option<&str>,
        overlap: Duration,
    ) -> Result<Created, SubscriptionError> {
        if overlap > MAX_OVERLAP {
            let expected = format!("0 to {} seconds", MAX_OVERLAP.as_secs());
            let found = overlap.as_secs().to_string();
            return Err(Faults::one("/overlapSeconds", &expected, &found));
        }
        self.get(view, id).await?;
        let secret = given_or_new(secret)?;
        let sealed = self.keys()?.seal(&secret, id.as_bytes())?;
        let mut tx = store::begin(&self.0.pool).await?;
        let found = store::locked(&mut tx, id, view.company()).await?;
        found.ok_or(SubscriptionError::NotFound)?;
        let sign = webhook_secrets::rotate(&mut tx, id, &sealed, overlap).await?;
        if usize::try_from(sign).is_ok_and(|sign| sign > MOST_SECRETS) {
            return Err(SubscriptionError::TooManySecrets(MOST_SECRETS));
        }
        commit(tx).await?;
        Ok(Created {
            subscription: self.get(view, id).await?,
            secret: secret.text(),
        })
    }

    /// Encrypts every secret with the first of the keys, and removes those that sign no more. Keys
    /// after the first may go once nothing failed.
    ///
    /// # Errors
    /// Where there is no key, or the database is away.
    pub async fn reencrypt(&self) -> Result<Reencrypted, SubscriptionError> {
        let keys = self.keys()?;
        webhook_secrets::remove_expired(&self.0.pool).await?;
        let mut done = Reencrypted::default();
        let mut after = (Uuid::nil(), 0);
        loop {
            let rows = webhook_secrets::all(&self.0.pool, after, AT_ONCE).await?;
            let Some(last) = rows.last() else {
                return Ok(done);
            };
            after = (last.subscription_id, last.number);
            for row in rows {
                let owner = row.subscription_id;
                match keys.reseal(&row.clone().sealed(), owner.as_bytes()) {
                    Ok(None) => done.unchanged += 1,
                    Ok(Some(sealed)) => {
                        webhook_secrets::reseal(&self.0.pool, &row, &sealed).await?;
                        done.changed += 1;
                    }
                    Err(error) => done.failed.push((owner, error.to_string())),
                }
            }
        }
    }

    /// The secrets that sign a subscription's deliveries now, the oldest first.
    pub(super) async fn secrets(&self, id: Uuid) -> Result<Vec<Secret>, SubscriptionError> {
        let rows = webhook_secrets::in_force(&self.0.pool, id).await?;
        rows.into_iter().map(|row| self.opened(row)).collect()
    }

    pub(super) fn opened(&self, row: SecretRow) -> Result<Secret, SubscriptionError> {
        let owner = row.subscription_id;
        Ok(self.keys()?.open(&row.sealed(), owner.as_bytes())?)
    }
}

/// The secret that its owner chose, or a new one.
pub(super) fn given_or_new(secret: Option<&str>) -> Result<Secret, SubscriptionError> {
    let Some(text) = secret else {
        let made = Secret::generate();
        return made.map_err(|error| SubscriptionError::Unavailable(error.to_string()));
    };
    Secret::parse(text).map_err(|error| {
        let found = match error {
            SecretError::Prefix => "another beginning".to_owned(),
            SecretError::Length(bytes) => format!("{bytes} bytes"),
            _ => "no base64".to_owned(),
        };
        let expected = "whsec_ and the base64 of 24 to 64 bytes";
        Faults::one("/secret", expected, &found)
    })
}
