//! Decimals between Avro's two's-complement bytes and plain text, exactly.

/// The longest unscaled value that is read or written.
const MAX_BYTES: usize = 64;
/// The most digits that a value of 512 bits has.
const MAX_DIGITS: usize = 154;
/// The longest text that is looked at.
const MAX_TEXT: usize = 4096;
const LIMB: u64 = 1_000_000_000;

/// Why bytes are not a decimal of the schema.
#[derive(Debug, PartialEq)]
pub(super) enum BadDecimal {
    /// No bytes at all.
    Empty,
    /// More digits than the precision, or more than 64 bytes.
    Overflow,
}

/// Writes big-endian two's-complement bytes as a quoted decimal with `scale` digits after the
/// point.
pub(super) fn write(
    out: &mut String,
    bytes: &[u8],
    precision: usize,
    scale: usize,
) -> Result<(), BadDecimal> {
    let &first = bytes.first().ok_or(BadDecimal::Empty)?;
    let negative = first >= 0x80;
    let short = without_padding(bytes);
    if let Some(value) = small(short, negative) {
        let mut buffer = itoa::Buffer::new();
        let digits = match u64::try_from(value) {
            Ok(value) => buffer.format(value),
            Err(_) => buffer.format(value),
        };
        return place(out, negative, digits, precision, scale);
    }
    if short.len() > MAX_BYTES {
        return Err(BadDecimal::Overflow);
    }
    place(
        out,
        negative,
        &big_digits(short, negative),
        precision,
        scale,
    )
}

/// The bytes without leading ones that only repeat the sign.
fn without_padding(bytes: &[u8]) -> &[u8] {
    let mut rest = bytes;
    while let [first @ (0 | 0xff), second, ..] = rest
        && (*second >= 0x80) == (*first == 0xff)
    {
        rest = &rest[1..];
    }
    rest
}

/// The magnitude of at most sixteen bytes.
fn small(bytes: &[u8], negative: bool) -> Option<u128> {
    let mut whole = [if negative { 0xff } else { 0 }; 16];
    let start = whole.len().checked_sub(bytes.len())?;
    whole[start..].copy_from_slice(bytes);
    Some(i128::from_be_bytes(whole).unsigned_abs())
}

/// The magnitude's digits, by dividing by ten to the ninth.
fn big_digits(bytes: &[u8], negative: bool) -> String {
    let mut magnitude = bytes.to_vec();
    if negative {
        negate(&mut magnitude);
    }
    let mut groups = Vec::new();
    while magnitude.iter().any(|byte| *byte != 0) {
        let mut remainder = 0;
        for byte in &mut magnitude {
            let value = remainder << 8 | u64::from(*byte);
            *byte = (value / LIMB) as u8;
            remainder = value % LIMB;
        }
        groups.push(format!("{remainder:09}"));
    }
    groups.reverse();
    groups.concat().trim_start_matches('0').to_owned()
}

fn negate(bytes: &mut [u8]) {
    let mut carry = true;
    for byte in bytes.iter_mut().rev() {
        let (sum, more) = (!*byte).overflowing_add(u8::from(carry));
        (*byte, carry) = (sum, more);
    }
}

fn place(
    out: &mut String,
    negative: bool,
    digits: &str,
    precision: usize,
    scale: usize,
) -> Result<(), BadDecimal> {
    if digits.len() > precision {
        return Err(BadDecimal::Overflow);
    }
    out.push('"');
    if negative {
        out.push('-');
    }
    match digits.len().checked_sub(scale) {
        Some(whole @ 1..) => {
            out.push_str(&digits[..whole]);
            if scale > 0 {
                out.push('.');
                out.push_str(&digits[whole..]);
            }
        }
        _ => {
            out.push_str("0.");
            out.extend(std::iter::repeat_n('0', scale - digits.len()));
            out.push_str(digits);
        }
    }
    out.push('"');
    Ok(())
}

/// Reads a decimal such as `-12.50` or `1.25e3` as the unscaled value's shortest two's-complement
/// bytes; `None` where it is no decimal, or needs rounding or more digits than `precision`.
pub(super) fn parse(text: &str, precision: usize, scale: usize) -> Option<Vec<u8>> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let (negative, text) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        _ => (false, text),
    };
    let (number, exponent) = match text.split_once(['e', 'E']) {
        Some((number, exponent)) => (number, exponent.parse::<i32>().ok()?),
        None => (text, 0),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (number, ""),
    };
    let digit = |byte: u8| byte.is_ascii_digit();
    if whole.is_empty() || !whole.bytes().all(digit) || !fraction.bytes().all(digit) {
        return None;
    }
    let digits = unscaled_digits(whole, fraction, exponent, scale)?;
    if digits.len() > precision || digits.len() > MAX_DIGITS {
        return None;
    }
    let bytes = to_bytes(&digits, negative);
    (bytes.len() <= MAX_BYTES).then_some(bytes)
}

