//! `effects.*`: what every group whose effect lies outside shares, such as its retries.

use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The groups whose effect lies outside that are part of this program.
const BUILT_IN_GROUPS: [&str; 2] = ["sluice.webhooks", "sluice.notifications"];
/// Those of them that have a topic of their own between two steps.
const QUEUED_GROUPS: [&str; 1] = ["sluice.notifications"];

/// `effects.*`
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Effects {
    /// Delays of the retry topics, ascending; one topic each, `<group id>.retry.<tier>`.
    pub retry_tiers: Vec<Tier>,
    /// Groups of one's own, beside the built-in ones, whose retry and dead-letter topics
    /// `sluice topics apply` makes; without the namespace.
    pub groups: Vec<String>,
    /// Deliveries of one group in one process at the same time, waiting ones included; a large one
    /// counts once for each 16 KiB.
    pub in_flight: usize,
    /// Attempts to one target in one process at the same time.
    pub in_flight_per_target: usize,
    /// How long a delivery waits in the process for a slow target before it goes to a retry
    /// topic, in milliseconds.
    pub patience_millis: u64,
    /// How long a delivery may be put off by overflow and the like since it first was, in hours;
    /// then it is dead with class `expired`.
    pub expire_hours: u64,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            retry_tiers: [5, 30, 120, 600, 3_600, 21_600]
                .map(|seconds| Tier(Duration::from_secs(seconds)))
                .into(),
            groups: Vec::new(),
            in_flight: 4_000,
            in_flight_per_target: 32,
            patience_millis: 500,
            expire_hours: 72,
        }
    }
}

/// The longest delay of a tier: retry topics keep 14 days.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3_600);
const MOST: usize = 16;

impl Effects {
    /// Every group that has retry and dead-letter topics, without the namespace.
    pub fn all_groups(&self) -> impl Iterator<Item = &str> {
        let own = self.groups.iter().map(String::as_str);
        BUILT_IN_GROUPS.into_iter().chain(own)
    }

    /// Whether a group (without the namespace) has a topic between two of its steps.
    pub fn has_queue(&self, group: &str) -> bool {
        QUEUED_GROUPS.contains(&group)
    }

    /// What is wrong with it, if anything.
    pub(super) fn fault(&self) -> Option<String> {
        let delays: Vec<Duration> = self.retry_tiers.iter().map(|tier| tier.0).collect();
        if delays.is_empty() || delays.len() > MOST || !delays.is_sorted_by(|a, b| a < b) {
            return Some(format!(
                "effects.retry_tiers: name 1 to {MOST} delays, each longer than the one before"
            ));
        }
        if delays.iter().any(|delay| *delay > LONGEST) {
            return Some("effects.retry_tiers: at most 168h".to_owned());
        }
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let wrong =
            |name: &&String| name.is_empty() || name.len() > 100 || !name.bytes().all(allowed);
        if let Some(name) = self.groups.iter().find(wrong) {
            return Some(format!(
                "effects.groups: '{name}' is not 1 to 100 of letters, digits, '.', '_' and '-'"
            ));
        }
        let built_in = |name: &&String| BUILT_IN_GROUPS.contains(&name.as_str());
        self.groups.iter().find(built_in).map(|name| {
            format!("effects.groups: '{name}' is built in; name only groups of your own")
        })
    }
}

/// The delay of a retry topic, written as it is named: `5s`, `2m`, `6h`; in tests also `200ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tier(pub Duration);

const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("ms", 1), ("m", 60_000), ("s", 1_000)];

impl std::str::FromStr for Tier {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
        let (number, unit) = text.split_at(digits);
        let millis = UNITS.iter().find(|(name, _)| *name == unit);
        let number = number.parse::<u64>().ok().filter(|n| *n > 0);
        match (number, millis) {
            (Some(number), Some((_, millis))) => {
                Ok(Self(Duration::from_millis(number.saturating_mul(*millis))))
            }
            _ => Err(format!("'{text}' is no delay; write it as 5s, 2m or 6h")),
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let millis = self.0.as_millis() as u64;
        // In the largest unit of which it is a whole number.
        let unit = ["h", "m", "s", "ms"].iter().find_map(|unit| {
            let (_, size) = UNITS.iter().find(|(name, _)| name == unit)?;
            millis
                .is_multiple_of(*size)
                .then_some((unit, millis / size))
        });
        match unit {
            Some((unit, number)) => write!(f, "{number}{unit}"),
            None => write!(f, "{millis}ms"),
        }
    }
}

impl<'de> Deserialize<'de> for Tier {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        String::deserialize(from)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

impl Serialize for Tier {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiers_are_named_as_they_are_written() {
        let names: Vec<String> = Effects::default()
            .retry_tiers
            .iter()
            .map(Tier::to_string)
            .collect();
        assert_eq!(names, ["5s", "30s", "2m", "10m", "1h", "6h"]);
        for text in ["200ms", "90s", "168h"] {
            assert_eq!(text.parse::<Tier>().unwrap().to_string(), text);
        }
        for text in ["", "5", "s", "0s", "5 s", "-5s", "5d"] {
            assert!(text.parse::<Tier>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_group_of_ones_own_is_not_a_built_in_one() {
        let with = |group: &str| Effects {
            groups: vec![group.to_owned()],
            ..Effects::default()
        };
        assert_eq!(with("shop.notes").fault(), None);
        let groups = with("shop.notes");
        assert_eq!(
            groups.all_groups().collect::<Vec<_>>(),
            ["sluice.webhooks", "sluice.notifications", "shop.notes"]
        );
        assert!(
            with("sluice.webhooks")
                .fault()
                .unwrap()
                .contains("built in")
        );
        assert!(with("a b").fault().is_some());
    }

    #[test]
    fn tiers_ascend() {
        let with = |tiers: &[&str]| Effects {
            retry_tiers: tiers.iter().map(|t| t.parse().unwrap()).collect(),
            ..Effects::default()
        };
        assert_eq!(with(&["1s", "2s"]).fault(), None);
        for wrong in [&[] as &[&str], &["2s", "1s"], &["1s", "1s"], &["200h"]] {
            assert!(with(wrong).fault().is_some(), "{wrong:?}");
        }
    }
}
