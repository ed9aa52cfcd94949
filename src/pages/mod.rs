//! The few pages that people see: small, self-contained, without script.
//!
//! What a page shows is escaped by the templates; its policy allows its own style and nothing else.

mod samples;

use askama::Template;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use crate::access::Because;

const STYLE: &str = include_str!("../../templates/pages/style.css");

/// A page, with what it shows.
///
/// Names and URLs come from the configuration, from claims, or from the program; `reason`, `hint` and `what` are
/// constant texts. A URL that is neither `http(s)` nor a path of this host is left out together with its button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Page<'a> {
    /// The identity provider sent an error, or what it sent could not be accepted.
    LoginFailed {
        /// Name of the application.
        application: &'a str,
        /// What happened, for the person at the browser: a sentence.
        reason: &'a str,
        /// What to look at, for the operator: a sentence.
        hint: &'a str,
        /// Begins the login again.
        retry_url: &'a str,
    },
    /// Signed in, but not entitled.
    Forbidden {
        /// Name of the application.
        application: &'a str,
        /// Who is signed in; empty: nobody.
        username: &'a str,
        /// Why there is no access.
        because: Because,
        /// The groups that it depends on, where people may know; empty: they may not.
        required: &'a str,
        /// Begins a login at which another account can be used.
        login_url: &'a str,
        /// Ends the session, so that another account can be used.
        sign_out_url: &'a str,
    },
    /// The session has ended.
    SignedOut {
        /// Name of the application.
        application: &'a str,
        /// The application; going there begins a login.
        home_url: &'a str,
    },
    /// A sign-out did not look at all session cookies that the browser has.
    NotSignedOut {
        /// Name of the application.
        application: &'a str,
        /// Signs out once more; a path of this host.
        sign_out_url: &'a str,
    },
    /// A sign-out everywhere was asked for by a browser without a session, and ended none.
    NotSignedOutEverywhere {
        /// Name of the application.
        application: &'a str,
        /// Begins a login.
        login_url: &'a str,
    },
    /// Another site asked for a sign-out, and the person is asked whether that is wanted.
    ConfirmSignOut {
        /// Name of the application.
        application: &'a str,
        /// Takes the POST; a path of this host.
        action_url: &'a str,
        /// The same for all of the person's sessions, where that is offered.
        everywhere_url: Option<&'a str>,
    },
    /// The identity provider cannot be reached; sessions go on.
    ProviderAway {
        /// Name of the application.
        application: &'a str,
        /// Begins the login again.
        retry_url: &'a str,
    },
    /// The session counts only once the identity provider has confirmed it, and that cannot be reached.
    Unconfirmed {
        /// Name of the application.
        application: &'a str,
        /// What was asked for.
        retry_url: &'a str,
        /// Begins a login.
        login_url: &'a str,
    },
    /// The browser came back from the identity provider without the cookie of its login attempt.
    CookieMissing {
        /// Name of the application.
        application: &'a str,
        /// Begins the login again.
        retry_url: &'a str,
    },
    /// The request makes no sense here: unknown host, malformed forwarded URL.
    BadRequest {
        /// What is wrong: a sentence.
        what: &'a str,
    },
    /// Login follows login because the session cookie never comes back.
    LoginLoop {
        /// Name of the application.
        application: &'a str,
        /// The application, to try once more.
        home_url: &'a str,
    },
}

/// A rendered page.
#[derive(Clone, Debug)]
pub struct Html {
    /// The document in UTF-8, for `text/html; charset=utf-8`.
    pub body: Bytes,
    /// The value of `Content-Security-Policy` that belongs to this body (<https://www.w3.org/TR/CSP3/>).
    pub csp: HeaderValue,
}

#[derive(Template)]
#[template(path = "pages/layout.html")]
struct Layout<'a> {
    page: Page<'a>,
    request_id: &'a str,
    style: &'static str,
}

impl<'a> Page<'a> {
    /// The document, with the request's id as it stands in the log.
    #[must_use]
    pub fn render(&self, request_id: &str) -> Html {
        let layout = Layout { page: *self, request_id, style: STYLE };
        let body = layout.render().unwrap_or_else(|_| unreachable!("strings are written into a string"));
        Html { body: body.into(), csp: policy(self) }
    }

