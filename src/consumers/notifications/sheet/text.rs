//! Text in the sheet's font: what of it can be shown, how wide it is, and where it breaks.

use std::sync::LazyLock;

use krilla::text::{Font, GlyphId, KrillaGlyph};
use ttf_parser::Face;

/// Stands for what the font has no sign for.
const UNKNOWN: char = '\u{25a1}';
const ELLIPSIS: char = '\u{2026}';
/// The longest text that is looked at, in characters.
const LONGEST: usize = 2_000;

/// DejaVu Sans, which has Latin, Greek and Cyrillic.
pub(super) struct Typeface {
    face: Face<'static>,
    pub font: Font,
}

static REGULAR: LazyLock<Option<Typeface>> =
    LazyLock::new(|| Typeface::read(dejavu::sans::regular()));
static BOLD: LazyLock<Option<Typeface>> = LazyLock::new(|| Typeface::read(dejavu::sans::bold()));

/// The two weights; `None` where this program was built with other bytes than fonts.
pub(super) fn typefaces() -> Option<(&'static Typeface, &'static Typeface)> {
    Some((REGULAR.as_ref()?, BOLD.as_ref()?))
}

/// Marks that turn the direction of text around; with them a total could be made to look like another.
fn turns_around(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

impl Typeface {
    fn read(bytes: &'static [u8]) -> Option<Self> {
        Some(Self {
            face: Face::parse(bytes, 0).ok()?,
            font: Font::new(bytes.into(), 0)?,
        })
    }

    fn advance(&self, c: char) -> Option<(GlyphId, f32)> {
        let glyph = self.face.glyph_index(c)?;
        let advance = self.face.glyph_hor_advance(glyph)?;
        let em = f32::from(self.face.units_per_em());
        Some((GlyphId::new(glyph.0.into()), f32::from(advance) / em))
    }

    /// What can be shown of a text, on one line: no controls, no marks of direction, single spaces.
    pub(super) fn clean(&self, text: &str) -> String {
        let shown = text.chars().take(LONGEST).filter(|c| !turns_around(*c));
        let shown = shown.map(|c| match c {
            c if c.is_control() || c.is_whitespace() => ' ',
            c if self.face.glyph_index(c).is_some() => c,
            _ => UNKNOWN,
        });
        let shown: String = shown.collect();
        shown
            .split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The width of a clean text, in points.
    pub(super) fn width(&self, text: &str, size: f32) -> f32 {
        let advances = text.chars().filter_map(|c| self.advance(c));
        advances.map(|(_, advance)| advance * size).sum()
    }

    /// A clean text as glyphs.
    pub(super) fn glyphs(&self, text: &str) -> Vec<KrillaGlyph> {
        let glyph = |(at, c): (usize, char)| {
            let (glyph, advance) = self.advance(c)?;
            Some(KrillaGlyph::new(
                glyph,
                advance,
                0.0,
                0.0,
                0.0,
                at..at + c.len_utf8(),
                None,
            ))
        };
        text.char_indices().filter_map(glyph).collect()
    }

    /// A clean text in lines of at most this width, between words where it can be; what does not
    /// fit into so many lines ends in an ellipsis.
    pub(super) fn lines(&self, text: &str, size: f32, width: f32, most: usize) -> Vec<String> {
        let mut lines: Vec<String> = Vec::new();
        let mut rest = text;
        while !rest.is_empty() && lines.len() < most {
            let (line, left) = rest.split_at(self.breaks_at(rest, size, width));
            let left = left.trim_start();
            if lines.len() + 1 == most && !left.is_empty() {
                // As much of it as there is room for, also of a word.
                let room = width - self.width("\u{2026}", size);
                let cut = self.cut_at(rest, size, room);
                lines.push(format!("{}{ELLIPSIS}", rest[..cut].trim_end()));
                break;
            }
            lines.push(line.trim_end().to_owned());
            rest = left;
        }
        lines
    }

    /// How many bytes of a text have room.
    fn cut_at(&self, text: &str, size: f32, width: f32) -> usize {
        let mut used = 0.0;
        for (at, c) in text.char_indices() {
            used += self.advance(c).map_or(0.0, |(_, advance)| advance * size);
            if used > width {
                return at;
            }
        }
        text.len()
    }

    /// Where the first line ends, in bytes; at least one character on.
    fn breaks_at(&self, text: &str, size: f32, width: f32) -> usize {
        let (mut used, mut space) = (0.0, None);
        for (at, c) in text.char_indices() {
            used += self.advance(c).map_or(0.0, |(_, advance)| advance * size);
            if used > width && at > 0 {
                return space.unwrap_or(at);
            }
            if c == ' ' {
                space = Some(at + 1);
            }
        }
        text.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn regular() -> &'static Typeface {
        typefaces().expect("fonts").0
    }

    #[test]
    fn what_cannot_be_shown_does_no_harm() {
        let clean = |text| regular().clean(text);
        assert_eq!(clean("Größe ΑΒΓ Жук €"), "Größe ΑΒΓ Жук €");
        assert_eq!(clean(" a\r\nb\t\u{7}c  "), "a b c");
        assert_eq!(clean("total \u{202e}00.1"), "total 00.1");
        assert_eq!(clean("\u{1f680}漢"), "\u{25a1}\u{25a1}");
        assert_eq!(clean(&"x".repeat(5_000)).len(), LONGEST);
    }

    proptest! {
        /// Lines are within the width, no more than allowed, and lose nothing where they need not.
        #[test]
        fn lines_fit(text in "[a-zA-Zß ]{0,80}", width in 30.0_f32..200.0, most in 1_usize..6) {
            let text = regular().clean(&text);
            let lines = regular().lines(&text, 9.0, width, most);
            prop_assert!(lines.len() <= most);
            for line in &lines {
                prop_assert!(regular().width(line, 9.0) <= width + 0.01, "{line}");
            }
            if !lines.last().is_some_and(|line| line.ends_with('\u{2026}')) {
                let letters = |text: &str| text.replace(' ', "");
                prop_assert_eq!(letters(&lines.concat()), letters(&text));
            }
        }
    }
}
