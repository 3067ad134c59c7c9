//! What happened to a partition while nobody read it: an operator's reset, or a loss.

use super::{ClaimError, Claimed};
use crate::broker::CommittedOffset;
use crate::store::progress::{PartitionKey, Progress};
use crate::store::resets::{self, Reset, ResetKind};
use crate::stream::member::{Commits, Member};
use crate::stream::ticket::Ticket;

/// A committed offset without our mark is an operator's reset.
pub(super) async fn honour_reset(
    member: &Member,
    ticket: &Ticket,
    key: &PartitionKey,
    progress: Progress,
    foreign: Option<&CommittedOffset>,
    (low, end): (i64, i64),
) -> Result<Progress, ClaimError> {
    let Some(committed) = foreign else {
        return Ok(progress);
    };
    ticket.found_foreign_commit();
    let honours_skips = member.policy.honours_skips;
    let Some((kind, to)) = reset_of(committed, progress, low, end, honours_skips) else {
        return Ok(progress);
    };
    let next_offset = match (kind, member.policy.commits) {
        (ResetKind::SkipRefused, _) | (ResetKind::Rewind, Commits::Lead) => progress.next_offset,
        (ResetKind::Rewind | ResetKind::Skip, _) => to,
    };
    let reset = Reset {
        kind,
        to,
        next_offset,
        metadata: &committed.metadata,
    };
    if !resets::reset(&member.pool, key, progress, &reset).await? {
        return Err(ClaimError::Overtaken);
    }
    tracing::warn!(
        group = key.group,
        topic = key.topic,
        partition = key.partition,
        kind = kind.as_str(),
        from = progress.next_offset,
        to,
        "an operator reset this group's offset"
    );
    Ok(Progress {
        next_offset,
        high_offset: progress.high_offset.max(next_offset),
        ..progress
    })
}

/// What an operator's committed offset asks for; `None` where it changes nothing.
fn reset_of(
    committed: &CommittedOffset,
    progress: Progress,
    low: i64,
    end: i64,
    honours_skips: bool,
) -> Option<(ResetKind, i64)> {
    // What Kafka no longer has cannot be read again, and beyond the end nothing is.
    let to = committed
        .offset
        .clamp(low.min(progress.next_offset), end.max(progress.next_offset));
    match to.cmp(&progress.next_offset) {
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Less => Some((ResetKind::Rewind, to)),
        std::cmp::Ordering::Greater if honours_skips => Some((ResetKind::Skip, to)),
        std::cmp::Ordering::Greater => Some((ResetKind::SkipRefused, to)),
    }
}

/// Steps over what Kafka has lost where a person acknowledged it, and halts where not.
pub(super) async fn over_loss(
    member: &Member,
    key: &PartitionKey,
    progress: Progress,
    low: i64,
    end: i64,
) -> Result<Result<Progress, Claimed>, ClaimError> {
    let next = progress.next_offset;
    if next > end {
        return Ok(Err(Claimed::Halt {
            reason: format!(
                "the group is at offset {next} and Kafka's partition ends at {end}: Kafka has lost what it acknowledged, or is an older copy"
            ),
            resolve:
                "bring back the partition's log, or delete and make the topic again and adopt it"
                    .to_owned(),
        }));
    }
    if next >= low {
        return Ok(Ok(progress));
    }
    // Below high_offset a sink processed everything; what is gone there is not lost to it.
    let lost_from = match member.policy.commits {
        Commits::Follow => next.max(progress.high_offset.min(low)),
        Commits::Lead => next,
    };
    let acknowledged =
        lost_from >= low || resets::loss_acknowledged(&member.pool, key, lost_from, low).await?;
    if !acknowledged {
        return Ok(Err(Claimed::Halt {
            reason: format!(
                "Kafka no longer has the offsets {lost_from} to {low}, which were not processed"
            ),
            resolve: format!(
                "run `sluice topics acknowledge-loss {}:{} --group {}` to go on after them",
                key.topic, key.partition, key.group
            ),
        }));
    }
    if !resets::step_over_loss(&member.pool, key, progress, low).await? {
        return Err(ClaimError::Overtaken);
    }
    Ok(Ok(Progress {
        next_offset: low,
        high_offset: progress.high_offset.max(low),
        ..progress
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stream::assignment::is_ours;

    fn committed(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            metadata: String::new(),
        }
    }

    const AT_50: Progress = Progress {
        epoch: 1,
        next_offset: 50,
        high_offset: 80,
    };

    #[test]
    fn a_foreign_commit_behind_is_a_rewind_down_to_what_kafka_has() {
        let reset = |offset| reset_of(&committed(offset), AT_50, 10, 100, false);
        assert_eq!(reset(20), Some((ResetKind::Rewind, 20)));
        assert_eq!(reset(3), Some((ResetKind::Rewind, 10)));
        assert_eq!(reset(50), None);
    }

    #[test]
    fn a_foreign_commit_ahead_is_a_skip_only_where_the_group_honours_it() {
        assert_eq!(
            reset_of(&committed(70), AT_50, 0, 100, false),
            Some((ResetKind::SkipRefused, 70))
        );
        assert_eq!(
            reset_of(&committed(700), AT_50, 0, 100, true),
            Some((ResetKind::Skip, 100))
        );
    }

    #[test]
    fn only_our_own_mark_is_ours() {
        let with = |metadata: &str| CommittedOffset {
            offset: 1,
            metadata: metadata.to_owned(),
        };
        assert!(is_ours(&with("sluice/1:7")));
        for foreign in ["", "sluice/1:", "sluice/reset:7", "sluice/1:x", "hello"] {
            assert!(!is_ours(&with(foreign)), "{foreign}");
        }
    }
}
