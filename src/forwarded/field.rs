//! Single header fields. A question with two values of one is refused.

use http::header::AsHeaderName;
use http::{HeaderMap, HeaderName, HeaderValue, Uri, header};

use super::{ForwardedError, Question};
use crate::host::{Authority, Host, Scheme};

// Statics, because a name looked up as text is parsed again each time.
pub(super) static X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The host that the browser named to the proxy.
pub(super) static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
pub(super) static X_FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");
pub(super) static X_FORWARDED_METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
pub(super) static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static HOST: HeaderName = header::HOST;

/// The one value of `name` as text.
///
/// # Errors
///
/// If the field is repeated, empty, or not UTF-8.
pub(crate) fn single<'r>(headers: &'r HeaderMap, name: &'static HeaderName) -> Result<Option<&'r str>, ForwardedError> {
    let Some(value) = headers.get(name) else {
        return Ok(None);
    };
    // Most requests repeat no field, which the map tells without a lookup.
    if headers.len() > headers.keys_len() && headers.get_all(name).iter().nth(1).is_some() {
        return Err(ForwardedError::Repeated(name.as_str()));
    }
    let text = text(value).ok_or(ForwardedError::Malformed(name.as_str()))?;
    if text.is_empty() {
        return Err(ForwardedError::Missing(name.as_str()));
    }
    Ok(Some(text))
}

pub(super) fn required<'r>(headers: &'r HeaderMap, name: &'static HeaderName) -> Result<&'r str, ForwardedError> {
    single(headers, name)?.ok_or(ForwardedError::Missing(name.as_str()))
}

/// The first value of a field that is only a hint, if it is text.
pub(super) fn first_text(headers: &HeaderMap, name: impl AsHeaderName) -> Option<&str> {
    headers.get(name).and_then(text)
}

fn text(value: &HeaderValue) -> Option<&str> {
    std::str::from_utf8(value.as_bytes()).ok()
}

/// The scheme, and whether it is that of a WebSocket.
pub(super) fn scheme(text: &str) -> Result<(Scheme, bool), ForwardedError> {
    if text.bytes().any(|byte| byte == b',') {
        return Err(ForwardedError::Repeated(X_FORWARDED_PROTO.as_str()));
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
        .ok_or(ForwardedError::Malformed(X_FORWARDED_PROTO.as_str()))
}

pub(super) fn authority<'r>(text: &'r str, name: &'static str) -> Result<Authority<'r>, ForwardedError> {
    if text.bytes().any(|byte| byte == b',') {
        return Err(ForwardedError::Repeated(name));
    }
    Authority::parse(text).map_err(|_| ForwardedError::Malformed(name))
}

/// Host and port in `X-Forwarded-Host`. Only a trusted peer's field counts.
///
/// # Errors
///
/// If the field is repeated or not an authority.
pub(crate) fn forwarded_authority(headers: &HeaderMap) -> Result<Option<Authority<'_>>, ForwardedError> {
    single(headers, &X_FORWARDED_HOST)?.map(|text| authority(text, X_FORWARDED_HOST.as_str())).transpose()
}

/// The host that a question is sent to, if it is another one than that of `authority`; the port does not count.
///
/// # Errors
///
/// As [`request_authority`].
pub(super) fn other_host<'r>(
    question: &Question<'r>,
    authority: &Authority<'_>,
) -> Result<Option<Host<'r>>, ForwardedError> {
    // Usually the two texts are equal.
    if question.uri.authority().is_none() && single(question.headers, &HOST)? == Some(authority.host.as_str()) {
        return Ok(None);
    }
    let named = request_authority(question.uri, question.headers)?.host;
    Ok((named != authority.host).then_some(named))
}

/// Host and port of a request to forepost (RFC 9112 §3.2): the `Host` field, or HTTP/2's `:authority`.
///
/// # Errors
///
/// If both are missing, if they differ, or if the text is not an authority.
pub(crate) fn request_authority<'r>(uri: &'r Uri, headers: &'r HeaderMap) -> Result<Authority<'r>, ForwardedError> {
    let named = single(headers, &HOST)?.map(|text| authority(text, HOST.as_str())).transpose()?;
    let target = uri.authority().map(|it| authority(it.as_str(), HOST.as_str())).transpose()?;
    match (named, target) {
        (Some(named), Some(target)) if named != target => Err(ForwardedError::Repeated(HOST.as_str())),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(ForwardedError::Missing(HOST.as_str())),
    }
}
