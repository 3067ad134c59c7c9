//! What happens at the shop: purchases go in, events come out, in the order of their time.
//!
//! Nothing here knows of a server or a clock. The same purchases and the same seed give the same
//! events, ids included. A queue holds what is still to happen; each thing that happens tells its
//! events and may put more into the queue.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

use serde_json::{Value, json};
use uuid::Uuid;

use super::chance::Chance;
use super::order::{Order, lines};
use super::purchases::Purchase;
use super::revenue::Revenue;
use super::stock::{self, COMPANIES, Level, PRODUCTS, REORDER_POINT, Shelf};

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
/// 1997-01-01T00:00:00Z in microseconds since the Unix epoch.
pub const EPOCH: i64 = 852_076_800 * SECOND;
/// Orders of a hundred that are cancelled.
const CANCELLED_PERCENT: u64 = 2;

/// One event, before it is sent.
#[derive(Clone, Debug, PartialEq)]
pub struct Fact {
    /// The event's id.
    pub id: Uuid,
    /// Dotted type.
    pub event_type: &'static str,
    /// The record's key.
    pub key: String,
    /// The company to which it belongs.
    pub company: String,
    /// The user who caused it.
    pub user: Option<String>,
    /// When it happened, in microseconds since the Unix epoch.
    pub at: i64,
    /// What belongs together: the order.
    pub correlation: Option<String>,
    /// The event's data, as its schema has it.
    pub data: Value,
}

/// Something that will happen. An order is an index into `Story::orders`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Next {
    Open(usize),
    DayEnds(u32),
    Arrives(usize),
    LogsIn(usize),
    Orders(usize),
    Processed(usize),
    Shipped(usize),
    Delivered(usize),
    Cancelled(usize),
    Restocked(usize),
    Asks(usize, usize),
    Answers(usize, usize),
}

/// The events of a shop, in the order of their time.
pub struct Story {
    seed: u64,
    /// When, which of those put in, what.
    queue: BinaryHeap<Reverse<(i64, u64, Next)>>,
    put_in: u64,
    orders: Vec<Order>,
    shelves: Vec<Shelf>,
    revenue: [Revenue; COMPANIES],
    ids: Chance,
    told: VecDeque<Fact>,
    ordered: u64,
}

impl Story {
    /// The story of these purchases.
    pub fn new(purchases: &[Purchase], seed: u64) -> Self {
        let mut story = Self {
            seed,
            queue: BinaryHeap::new(),
            put_in: 0,
            orders: Vec::with_capacity(purchases.len()),
            shelves: vec![Shelf::full(); PRODUCTS],
            revenue: Default::default(),
            ids: Chance::new(seed, &[0]),
            told: VecDeque::new(),
            ordered: 0,
        };
        for product in 0..PRODUCTS {
            story.then(EPOCH, Next::Open(product));
        }
        for &purchase in purchases {
            story.plan(purchase);
        }
        let days = purchases.iter().map(|p| p.day + 1).max().unwrap_or(0);
        for day in 0..days {
            story.then(EPOCH + i64::from(day + 1) * DAY, Next::DayEnds(day));
        }
        story.connect(days);
        story
    }

    /// Orders told so far.
    pub fn ordered(&self) -> u64 {
        self.ordered
    }

    /// Within the purchase's own day: the file has no time.
    fn plan(&mut self, purchase: Purchase) {
        let subject = [1, purchase.customer.into(), purchase.nth.into()];
        let mut chance = Chance::new(self.seed, &subject);
        let into_day =
            chance.range(600, 86_400) as i64 * SECOND + chance.range(0, 1_000_000) as i64;
        let at = EPOCH + i64::from(purchase.day) * DAY + into_day;
        let i = self.orders.len();
        self.orders.push(Order {
            purchase,
            lines: Vec::new(),
            chance,
        });
        self.then(at, Next::Orders(i));
        self.then(at - 120 * SECOND, Next::LogsIn(i));
        if purchase.nth == 0 {
            self.then(at - 300 * SECOND, Next::Arrives(i));
        }
    }

