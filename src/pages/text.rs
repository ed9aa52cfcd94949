//! Every sentence that users read: on pages, and in the JSON form of an answer.
//!
//! The sentences are English. Nothing else in the program knows them, so a further language is a second file like this one.

use super::{BadRequest, Label, LoginFailure, Page, Paragraph, Part, ProviderRefusal};
use crate::access::Because;

use Part::{Code, Name, Strong, Text, User};

/// The language of this file (BCP 47).
pub(super) const LANGUAGE: &str = "en";

/// Stands before what only an operator can act on.
pub(super) const FOR_THE_OPERATOR: &str = "For the operator";

/// Stands before the request id.
pub(super) const REQUEST: &str = "Request";

/// Explains the button that signs out everywhere.
pub(super) const EVERYWHERE: &str = "Or end your sessions everywhere at once: in every browser, and with every application here \
                                     that you use with the same account.";

/// The answer to a program without a session.
pub(crate) const LOGIN_REQUIRED: &str = "No user is signed in, or the session has ended.";

/// The answer at a path that does not exist.
pub(crate) const NOT_FOUND: &str = "There is nothing at this path.";

/// The answer to a bearer token that does not count.
pub(crate) const INVALID_TOKEN: &str = "The token is expired, revoked, malformed, or made for another recipient.";

/// The answer to a user name and a password that do not count.
pub(crate) const INVALID_CREDENTIALS: &str = "The user name or the password is wrong.";

/// The answer to a bearer token without a scope that the application needs.
pub(crate) const INSUFFICIENT_SCOPE: &str = "The token lacks a scope.";

/// The answer to credentials that forepost does not look at, because too many bad ones came before.
pub(crate) const TOO_MANY_ATTEMPTS: &str = "Too many bad credentials were shown; these were not looked at.";

/// The answer to a logout token that ended no session.
pub(crate) fn not_logged_out(request_id: &str) -> String {
    format!("No user was logged out. The log has the cause under request {request_id}.")
}

const LOG_HAS_CAUSE: &str = "The log has the cause under the request id below.";

