//! Cursors: where a page ends, as text that a caller sends back.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

use crate::store::Micros;
use crate::store::history::{Direction, Place};

/// Bytes of a cursor: its version and direction, then the place.
const CURSOR: usize = 1 + 8 + 16 + 16 + 4 + 8;

fn mark(direction: Direction) -> u8 {
    match direction {
        Direction::Descending => 0x10,
        Direction::Ascending => 0x11,
    }
}

/// The text of a place in a list of this direction.
pub(super) fn write_cursor(direction: Direction, place: &Place) -> String {
    let mut bytes = Vec::with_capacity(CURSOR);
    bytes.push(mark(direction));
    bytes.extend_from_slice(&place.timestamp.0.to_be_bytes());
    bytes.extend_from_slice(place.id.as_bytes());
    bytes.extend_from_slice(place.topic_id.as_bytes());
    bytes.extend_from_slice(&place.partition.to_be_bytes());
    bytes.extend_from_slice(&place.offset.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The place; `None` where it is no cursor, or of a list of the other direction.
pub(super) fn read_cursor(direction: Direction, text: &str) -> Option<Place> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let bytes: [u8; CURSOR] = bytes.try_into().ok()?;
    let (marked, rest) = bytes.split_first()?;
    let (timestamp, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (topic_id, rest) = rest.split_first_chunk()?;
    let (partition, rest) = rest.split_first_chunk()?;
    let (offset, _) = rest.split_first_chunk()?;
    (*marked == mark(direction)).then(|| Place {
        timestamp: Micros(i64::from_be_bytes(*timestamp)),
        id: Uuid::from_bytes(*id),
        topic_id: Uuid::from_bytes(*topic_id),
        partition: i32::from_be_bytes(*partition),
        offset: i64::from_be_bytes(*offset),
    })
}

/// The text of a place in another list, `kind`, by what names it; only the last part may hold a
/// slash.
pub(super) fn write(kind: char, parts: &[&str]) -> String {
    URL_SAFE_NO_PAD.encode(format!("{kind}{}", parts.join("/")))
}

/// The parts that name a place in the list of this kind; `None` where it is no cursor of it.
pub(super) fn read<const PARTS: usize>(kind: char, text: &str) -> Option<[String; PARTS]> {
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let parts = text.strip_prefix(kind)?.splitn(PARTS, '/');
    let parts: Vec<String> = parts.map(str::to_owned).collect();
    parts.try_into().ok()
}

/// Cuts a page, of which one more was read, to what was wanted; where there is more, the cursor of
/// the last that is left.
pub(super) fn next<T>(
    page: &mut Vec<T>,
    wanted: i64,
    cursor: impl FnOnce(&T) -> String,
) -> Option<String> {
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let more = page.len() > wanted;
    page.truncate(wanted);
    page.last().filter(|_| more).map(cursor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_cursor_names_its_place(
            at in any::<i64>(), id in any::<u128>(), topic in any::<u128>(),
            partition in any::<i32>(), offset in any::<i64>(), ascending in any::<bool>(),
        ) {
            let place = Place {
                timestamp: Micros(at), id: Uuid::from_u128(id), topic_id: Uuid::from_u128(topic),
                partition, offset,
            };
            let (direction, other) = if ascending {
                (Direction::Ascending, Direction::Descending)
            } else {
                (Direction::Descending, Direction::Ascending)
            };
            let text = write_cursor(direction, &place);
            prop_assert_eq!(read_cursor(direction, &text), Some(place));
            prop_assert_eq!(read_cursor(other, &text), None);
        }

        #[test]
        fn other_text_is_no_cursor(text in "[A-Za-z0-9_-]{0,80}") {
            let read = read_cursor(Direction::Descending, &text);
            prop_assert!(read.is_none_or(|place| write_cursor(Direction::Descending, &place) == text));
        }
    }
}
