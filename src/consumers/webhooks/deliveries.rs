//! What became of a subscription's events.

use uuid::Uuid;

use super::error::SubscriptionError;
use super::shown::{DeliveryHistory, Health};
use super::subscriptions::Subscriptions;
use crate::store::deliveries::listed::{self, AttemptPage, ListedPage};
use crate::store::webhook_subscriptions::{self as store, SubscriptionRow};
use crate::store::{View, webhook_counts};
use crate::stream::dead_letters::with_kinds;
use crate::stream::deliveries::{AttemptReport, DeliveryId, DeliveryReport};

/// Subscriptions whose health is shown at once, at most.
const MOST_HEALTH: i64 = 1_000;

impl Subscriptions {
    /// How the active subscriptions fare, those that fail for the longest first; at most 1,000.
    ///
    /// # Errors
    /// Where the database is away, or it takes too long.
    pub async fn health(&self, view: &View) -> Result<Vec<Health>, SubscriptionError> {
        let rows = store::active(&self.0.pool, view, MOST_HEALTH).await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let counted = webhook_counts::health(&self.0.pool, view, &ids).await?;
        let health = |row: SubscriptionRow| {
            let counted = counted.iter().find(|found| found.subscription_id == row.id);
            Health::of(row, counted)
        };
        Ok(rows.into_iter().map(health).collect())
    }

    /// The deliveries of a page, the newest first.
    ///
    /// # Errors
    /// As [`Subscriptions::get`].
    pub async fn deliveries(
        &self,
        view: &View,
        id: Uuid,
        page: &ListedPage,
    ) -> Result<Vec<DeliveryReport>, SubscriptionError> {
        self.get(view, id).await?;
        let (pool, group) = (&self.0.pool, &self.0.group);
        let rows = listed::page(pool, view, group, &id.to_string(), page).await?;
        Ok(rows.into_iter().map(DeliveryReport::from).collect())
    }

    /// A delivery with its attempts, and with all runs of its record.
    ///
    /// # Errors
    /// As [`Subscriptions::get`], and [`SubscriptionError::NoSuchDelivery`].
    pub async fn delivery(
        &self,
        view: &View,
        id: Uuid,
        delivery: &DeliveryId,
    ) -> Result<DeliveryHistory, SubscriptionError> {
        self.get(view, id).await?;
        let (pool, group) = (&self.0.pool, &self.0.group);
        let key = delivery.key(&id.to_string());
        let row = listed::one(pool, view, group, &key).await?;
        let row = row.ok_or(SubscriptionError::NoSuchDelivery)?;
        let attempts = listed::attempts_of(pool, view, group, &key).await?;
        let runs = listed::runs(pool, view, group, &key).await?;
        Ok(DeliveryHistory {
            delivery: row.into(),
            attempts: attempts.into_iter().map(AttemptReport::from).collect(),
            runs: with_kinds(pool, runs).await?,
        })
    }

    /// The attempts of a page: those of the newest delivery first.
    ///
    /// # Errors
    /// As [`Subscriptions::get`].
    pub async fn attempts(
        &self,
        view: &View,
        id: Uuid,
        page: &AttemptPage,
    ) -> Result<Vec<AttemptReport>, SubscriptionError> {
        self.get(view, id).await?;
        let (pool, group) = (&self.0.pool, &self.0.group);
        let rows = listed::attempts(pool, view, group, &id.to_string(), page).await?;
        Ok(rows.into_iter().map(AttemptReport::from).collect())
    }
}
