//! Single header fields: one value each, or the question is refused.

use http::{HeaderMap, HeaderValue, Method, Uri};

use super::ForwardedError;
use crate::host::{Authority, Scheme};

/// The one value of `name` as text.
///
/// # Errors
///
/// When the field is repeated, empty, or not UTF-8.
pub fn single<'r>(headers: &'r HeaderMap, name: &'static str) -> Result<Option<&'r str>, ForwardedError> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(ForwardedError::Repeated(name));
    }
    let text = text(value).ok_or(ForwardedError::Malformed(name))?;
    if text.is_empty() {
        return Err(ForwardedError::Missing(name));
    }
    Ok(Some(text))
}

pub(super) fn required<'r>(headers: &'r HeaderMap, name: &'static str) -> Result<&'r str, ForwardedError> {
    single(headers, name)?.ok_or(ForwardedError::Missing(name))
}

/// The first value of a field that only hints, where it is text.
pub(super) fn first_text<'r>(headers: &'r HeaderMap, name: &str) -> Option<&'r str> {
    headers.get(name).and_then(text)
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// A scheme, and whether it was a WebSocket's.
pub(super) fn scheme(text: &str) -> Result<(Scheme, bool), ForwardedError> {
    const NAME: &str = "x-forwarded-proto";
    if text.contains(',') {
        return Err(ForwardedError::Repeated(NAME));
    }
    let known = [
        ("https", Scheme::Https, false),
        ("http", Scheme::Http, false),
        ("wss", Scheme::Https, true),
        ("ws", Scheme::Http, true),
    ];
    known
        .into_iter()
        .find(|(name, ..)| text.eq_ignore_ascii_case(name))
        .map(|(_, scheme, websocket)| (scheme, websocket))
        .ok_or(ForwardedError::Malformed(NAME))
}

pub(super) fn authority(text: &str, name: &'static str) -> Result<Authority, ForwardedError> {
    if text.contains(',') {
        return Err(ForwardedError::Repeated(name));
    }
    Authority::parse(text).map_err(|_| ForwardedError::Malformed(name))
}

pub(super) fn method(headers: &HeaderMap) -> Result<Option<Method>, ForwardedError> {
    const NAME: &str = "x-forwarded-method";
    single(headers, NAME)?
        .map(|text| Method::from_bytes(text.as_bytes()))
        .transpose()
        .map_err(|_| ForwardedError::Malformed(NAME))
}

/// Host and port that a request to us names (RFC 9112 §3.2): the `Host` field, or HTTP/2's `:authority`.
///
/// # Errors
///
/// When neither is there, or they differ, or the text is no authority.
pub fn request_authority(uri: &Uri, headers: &HeaderMap) -> Result<Authority, ForwardedError> {
    const NAME: &str = "host";
    let named = single(headers, NAME)?.map(|text| authority(text, NAME)).transpose()?;
    let target = uri.authority().map(|it| authority(it.as_str(), NAME)).transpose()?;
    match (named, target) {
        (Some(named), Some(target)) if named != target => Err(ForwardedError::Repeated(NAME)),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(ForwardedError::Missing(NAME)),
    }
}
