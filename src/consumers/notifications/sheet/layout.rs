//! Where everything stands: texts and rules, page by page. Distances are in points from the top left.

use jiff::Timestamp;

use super::SheetError;
use super::order::{Item, Money, Order, amount, grouped};
use super::text::{Typeface, typefaces};
use crate::event::Event;

/// A4.
pub(super) const WIDTH: f32 = 595.0;
pub(super) const HEIGHT: f32 = 842.0;
pub(super) const MARGIN: f32 = 48.0;
const RIGHT: f32 = WIDTH - MARGIN;
/// Below this only the footer stands.
const BOTTOM: f32 = HEIGHT - 84.0;
/// The side of the QR code.
pub(super) const CODE: f32 = 92.0;
/// Rows of one sheet; the rest are told by their number.
const MOST_ROWS: usize = 10_000;

/// The least size of a number.
const LEAST: f32 = 5.0;

const NUMBER_RIGHT: f32 = MARGIN + 22.0;
const PRODUCT: f32 = MARGIN + 34.0;
const PRODUCT_WIDTH: f32 = 248.0;
const QUANTITY_RIGHT: f32 = MARGIN + 332.0;
const PRICE_RIGHT: f32 = MARGIN + 418.0;

/// What a text is to who cannot see where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Title,
    /// Texts of one number are one paragraph.
    Paragraph(usize),
    Head(usize),
    Cell(usize, usize),
    /// Repeated or ornamental: not read.
    Ornament,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    Black,
    Grey,
}

/// A text on a page, from its baseline.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub text: String,
    pub x: f32,
    pub y: f32,
    pub size: f32,
    pub bold: bool,
    pub ink: Ink,
    pub place: Place,
}

/// A horizontal line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rule {
    pub from: f32,
    pub to: f32,
    pub y: f32,
    pub heavy: bool,
}

#[derive(Debug, Default)]
pub(super) struct Page {
    pub marks: Vec<Mark>,
    pub rules: Vec<Rule>,
}

struct Pen {
    regular: &'static Typeface,
    bold: &'static Typeface,
    pages: Vec<Page>,
    /// The top of what comes next.
    y: f32,
    paragraphs: usize,
    /// The order's name, at the head of each further page.
    name: String,
}

/// How a text is set.
#[derive(Clone, Copy)]
struct Style {
    size: f32,
    bold: bool,
    ink: Ink,
}

const PLAIN: Style = Style {
    size: 9.0,
    bold: false,
    ink: Ink::Black,
};
const STRONG: Style = Style {
    size: 9.0,
    bold: true,
    ink: Ink::Black,
};
const SMALL: Style = Style {
    size: 7.5,
    bold: false,
    ink: Ink::Grey,
};

#[derive(Clone, Copy)]
enum Align {
    Left(f32),
    Right(f32),
}

/// The sheet's pages, at least one.
pub(super) fn pages(event: &Event, order: &Order) -> Result<Vec<Page>, SheetError> {
    let (regular, bold) = typefaces().ok_or_else(|| SheetError("no fonts".to_owned()))?;
    let mut pen = Pen {
        regular,
        bold,
        pages: vec![Page::default()],
        y: MARGIN,
        paragraphs: 0,
        name: regular.clean(name(order)),
    };
    pen.heading(event, order);
    pen.table(order);
    pen.totals(order);
    pen.note(order);
    pen.footers(event);
    Ok(pen.pages)
}

/// What people call the order.
pub(super) fn name(order: &Order) -> &str {
    order.order_number.as_deref().unwrap_or(&order.order_id)
}

/// Day and minute in UTC, such as `27 November 2026, 10:46 UTC`.
fn day_and_minute(micros: i64) -> Option<String> {
    let time = Timestamp::from_microsecond(micros).ok()?;
    Some(time.strftime("%-d %B %Y, %H:%M UTC").to_string())
}

