//! The pages that users see: small, self-contained, without script.
//!
//! A [`Page`] says why it is shown; [`text`] has the words for that. The template escapes every value, and the policy of a page
//! allows its own style and nothing else.

mod reason;
#[cfg(test)]
mod samples;
pub(crate) mod text;

use askama::Template;
use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderValue;

use crate::access::Because;

pub(crate) use self::reason::{BadRequest, LoginFailure, ProviderRefusal};

const STYLE: &str = include_str!("../../templates/pages/style.css");

/// A page: why it is shown, and the values in it.
///
/// Names and URLs come from the configuration, from claims, or from the program. A URL that is neither `http(s)` nor a path of
/// this host is left out together with its button.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Page<'a> {
    /// The provider sent an error, or forepost could not accept its answer.
    LoginFailed {
        application: &'a str,
        failure: LoginFailure,
        /// Begins the login again.
        retry_url: &'a str,
    },
    /// A rule does not let the request in.
    Forbidden {
        application: &'a str,
        /// Who is signed in; empty without a session.
        username: &'a str,
        because: Because,
        /// The groups that access depends on; empty if `application.show_required` is off.
        required: &'a str,
        /// Begins a login with another account.
        login_url: &'a str,
        sign_out_url: &'a str,
    },
    /// The session has ended.
    SignedOut {
        application: &'a str,
        /// The application; opening it begins a login.
        home_url: &'a str,
    },
    /// The browser has more session cookies than a sign-out looks at.
    NotSignedOut { application: &'a str, sign_out_url: &'a str },
    /// A browser without a session asked to sign out everywhere, and no session ended.
    NotSignedOutEverywhere { application: &'a str, login_url: &'a str },
    /// The user has to confirm a sign-out.
    ConfirmSignOut {
        application: &'a str,
        /// Takes the POST.
        action_url: &'a str,
        /// Takes the POST that ends all sessions of the user, where that is offered.
        everywhere_url: Option<&'a str>,
    },
    /// Forepost cannot reach the provider; sessions go on.
    ProviderAway {
        application: &'a str,
        /// Begins the login again.
        retry_url: &'a str,
    },
    /// The provider must confirm the session, and forepost cannot reach it.
    Unconfirmed {
        application: &'a str,
        /// What the browser asked for.
        retry_url: &'a str,
        login_url: &'a str,
    },
    /// The browser came back from the provider without the cookie of its login attempt.
    CookieMissing {
        application: &'a str,
        /// Begins the login again.
        retry_url: &'a str,
    },
    /// Forepost cannot answer the request.
    BadRequest { reason: BadRequest },
    /// Login follows login, because the session cookie does not come back.
    LoginLoop {
        application: &'a str,
        /// The application, to try once more.
        home_url: &'a str,
    },
}

