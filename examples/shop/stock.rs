//! The catalogue of 200 products, forty for each of the five companies, and what is on hand.

use super::chance::Chance;

/// Products of all companies.
pub const PRODUCTS: usize = 200;
/// Companies; product `p` belongs to company `p % COMPANIES`.
pub const COMPANIES: usize = 5;
/// Pieces of each product at the start, and of each delivery of the wholesaler.
pub const FULL: i64 = 200;
/// Pieces at or below which a product is ordered again.
pub const REORDER_POINT: i64 = 40;

const STYLES: [&str; 8] = [
    "Jazz", "Rock", "Folk", "Blues", "Soul", "Opera", "Country", "Baroque",
];

/// The key of a product.
pub fn product_id(product: usize) -> String {
    format!("cd-{:03}", product + 1)
}

/// Its style, which is its category in the catalogue.
pub fn category(product: usize) -> &'static str {
    STYLES[product / COMPANIES % STYLES.len()]
}

/// Its name.
pub fn product_name(product: usize) -> String {
    let volume = product / (COMPANIES * STYLES.len()) + 1;
    let label = product % COMPANIES + 1;
    format!("{} Collection {volume}, Label {label}", category(product))
}

/// A product of a company; a few of the forty sell most.
pub fn choose(company: usize, chance: &mut Chance) -> usize {
    let shelf = (PRODUCTS / COMPANIES) as u64;
    let rank = chance.range(0, shelf) * chance.range(0, shelf) / shelf;
    rank as usize * COMPANIES + company
}

/// What a change of stock leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Nothing to say.
    Enough,
    /// It fell to the reorder point.
    Low,
    /// The last piece is gone.
    Out,
}

/// One product's pieces.
#[derive(Clone, Debug)]
pub struct Shelf {
    /// Pieces on hand.
    pub on_hand: i64,
    /// Pieces sold that were not on hand; the next delivery serves them first.
    owed: i64,
    /// Whether a delivery is on its way.
    pub ordered: bool,
}

impl Shelf {
    /// A full shelf.
    pub fn full() -> Self {
        Self {
            on_hand: FULL,
            owed: 0,
            ordered: false,
        }
    }

    /// Takes pieces out.
    pub fn sell(&mut self, quantity: i64) -> Level {
        let before = self.on_hand;
        let taken = quantity.min(before);
        self.on_hand -= taken;
        self.owed += quantity - taken;
        match (before, self.on_hand) {
            (1.., 0) => Level::Out,
            (before, after) if before > REORDER_POINT && after <= REORDER_POINT => Level::Low,
            _ => Level::Enough,
        }
    }

    /// Puts back pieces that were sold; first those that were never there. Gives what came in.
    pub fn put_back(&mut self, quantity: i64) -> i64 {
        let owed = quantity.min(self.owed);
        self.owed -= owed;
        self.on_hand += quantity - owed;
        quantity - owed
    }

    /// The wholesaler delivers: what is owed, and [`FULL`] more. Gives what came in.
    pub fn restock(&mut self) -> i64 {
        let came = FULL + self.owed;
        self.on_hand += FULL;
        self.owed = 0;
        self.ordered = false;
        came
    }
}