impl Pen {
    fn typeface(&self, style: Style) -> &'static Typeface {
        if style.bold { self.bold } else { self.regular }
    }

    /// Writes a text that is clean and fits.
    fn write(&mut self, text: String, at: Align, y: f32, style: Style, place: Place) {
        let x = match at {
            Align::Left(x) => x,
            Align::Right(x) => x - self.typeface(style).width(&text, style.size),
        };
        let Style { size, bold, ink } = style;
        if let Some(page) = self.pages.last_mut() {
            page.marks.push(Mark {
                text,
                x,
                y,
                size,
                bold,
                ink,
                place,
            });
        }
    }

    fn rule(&mut self, from: f32, y: f32, heavy: bool) {
        if let Some(page) = self.pages.last_mut() {
            page.rules.push(Rule {
                from,
                to: RIGHT,
                y,
                heavy,
            });
        }
    }

    fn paragraph(&mut self) -> Place {
        self.paragraphs += 1;
        Place::Paragraph(self.paragraphs)
    }

    /// What can be shown of a text, in one line of this width.
    fn fitted(&self, text: &str, style: Style, width: f32) -> String {
        let typeface = self.typeface(style);
        let lines = typeface.lines(&typeface.clean(text), style.size, width, 1);
        lines.into_iter().next().unwrap_or_default()
    }

    /// A number and the size in which it fits: it is not cut where it need not be.
    fn figure(&self, text: &str, style: Style, width: f32) -> (String, Style) {
        let mut smaller = style;
        while self.typeface(style).width(text, smaller.size) > width && smaller.size > LEAST {
            smaller.size -= 0.5;
        }
        (self.fitted(text, smaller, width), smaller)
    }

    fn heading(&mut self, event: &Event, order: &Order) {
        let width = RIGHT - MARGIN - CODE - 24.0;
        let title = Style {
            size: 22.0,
            bold: true,
            ink: Ink::Black,
        };
        let text = self.fitted(&format!("Order {}", name(order)), title, width);
        self.write(
            text,
            Align::Left(MARGIN),
            MARGIN + 20.0,
            title,
            Place::Title,
        );
        let status = order
            .status
            .as_deref()
            .filter(|status| *status != "unknown");
        let facts = [
            ("Company", event.company_id.clone()),
            ("Customer", order.customer_id.clone()),
            ("Placed", day_and_minute(event.timestamp_micros)),
            ("Status", status.map(|status| status.replace('_', " "))),
            (
                "Order id",
                order.order_number.as_ref().map(|_| order.order_id.clone()),
            ),
        ];
        let mut y = MARGIN + 48.0;
        for (label, value) in facts {
            let Some(value) = value else { continue };
            let place = self.paragraph();
            let value = self.fitted(&value, PLAIN, width - 64.0);
            let grey = Style {
                ink: Ink::Grey,
                ..PLAIN
            };
            self.write(label.to_owned(), Align::Left(MARGIN), y, grey, place);
            self.write(value, Align::Left(MARGIN + 64.0), y, PLAIN, place);
            y += 15.0;
        }
        let caption = Style { size: 6.5, ..SMALL };
        let below = MARGIN + CODE + 10.0;
        let place = self.paragraph();
        self.write(
            "Scan for the event".to_owned(),
            Align::Right(RIGHT),
            below,
            caption,
            place,
        );
        self.y = y.max(below) + 20.0;
    }

    /// The names of the columns; read once, and shown on each page.
    fn head(&mut self, read: bool) {
        let names = [
            ("#", Align::Right(NUMBER_RIGHT)),
            ("Product", Align::Left(PRODUCT)),
            ("Quantity", Align::Right(QUANTITY_RIGHT)),
            ("Unit price", Align::Right(PRICE_RIGHT)),
            ("Amount", Align::Right(RIGHT)),
        ];
        let style = Style {
            size: 8.0,
            ..STRONG
        };
        for (column, (name, at)) in names.into_iter().enumerate() {
            let place = if read {
                Place::Head(column)
            } else {
                Place::Ornament
            };
            self.write(name.to_owned(), at, self.y + 8.0, style, place);
        }
        self.y += 14.0;
        self.rule(MARGIN, self.y, true);
    }

    fn next_page(&mut self) {
        self.pages.push(Page::default());
        let text = self.fitted(
            &format!("Order {}, continued", self.name.clone()),
            SMALL,
            RIGHT - MARGIN,
        );
        self.write(
            text,
            Align::Left(MARGIN),
            MARGIN + 4.0,
            SMALL,
            Place::Ornament,
        );
        self.y = MARGIN + 20.0;
    }

    fn table(&mut self, order: &Order) {
        self.head(true);
        for (index, item) in order.items.iter().take(MOST_ROWS).enumerate() {
            self.row(index, item);
        }
        let left = order.items.len().saturating_sub(MOST_ROWS);
        if left > 0 {
            self.room(20.0, true);
            let place = self.paragraph();
            let text = format!(
                "and {} lines more, which the event has",
                grouped(&left.to_string())
            );
            self.write(text, Align::Left(PRODUCT), self.y + 13.0, PLAIN, place);
            self.y += 20.0;
        }
    }

    /// Begins a page where this much does not fit any more.
    fn room(&mut self, height: f32, in_table: bool) {
        if self.y + height > BOTTOM {
            self.next_page();
            if in_table {
                self.head(false);
            }
        }
    }

    fn row(&mut self, index: usize, item: &Item) {
        let named = item
            .product_name
            .as_deref()
            .filter(|name| !name.trim().is_empty());
        let product = self.regular.clean(named.unwrap_or(&item.product_id));
        let lines = self.regular.lines(&product, PLAIN.size, PRODUCT_WIDTH, 3);
        let id = named.map(|_| self.fitted(&item.product_id, SMALL, PRODUCT_WIDTH));
        let height = 9.0 + 12.0 * lines.len().max(1) as f32 + if id.is_some() { 10.0 } else { 0.0 };
        self.room(height, true);
        let (top, cell) = (self.y + 14.0, |column| Place::Cell(index, column));
        let number = grouped(&(index + 1).to_string());
        let grey = Style {
            ink: Ink::Grey,
            ..PLAIN
        };
        self.write(number, Align::Right(NUMBER_RIGHT), top, grey, cell(0));
        let mut y = top;
        for line in lines {
            self.write(line, Align::Left(PRODUCT), y, PLAIN, cell(1));
            y += 12.0;
        }
        if let Some(id) = id {
            self.write(id, Align::Left(PRODUCT), y - 1.5, SMALL, cell(1));
        }
        let quantity = item.quantity.as_ref().and_then(serde_json::Number::as_i64);
        let price = item.unit_price.as_deref();
        let each = price.and_then(Money::parse);
        let sum = each
            .zip(quantity)
            .map(|(each, quantity)| each.times(quantity).text());
        let figures = [
            (quantity.map(|q| q.to_string()), QUANTITY_RIGHT, 54.0),
            (price.map(amount), PRICE_RIGHT, 80.0),
            (sum, RIGHT, 76.0),
        ];
        for (column, (text, right, width)) in figures.into_iter().enumerate() {
            let text = text.as_deref().unwrap_or("\u{2013}");
            let (text, style) = self.figure(text, PLAIN, width);
            self.write(text, Align::Right(right), top, style, cell(column + 2));
        }
        self.y += height;
        self.rule(MARGIN, self.y, false);
    }

    fn totals(&mut self, order: &Order) {
        let discount = order
            .discount
            .as_deref()
            .map(|text| match text.strip_prefix('-') {
                Some(_) => text.to_owned(),
                None => format!("-{text}"),
            });
        let parts = [
            ("Subtotal", &order.subtotal),
            ("Discount", &discount),
            ("Tax", &order.tax),
            ("Shipping", &order.shipping_cost),
        ];
        let parts: Vec<(&str, &String)> = parts
            .into_iter()
            .filter_map(|(label, text)| Some((label, text.as_ref()?)))
            .collect();
        self.room(40.0 + 16.0 * parts.len() as f32, false);
        self.y += 8.0;
        for (label, text) in parts {
            self.total(label, &amount(text), PLAIN);
        }
        let Some(total) = &order.total else { return };
        self.rule(QUANTITY_RIGHT, self.y + 6.0, true);
        self.y += 8.0;
        let currency = order.currency.as_deref().unwrap_or_default();
        let style = Style {
            size: 11.0,
            ..STRONG
        };
        self.total("Total", &format!("{} {currency}", amount(total)), style);
    }

    fn total(&mut self, label: &str, text: &str, style: Style) {
        let place = self.paragraph();
        let y = self.y + 14.0;
        let (text, size) = self.figure(text, style, RIGHT - QUANTITY_RIGHT - 8.0);
        self.write(
            label.to_owned(),
            Align::Right(QUANTITY_RIGHT),
            y,
            style,
            place,
        );
        self.write(text, Align::Right(RIGHT), y, size, place);
        self.y += 16.0;
    }

    fn note(&mut self, order: &Order) {
        let Some(note) = &order.note else { return };
        let lines = self
            .regular
            .lines(&self.regular.clean(note), PLAIN.size, RIGHT - MARGIN, 20);
        if lines.is_empty() {
            return;
        }
        self.room(34.0 + 13.0 * lines.len() as f32, false);
        self.y += 34.0;
        let place = self.paragraph();
        self.write(
            "Note".to_owned(),
            Align::Left(MARGIN),
            self.y,
            STRONG,
            place,
        );
        for line in lines {
            self.y += 14.0;
            self.write(line, Align::Left(MARGIN), self.y, PLAIN, place);
        }
    }

    /// The event and the page's number, on each page.
    fn footers(&mut self, event: &Event) {
        let count = self.pages.len();
        for (index, page) in self.pages.iter_mut().enumerate() {
            let y = HEIGHT - 44.0;
            page.rules.push(Rule {
                from: MARGIN,
                to: RIGHT,
                y: y - 14.0,
                heavy: false,
            });
            let number = format!("Page {} of {count}", index + 1);
            let right = RIGHT - self.regular.width(&number, SMALL.size);
            let texts = [(format!("Event {}", event.id), MARGIN), (number, right)];
            for (text, x) in texts {
                let Style { size, bold, ink } = SMALL;
                page.marks.push(Mark {
                    text,
                    x,
                    y,
                    size,
                    bold,
                    ink,
                    place: Place::Ornament,
                });
            }
        }
    }
}
