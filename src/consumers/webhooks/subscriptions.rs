//! The one way to administer subscriptions, for the API and the command line.
//!
//! In: who looks ([`View`]) and what is wanted. Out: subscriptions, once with their secret; how they
//! fare; and their deliveries. What can fail is in [`SubscriptionError`].

use std::sync::Arc;

use tokio::sync::Semaphore;
use uuid::Uuid;

use super::GROUP;
use super::error::SubscriptionError;
use super::faults::Faults;
use super::secrets::given_or_new;
use super::settings::{Change, Settings};
use super::shown::{Created, Subscription};
use crate::config::Config;
use crate::consumers::audit::read::EventReader;
use crate::deliver::{Client, Keyring, SealError};
use crate::event::MAX_INDEXED_TEXT;
use crate::schema::Tree;
use crate::store::webhook_subscriptions::{self as store, SubscriptionPage};
use crate::store::{Pool, View, commit, webhook_secrets};

/// Samples that one process sends at the same time.
const TESTS: usize = 8;
/// Ranges that one process looks through at the same time.
const RECOVERIES: usize = 2;

/// The subscriptions of a database. Cheap to clone.
#[derive(Clone)]
pub struct Subscriptions(pub(super) Arc<Shared>);

pub(super) struct Shared {
    pub pool: Pool,
    /// The group, namespace included.
    pub group: String,
    pub tree: Tree,
    pub reader: EventReader,
    pub tests: Semaphore,
    pub recoveries: Semaphore,
    /// Or why there is none.
    client: Result<Client, String>,
    keys: Result<Keyring, SealError>,
    most: u32,
}

impl Subscriptions {
    /// By the settings; connects to nothing yet.
    ///
    /// # Errors
    /// Where the schemas, of which samples are made, cannot be read.
    pub fn new(config: &Config, pool: Pool) -> Result<Self, SubscriptionError> {
        Ok(Self(Arc::new(Shared {
            group: config.kafka.name(GROUP),
            tree: Tree::load(&config.registry)?,
            reader: EventReader::new(pool.clone()),
            tests: Semaphore::new(TESTS),
            recoveries: Semaphore::new(RECOVERIES),
            client: Client::new(&config.webhooks).map_err(|error| error.to_string()),
            keys: Keyring::new(&config.webhooks.encryption_keys),
            most: config.webhooks.subscriptions_per_company,
            pool,
        })))
    }

    pub(super) fn client(&self) -> Result<&Client, SubscriptionError> {
        let client = self.0.client.as_ref();
        client.map_err(|why| SubscriptionError::Unavailable(why.clone()))
    }

    pub(super) fn keys(&self) -> Result<&Keyring, SubscriptionError> {
        Ok(self.0.keys.as_ref().map_err(Clone::clone)?)
    }

    /// Makes a subscription, signed with the secret or with a new one.
    ///
    /// # Errors
    /// Where the settings do not do, the company has as many as it may have, there is no key to
    /// encrypt with, or the database is away.
    pub async fn create(
        &self,
        company: &str,
        new: Settings,
        secret: Option<&str>,
    ) -> Result<Created, SubscriptionError> {
        self.create_as(Uuid::now_v7(), company, new, secret).await
    }

    /// The same with this id. Where the company has it already, a request came again: it gets what
    /// was made.
    ///
    /// # Errors
    /// As [`Subscriptions::create`], and [`SubscriptionError::Changed`].
    pub async fn create_as(
        &self,
        id: Uuid,
        company: &str,
        new: Settings,
        secret: Option<&str>,
    ) -> Result<Created, SubscriptionError> {
        let keys = self.keys()?;
        check_company(company)?;
        let settings = new.checked(self.client()?).await;
        let secret = with_faults(&settings, given_or_new(secret))?;
        let settings = settings?;
        let sealed = keys.seal(&secret, id.as_bytes())?;
        let mut tx = store::begin(&self.0.pool).await?;
        if store::exists(&mut tx, id, company).await? {
            drop(tx);
            return self.made(company, id).await;
        }
        let count = store::count(&mut tx, company).await?;
        if count >= self.0.most.into() {
            return Err(SubscriptionError::TooMany(self.0.most));
        }
        store::insert(&mut tx, id, company, &settings, &sealed).await?;
        commit(tx).await?;
        let view = View::Company(company.to_owned());
        Ok(Created {
            subscription: self.get(&view, id).await?,
            secret: secret.text(),
        })
    }

