//! Whether a request is a navigation, which can follow a redirect to a login page.

use http::{HeaderMap, HeaderName, Method, header};

use super::field::first_text;

// Statics, because a name looked up as text is parsed again each time.
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
static X_REQUESTED_WITH: HeaderName = HeaderName::from_static("x-requested-with");

/// What the client can do with an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum RequestKind {
    /// A browser opens a page and follows redirects.
    Navigation,
    /// A browser submits a form; the redirect must turn the request into a GET.
    FormSubmission,
    /// A script, a sub-resource or a program, which cannot use a login page.
    Fetch,
    /// The opening handshake of a WebSocket (RFC 6455 §4).
    WebSocket,
    /// A CORS preflight (<https://fetch.spec.whatwg.org/#cors-preflight-request>), which has no cookies.
    Preflight,
}

/// What a client says about itself. It is parsed only if an answer depends on it, because most checks do not need it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientHints<'r> {
    headers: &'r HeaderMap,
    websocket: bool,
}

impl<'r> ClientHints<'r> {
    /// The hints in `headers`. With `websocket`, the proxy says that the request is a WebSocket handshake.
    #[must_use]
    pub(crate) const fn new(headers: &'r HeaderMap, websocket: bool) -> Self {
        Self { headers, websocket }
    }

    /// What the client can do with an answer to `method`.
    #[must_use]
    pub(crate) fn kind(&self, method: Option<&Method>) -> RequestKind {
        if self.websocket { RequestKind::WebSocket } else { RequestKind::of(method, self.headers) }
    }

    /// Whether the answer should be an HTML page: the client names HTML, and not only by a wildcard.
    #[must_use]
    pub(crate) fn accepts_html(&self) -> bool {
        media_ranges(self.headers).any(is_html)
    }

    /// Whether the answer is shown as the page of a tab. In a frame, the provider may not get its cookies; a prefetched page may not
    /// be shown.
    #[must_use]
    pub(crate) fn is_on_top(&self) -> bool {
        first_text(self.headers, &SEC_FETCH_DEST).is_none_or(|dest| dest == "document")
            && !self.headers.contains_key(&SEC_PURPOSE)
    }

    /// The `Origin` field of a cross-origin or unsafe request.
    #[must_use]
    pub(crate) fn origin(&self) -> Option<&'r str> {
        first_text(self.headers, header::ORIGIN)
    }
    #[must_use]
    pub(crate) fn referer(&self) -> Option<&'r str> {
        first_text(self.headers, header::REFERER)
    }
}

impl RequestKind {
    /// Whether a redirect to a login page helps.
    #[must_use]
    pub(crate) const fn is_navigation(self) -> bool {
        matches!(self, Self::Navigation | Self::FormSubmission)
    }

    /// Classifies the request by what it says about itself. A request that says nothing is a navigation.
    pub(super) fn of(method: Option<&Method>, headers: &HeaderMap) -> Self {
        let asks_for_cors =
            headers.contains_key(header::ORIGIN) && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        match method {
            Some(&Method::OPTIONS) if asks_for_cors => return Self::Preflight,
            // This can be a preflight, which a redirect would break, but it is not certain enough to pass as one.
            None if asks_for_cors => return Self::Fetch,
            None | Some(_) => {}
        }
        if is_websocket(headers) {
            return Self::WebSocket;
        }
        let navigation = match method {
            None | Some(&Method::GET | &Method::HEAD) => Self::Navigation,
            Some(&Method::POST) => Self::FormSubmission,
            Some(_) => return Self::Fetch,
        };
        // The browser sets Fetch Metadata, and a page cannot change it, so it decides if it is present.
        if let Some(mode) = first_text(headers, &SEC_FETCH_MODE) {
            let page = match first_text(headers, &SEC_FETCH_DEST) {
                None => true,
                Some(dest) => ["document", "iframe", "frame", "fencedframe"].contains(&dest),
            };
            return if mode == "navigate" && page { navigation } else { Self::Fetch };
        }
        if headers.contains_key(&X_REQUESTED_WITH)
            || headers.contains_key(header::AUTHORIZATION)
            || !takes_pages(headers)
        {
            return Self::Fetch;
        }
        navigation
    }
}

fn is_websocket(headers: &HeaderMap) -> bool {
    headers.contains_key(header::SEC_WEBSOCKET_KEY)
        || headers.get_all(header::UPGRADE).iter().any(|value| {
            value.to_str().is_ok_and(|text| text.split(',').any(|it| it.trim().eq_ignore_ascii_case("websocket")))
        })
        || first_text(headers, &SEC_FETCH_MODE) == Some("websocket")
}

/// The media ranges of all `Accept` fields, without those that `q=0` refuses.
fn media_ranges(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|line| line.split(','))
        .filter_map(|range| {
            let mut parts = range.split(';').map(str::trim);
            let name = parts.next().filter(|name| !name.is_empty())?;
            let refused = parts.any(|parameter| {
                parameter
                    .strip_prefix("q=")
                    .is_some_and(|q| q.trim_end_matches('0').trim_end_matches('.').is_empty() && q.starts_with('0'))
            });
            (!refused).then_some(name)
        })
}

fn is_html(range: &str) -> bool {
    range.eq_ignore_ascii_case("text/html") || range.eq_ignore_ascii_case("application/xhtml+xml")
}

/// Whether the client accepts HTML by name, or accepts everything.
fn takes_pages(headers: &HeaderMap) -> bool {
    media_ranges(headers).any(is_html)
        || media_ranges(headers).all(|range| range == "*/*" || range.eq_ignore_ascii_case("text/*"))
}
