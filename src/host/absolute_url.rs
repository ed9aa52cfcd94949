use memchr::memchr3;

/// An absolute URL in its parts, as they are written (RFC 3986 §3): nothing is decoded, resolved or repaired.
///
/// For texts that count as they stand: what a proxy passes on, what a browser names as its origin, what is compared or kept
/// character by character. Where a URL is meant that a browser would make of a text, the `url` crate reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AbsoluteUrl<'u> {
    pub(crate) scheme: &'u str,
    /// What stands between the two slashes and the path; unchecked.
    pub(crate) authority: &'u str,
    /// Path, query and fragment, as far as there are any.
    pub(crate) rest: &'u str,
}

impl<'u> AbsoluteUrl<'u> {
    /// Splits `scheme://authority[/path][?query][#fragment]`.
    pub(crate) fn split(text: &'u str) -> Option<Self> {
        let (scheme, behind) = text.split_once(':')?;
        let behind = behind.strip_prefix("//")?;
        let end = memchr3(b'/', b'?', b'#', behind.as_bytes()).unwrap_or(behind.len());
        let (authority, rest) = behind.split_at(end);
        Some(Self { scheme, authority, rest })
    }

    /// The path, without query and fragment; may be empty.
    pub(crate) fn path(&self) -> &'u str {
        self.rest.split(['?', '#']).next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<[&str; 4]>) {
        let got = AbsoluteUrl::split(text).map(|it| [it.scheme, it.authority, it.rest, it.path()]);
        assert_eq!(got, expected, "{text:?}");
    }

    #[test]
    fn urls_are_split_as_they_are_written() {
        check("https://a.test", Some(["https", "a.test", "", ""]));
        check("HTTP://A.test:80/x//../y?q#f", Some(["HTTP", "A.test:80", "/x//../y?q#f", "/x//../y"]));
        check("https://a.test?q/x", Some(["https", "a.test", "?q/x", ""]));
        check("https://a.test#f?q", Some(["https", "a.test", "#f?q", ""]));
        check("https://me@[::1]:1/", Some(["https", "me@[::1]:1", "/", "/"]));
        check("https:///x", Some(["https", "", "/x", "/x"]));
        check("://a.test", Some(["", "a.test", "", ""]));
        check("https://\u{e4}.test/\u{e9}", Some(["https", "\u{e4}.test", "/\u{e9}", "/\u{e9}"]));
        for text in ["", "a.test", "//a.test", "https:a.test", "https:/a.test", "https", ":", "me:pw@x://a.test"] {
            check(text, None);
        }
    }
}