    /// The title and heading.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        match self {
            Self::LoginFailed { .. } => "Login failed",
            Self::Forbidden { .. } => "No access",
            Self::SignedOut { .. } => "Signed out",
            Self::NotSignedOut { .. } => "Not signed out",
            Self::NotSignedOutEverywhere { .. } => "Not signed out elsewhere",
            Self::ConfirmSignOut { .. } => "Sign out?",
            Self::ProviderAway { .. } => "Login is not possible right now",
            Self::Unconfirmed { .. } => "Your sign-in cannot be confirmed right now",
            Self::CookieMissing { .. } => "Login could not be completed",
            Self::BadRequest { .. } => "This request cannot be answered",
            Self::LoginLoop { .. } => "Login stopped",
        }
    }

    /// The `error` of the same answer as JSON.
    #[must_use]
    pub const fn error_code(&self) -> &'static str {
        match self {
            Self::LoginFailed { .. } => "login_failed",
            Self::Forbidden { .. } => "access_denied",
            Self::SignedOut { .. } => "signed_out",
            Self::NotSignedOut { .. } => "not_signed_out",
            Self::NotSignedOutEverywhere { .. } => "not_signed_in",
            Self::ConfirmSignOut { .. } => "confirm_sign_out",
            Self::ProviderAway { .. } | Self::Unconfirmed { .. } => "provider_unavailable",
            Self::CookieMissing { .. } => "login_cookie_missing",
            Self::BadRequest { .. } => "bad_request",
            Self::LoginLoop { .. } => "login_loop",
        }
    }

    /// The same in one plain sentence, for JSON.
    #[must_use]
    pub const fn message(&self) -> &'a str {
        match self {
            Self::LoginFailed { reason, .. } => reason,
            Self::Forbidden { because: Because::Denied, .. } => "The rules of the application deny this page.",
            Self::Forbidden { because: Because::NotAssured, .. } => {
                "The login is not of the kind that is needed here, although the identity provider was asked for it."
            }
            Self::Forbidden { because: Because::NotEntitled, .. } => {
                "This account may not open this page of the application."
            }
            Self::SignedOut { .. } => "The session has ended.",
            Self::NotSignedOut { .. } => {
                "The request has too many session cookies to look at all of them, so a session may not have ended."
            }
            Self::NotSignedOutEverywhere { .. } => {
                "Nobody was signed in here, so sessions in other browsers and applications did not end."
            }
            Self::ConfirmSignOut { .. } => "A sign-out must be confirmed with a POST request.",
            Self::ProviderAway { .. } => "The identity provider cannot be reached at the moment.",
            Self::Unconfirmed { .. } => {
                "The identity provider cannot be reached at the moment, and the session must be confirmed by it."
            }
            Self::CookieMissing { .. } => "The cookie that the login began with did not come back.",
            Self::BadRequest { what } => what,
            Self::LoginLoop { .. } => {
                "Several logins in a row ended without a session cookie that counts: it did not come back, or came back among too many of its name."
            }
        }
    }
}

/// The URL, if it may stand behind a link: `http(s)`, or a path of this host.
///
/// Browsers drop tabs and line ends and read a backslash as a slash (<https://url.spec.whatwg.org/#url-parsing>), so none
/// of these is let through.
fn link(url: &str) -> Option<&str> {
    let plain = !url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\');
    let path = url.starts_with('/') && !url.starts_with("//");
    let web = url.starts_with("https://") || url.starts_with("http://");
    (plain && (path || web)).then_some(url)
}

fn policy(page: &Page<'_>) -> HeaderValue {
    let forms = match page {
        // Browsers hold every redirect behind a form against this list too (CSP3 §6.4.1.1), and a sign-out goes on to
        // the identity provider, which may redirect anywhere. The targets of its forms are ours.
        Page::ConfirmSignOut { .. } => "http: https:",
        Page::LoginFailed { .. }
        | Page::Forbidden { .. }
        | Page::SignedOut { .. }
        | Page::NotSignedOut { .. }
        | Page::NotSignedOutEverywhere { .. }
        | Page::ProviderAway { .. }
        | Page::Unconfirmed { .. }
        | Page::CookieMissing { .. }
        | Page::BadRequest { .. }
        | Page::LoginLoop { .. } => "'none'",
    };
    let style = STANDARD.encode(digest::digest(&digest::SHA256, STYLE.as_bytes()));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{style}'; form-action {forms}; frame-ancestors 'none'; base-uri 'none'"
    );
    HeaderValue::try_from(policy).expect("base64 is visible ASCII")
}

#[cfg(test)]
mod tests;
