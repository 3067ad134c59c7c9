//! Dead letters of every effect group: what was not done, why, and doing it again.
//!
//! In: who looks, which letters, and what to do again how fast. Out: groups by target and reason,
//! letters with their history, and how many were sent again. What can fail: the database, an id
//! that names nothing, and more than one call may send again.

use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

use super::deliveries::{AttemptReport, DeliveryReport, LetterId};
use crate::config::Config;
use crate::failure::FailureClass;
use crate::store::deliveries::dead::{self, DeadFilter, DeadGroup, DeadPlace, DeadSelection};
use crate::store::deliveries::listed::{self, Listed};
use crate::store::deliveries::resend;
use crate::store::{Micros, Pool, StoreError, View};

/// Letters that one call names, at most.
pub const MOST_NAMED: usize = 1_000;
/// Letters that one call sends again, at most.
pub const MOST_REDRIVEN: i64 = 100_000;
/// Groups that are shown, at most: those of the most letters.
const MOST_GROUPS: i64 = 500;

/// Why dead letters are not shown or sent again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeadLetterError {
    /// No such letter that the caller may see, or it is no dead letter any more.
    #[error("there is no such dead letter")]
    NotFound,
    /// More than one call may send again.
    #[error(
        "more than {MOST_REDRIVEN} dead letters are selected; narrow it by a class, a type or a time"
    )]
    TooMany,
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DeadLetterError {
    /// The database's own class; the others stay as they are.
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Store(error) => error.class(),
            Self::NotFound | Self::TooMany => FailureClass::Permanent,
        }
    }
}

/// Which dead letters; what is left empty selects all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LetterFilter {
    /// Only of this group, without the namespace.
    pub group: Option<String>,
    /// Only for this target.
    pub target: Option<String>,
    /// Only of this class.
    pub class: Option<String>,
    /// Only of this event type.
    pub event_type: Option<String>,
    /// Only those that became dead at or after this time.
    pub since: Option<Micros>,
    /// Only those that became dead before this time.
    pub until: Option<Micros>,
}

/// A page of dead letters.
#[derive(Clone, Debug, Default)]
pub struct LetterPage {
    /// Which.
    pub filter: LetterFilter,
    /// Only what comes after this letter: when it became dead, and its id.
    pub after: Option<(Micros, LetterId)>,
    /// At most so many.
    pub limit: i64,
}

/// What to send again.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, at most [`MOST_NAMED`]; those that are no dead letters any more are left out.
    These(Vec<LetterId>),
    /// All that the filter selects, at most [`MOST_REDRIVEN`].
    All(LetterFilter),
}

/// A dead letter.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DeadLetter {
    /// Its id among all groups.
    #[schema(value_type = String, example = "2a2b7e8c-4c0f-4f6f-8b57-0c1d2e3f4a5b:3:41:0:sluice.webhooks:0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
    pub id: LetterId,
    /// The group that did not succeed.
    #[schema(example = "sluice.webhooks")]
    pub group: String,
    /// For whom; of webhooks the subscription's id.
    #[schema(example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
    pub target: String,
    /// For which company.
    #[schema(example = "c1")]
    pub company_id: Option<String>,
    /// The delivery.
    pub delivery: DeliveryReport,
}

/// Dead letters of one target with one reason.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LetterGroup {
    /// The group that did not succeed.
    #[schema(example = "sluice.webhooks")]
    pub group: String,
    /// For whom; of webhooks the subscription's id.
    #[schema(example = "0199a0b2-6f3b-7c52-9d41-5b0e2f7a1c33")]
    pub target: String,
    /// The reason.
    #[schema(example = "server_error")]
    pub class: Option<String>,
    /// How many.
    #[schema(example = 214)]
    pub count: i64,
    /// When the oldest became dead.
    #[schema(value_type = String, example = "2026-01-31T20:00:00.100000Z")]
    pub oldest: Micros,
    /// When the newest became dead.
    #[schema(value_type = String, example = "2026-01-31T23:10:00.200000Z")]
    pub newest: Micros,
    /// The newest of them.
    pub example: DeadLetter,
}

/// A run that sent the same record to the same target.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunReport {
    /// `live`, `redeliver` or `recover`.
    #[schema(example = "live")]
    pub kind: String,
    /// What became of it.
    pub delivery: DeliveryReport,
}

/// A dead letter with its history.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct LetterHistory {
    /// The letter.
    pub letter: DeadLetter,
    /// Its attempts in their order, also those before it was sent again; the newest 200.
    pub attempts: Vec<AttemptReport>,
    /// Every run that sent this record to this target, the newest first.
    pub runs: Vec<RunReport>,
}

/// The dead letters of a database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct DeadLetters {
    pool: Pool,
    namespace: String,
}

impl DeadLetters {
    /// Those of the settings' namespace.
    pub fn new(config: &Config, pool: Pool) -> Self {
        Self {
            pool,
            namespace: config.kafka.namespace.clone(),
        }
    }

    /// By group, target and reason, the most first; at most 500.
    ///
    /// # Errors
    /// Where Postgres is away, or it takes too long.
    pub async fn groups(
        &self,
        view: &View,
        filter: &LetterFilter,
    ) -> Result<Vec<LetterGroup>, DeadLetterError> {
        let filter = self.filter(view, filter);
        let groups = dead::groups(&self.pool, view, &filter, MOST_GROUPS).await?;
        Ok(groups.into_iter().map(|group| self.group(group)).collect())
    }

