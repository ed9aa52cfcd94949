//! Path and query of an original request.

use memchr::memchr;

/// A request target in origin form (RFC 9112 §3.2.1), as the proxy passed it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target<'r> {
    path: &'r str,
    query: Option<&'r str>,
}

/// Why a text is not a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a path with an optional query")]
pub(crate) struct InvalidTarget;

impl<'r> Target<'r> {
    #[must_use]
    pub(crate) const fn root() -> Self {
        Self { path: "/", query: None }
    }

    /// Parses `/path?query`.
    ///
    /// The path has no control byte, white space or `#`, and its escapes are complete. The query is not checked: `?q=50%` is valid.
    ///
    /// # Errors
    ///
    /// If the text has another form.
    pub(crate) fn parse(text: &'r str) -> Result<Self, InvalidTarget> {
        let (path, query) = match memchr(b'?', text.as_bytes()) {
            Some(at) => (&text[..at], Some(&text[at + 1..])),
            None => (text, None),
        };
        if !path.starts_with('/') || !path.bytes().all(is_path_byte) || !escapes_are_whole(path) {
            return Err(InvalidTarget);
        }
        Ok(Self { path, query })
    }

    /// The path as the client wrote it; it is not empty.
    #[must_use]
    pub(crate) const fn path(&self) -> &'r str {
        self.path
    }

    /// The text after the first `?`.
    #[must_use]
    pub(crate) const fn query(&self) -> Option<&'r str> {
        self.query
    }
}

fn is_path_byte(byte: u8) -> bool {
    byte > b' ' && byte != 0x7f && byte != b'#'
}

/// Whether each `%` is followed by two hexadecimal digits (RFC 3986 §2.1).
fn escapes_are_whole(path: &str) -> bool {
    let bytes = path.as_bytes();
    bytes.iter().enumerate().all(|(at, byte)| {
        *byte != b'%' || bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}
