//! The pages as a tagged document.

use std::collections::BTreeMap;
use std::num::NonZeroU16;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use krilla::action::{Action, LinkAction};
use krilla::annotation::{Annotation, LinkAnnotation, Target};
use krilla::color::{luma, rgb};
use krilla::configure::{Accessibility, ConfigurationBuilder};
use krilla::destination::XyzDestination;
use krilla::geom::{PathBuilder, Point, Rect};
use krilla::metadata::{DateTime, Metadata};
use krilla::outline::{Outline, OutlineNode};
use krilla::page::PageSettings;
use krilla::paint::Fill;
use krilla::surface::Surface;
use krilla::tagging::{
    Artifact, ArtifactType, ContentTag, Identifier, SpanTag, TableHeaderScope, Tag, TagGroup,
    TagTree,
};
use krilla::{Document, SerializeSettings};
use qrcode::{EcLevel, QrCode};

use super::SheetError;
use super::layout::{self, CODE, HEIGHT, Ink, MARGIN, Mark, Page, Place, Rule, WIDTH};
use super::order::Order;
use super::text::{Typeface, typefaces};
use crate::event::Event;

/// What was drawn, by what it is to a reader.
#[derive(Default)]
struct Read {
    title: Vec<Identifier>,
    code: Vec<Identifier>,
    paragraphs: BTreeMap<usize, Vec<Identifier>>,
    /// The paragraphs before the table.
    before: usize,
    heads: BTreeMap<usize, Vec<Identifier>>,
    rows: BTreeMap<usize, BTreeMap<usize, Vec<Identifier>>>,
}

impl Read {
    fn put(&mut self, place: Place, identifier: Identifier) {
        match place {
            Place::Title => self.title.push(identifier),
            Place::Paragraph(number) => {
                if self.heads.is_empty() {
                    self.before = number;
                }
                self.paragraphs.entry(number).or_default().push(identifier);
            }
            Place::Head(column) => self.heads.entry(column).or_default().push(identifier),
            Place::Cell(row, column) => {
                let cells = self.rows.entry(row).or_default();
                cells.entry(column).or_default().push(identifier);
            }
            Place::Ornament => {}
        }
    }

    /// In the order in which it is read.
    fn tree(mut self, title: &str, address: &str) -> TagTree {
        let mut tree = TagTree::new().with_lang(Some("en".to_owned()));
        let level = NonZeroU16::MIN;
        tree.push(group(Tag::Hn(level, Some(title.to_owned())), self.title));
        let after = self.paragraphs.split_off(&(self.before + 1));
        for identifiers in self.paragraphs.into_values() {
            tree.push(group(Tag::P, identifiers));
        }
        let mut link = self.code.into_iter();
        if let (Some(annotation), Some(code)) = (link.next(), link.next()) {
            let alt = format!("QR code of the event's address, {address}");
            let figure = group(Tag::Figure(Some(alt)), vec![code]);
            let mut linked = TagGroup::new(Tag::Link);
            linked.push(annotation);
            linked.push(figure);
            tree.push(linked);
        }
        let mut table =
            TagGroup::new(Tag::Table.with_summary(Some("The lines of the order".to_owned())));
        let mut head = TagGroup::new(Tag::TR);
        for identifiers in self.heads.into_values() {
            head.push(group(Tag::TH(TableHeaderScope::Column), identifiers));
        }
        table.push(head);
        for cells in self.rows.into_values() {
            let mut row = TagGroup::new(Tag::TR);
            for identifiers in cells.into_values() {
                row.push(group(Tag::TD, identifiers));
            }
            table.push(row);
        }
        tree.push(table);
        for identifiers in after.into_values() {
            tree.push(group(Tag::P, identifiers));
        }
        tree
    }
}

fn group(tag: impl Into<krilla::tagging::TagKind>, identifiers: Vec<Identifier>) -> TagGroup {
    let mut group = TagGroup::new(tag);
    for identifier in identifiers {
        group.push(identifier);
    }
    group
}

fn failed(error: impl std::fmt::Debug) -> SheetError {
    SheetError(format!("{error:?}"))
}

pub(super) fn document(
    event: &Event,
    order: &Order,
    address: &str,
    pages: &[Page],
) -> Result<Vec<u8>, SheetError> {
    let (regular, bold) = typefaces().ok_or_else(|| SheetError("no fonts".to_owned()))?;
    let code = QrCode::with_error_correction_level(address, EcLevel::M).map_err(failed)?;
    let accessible = ConfigurationBuilder::new().with_accessibility_validator(Accessibility::UA1);
    let mut document = Document::new_with(SerializeSettings {
        configuration: accessible.finish().map_err(failed)?,
        enable_tagging: true,
        ..SerializeSettings::default()
    });
    let title = format!("Order {}", regular.clean(layout::name(order)));
    document.set_metadata(metadata(event, &title));
    let mut read = Read::default();
    let settings = PageSettings::from_wh(WIDTH, HEIGHT).ok_or_else(|| failed("the page's size"))?;
    for (index, page) in pages.iter().enumerate() {
        let mut sheet = document.start_page_with(settings.clone());
        if index == 0
            && let Some(annotation) = link(address)
        {
            read.code.push(sheet.add_tagged_annotation(annotation));
        }
        let mut surface = sheet.surface();
        if index == 0 {
            read.code.push(draw_code(&mut surface, &code));
        }
        for rule in &page.rules {
            draw_rule(&mut surface, rule);
        }
        for mark in &page.marks {
            let typeface = if mark.bold { bold } else { regular };
            if let Some(identifier) = draw_mark(&mut surface, mark, typeface) {
                read.put(mark.place, identifier);
            }
        }
        surface.finish();
        sheet.finish();
    }
    document.set_outline(outline(&title, pages.len()));
    document.set_tag_tree(read.tree(&title, address));
    document.finish().map_err(failed)
}

