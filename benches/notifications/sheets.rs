//! Order sheets by one thread, alone.

use std::time::Instant;

use sluice::consumers::notifications::order_sheet;
use sluice::event::Event;
use uuid::Uuid;

use super::Args;
use super::harness::figures::{Aim, Figures, number};
use super::world::order_data;

/// Sheets of each round.
const SHEETS: usize = 2_000;

pub fn sheets(args: &Args, figures: &mut Figures) -> anyhow::Result<()> {
    let events: Vec<Event> = (0..SHEETS).map(event).collect();
    let (mut rates, mut bytes) = (Vec::new(), 0);
    // The first round warms up.
    for round in 0..=args.rounds {
        let since = Instant::now();
        for event in &events {
            let address = format!("https://events.example.com/api/events/{}", event.id);
            bytes = order_sheet(event, &address)?.len();
        }
        let rate = SHEETS as f64 / since.elapsed().as_secs_f64();
        if round > 0 {
            println!("round {round}: {} sheets/s of {bytes} bytes", number(rate));
            rates.push(rate);
        }
    }
    figures.add(
        "sheets_per_second",
        &rates,
        "sheets/s",
        Some(Aim::Over(200.0)),
    );
    Ok(())
}

fn event(n: usize) -> Event {
    Event {
        id: Uuid::from_u128(n as u128),
        event_type: "order.created".into(),
        timestamp_micros: 1_795_655_404_000_000,
        user_id: Some("user-1".to_owned()),
        company_id: Some("company-1".to_owned()),
        data: order_data(n).to_string(),
        metadata: "{}".to_owned(),
    }
}
