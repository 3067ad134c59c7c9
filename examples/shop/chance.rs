//! Chance that a seed decides: the same seed gives the same story on any machine.

use uuid::Uuid;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    /// A stream of its own for each seed and subject, so that one more draw for one order does
    /// not change the next.
    pub fn new(seed: u64, subject: &[u64]) -> Self {
        let mut state = Self(seed);
        for part in subject {
            state = Self(state.next() ^ part.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        state
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number of `low..high`.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low)
    }

    /// True in so many of a hundred cases.
    pub fn percent(&mut self, percent: u64) -> bool {
        self.range(0, 100) < percent
    }

    /// A UUID of version 7, made at a time in microseconds since the Unix epoch.
    pub fn uuid_at(&mut self, micros: i64) -> Uuid {
        let millis = u64::try_from(micros / 1_000).unwrap_or(0);
        let mut bits = [0; 10];
        let bytes = self.next().to_be_bytes().into_iter();
        for (bit, byte) in bits.iter_mut().zip(bytes.chain(self.next().to_be_bytes())) {
            *bit = byte;
        }
        uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
    }
}
