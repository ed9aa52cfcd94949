//! The method of an original request.

use http::{HeaderMap, Method};

use super::{ForwardedError, field};

/// Parses a method: capital letters and hyphens, as all registered methods have (RFC 9110 §9.1, §16.1.1). Returns `None` for any
/// other text.
///
/// Methods are case-sensitive (RFC 9110 §9.1), but some applications read `post` as `POST`, which would be another method than
/// the rules see.
#[must_use]
pub(crate) fn parse_method(text: &[u8]) -> Option<Method> {
    if is_method(text) { Method::from_bytes(text).ok() } else { None }
}

fn is_method(text: &[u8]) -> bool {
    let is_capital = |byte: &u8| byte.is_ascii_uppercase() || *byte == b'-';
    text.first().is_some_and(u8::is_ascii_uppercase) && text.iter().all(is_capital)
}

/// The method that the proxy names.
pub(super) fn named(headers: &HeaderMap) -> Result<Option<Method>, ForwardedError> {
    let malformed = ForwardedError::Malformed(field::X_FORWARDED_METHOD.as_str());
    let named = field::single(headers, &field::X_FORWARDED_METHOD)?;
    named.map(|text| parse_method(text.as_bytes()).ok_or(malformed)).transpose()
}

/// Refuses a question with another method, which may be the client's own.
pub(super) fn check(method: &Method) -> Result<(), ForwardedError> {
    if is_method(method.as_str().as_bytes()) { Ok(()) } else { Err(ForwardedError::Malformed("method")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_capital_letters_and_hyphens() {
        for text in ["GET", "HEAD", "POST", "PROPFIND", "VERSION-CONTROL", "M-SEARCH", "UPDATEREDIRECTREF", "QUERY"] {
            assert_eq!(parse_method(text.as_bytes()).as_ref().map(Method::as_str), Some(text));
        }
        for text in ["", "post", "Post", "POSt", "GET ", "G_T", "GET2", "-GET", "G.T", "G!", "\u{130}NFO", "GET\0"] {
            assert_eq!(parse_method(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse_method(b"GET\xff"), None);
    }
}
