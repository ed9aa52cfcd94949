//! The mistakes of a configuration, reported all at once.

use std::fmt;

/// A mistake that the operator has to correct.
///
/// Its texts do not contain the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The key, as in `application[1].public_paths[0].regex`; empty for the whole file.
    pub(crate) path: String,
    /// What is wrong, with the value unless it is secret.
    pub(crate) problem: String,
    /// How to correct it; may be empty.
    pub(crate) hint: String,
    /// The file, environment variable or flag that the value came from, if there is one.
    pub(crate) origin: Option<String>,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.problem)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        match &self.origin {
            Some(origin) => write!(f, " (from {origin})"),
            None => Ok(()),
        }
    }
}

/// All mistakes of a configuration, at least one, in the order of the keys.
///
/// `Display` writes a line with their number, then one line for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(pub(super) Vec<Mistake>);

impl Mistakes {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes)
    }

    /// Each mistake as one line.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.0.iter().map(ToString::to_string).collect()
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("1 mistake in the configuration:")?,
            n => write!(f, "{n} mistakes in the configuration:")?,
        }
        self.0.iter().try_for_each(|m| write!(f, "\n  {m}"))
    }
}

impl std::error::Error for Mistakes {}

/// What is wrong with a value whose key is not known yet.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) problem: String,
    pub(super) hint: String,
}

/// Makes a complaint; `hint` says how to correct the value and may be empty.
pub(super) fn complaint(problem: impl Into<String>, hint: impl Into<String>) -> Complaint {
    Complaint { problem: problem.into(), hint: hint.into() }
}

/// Writes `text` in quotes, short, on one line, and without the user information of a URL.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 80;
    let text = match (text.find("//"), text.rfind('@')) {
        (Some(slashes), Some(at)) if slashes + 2 <= at => {
            format!("{}…{}", &text[..slashes + 2], &text[at..])
        }
        (None, Some(at)) => format!("…{}", &text[at..]),
        _ => text.to_owned(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{:?}", format!("{}…", &text[..end])),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_are_one_line_each() {
        let one = Mistake {
            path: "application[0].cookie_domain".to_owned(),
            problem: "\"com\" is a public suffix".to_owned(),
            hint: "give a domain of your own".to_owned(),
            origin: Some("./forepost.toml".to_owned()),
        };
        let line = "application[0].cookie_domain: \"com\" is a public suffix; give a domain of your own \
                    (from ./forepost.toml)";
        assert_eq!(one.to_string(), line);
        let bare =
            Mistake { path: String::new(), problem: "no such file".to_owned(), hint: String::new(), origin: None };
        assert_eq!(
            Mistakes::new(vec![one, bare]).to_string(),
            format!("2 mistakes in the configuration:\n  {line}\n  no such file")
        );
    }

    #[track_caller]
    fn check(text: &str, expected: &str) {
        assert_eq!(shown(text), expected);
    }

    #[test]
    fn values_are_shown_safely() {
        check("https://a.test", "\"https://a.test\"");
        check("https://me:secret@a.test", "\"https://…@a.test\"");
        check("https://me:p@ss@a.test", "\"https://…@a.test\"");
        check("me:secret@a.test", "\"…@a.test\"");
        check("a\nb", "\"a\\nb\"");
        check(&"ä".repeat(100), &format!("\"{}…\"", "ä".repeat(80)));
    }
}
