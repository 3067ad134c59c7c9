//! JSON text, written straight into a string.

use base64::{Engine, engine::general_purpose::STANDARD};

/// Text holds U+0000.
#[derive(Debug, PartialEq)]
pub(super) struct Nul;

/// Writes a JSON string.
#[inline]
pub(super) fn text(out: &mut String, text: &str) -> Result<(), Nul> {
    out.push('"');
    let plain = plain_prefix(text.as_bytes());
    if plain == text.len() {
        out.push_str(text);
    } else {
        escaped(out, text, plain)?;
    }
    out.push('"');
    Ok(())
}

/// Writes text of which the first `plain` bytes need no escape, and the next one does.
fn escaped(out: &mut String, text: &str, mut plain: usize) -> Result<(), Nul> {
    let mut rest = text;
    while plain < rest.len() {
        out.push_str(&rest[..plain]);
        match rest.as_bytes()[plain] {
            0 => return Err(Nul),
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x08 => out.push_str("\\b"),
            0x0c => out.push_str("\\f"),
            control => {
                out.push_str("\\u00");
                for nibble in [control >> 4, control & 15] {
                    out.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
                }
            }
        }
        rest = &rest[plain + 1..];
        plain = plain_prefix(rest.as_bytes());
    }
    out.push_str(rest);
    Ok(())
}

/// How many bytes from the start need no escape; eight are looked at in one step.
#[inline]
fn plain_prefix(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGHS: u64 = u64::from_ne_bytes([0x80; 8]);
    let (words, tail) = bytes.as_chunks::<8>();
    for (i, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        // The lowest byte marked is exact; a borrow can only mark bytes above it.
        let below = |limit: u8, word: u64| word.wrapping_sub(ONES * u64::from(limit)) & !word;
        let equal = |byte: u8| below(1, word ^ (ONES * u64::from(byte)));
        let marked = (below(0x20, word) | equal(b'"') | equal(b'\\')) & HIGHS;
        if marked != 0 {
            return i * 8 + marked.trailing_zeros() as usize / 8;
        }
    }
    let special = |byte: &u8| *byte < 0x20 || *byte == b'"' || *byte == b'\\';
    let in_tail = tail.iter().position(special).unwrap_or(tail.len());
    bytes.len() - tail.len() + in_tail
}

/// Writes bytes as base64 (RFC 4648, standard alphabet, padded).
pub(super) fn base64(out: &mut String, bytes: &[u8]) {
    out.push('"');
    STANDARD.encode_string(bytes, out);
    out.push('"');
}

/// Writes an integer.
#[inline]
pub(super) fn integer(out: &mut String, value: impl itoa::Integer) {
    out.push_str(itoa::Buffer::new().format(value));
}

/// Writes a float: the shortest number that reads as the same, or NaN and infinities as strings.
pub(super) fn float<F: ryu::Float + Into<f64> + Copy>(out: &mut String, value: F) {
    let wide: f64 = value.into();
    if wide.is_finite() {
        out.push_str(ryu::Buffer::new().format_finite(value));
    } else if wide.is_nan() {
        out.push_str("\"NaN\"");
    } else if wide > 0.0 {
        out.push_str("\"Infinity\"");
    } else {
        out.push_str("\"-Infinity\"");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_escaped_as_serde_json_does() {
        let mut every = String::from("é\u{7f}\u{2028}🦀 plain text of some length");
        for at in 0..every.len() {
            if !every.is_char_boundary(at) {
                continue;
            }
            for byte in 1..0x80_u8 {
                let mut sample = every.clone();
                sample.insert(at, char::from(byte));
                let mut out = String::new();
                text(&mut out, &sample).unwrap();
                assert_eq!(out, serde_json::to_string(&sample).unwrap());
            }
        }
        every.push('\0');
        assert_eq!(text(&mut String::new(), &every), Err(Nul));
    }

    #[test]
    fn floats_are_shortest_and_never_invalid() {
        for (value, written) in [
            (0.1_f64, "0.1"),
            (-0.0, "-0.0"),
            (1e300, "1e300"),
            (f64::NAN, "\"NaN\""),
            (f64::NEG_INFINITY, "\"-Infinity\""),
        ] {
            let mut out = String::new();
            float(&mut out, value);
            assert_eq!(out, written);
        }
        let mut out = String::new();
        float(&mut out, 0.1_f32);
        assert_eq!(out, "0.1");
    }
}