/// The digits of the value times ten to the `scale`, without leading zeros.
fn unscaled_digits(whole: &str, fraction: &str, exponent: i32, scale: usize) -> Option<Vec<u8>> {
    let mut digits: Vec<u8> = whole
        .bytes()
        .chain(fraction.bytes())
        .skip_while(|byte| *byte == b'0')
        .collect();
    if digits.is_empty() {
        return Some(digits);
    }
    let places = i64::try_from(fraction.len()).ok()? - i64::from(exponent);
    let missing = i64::try_from(scale).ok()? - places;
    if missing >= 0 {
        let missing = usize::try_from(missing).ok().filter(|m| *m <= MAX_DIGITS)?;
        digits.extend(std::iter::repeat_n(b'0', missing));
        return Some(digits);
    }
    let surplus = usize::try_from(-missing).ok()?;
    let kept = digits.len().checked_sub(surplus)?;
    let exact = digits[kept..].iter().all(|byte| *byte == b'0');
    digits.truncate(kept);
    exact.then_some(digits)
}

fn to_bytes(digits: &[u8], negative: bool) -> Vec<u8> {
    if digits.len() <= 38 {
        let value = digits
            .iter()
            .fold(0_i128, |sum, d| sum * 10 + i128::from(d - b'0'));
        let value = if negative { -value } else { value };
        return without_padding(&value.to_be_bytes()).to_vec();
    }
    // One byte more than the magnitude needs, for the sign.
    let mut bytes = vec![0_u8; MAX_BYTES + 2];
    for digit in digits {
        let mut carry = u32::from(digit - b'0');
        for byte in bytes.iter_mut().rev() {
            let value = u32::from(*byte) * 10 + carry;
            *byte = value as u8;
            carry = value >> 8;
        }
    }
    if negative {
        negate(&mut bytes);
    }
    without_padding(&bytes).to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(bytes: &[u8], precision: usize, scale: usize) -> Result<String, BadDecimal> {
        let mut out = String::new();
        write(&mut out, bytes, precision, scale).map(|()| out)
    }

    #[test]
    fn decimals_are_exact_both_ways() {
        for (text, scale, bytes) in [
            ("0.00", 2, &[0][..]),
            ("0", 0, &[0]),
            ("1", 0, &[1]),
            ("-1", 0, &[0xff]),
            ("0.0128", 4, &[0, 0x80]),
            ("-0.0128", 4, &[0x80]),
            ("12.50", 2, &[0x04, 0xe2]),
            ("-0.05", 2, &[0xfb]),
        ] {
            assert_eq!(written(bytes, 9, scale).unwrap(), format!("\"{text}\""));
            assert_eq!(parse(text, 9, scale).as_deref(), Some(bytes), "{text}");
        }
        let long = "12345678901234567890123456789012345678901234567890.1234";
        for text in [long.to_owned(), format!("-{long}")] {
            let bytes = parse(&text, 54, 4).unwrap();
            assert_eq!(written(&bytes, 54, 4).unwrap(), format!("\"{text}\""));
            assert_eq!(written(&bytes, 53, 4), Err(BadDecimal::Overflow));
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(written(&[], 9, 2), Err(BadDecimal::Empty));
        assert_eq!(written(&[0x03, 0xe8], 3, 0), Err(BadDecimal::Overflow));
        assert_eq!(written(&[0x7f; 65], 1000, 0), Err(BadDecimal::Overflow));
        let mut padded = [0_u8; 100];
        padded[99] = 7;
        assert_eq!(written(&padded, 9, 1).unwrap(), "\"0.7\"");
        for bad in [
            "", "-", ".5", "5.", "1,5", "+1", "0x1", "1e", "NaN", "1.005", "1e-3",
        ] {
            assert_eq!(parse(bad, 9, 2), None, "{bad}");
        }
        assert_eq!(parse("1.500", 9, 2), Some(vec![0, 150]));
        assert_eq!(parse("1.5e1", 9, 2), Some(vec![0x05, 0xdc]));
        assert_eq!(parse("1000e-3", 9, 2), Some(vec![100]));
        assert_eq!(parse("0e999999999", 9, 2), Some(vec![0]));
        assert_eq!(parse("1e999999999", 9, 2), None);
        assert_eq!(parse("12345678.9", 9, 2), None);
        assert_eq!(parse(&"9".repeat(153), 153, 0).map(|b| b.len()), Some(64));
        assert_eq!(parse(&"9".repeat(154), 154, 0), None);
        assert_eq!(parse(&"9".repeat(100_000), usize::MAX, 0), None);
    }
}
