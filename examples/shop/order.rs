//! One order: a purchase of the file, and what chance adds to it.

use super::chance::Chance;
use super::purchases::Purchase;
use super::stock::{self, COMPANIES};

/// An order: the purchase, and what chance adds to it.
#[derive(Debug)]
pub struct Order {
    /// The purchase of the file.
    pub purchase: Purchase,
    /// Product and pieces; none before it is placed.
    pub lines: Vec<(usize, u32)>,
    /// What the seed decides about this order.
    pub chance: Chance,
}

impl Order {
    /// The company that sells.
    pub fn company(&self) -> usize {
        (self.purchase.customer as usize - 1) % COMPANIES
    }

    /// Its key.
    pub fn id(&self) -> String {
        let Purchase { customer, nth, .. } = self.purchase;
        format!("order-{customer:05}-{:03}", nth + 1)
    }

    /// The customer's key.
    pub fn customer(&self) -> String {
        format!("customer-{:05}", self.purchase.customer)
    }

    /// What it costs, in dollars.
    pub fn total(&self) -> String {
        dollars(u64::from(self.purchase.cents) * 100)
    }

    /// The carrier's number of the parcel.
    pub fn tracking(&self) -> String {
        let Purchase { customer, nth, .. } = self.purchase;
        format!("1Z{customer:05}{:03}", nth + 1)
    }

    /// Who carries the parcel.
    pub fn carrier(&self) -> &'static str {
        ["Post", "Courier", "Express"][self.purchase.customer as usize % 3]
    }

    /// The price of one piece, in dollars. The file has none: this is the average, while the total
    /// is exact.
    pub fn unit_price(&self) -> String {
        let Purchase {
            quantity, cents, ..
        } = self.purchase;
        dollars(u64::from(cents) * 100 / u64::from(quantity.max(1)))
    }
}

/// Ten thousandths of a dollar as a decimal with four places.
fn dollars(units: u64) -> String {
    format!("{}.{:04}", units / 10_000, units % 10_000)
}

/// Shares the pieces out among at most four products.
pub fn lines(quantity: u32, company: usize, chance: &mut Chance) -> Vec<(usize, u32)> {
    let mut lines: Vec<(usize, u32)> = Vec::new();
    let mut left = quantity;
    while left > 0 {
        let pieces = match lines.len() {
            3 => left,
            _ => chance.range(1, u64::from(left) + 1) as u32,
        };
        left -= pieces;
        let product = stock::choose(company, chance);
        match lines.iter_mut().find(|(other, _)| *other == product) {
            Some((_, already)) => *already += pieces,
            None => lines.push((product, pieces)),
        }
    }
    lines
}
