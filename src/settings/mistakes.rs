//! What is wrong with a configuration, all of it at once.

use std::fmt;

/// One thing that the operator has to change.
///
/// Its texts never hold the value of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The key, as `application[1].public_paths[0].regex`; empty when the whole file is meant.
    pub path: String,
    /// What is wrong, with the offending value where that is no secret.
    pub problem: String,
    /// What to do about it; may be empty.
    pub hint: String,
    /// The file, environment variable or flag it came from, where one is to blame.
    pub origin: Option<String>,
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

/// Every mistake of a configuration, one at least, in the order of its keys.
///
/// Displayed as one block: a line that counts them, then one line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes(Vec<Mistake>);

impl Mistakes {
    pub(super) fn new(mistakes: Vec<Mistake>) -> Self {
        Self(mistakes)
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
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

/// What a value got wrong, before it is known under which key it stood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Complaint {
    pub(super) problem: String,
    pub(super) hint: String,
}

/// A complaint with what to do about it; `hint` may be empty.
pub(super) fn complaint(problem: impl Into<String>, hint: impl Into<String>) -> Complaint {
    Complaint { problem: problem.into(), hint: hint.into() }
}

/// `text` in quotes, short, on one line, and without the user information of a URL.
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
