//! Cuts long values, because clients choose many of them.

use std::fmt;

/// The most characters of a value.
pub(super) const MOST: usize = 1024;

/// The mark where a value was cut.
const CUT: char = '…';

/// Writes the first characters of a text, and a mark if there are more.
pub(super) struct Cutting<W> {
    to: W,
    /// The characters that still fit; `None` after the cut.
    left: Option<usize>,
}

impl<W: fmt::Write> Cutting<W> {
    pub(super) const fn new(to: W) -> Self {
        Self { to, left: Some(MOST) }
    }
}

impl<W: fmt::Write> fmt::Write for Cutting<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(left) = self.left else { return Ok(()) };
        if let Some((end, _)) = text.char_indices().nth(left) {
            self.left = None;
            self.to.write_str(&text[..end])?;
            return self.to.write_char(CUT);
        }
        self.left = Some(left - text.chars().count());
        self.to.write_str(text)
    }
}

/// A line of JSON whose texts are cut.
pub(super) fn cut_json(line: &str) -> String {
    let mut cut = String::with_capacity(line.len().min(8 * MOST));
    let mut rest = line.chars();
    let mut inside = None;
    while let Some(c) = rest.next() {
        let Some(length) = &mut inside else {
            inside = (c == '"').then_some(0);
            cut.push(c);
            continue;
        };
        if c == '"' {
            inside = None;
            cut.push(c);
            continue;
        }
        *length += 1;
        // An escape is one character of the text, and is not split.
        let escape = if c == '\\' { rest.next() } else { None };
        let digits = if escape == Some('u') { 4 } else { 0 };
        let whole = std::iter::once(c).chain(escape).chain(rest.by_ref().take(digits));
        if *length <= MOST {
            cut.extend(whole);
        } else {
            whole.for_each(drop);
            if *length == MOST + 1 {
                cut.push(CUT);
            }
        }
    }
    cut
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    #[test]
    fn values_are_cut_between_characters() {
        for (text, expected) in [
            ("a".repeat(MOST), "a".repeat(MOST)),
            ("a".repeat(MOST + 1), "a".repeat(MOST) + "…"),
            ("ü🦀".repeat(MOST), "ü🦀".repeat(MOST / 2) + "…"),
            ("\u{1b}\"\\\n".repeat(MOST), "\u{1b}\"\\\n".repeat(MOST / 4) + "…"),
            (String::new(), String::new()),
        ] {
            let line = serde_json::json!({"a": text, "b": 7, "c": ["x", text]}).to_string();
            let cut: serde_json::Value = serde_json::from_str(&cut_json(&line)).unwrap();
            assert_eq!(cut, serde_json::json!({"a": expected, "b": 7, "c": ["x", expected]}));
            // The pieces do not matter.
            for piece in [1, 7, 5000] {
                let mut written = String::new();
                let mut cutting = Cutting::new(&mut written);
                let characters: Vec<char> = text.chars().collect();
                for piece in characters.chunks(piece) {
                    cutting.write_str(&piece.iter().collect::<String>()).unwrap();
                }
                assert_eq!(written, expected);
            }
        }
    }
}