/// A part of a sentence.
#[derive(Clone, Copy, Debug)]
enum Part<'a> {
    Text(&'static str),
    /// The name of an application or of groups.
    Name(&'a str),
    /// The name of the user.
    User(&'a str),
    Strong(&'static str),
    Code(&'static str),
}

/// A paragraph of a page.
#[derive(Clone, Debug)]
enum Paragraph<'a> {
    Plain(Vec<Part<'a>>),
    /// In a softer colour.
    Soft(Vec<Part<'a>>),
    List(&'static [&'static str]),
}

/// The name of a button or a link.
#[derive(Clone, Copy, Debug)]
enum Label {
    TryAgain,
    SignIn,
    SignInAgain,
    SignInAsSomeoneElse,
    SignOut,
    SignOutAgain,
    SignOutEverywhere,
}

/// What a user can do on a page.
#[derive(Clone, Copy, Debug)]
enum Action<'a> {
    Button(Label, &'a str),
    Link(Label, &'a str),
    SoftLink(Label, &'a str),
    /// A button that sends a POST.
    Form(Label, &'a str),
    /// The form that signs out everywhere.
    FormEverywhere(Label, &'a str),
}

/// A rendered page.
#[derive(Clone, Debug)]
pub(crate) struct Html {
    /// The document in UTF-8, for `text/html; charset=utf-8`.
    pub(crate) body: Bytes,
    /// The value of `Content-Security-Policy` that belongs to this body (<https://www.w3.org/TR/CSP3/>).
    pub(crate) csp: HeaderValue,
}

#[derive(Template)]
#[template(path = "pages/page.html")]
struct Document<'a> {
    title: &'static str,
    paragraphs: Vec<Paragraph<'a>>,
    actions: Vec<Action<'a>>,
    for_operator: Vec<Part<'static>>,
    request_id: &'a str,
    style: &'static str,
}

impl<'a> Page<'a> {
    /// The document, with the request's id as it stands in the log.
    #[must_use]
    pub(crate) fn render(&self, request_id: &'a str) -> Html {
        let document = Document {
            title: text::title(self),
            paragraphs: text::paragraphs(self),
            actions: self.actions(),
            for_operator: text::for_operator(self),
            request_id,
            style: STYLE,
        };
        let body = document.render().unwrap_or_else(|_| unreachable!("strings are written into a string"));
        Html { body: body.into(), csp: policy(self) }
    }

    /// The `error` of the same answer as JSON.
    #[must_use]
    pub(crate) const fn error_code(&self) -> &'static str {
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

    /// The same in one sentence, for JSON.
    #[must_use]
    pub(crate) const fn message(&self) -> &'static str {
        text::message(self)
    }

    /// What the user can do; an action whose URL is not a link is left out.
    fn actions(&self) -> Vec<Action<'a>> {
        let (first, second) = match *self {
            Self::LoginFailed { retry_url, .. }
            | Self::ProviderAway { retry_url, .. }
            | Self::CookieMissing { retry_url, .. } => (Some(Action::Button(Label::TryAgain, retry_url)), None),
            Self::LoginLoop { home_url, .. } => (Some(Action::Button(Label::TryAgain, home_url)), None),
            Self::Forbidden { username: "", .. } | Self::BadRequest { .. } => (None, None),
            Self::Forbidden { because, login_url, sign_out_url, .. } => {
                let label = match because {
                    Because::NotAssured => Label::SignInAgain,
                    Because::Denied | Because::NotEntitled => Label::SignInAsSomeoneElse,
                };
                (Some(Action::Button(label, login_url)), Some(Action::SoftLink(Label::SignOut, sign_out_url)))
            }
            Self::SignedOut { home_url, .. } => (Some(Action::Button(Label::SignInAgain, home_url)), None),
            Self::NotSignedOut { sign_out_url, .. } => (Some(Action::Button(Label::SignOutAgain, sign_out_url)), None),
            Self::NotSignedOutEverywhere { login_url, .. } => (Some(Action::Button(Label::SignIn, login_url)), None),
            Self::ConfirmSignOut { action_url, everywhere_url, .. } => {
                let everywhere = everywhere_url.map(|url| Action::FormEverywhere(Label::SignOutEverywhere, url));
                (Some(Action::Form(Label::SignOut, action_url)), everywhere)
            }
            Self::Unconfirmed { retry_url, login_url, .. } => {
                (Some(Action::Button(Label::TryAgain, retry_url)), Some(Action::Link(Label::SignInAgain, login_url)))
            }
        };
        first.into_iter().chain(second).filter(|action| is_link(action.url())).collect()
    }
}

impl<'a> Action<'a> {
    const fn url(&self) -> &'a str {
        match *self {
            Self::Button(_, url)
            | Self::Link(_, url)
            | Self::SoftLink(_, url)
            | Self::Form(_, url)
            | Self::FormEverywhere(_, url) => url,
        }
    }
}

/// Whether the URL may stand behind a link: `http(s)`, or a path of this host.
///
/// Browsers drop tabs and line ends and read a backslash as a slash (<https://url.spec.whatwg.org/#url-parsing>), so a URL with one
/// of these is not a link.
fn is_link(url: &str) -> bool {
    let plain = !url.contains(|c: char| c.is_control() || c.is_whitespace() || c == '\\');
    let path = url.starts_with('/') && !url.starts_with("//");
    let web = url.starts_with("https://") || url.starts_with("http://");
    plain && (path || web)
}

fn policy(page: &Page<'_>) -> HeaderValue {
    let forms = match page {
        // Browsers apply this list to every redirect behind a form too (CSP3 §6.4.1.1), and a sign-out goes on to
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