/// The title and heading of a page.
pub(super) const fn title(page: &Page<'_>) -> &'static str {
    match page {
        Page::LoginFailed { .. } => "Login failed",
        Page::Forbidden { .. } => "No access",
        Page::SignedOut { .. } => "Signed out",
        Page::NotSignedOut { .. } => "Not signed out",
        Page::NotSignedOutEverywhere { .. } => "Not signed out elsewhere",
        Page::ConfirmSignOut { .. } => "Sign out?",
        Page::ProviderAway { .. } => "Login is not possible right now",
        Page::Unconfirmed { .. } => "Your sign-in cannot be confirmed right now",
        Page::CookieMissing { .. } => "Login could not be completed",
        Page::BadRequest { .. } => "This request cannot be answered",
        Page::LoginLoop { .. } => "Login stopped",
    }
}

/// What a page says, in one sentence, for JSON.
pub(super) const fn message(page: &Page<'_>) -> &'static str {
    match page {
        Page::LoginFailed { failure, .. } => login_failure(*failure),
        Page::Forbidden { because: Because::Denied, .. } => "The rules of the application deny this page.",
        Page::Forbidden { because: Because::NotAssured, .. } => {
            "The login is not of the kind that is needed here, although the identity provider was asked for it."
        }
        Page::Forbidden { because: Because::NotEntitled, .. } => {
            "This account may not open this page of the application."
        }
        Page::SignedOut { .. } => "The session has ended.",
        Page::NotSignedOut { .. } => {
            "The request has too many session cookies to look at all of them, so a session may not have ended."
        }
        Page::NotSignedOutEverywhere { .. } => {
            "No user was signed in here, so sessions in other browsers and applications did not end."
        }
        Page::ConfirmSignOut { .. } => "A sign-out must be confirmed with a POST request.",
        Page::ProviderAway { .. } => "The identity provider cannot be reached at the moment.",
        Page::Unconfirmed { .. } => {
            "The identity provider cannot be reached at the moment, and the session must be confirmed by it."
        }
        Page::CookieMissing { .. } => "The cookie that the login began with did not come back.",
        Page::BadRequest { reason } => bad_request(*reason),
        Page::LoginLoop { .. } => {
            "Several logins in a row ended without a session cookie that counts: it did not come back, or came back among too many of its name."
        }
    }
}

/// What a page says, above its buttons.
pub(super) fn paragraphs<'a>(page: &Page<'a>) -> Vec<Paragraph<'a>> {
    match *page {
        Page::LoginFailed { application, failure, .. } => vec![
            plain([Text("You could not be signed in to "), Name(application), Text(".")]),
            plain([Text(login_failure(failure))]),
        ],
        Page::Forbidden { application, username, because, required, .. } => {
            forbidden(application, username, because, required)
        }
        Page::SignedOut { application, .. } => vec![
            plain([Text("You are signed out of "), Name(application), Text(".")]),
            soft([Text(
                "On a computer that others use too, also sign out of the account you logged in with, or close the browser.",
            )]),
        ],
        Page::NotSignedOut { application, .. } => vec![
            plain([
                Text("Your browser has so many session cookies for "),
                Name(application),
                Text(" that not all of them were looked at. So "),
                Strong("a session may not have ended"),
                Text(", and you may still be signed in."),
            ]),
            soft([Text(
                "Another site of the same domain may have set these cookies. Delete the cookies of this site in the settings of your \
                 browser, and sign out of the account you logged in with.",
            )]),
        ],
        Page::NotSignedOutEverywhere { application, .. } => vec![
            plain([
                Text("You are not signed in to "),
                Name(application),
                Text(" in this browser. So it is not known whose sessions were meant, and "),
                Strong("none was ended"),
                Text(": in other browsers, and with other applications, you may still be signed in."),
            ]),
            soft([Text("Sign in first, then sign out everywhere.")]),
        ],
        Page::ConfirmSignOut { application, .. } => vec![
            plain([
                Text("This ends your session with "),
                Name(application),
                Text(", and with the other applications that you entered with the same login."),
            ]),
            soft([Text(
                "If a link on another site brought you here and you did not mean to sign out, just close this page.",
            )]),
        ],
        Page::ProviderAway { application, .. } => vec![
            plain([
                Text("The login service of "),
                Name(application),
                Text(" cannot be reached at the moment. Please try again in a minute."),
            ]),
            soft([Text("Users who are signed in already are not affected.")]),
        ],
        Page::Unconfirmed { application, .. } => vec![
            plain([
                Text("You are signed in to "),
                Name(application),
                Text(
                    ", but its login service was not asked about you for a while, and it cannot be reached at the moment. Please try \
                     again in a minute.",
                ),
            ]),
            soft([Text("Your sign-in is kept. If this page comes again and again, sign in once more.")]),
        ],
        Page::CookieMissing { application, .. } => vec![
            plain([
                Text("Your browser did not send back the cookie that the login to "),
                Name(application),
                Text(" began with. The usual reasons:"),
            ]),
            Paragraph::List(&[
                "The login page was open for more than 30 minutes.",
                "Cookies are blocked for this site.",
                "The login page was opened from a bookmark, or by going back.",
            ]),
        ],
        Page::BadRequest { reason } => vec![
            plain([Text(bad_request(reason))]),
            soft([Text(
                "If a link brought you here, it may be old or incomplete. The operator of this site can find the request in the log \
                 by the id below.",
            )]),
        ],
        Page::LoginLoop { application, .. } => vec![
            plain([
                Text("You were signed in to "),
                Name(application),
                Text(
                    " several times in a row, but your browser keeps coming back without the session cookie, or with too many cookies \
                     of its name. The login was stopped here, because it would only go round in circles.",
                ),
            ]),
            soft([Text(
                "Allow cookies for this site, then try again. If that does not help, delete the cookies of this site and of its whole \
                 domain: another site of the domain may have set some.",
            )]),
        ],
    }
}

fn forbidden<'a>(application: &'a str, username: &'a str, because: Because, required: &'a str) -> Vec<Paragraph<'a>> {
    if username.is_empty() {
        return vec![plain([Text("The rules of "), Name(application), Text(" deny this page.")])];
    }
    if because == Because::NotAssured {
        return vec![
            plain([
                Text("You are signed in as "),
                User(username),
                Text(", but "),
                Name(application),
                Text(
                    " needs a stronger or newer login for this, and the identity provider was asked for one and did not confirm it.",
                ),
            ]),
            soft([
                Text(
                    "If signing in once more does not help, tell the operator of this site: the log of the provider says what it made of ",
                ),
                Code("acr_values"),
                Text(" and "),
                Code("max_age"),
                Text("."),
            ]),
        ];
    }
    let groups = (!required.is_empty())
        .then(|| soft([Text("Access to this depends on these groups: "), Name(required), Text(".")]));
    [
        Some(plain([
            Text("You are signed in as "),
            User(username),
            Text(", but this account may not open this page of "),
            Name(application),
            Text("."),
        ])),
        groups,
        Some(soft([Text(
            "If you should have access, ask the operator of this site. Once it is granted, sign in again.",
        )])),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What the operator can look at.
pub(super) fn for_operator(page: &Page<'_>) -> Vec<Part<'static>> {
    match page {
        Page::LoginFailed { failure, .. } => vec![Text(failure.hint())],
        Page::CookieMissing { .. } => vec![
            Text(
                "If it happens every time: the login must begin and end on the same host name and scheme, and the proxy must pass on ",
            ),
            Code("Set-Cookie"),
            Text(" and "),
            Code("Cookie"),
            Text("."),
        ],
        Page::LoginLoop { .. } => vec![
            Text("The proxy must pass on "),
            Code("Set-Cookie"),
            Text(" from the callback and "),
            Code("Cookie"),
            Text(
                " with every check. The cookie domain must cover the host in the address bar, and the scheme must be the one that \
                 browsers use.",
            ),
        ],
        Page::Forbidden { .. }
        | Page::SignedOut { .. }
        | Page::NotSignedOut { .. }
        | Page::NotSignedOutEverywhere { .. }
        | Page::ConfirmSignOut { .. }
        | Page::ProviderAway { .. }
        | Page::Unconfirmed { .. }
        | Page::BadRequest { .. } => Vec::new(),
    }
}

impl Label {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::TryAgain => "Try again",
            Self::SignIn => "Sign in",
            Self::SignInAgain => "Sign in again",
            Self::SignInAsSomeoneElse => "Sign in as someone else",
            Self::SignOut => "Sign out",
            Self::SignOutAgain => "Sign out again",
            Self::SignOutEverywhere => "Sign out everywhere",
        }
    }
}