    /// Each company asks each other one once.
    fn connect(&mut self, days: u32) {
        if days == 0 {
            return;
        }
        for from in 0..COMPANIES {
            for to in (0..COMPANIES).filter(|to| *to != from) {
                let mut chance = Chance::new(self.seed, &[2, from as u64, to as u64]);
                let at = EPOCH + chance.range(0, u64::from(days) * DAY as u64) as i64;
                self.then(at, Next::Asks(from, to));
            }
        }
    }

    fn then(&mut self, at: i64, next: Next) {
        self.put_in += 1;
        self.queue.push(Reverse((at, self.put_in, next)));
    }

    fn happen(&mut self, at: i64, next: Next) {
        match next {
            Next::Open(product) => self.open(at, product),
            Next::DayEnds(day) => self.end_day(at, day),
            Next::Arrives(i) => self.arrive(at, i),
            Next::LogsIn(i) => self.log_in(at, i),
            Next::Orders(i) => self.order(at, i),
            Next::Processed(i) => self.process(at, i),
            Next::Shipped(i) => self.ship(at, i),
            Next::Delivered(i) => self.deliver(at, i),
            Next::Cancelled(i) => self.cancel(at, i),
            Next::Restocked(product) => {
                let came = self.shelves[product].restock();
                self.stock_changed(at, product, came, None);
            }
            Next::Asks(from, to) => self.ask(at, from, to),
            Next::Answers(from, to) => self.answer(at, from, to),
        }
    }

    fn tell(
        &mut self,
        at: i64,
        event_type: &'static str,
        key: String,
        company: usize,
        data: Value,
    ) {
        let id = self.ids.uuid_at(at);
        self.told.push_back(Fact {
            id,
            event_type,
            key,
            company: company_id(company),
            user: None,
            at,
            correlation: None,
            data,
        });
    }

    /// An event that an order's customer caused.
    fn tell_order(&mut self, at: i64, event_type: &'static str, i: usize, data: Value) {
        let order = &self.orders[i];
        let (id, customer, company) = (order.id(), order.customer(), order.company());
        self.tell(at, event_type, id.clone(), company, data);
        if let Some(fact) = self.told.back_mut() {
            fact.user = Some(customer);
            fact.correlation = Some(id);
        }
    }

    fn open(&mut self, at: i64, product: usize) {
        let data = json!({
            "productId": stock::product_id(product),
            "productName": stock::product_name(product),
            "category": stock::category(product),
            "currentStock": self.shelves[product].on_hand,
            "reorderPoint": REORDER_POINT,
        });
        let (key, company) = (stock::product_id(product), product % COMPANIES);
        self.tell(at, "product.created", key, company, data);
    }

    fn arrive(&mut self, at: i64, i: usize) {
        let (order, customer) = (&self.orders[i], self.orders[i].purchase.customer);
        let (user, company) = (order.customer(), order.company());
        let data = json!({
            "userId": user,
            "email": format!("customer-{customer:05}@example.com"),
            "name": format!("Customer {customer}"),
            "role": "customer",
            "companyId": company_id(company),
            "locale": "en-US",
            "timeZone": "America/New_York",
        });
        self.tell_user(at, "user.created", user, company, data);
    }

    fn log_in(&mut self, at: i64, i: usize) {
        let order = &self.orders[i];
        let (user, company) = (order.customer(), order.company());
        let data = json!({
            "userId": user,
            "sessionId": format!("session-{}", order.id()),
            "method": "password",
        });
        self.tell_user(at, "user.login", user, company, data);
    }

    fn tell_user(
        &mut self,
        at: i64,
        kind: &'static str,
        user: String,
        company: usize,
        data: Value,
    ) {
        self.tell(at, kind, user.clone(), company, data);
        if let Some(fact) = self.told.back_mut() {
            fact.user = Some(user);
        }
    }