/// The order, and its pages where there are several.
fn outline(title: &str, pages: usize) -> Outline {
    let at = |page: usize| XyzDestination::new(page, Point::from_xy(0.0, 0.0));
    let mut order = OutlineNode::new(title.to_owned(), at(0));
    for page in 1..pages {
        order.push_child(OutlineNode::new(format!("Page {}", page + 1), at(page)));
    }
    let mut outline = Outline::new();
    outline.push_child(order);
    outline
}

fn metadata(event: &Event, title: &str) -> Metadata {
    let metadata = Metadata::new()
        .title(title.to_owned())
        .language("en".to_owned())
        .creator("Sluice".to_owned())
        .document_id(event.id.to_string());
    let time = Timestamp::from_microsecond(event.timestamp_micros).ok();
    let time = time.map(|time| time.to_zoned(TimeZone::UTC).datetime());
    let part = |number: i8| u8::try_from(number).unwrap_or_default();
    match time.and_then(|time| Some((u16::try_from(time.year()).ok()?, time))) {
        None => metadata,
        Some((year, time)) => metadata.creation_date(
            DateTime::new(year)
                .month(part(time.month()))
                .day(part(time.day()))
                .hour(part(time.hour()))
                .minute(part(time.minute()))
                .second(part(time.second()))
                .utc_offset_hour(0)
                .utc_offset_minute(0),
        ),
    }
}

fn code_corner() -> (f32, f32) {
    (WIDTH - MARGIN - CODE, MARGIN)
}

fn link(address: &str) -> Option<Annotation> {
    let (x, y) = code_corner();
    let action = Action::Link(LinkAction::new(address.to_owned()));
    let link = LinkAnnotation::new(Rect::from_xywh(x, y, CODE, CODE)?, Target::Action(action));
    Some(Annotation::new_link(
        link,
        Some("The event of this order".to_owned()),
    ))
}

fn fill(ink: Ink) -> Fill {
    let paint = match ink {
        Ink::Black => luma::Color::black().into(),
        Ink::Grey => rgb::Color::new(0x5f, 0x66, 0x70).into(),
    };
    Fill {
        paint,
        ..Fill::default()
    }
}

fn draw_code(surface: &mut Surface<'_>, code: &QrCode) -> Identifier {
    let identifier = surface.start_tagged(ContentTag::Other);
    surface.set_fill(Some(fill(Ink::Black)));
    let (left, top) = code_corner();
    let modules = code.width();
    let side = CODE / modules as f32;
    let mut path = PathBuilder::new();
    let dark = code
        .to_colors()
        .into_iter()
        .map(|color| color == qrcode::Color::Dark);
    for (index, _) in dark.enumerate().filter(|(_, dark)| *dark) {
        let (x, y) = ((index % modules) as f32, (index / modules) as f32);
        if let Some(module) = Rect::from_xywh(left + x * side, top + y * side, side, side) {
            path.push_rect(module);
        }
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
    surface.end_tagged();
    identifier
}

fn draw_rule(surface: &mut Surface<'_>, rule: &Rule) {
    let (thickness, shade) = if rule.heavy { (0.8, 0x20) } else { (0.4, 0xd0) };
    let _ = surface.start_tagged(ContentTag::Artifact(Artifact::with_kind(
        ArtifactType::Layout,
    )));
    surface.set_fill(Some(Fill {
        paint: luma::Color::new(shade).into(),
        ..Fill::default()
    }));
    let mut path = PathBuilder::new();
    if let Some(line) = Rect::from_xywh(rule.from, rule.y, rule.to - rule.from, thickness) {
        path.push_rect(line);
    }
    if let Some(path) = path.finish() {
        surface.draw_path(&path);
    }
    surface.end_tagged();
}

fn draw_mark(surface: &mut Surface<'_>, mark: &Mark, typeface: &Typeface) -> Option<Identifier> {
    if mark.text.is_empty() {
        return None;
    }
    let ornament = Artifact::with_kind(ArtifactType::PaginationOther);
    let tag = match mark.place {
        Place::Ornament => ContentTag::Artifact(ornament),
        _ => ContentTag::Span(SpanTag::empty()),
    };
    let identifier = surface.start_tagged(tag);
    surface.set_fill(Some(fill(mark.ink)));
    let glyphs = typeface.glyphs(&mark.text);
    let start = Point::from_xy(mark.x, mark.y);
    surface.draw_glyphs(
        start,
        &glyphs,
        typeface.font.clone(),
        &mark.text,
        mark.size,
        false,
    );
    surface.end_tagged();
    Some(identifier)
}
