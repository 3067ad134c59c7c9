//! The real purchases, from the compact form that `data/README.md` describes.

/// Every purchase of the file.
pub const PURCHASES: &[u8] = include_bytes!("data/purchases.bin");

/// One purchase.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purchase {
    /// Number of the customer, from 1.
    pub customer: u32,
    /// Which of the customer's purchases it is, from 0.
    pub nth: u32,
    /// Days since 1997-01-01.
    pub day: u32,
    /// How many CDs.
    pub quantity: u32,
    /// What they cost, in US cents.
    pub cents: u32,
}

/// Decodes the purchases of the first `customers` customers; none where the bytes are not whole.
pub fn decode(bytes: &[u8], customers: u32) -> Option<Vec<Purchase>> {
    let mut numbers = Numbers { bytes };
    let all = numbers.next()?;
    let mut purchases = Vec::new();
    for customer in 1..=all.min(customers) {
        let mut day = 0;
        for nth in 0..numbers.next()? {
            day += numbers.next()?;
            purchases.push(Purchase {
                customer,
                nth,
                day,
                quantity: numbers.next()?,
                cents: numbers.next()?,
            });
        }
    }
    (customers < all || numbers.bytes.is_empty()).then_some(purchases)
}

/// Unsigned LEB128 numbers.
struct Numbers<'a> {
    bytes: &'a [u8],
}

impl Numbers<'_> {
    fn next(&mut self) -> Option<u32> {
        let mut number = 0;
        for shift in (0..32).step_by(7) {
            let (&byte, rest) = self.bytes.split_first()?;
            self.bytes = rest;
            number |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }
}
