//! The proof before a month is dropped: the file, read back from disk, row by row against the
//! database's rows in the same snapshot and against each row's own hash.

use std::collections::BTreeSet;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::ArchiveError;
use super::line::Line;
use super::manifest::Section;
use super::read::{FrameReader, check_file};
use super::write::write_line;
use crate::store::archiving::Tally;
use crate::store::event_log::Month;

/// What a file was found to hold.
#[derive(Debug, Default)]
pub struct Verified {
    /// Its rows, as the drop compares them.
    pub tally: Tally,
    /// SHA-256 over the record hashes in order.
    pub digest: [u8; 32],
    /// The schemas that its rows need.
    pub fingerprints: BTreeSet<Vec<u8>>,
}

/// Reads the whole file back and compares it with what `next` gives from the database.
///
/// # Errors
/// What differs, and where.
pub fn verify<L: Line>(
    path: &Path,
    section: Option<&Section>,
    month: Month,
    mut next: impl FnMut() -> Result<Option<L>, ArchiveError>,
) -> Result<Verified, ArchiveError> {
    let mut digest = Sha256::new();
    let mut verified = Verified::default();
    let mut expected = Vec::new();
    if let Some(section) = section {
        check_file(path, section)?;
        for frame in &section.partitions {
            let mut reader = FrameReader::<L>::open(path, frame)?;
            while let Some((row, line)) = reader.next_row()? {
                let Some(held) = next()? else {
                    return Err(ArchiveError::differs(path, "a row that the log has not"));
                };
                write_line(&held, &mut expected)
                    .map_err(|what| ArchiveError::differs(path, what))?;
                if line != expected {
                    let what = format!("{} is not as in {}", place(&row), L::TABLE);
                    return Err(ArchiveError::differs(path, what));
                }
                let hash = proven_hash(&row, month)?;
                digest.update(hash);
                verified.tally.add(&hash);
                if let Some(fingerprint) = row.fingerprint()
                    && !verified.fingerprints.contains(fingerprint)
                {
                    verified.fingerprints.insert(fingerprint.to_vec());
                }
            }
        }
        if digest.clone().finalize().as_slice() != section.digest.0 {
            let what = "the digest over its hashes is not the one in the manifest";
            return Err(ArchiveError::differs(path, what));
        }
    }
    if let Some(held) = next()? {
        let what = format!("{} is in {} alone", place(&held), L::TABLE);
        return Err(ArchiveError::differs(path, what));
    }
    verified.digest = digest.finalize().into();
    Ok(verified)
}

/// The row's hash, where its bytes agree with it.
fn proven_hash<L: Line>(row: &L, month: Month) -> Result<[u8; 32], ArchiveError> {
    let hash = row.own_hash().filter(|hash| row.record_hash() == hash);
    hash.filter(|_| month.holds(row.appended_micros()))
        .ok_or_else(|| ArchiveError::Damaged {
            month,
            table: L::TABLE,
            place: place(row),
            what: "its bytes are not those of its hash".to_owned(),
        })
}

fn place<L: Line>(row: &L) -> String {
    let at = row.position();
    format!("{}:{}:{}", row.topic(), at.partition, at.offset)
}
