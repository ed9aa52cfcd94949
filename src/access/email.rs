//! E-mail addresses as rules compare them.

use std::fmt;

use crate::host::Host;

/// An e-mail address as rules compare it: the part before `@` by character, the domain in its ASCII form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    local: String,
    domain: Host<'static>,
}

impl Email {
    /// Parses an address with exactly one `@`, also counting characters that look like one; `None` for any other text.
    ///
    /// The domain is mapped as in browsers (<https://www.unicode.org/reports/tr46/>), with full-width forms and capitals.
    #[must_use]
    pub(crate) fn parse(text: &str) -> Option<Self> {
        /// Characters that some systems read as `@`.
        const LOOKALIKES: [char; 2] = ['\u{fe6b}', '\u{ff20}'];
        let (local, domain) = text.split_once('@')?;
        let odd = |c: char| c.is_control() || c.is_whitespace() || c == '@' || LOOKALIKES.contains(&c);
        if local.is_empty() || text.len() > 1024 || local.contains(odd) {
            return None;
        }
        Some(Self { local: local.to_owned(), domain: domain_of(domain)? })
    }
    #[must_use]
    pub(crate) const fn domain(&self) -> &Host<'static> {
        &self.domain
    }
}

impl fmt::Display for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.local, self.domain)
    }
}

/// A domain name in its ASCII form.
pub(super) fn domain_of(text: &str) -> Option<Host<'static>> {
    // A domain has no escape, port or path, but the parser of URLs would accept one.
    if text.is_empty() || text.contains(|c: char| c.is_ascii() && !c.is_ascii_alphanumeric() && !"-._".contains(c)) {
        return None;
    }
    let url::Host::Domain(ascii) = url::Host::parse(text).ok()? else { return None };
    Host::parse(&ascii).ok().map(Host::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn email(text: &str, expected: Option<&str>) {
        let got = Email::parse(text).map(|email| email.to_string());
        assert_eq!(got.as_deref(), expected, "{text:?}");
    }

    #[test]
    fn addresses_have_one_reading() {
        email("alice@example.com", Some("alice@example.com"));
        email("Alice@EXAMPLE.com.", Some("Alice@example.com"));
        email("alice@b\u{fc}cher.example", Some("alice@xn--bcher-kva.example"));
        email("alice@\u{ff45}xample\u{3002}com", Some("alice@example.com"));
        for text in [
            "alice",
            "@example.com",
            "alice@",
            "alice@evil.test@example.com",
            "alice\u{ff20}evil.test@example.com",
            "alice\u{fe6b}evil.test@example.com",
            "alice@evil.test\u{ff20}example.com",
            "alice@ex%61mple.com",
            "alice@example.com/x",
            "alice@example.com:25",
            "alice@[127.0.0.1]",
            "alice@127.0.0.1",
            "al ice@example.com",
            "alice@example.com ",
            "alice@exa\0mple.com",
            "alice@.example.com",
            "<alice@example.com>",
        ] {
            email(text, None);
        }
    }
}