const fn login_failure(failure: LoginFailure) -> &'static str {
    match failure {
        LoginFailure::NotBegun => "The login could not be begun.",
        LoginFailure::StoreAway => "Sessions cannot be looked up at the moment.",
        LoginFailure::UnknownState => "This login is not known here, or no longer.",
        LoginFailure::IssuerMissing => "The answer does not say which identity provider it is from.",
        LoginFailure::OtherIssuer => "The answer did not come from the identity provider of this application.",
        LoginFailure::Refused(ProviderRefusal::AccessDenied) => "The identity provider did not grant access.",
        LoginFailure::Refused(ProviderRefusal::InteractionRequired) => {
            "The identity provider could not complete the sign-in without you."
        }
        LoginFailure::Refused(ProviderRefusal::ServerError) => "The identity provider has a problem at the moment.",
        LoginFailure::Refused(ProviderRefusal::Other) => "The identity provider refused the login.",
        LoginFailure::ClientRefused => "The identity provider refuses this application.",
        LoginFailure::CodeRefused
        | LoginFailure::InvalidToken(_)
        | LoginFailure::ScopeNotGranted
        | LoginFailure::IssuerMismatch
        | LoginFailure::NotAccepted => "The identity provider's answer could not be accepted.",
        LoginFailure::NoSubject => "The identity provider did not say who you are.",
        LoginFailure::NoSession => "The session could not be made.",
    }
}

impl LoginFailure {
    /// What the operator can look at.
    pub(crate) const fn hint(self) -> &'static str {
        match self {
            Self::StoreAway => {
                "The session store does not answer; the log has the cause. Once it does, this page works again by itself."
            }
            Self::UnknownState => {
                "The state could not be opened: forepost was restarted without session.secret, its replicas have different secrets, or \
                 the answer belongs to another application."
            }
            Self::IssuerMissing => {
                "It has no iss, which the provider's metadata promise (authorization_response_iss_parameter_supported, RFC 9207): the \
                 provider, or a proxy in front of it, leaves it out."
            }
            Self::OtherIssuer => "Compare the issuer of the provider with identity_provider.issuer (RFC 9207).",
            Self::Refused(_) => "The log has the provider's error code and description under the request id below.",
            Self::ClientRefused => {
                "The provider does not accept client_id, client_secret or token_endpoint_auth_method, or the client is disabled there."
            }
            Self::CodeRefused => {
                "The provider does not accept the code: it was used before, is too old, or the redirect URI differs."
            }
            Self::InvalidToken(remedy) => remedy.text(),
            Self::ScopeNotGranted => {
                "Sign in again, and agree to all that the application asks for. The log names the scope (identity_provider.scopes)."
            }
            Self::IssuerMismatch => "The issuer differs from identity_provider.issuer; every character counts.",
            Self::NoSubject => "The ID token must have a claim named sub that is a text.",
            Self::NotBegun | Self::NotAccepted | Self::NoSession => LOG_HAS_CAUSE,
        }
    }
}

const fn bad_request(reason: BadRequest) -> &'static str {
    match reason {
        BadRequest::UnknownHost => "No application is configured for this host.",
        BadRequest::Malformed => "The request, or what the proxy says about it, is malformed.",
        BadRequest::UntrustedProxy => "The proxy that passed this request on is not trusted here.",
        BadRequest::TwoApplications => "The request and the proxy name hosts of two different applications.",
        BadRequest::TwoHosts => "The request names two hosts.",
        BadRequest::NotAnAnswer => "This address is only for answers of the identity provider.",
        BadRequest::NotALogout => "This address is only for identity providers that are set up for it.",
        BadRequest::TooManyLogouts => "Too many logouts came at once; no user was logged out.",
        BadRequest::LogoutStoreAway => "Sessions cannot be ended at the moment.",
    }
}

fn plain<const N: usize>(parts: [Part<'_>; N]) -> Paragraph<'_> {
    Paragraph::Plain(parts.into())
}

fn soft<const N: usize>(parts: [Part<'_>; N]) -> Paragraph<'_> {
    Paragraph::Soft(parts.into())
}
