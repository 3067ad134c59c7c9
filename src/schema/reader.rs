//! Avro's binary primitives, read from a slice: every length is checked against what is left
//! before anything is done with it. Source: Avro specification 1.12, "Binary encoding".

use super::{Fault, FaultClass};

/// A step of decoding; the fault is boxed, so that the good path stays small.
pub(super) type Step<T = ()> = Result<T, Box<Fault>>;

/// A boxed fault.
#[cold]
pub(super) fn fault(class: FaultClass, detail: impl Into<String>) -> Box<Fault> {
    Box::new(Fault::new(class, detail))
}

/// Puts the name of the enclosing field before the fault's path.
#[cold]
pub(super) fn in_field(mut fault: Box<Fault>, name: &str) -> Box<Fault> {
    let dot = if fault.path.is_empty() || fault.path.starts_with('[') {
        ""
    } else {
        "."
    };
    fault.path = format!("{name}{dot}{}", fault.path);
    fault
}

/// Puts the index of the enclosing item (for a map: of its entry) before the fault's path.
#[cold]
pub(super) fn in_item(fault: Box<Fault>, index: u64) -> Box<Fault> {
    in_field(fault, &format!("[{index}]"))
}

/// The head of a block of an array or map.
pub(super) struct Block {
    pub(super) count: u64,
    /// Bytes that must be left at its end, where its size was written.
    pub(super) left_after: Option<usize>,
}

/// What is left of the bytes.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// How many bytes are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next `count` bytes.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.truncated(count));
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    pub(super) fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let Some((bytes, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.truncated(N));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    #[cold]
    fn truncated(&self, wanted: usize) -> Box<Fault> {
        let left = self.rest.len();
        fault(
            FaultClass::Truncated,
            format!("{wanted} bytes wanted, {left} left"),
        )
    }

    /// A zigzag varint of at most 64 bits in at most ten bytes.
    #[inline]
    pub(super) fn long(&mut self) -> Step<i64> {
        if let Some((&first, rest)) = self.rest.split_first()
            && first < 0x80
        {
            self.rest = rest;
            return Ok(unzigzag(u64::from(first)));
        }
        self.long_of_many_bytes()
    }

    fn long_of_many_bytes(&mut self) -> Step<i64> {
        let mut value = 0_u64;
        for (i, &byte) in self.rest.iter().enumerate().take(10) {
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(unzigzag(value));
            }
        }
        if self.rest.len() < 10 {
            return Err(self.truncated(self.rest.len() + 1));
        }
        Err(fault(
            FaultClass::Malformed,
            "an integer has more than 64 bits",
        ))
    }

    /// A zigzag varint that fits 32 bits.
    #[inline]
    pub(super) fn int(&mut self) -> Step<i32> {
        i32::try_from(self.long()?)
            .map_err(|_| fault(FaultClass::Malformed, "an int has more than 32 bits"))
    }

    /// An index of a branch or symbol, below `count`.
    #[inline]
    pub(super) fn index(&mut self, count: usize, of: &str) -> Step<usize> {
        let index = self.long()?;
        match usize::try_from(index) {
            Ok(index) if index < count => Ok(index),
            _ => Err(fault(
                FaultClass::Malformed,
                format!("{of} {index} of {count}"),
            )),
        }
    }

    /// Bytes after their length.
    #[inline]
    pub(super) fn bytes(&mut self) -> Step<&'a [u8]> {
        let length = self.size()?;
        self.take(length)
    }

    fn size(&mut self) -> Step<usize> {
        let length = self.long()?;
        match usize::try_from(length) {
            Ok(length) => Ok(length),
            Err(_) => Err(fault(
                FaultClass::Malformed,
                format!("a length of {length}"),
            )),
        }
    }

    /// UTF-8 text after its length.
    #[inline]
    pub(super) fn text(&mut self) -> Step<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| {
            fault(
                FaultClass::BadText,
                format!("not UTF-8 from byte {}", error.valid_up_to()),
            )
        })
    }

    #[inline]
    pub(super) fn boolean(&mut self) -> Step<bool> {
        match self.array::<1>()? {
            [0] => Ok(false),
            [1] => Ok(true),
            [byte] => Err(fault(
                FaultClass::Malformed,
                format!("a boolean of 0x{byte:02x}"),
            )),
        }
    }

    /// The head of the next block of an array or map; a count of 0 is its end.
    pub(super) fn block(&mut self) -> Step<Block> {
        let count = self.long()?;
        if count >= 0 {
            return Ok(Block {
                count: count.unsigned_abs(),
                left_after: None,
            });
        }
        if count == i64::MIN {
            return Err(fault(FaultClass::Malformed, format!("a count of {count}")));
        }
        let size = self.size()?;
        match self.rest.len().checked_sub(size) {
            Some(left) => Ok(Block {
                count: count.unsigned_abs(),
                left_after: Some(left),
            }),
            None => Err(self.truncated(size)),
        }
    }

    /// Checks a block's end against the size that its head gave.
    pub(super) fn end_of_block(&self, block: &Block) -> Step {
        match block.left_after {
            Some(left) if left != self.rest.len() => Err(fault(
                FaultClass::Malformed,
                "a block's size is not that of its items",
            )),
            _ => Ok(()),
        }
    }
}

fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn class<T>(read: Step<T>) -> FaultClass {
        read.err().map(|fault| fault.class).expect("a fault")
    }

    #[test]
    fn integers_are_bounded() {
        for (bytes, value) in [
            (&[0x00][..], 0),
            (&[0x01], -1),
            (&[0x02], 1),
            (&[0x7f], -64),
            (&[0x80, 0x01], 64),
            (
                &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                i64::MIN,
            ),
            (
                &[0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
                i64::MAX,
            ),
        ] {
            assert_eq!(Reader::new(bytes).long().unwrap(), value);
        }
        assert_eq!(class(Reader::new(&[]).long()), FaultClass::Truncated);
        assert_eq!(class(Reader::new(&[0x80; 9]).long()), FaultClass::Truncated);
        assert_eq!(
            class(Reader::new(&[0x80; 11]).long()),
            FaultClass::Malformed
        );
        let mut above = [0xff_u8; 10];
        above[9] = 2;
        assert_eq!(class(Reader::new(&above).long()), FaultClass::Malformed);
        let two_to_31 = [0x80, 0x80, 0x80, 0x80, 0x10];
        assert_eq!(class(Reader::new(&two_to_31).int()), FaultClass::Malformed);
    }

    #[test]
    fn lengths_are_checked_before_use() {
        assert_eq!(class(Reader::new(&[0x01]).bytes()), FaultClass::Malformed);
        assert_eq!(
            class(Reader::new(&[0x04, 1]).bytes()),
            FaultClass::Truncated
        );
        let huge = [
            0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, 1,
        ];
        assert_eq!(class(Reader::new(&huge).bytes()), FaultClass::Truncated);
        assert_eq!(class(Reader::new(&[2, 0xff]).text()), FaultClass::BadText);
    }
}