    /// The letters of a page, those that became dead last first.
    ///
    /// # Errors
    /// Where Postgres is away, or it takes too long.
    pub async fn list(
        &self,
        view: &View,
        page: &LetterPage,
    ) -> Result<Vec<DeadLetter>, DeadLetterError> {
        let filter = self.filter(view, &page.filter);
        let after = page.after.as_ref().map(|(updated_at, id)| DeadPlace {
            updated_at: *updated_at,
            group: self.group_id(&id.group),
            key: id.delivery.key(&id.target),
        });
        let rows = dead::dead(&self.pool, view, &filter, after.as_ref(), page.limit).await?;
        Ok(rows.into_iter().map(|row| self.letter(row)).collect())
    }

    /// A letter with its attempts and with all runs of its record.
    ///
    /// # Errors
    /// [`DeadLetterError::NotFound`], or where Postgres is away.
    pub async fn show(&self, view: &View, id: &LetterId) -> Result<LetterHistory, DeadLetterError> {
        let (group, key) = (self.group_id(&id.group), id.delivery.key(&id.target));
        let runs = listed::runs(&self.pool, view, &group, &key).await?;
        let row = runs.iter().find(|row| row.run == key.run);
        let is_dead = |row: &&Listed| row.status == "dead";
        let row = row.filter(is_dead).ok_or(DeadLetterError::NotFound)?;
        let letter = self.letter(row.clone());
        let attempts = listed::attempts_of(&self.pool, view, &group, &key).await?;
        Ok(LetterHistory {
            letter,
            attempts: attempts.into_iter().map(AttemptReport::from).collect(),
            runs: with_kinds(&self.pool, runs).await?,
        })
    }

    /// How many letters are selected.
    ///
    /// # Errors
    /// [`DeadLetterError::TooMany`], or where Postgres is away or it takes too long.
    pub async fn count(&self, view: &View, selection: &Selection) -> Result<u64, DeadLetterError> {
        let selection = self.selection(view, selection);
        let count = dead::count(&self.pool, view, &selection, MOST_REDRIVEN + 1).await?;
        match count {
            count if count > MOST_REDRIVEN => Err(DeadLetterError::TooMany),
            count => Ok(u64::try_from(count).unwrap_or_default()),
        }
    }

    /// Sends the selected letters again, the oldest first, at most `rate` a second, and says how
    /// many. Each goes on where it ended: what fails again without an attempt left returns to the
    /// dead letters with its history.
    ///
    /// # Errors
    /// As [`DeadLetters::count`].
    pub async fn redrive(
        &self,
        view: &View,
        selection: &Selection,
        rate: Option<NonZeroU32>,
    ) -> Result<u64, DeadLetterError> {
        // What the view does not see is not counted, so that this asks it first.
        if self.count(view, selection).await? == 0 || view.is_member() {
            return Ok(0);
        }
        let step = rate.map_or(Duration::ZERO, |rate| Duration::from_secs(1) / rate.get());
        let selection = self.selection(view, selection);
        Ok(dead::redrive(&self.pool, &selection, step, MOST_REDRIVEN).await?)
    }

    fn selection(&self, view: &View, selection: &Selection) -> DeadSelection {
        match selection {
            Selection::All(filter) => DeadSelection::All(self.filter(view, filter)),
            Selection::These(ids) => DeadSelection::These {
                letters: ids
                    .iter()
                    .take(MOST_NAMED)
                    .map(|id| (self.group_id(&id.group), id.delivery.key(&id.target)))
                    .collect(),
                company: view.company().map(str::to_owned),
            },
        }
    }

    fn filter(&self, view: &View, filter: &LetterFilter) -> DeadFilter {
        DeadFilter {
            namespace: self.namespace.clone(),
            group: filter.group.as_deref().map(|group| self.group_id(group)),
            target: filter.target.clone(),
            class: filter.class.clone(),
            event_type: filter.event_type.clone(),
            company: view.company().map(str::to_owned),
            since: filter.since,
            until: filter.until,
        }
    }

    /// A group's name in Kafka and in the tables.
    fn group_id(&self, name: &str) -> String {
        format!("{}{name}", self.namespace)
    }

    fn letter(&self, row: Listed) -> DeadLetter {
        let bare = row.group.strip_prefix(&self.namespace);
        let group = bare.unwrap_or(&row.group).to_owned();
        let (target, company_id) = (row.target.clone(), row.company_id.clone());
        let delivery = DeliveryReport::from(row);
        DeadLetter {
            id: LetterId {
                delivery: delivery.id,
                group: group.clone(),
                target: target.clone(),
            },
            group,
            target,
            company_id,
            delivery,
        }
    }

    fn group(&self, found: DeadGroup) -> LetterGroup {
        let example = self.letter(found.example);
        LetterGroup {
            group: example.group.clone(),
            target: example.target.clone(),
            class: example.delivery.class.clone(),
            count: found.count,
            oldest: found.oldest,
            newest: found.newest,
            example,
        }
    }
}

impl DeadLetter {
    /// Where it stands in a list.
    pub fn place(&self) -> (Micros, LetterId) {
        (self.delivery.updated_at, self.id.clone())
    }
}

/// Deliveries of one record, each with the kind of its run.
///
/// # Errors
/// Where Postgres is away.
pub async fn with_kinds(pool: &Pool, rows: Vec<Listed>) -> Result<Vec<RunReport>, StoreError> {
    let ids: Vec<i64> = rows.iter().map(|row| row.run).collect();
    let runs = resend::runs(pool, &ids).await?;
    let kind = |run: i64| {
        let found = runs.iter().find(|found| found.id == run);
        found.map_or_else(|| "live".to_owned(), |found| found.kind.clone())
    };
    let report = |row: Listed| RunReport {
        kind: kind(row.run),
        delivery: row.into(),
    };
    Ok(rows.into_iter().map(report).collect())
}