    fn order(&mut self, at: i64, i: usize) {
        self.ordered += 1;
        let order = &mut self.orders[i];
        order.lines = lines(order.purchase.quantity, order.company(), &mut order.chance);
        let (cents, price) = (order.purchase.cents, order.unit_price());
        let items = order.lines.iter().map(|(product, pieces)| {
            json!({
                "productId": stock::product_id(*product),
                "productName": stock::product_name(*product),
                "quantity": pieces,
                "unitPrice": price,
            })
        });
        let data = json!({
            "orderId": order.id(),
            "customerId": order.customer(),
            "items": items.collect::<Vec<_>>(),
            "total": order.total(),
            "currency": "USD",
            "status": "pending",
        });
        let (lines, company) = (order.lines.clone(), order.company());
        if order.chance.percent(CANCELLED_PERCENT) {
            let later = order.chance.range(1, 20) as i64 * HOUR;
            self.then(at + later, Next::Cancelled(i));
        } else {
            let later = order.chance.range(600, 6 * 3_600) as i64 * SECOND;
            self.then(at + later, Next::Processed(i));
        }
        self.tell_order(at, "order.created", i, data);
        self.revenue[company].add(cents);
        for (product, pieces) in lines {
            self.sell(at, product, pieces, i);
        }
    }

    fn sell(&mut self, at: i64, product: usize, pieces: u32, i: usize) {
        let level = self.shelves[product].sell(pieces.into());
        if level == Level::Enough {
            return;
        }
        let shelf = &mut self.shelves[product];
        let mut data = json!({
            "productId": stock::product_id(product),
            "productName": stock::product_name(product),
            "currentStock": shelf.on_hand,
            "reorderPoint": REORDER_POINT,
        });
        let event_type = match level {
            Level::Out => {
                data["lastOrderId"] = self.orders[i].id().into();
                "product.out_of_stock"
            }
            _ => {
                data["reorderQuantity"] = stock::FULL.into();
                "product.low_stock"
            }
        };
        if !std::mem::replace(&mut shelf.ordered, true) {
            let later = self.orders[i].chance.range(24, 72) as i64 * HOUR;
            self.then(at + later, Next::Restocked(product));
        }
        let (key, company) = (stock::product_id(product), product % COMPANIES);
        self.tell(at, event_type, key, company, data);
    }

    fn stock_changed(&mut self, at: i64, product: usize, came: i64, order: Option<usize>) {
        let data = json!({
            "productId": stock::product_id(product),
            "productName": stock::product_name(product),
            "currentStock": self.shelves[product].on_hand,
            "restocked": came,
            "reorderPoint": REORDER_POINT,
        });
        let (key, company) = (stock::product_id(product), product % COMPANIES);
        self.tell(at, "product.updated", key, company, data);
        if let (Some(fact), Some(i)) = (self.told.back_mut(), order) {
            fact.correlation = Some(self.orders[i].id());
        }
    }

    fn process(&mut self, at: i64, i: usize) {
        let order = &mut self.orders[i];
        let later = order.chance.range(20, 72) as i64 * HOUR;
        let data = json!({
            "orderId": order.id(),
            "customerId": order.customer(),
            "status": "processing",
            "previousStatus": "pending",
        });
        self.tell_order(at, "order.updated", i, data);
        self.then(at + later, Next::Shipped(i));
    }

    fn ship(&mut self, at: i64, i: usize) {
        let order = &mut self.orders[i];
        let later = order.chance.range(30, 150) as i64 * HOUR;
        let estimated = (at + 4 * DAY).div_euclid(DAY) * DAY;
        let data = json!({
            "orderId": order.id(),
            "customerId": order.customer(),
            "trackingNumber": order.tracking(),
            "carrier": order.carrier(),
            "estimatedDelivery": &sluice::event::timestamp_text(estimated)[..10],
            "shippedAt": sluice::event::timestamp_text(at),
        });
        self.tell_order(at, "order.shipped", i, data);
        self.then(at + later, Next::Delivered(i));
    }