    /// What was made with this id, for a request that comes again.
    ///
    /// # Errors
    /// [`SubscriptionError::Changed`] where it is gone or its first secret signs no more.
    pub async fn made(&self, company: &str, id: Uuid) -> Result<Created, SubscriptionError> {
        let view = View::Company(company.to_owned());
        let subscription = self.get(&view, id).await.map_err(|error| match error {
            SubscriptionError::NotFound => SubscriptionError::Changed,
            other => other,
        })?;
        let secrets = webhook_secrets::in_force(&self.0.pool, id).await?;
        let first = secrets.into_iter().find(|secret| secret.number == 1);
        let first = first.ok_or(SubscriptionError::Changed)?;
        Ok(Created {
            subscription,
            secret: self.opened(first)?.text(),
        })
    }

    /// The subscriptions of a page, the newest first.
    ///
    /// # Errors
    /// Where the database is away.
    pub async fn list(
        &self,
        view: &View,
        page: &SubscriptionPage,
    ) -> Result<Vec<Subscription>, SubscriptionError> {
        let rows = store::page(&self.0.pool, view, page).await?;
        Ok(rows.into_iter().map(Subscription::from).collect())
    }

    /// A subscription.
    ///
    /// # Errors
    /// [`SubscriptionError::NotFound`], also where it is another company's; or the database is away.
    pub async fn get(&self, view: &View, id: Uuid) -> Result<Subscription, SubscriptionError> {
        let row = store::get(&self.0.pool, view, id).await?;
        Ok(row.ok_or(SubscriptionError::NotFound)?.into())
    }

    /// Changes a subscription. Where its types or conditions change, or it is made active, only
    /// events appended from then on go there.
    ///
    /// # Errors
    /// As [`Subscriptions::create`] and [`Subscriptions::get`].
    pub async fn update(
        &self,
        view: &View,
        id: Uuid,
        change: Change,
    ) -> Result<Subscription, SubscriptionError> {
        // Before a name is looked up for who may not.
        self.get(view, id).await?;
        let change = change.checked(self.client()?).await?;
        let mut tx = store::begin(&self.0.pool).await?;
        let was = store::locked(&mut tx, id, view.company()).await?;
        let was = was.ok_or(SubscriptionError::NotFound)?;
        let now = change.applied(&was);
        if now != was {
            let begins_again = now.active && !was.active;
            let anew = begins_again
                || now.event_types != was.event_types
                || now.conditions != was.conditions;
            store::update(&mut tx, id, &now, anew, begins_again).await?;
        }
        commit(tx).await?;
        self.get(view, id).await
    }

    /// Removes a subscription. What waits for it goes to the dead letters.
    ///
    /// # Errors
    /// As [`Subscriptions::get`].
    pub async fn delete(&self, view: &View, id: Uuid) -> Result<Subscription, SubscriptionError> {
        let removed = self.get(view, id).await?;
        let mut tx = store::begin(&self.0.pool).await?;
        store::delete(&mut tx, id).await?;
        commit(tx).await?;
        Ok(removed)
    }
}

fn check_company(company: &str) -> Result<(), SubscriptionError> {
    if (1..=MAX_INDEXED_TEXT).contains(&company.len()) && !company.contains('\0') {
        return Ok(());
    }
    let expected = "1 to 512 bytes of text without U+0000";
    let found = format!("{} bytes", company.len());
    Err(Faults::one("/companyId", expected, &found))
}

/// A value, or its faults after those of the settings.
fn with_faults<T, U>(
    settings: &Result<T, SubscriptionError>,
    value: Result<U, SubscriptionError>,
) -> Result<U, SubscriptionError> {
    match (settings, value) {
        (Err(SubscriptionError::Invalid(all)), Err(SubscriptionError::Invalid(more))) => {
            let all = all.iter().cloned().chain(more);
            Err(SubscriptionError::Invalid(all.collect()))
        }
        (_, value) => value,
    }
}