    fn deliver(&mut self, at: i64, i: usize) {
        let order = &self.orders[i];
        let data = json!({
            "orderId": order.id(),
            "customerId": order.customer(),
            "trackingNumber": order.tracking(),
            "carrier": order.carrier(),
            "deliveredAt": sluice::event::timestamp_text(at),
        });
        self.tell_order(at, "order.delivered", i, data);
    }

    fn cancel(&mut self, at: i64, i: usize) {
        let order = &mut self.orders[i];
        let by_customer = order.chance.percent(70);
        let (reason, by) = match by_customer {
            true => ("changed their mind", "customer"),
            false => ("payment declined", "system"),
        };
        let data = json!({
            "orderId": order.id(),
            "customerId": order.customer(),
            "total": order.total(),
            "currency": "USD",
            "reason": reason,
            "cancelledBy": by,
        });
        let lines = order.lines.clone();
        self.tell_order(at, "order.cancelled", i, data);
        for (product, pieces) in lines {
            let came = self.shelves[product].put_back(pieces.into());
            if came > 0 {
                self.stock_changed(at, product, came, Some(i));
            }
        }
    }

    fn end_day(&mut self, at: i64, day: u32) {
        for company in 0..COMPANIES {
            let Some(anomaly) = self.revenue[company].end_day() else {
                continue;
            };
            let start = EPOCH + i64::from(day) * DAY;
            let data = json!({
                "metric": "daily_revenue",
                "expectedValue": anomaly.expected,
                "actualValue": anomaly.actual,
                "deviation": anomaly.deviation,
                "severity": anomaly.severity(),
                "unit": "USD",
                "periodStart": sluice::event::timestamp_text(start),
                "periodEnd": sluice::event::timestamp_text(start + DAY),
            });
            self.tell(
                at,
                "ai.anomaly_detected",
                company_id(company),
                company,
                data,
            );
        }
    }

    fn ask(&mut self, at: i64, from: usize, to: usize) {
        let later = Chance::new(self.seed, &[3, from as u64, to as u64]).range(2, 120);
        let data = json!({
            "requestId": request_id(from, to),
            "requestingCompanyId": company_id(from),
            "targetCompanyId": company_id(to),
            "requestingCompanyName": format!("Records {}", from + 1),
            "message": "Shall we sell each other's records?",
        });
        let key = company_id(from);
        self.tell(at, "marketplace.connection_requested", key, from, data);
        self.then(at + later as i64 * HOUR, Next::Answers(from, to));
    }

    fn answer(&mut self, at: i64, from: usize, to: usize) {
        let agreed = Chance::new(self.seed, &[4, from as u64, to as u64]).percent(70);
        let mut data = json!({
            "requestId": request_id(from, to),
            "requestingCompanyId": company_id(from),
            "targetCompanyId": company_id(to),
        });
        let event_type = match agreed {
            true => "marketplace.connection_approved",
            false => {
                data["reason"] = "we sell enough already".into();
                "marketplace.connection_rejected"
            }
        };
        self.tell(at, event_type, company_id(to), to, data);
    }
}

impl Iterator for Story {
    type Item = Fact;

    fn next(&mut self) -> Option<Fact> {
        while self.told.is_empty() {
            let Reverse((at, _, next)) = self.queue.pop()?;
            self.happen(at, next);
        }
        self.told.pop_front()
    }
}

/// The id of a company: `c1` to `c5`.
pub fn company_id(company: usize) -> String {
    format!("c{}", company + 1)
}

fn request_id(from: usize, to: usize) -> String {
    format!("request-{}-{}", company_id(from), company_id(to))
}
