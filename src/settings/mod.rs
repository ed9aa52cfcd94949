//! What the operator decides: typed, validated, complete.
//!
//! [`load()`] layers defaults, file, environment and flags; every mistake is reported at once.

mod address;
mod algorithm;
mod application;
mod email;
mod header;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod item;
mod load;
mod mistakes;
mod provider;
mod public_path;
mod reader;
mod redis;
mod rule;
mod server;
mod session;
#[cfg(test)]
mod tests;
mod tokens;
mod typed;
mod values;

pub(crate) use address::is_loopback;
pub use algorithm::SigningAlgorithm;
pub use email::Email;
pub use header::FurtherNames;
pub use load::{Sources, admin, load};
pub use mistakes::{Mistake, Mistakes};
pub use provider::{ClaimNames, IdentityProvider, OfflineAccess, TokenEndpointAuthMethod};
pub use redis::{RedisAddress, RedisMode, RedisSettings};
pub use rule::{Action, HostPattern, Requirement, Rule};
pub use server::{Admin, Https, Server};
pub use session::{Log, LogFormat, Revalidation, RoutineChecks, Session, Store};
pub use tokens::{Basic, Bearer, TokenIssuer, Tokens};

pub use crate::identity::ClaimPath;

use std::collections::BTreeMap;

use http::{HeaderName, Method};
use regex::Regex;

use crate::host::{CookieDomain, Host, Scheme};

/// Everything that can be set, after all layers were read and checked.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Listeners, limits and whom to believe.
    pub server: Server,
    /// Identity providers by name.
    pub identity_providers: BTreeMap<String, IdentityProvider>,
    /// What is protected; no two share a host, and each names a provider that exists.
    pub applications: Vec<Application>,
    /// Lifetimes, cookies and where sessions are kept.
    pub session: Session,
    /// What is written about requests.
    pub log: Log,
}

impl Settings {
    /// The switches that weaken protection and are on, as key paths, to be logged at start.
    #[must_use]
    pub fn dangers(&self) -> Vec<String> {
        let mut dangers = Vec::new();
        if self.server.danger_any_host {
            dangers.push("server.danger_any_host".to_owned());
        }
        for net in &self.server.trusted_proxies {
            if net.prefix_len() == 0 {
                dangers.push(format!("server.trusted_proxies ({net} is everybody)"));
            }
        }
        for (name, provider) in &self.identity_providers {
            if provider.danger_http_issuer {
                dangers.push(format!("identity_provider.{name}.danger_http_issuer"));
            }
        }
        for application in self.applications.iter().filter(|application| application.danger_unverified_email) {
            dangers.push(format!("application.{}.danger_unverified_email", application.slug));
        }
        for (app, issuer) in self.token_issuers() {
            if issuer.danger_http_issuer {
                dangers.push(format!("application.{}.token_issuer.{}.danger_http_issuer", app.slug, issuer.name));
            }
        }
        dangers
    }

    /// Whether an application has this identity provider asked about tokens (RFC 7662).
    #[must_use]
    pub fn introspects(&self, identity_provider: &str) -> bool {
        let mut its = self.applications.iter().filter(|app| app.identity_provider == identity_provider);
        its.any(|app| app.tokens.as_ref().is_some_and(Tokens::needs_introspection))
    }

    /// All further issuers of tokens, with their applications.
    pub fn token_issuers(&self) -> impl Iterator<Item = (&Application, &TokenIssuer)> {
        self.applications.iter().flat_map(|app| {
            let issuers = app.tokens.as_ref().map_or(&[][..], |tokens| &tokens.issuers);
            issuers.iter().map(move |issuer| (app, issuer))
        })
    }
}

/// What a proxy protects.
#[derive(Clone, Debug)]
pub struct Application {
    /// The name that pages and logs show.
    pub name: String,
    /// The short name, sent as `X-authentik-meta-app`; unique.
    pub slug: String,
    /// Where browsers reach the application, or the host that logins of a whole domain come back to.
    pub external_host: ExternalHost,
    /// Set: every host under this domain is this application, with one login for all.
    pub cookie_domain: Option<CookieDomain>,
    /// A key of [`Settings::identity_providers`].
    pub identity_provider: String,
    /// What needs no login.
    pub public_paths: Vec<PublicPathRule>,
    /// Who gets in: the first that matches decides, after `public_paths` and before `required_groups`.
    pub rules: Vec<Rule>,
    /// Groups of which one is required where no rule decides; empty: any authenticated user.
    pub required_groups: Vec<String>,
    /// Whether rules for e-mail addresses count one that the provider did not verify.
    pub danger_unverified_email: bool,
    /// Whether people who may not enter are told which groups are needed.
    pub show_required: bool,
    /// Which headers are sent.
    pub headers: HeaderSwitches,
    /// Headers besides the contract's.
    pub further_headers: Vec<FurtherHeader>,
    /// For applications that know nothing but Basic authentication.
    pub basic_auth: Option<BasicAuth>,
    /// Pages of other origins that may call this application.
    pub cors: Cors,
    /// Where the provider sends the browser after its logout; `None`: our signed-out page.
    pub post_logout_redirect_uri: Option<String>,
    /// What programs may show in place of a session; `None`: nothing, and their `Authorization` is not looked at.
    pub tokens: Option<Tokens>,
}

/// Which identity headers an application gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSwitches {
    /// Send the ID token as `X-authentik-jwt` (empty when off).
    pub jwt: bool,
    /// Bytes of the header block above which a warning is given; proxies have small buffers.
    pub warn_bytes: usize,
}

/// A header besides the contract's; it is sent to everybody, and empty where nobody is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherHeader {
    /// Its name, which is none of the contract's nor of HTTP's own.
    pub name: HeaderName,
    /// Where its value comes from.
    pub source: HeaderSource,
}

/// Where the value of a header comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// A claim: a text, a number, or a list with commas between its elements.
    Claim(ClaimPath),
    /// The same for every user.
    Text(String),
    /// That of the first group that the user is in.
    Groups {
        /// Group and value.
        groups: Vec<(String, String)>,
        /// For users who are in none.
        default: String,
    },
    /// What the contract's headers say, in another form.
    Identity(IdentityField),
    /// What authentik's attributes of users and groups say under the header's name, in any case
    /// (`ak_proxy.user_attributes.additionalHeaders`).
    Attribute,
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The name that applications show.
    Username,
    /// The e-mail address.
    Email,
    /// The full name.
    Name,
    /// The groups, with commas between them.
    Groups,
}

/// What `Authorization: Basic` is made of (the contract's `basic_auth_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The claim with the user name; the e-mail address where it holds no text.
    pub username: ClaimPath,
    /// The claim with the password; empty where it holds no text.
    pub password: ClaimPath,
}

/// Cross-origin access (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins whose pages may read our 401, as `https://host[:port]`.
    pub allowed_origins: Vec<String>,
    /// Let preflight requests of those origins through to the application.
    pub pass_preflight: bool,
}

/// An external address: scheme, host, port and the path that an application lives under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalHost {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The host.
    pub host: Host<'static>,
    /// The port, when it is not the scheme's own.
    pub port: Option<u16>,
    /// Empty, or a path that begins with a slash and ends without one.
    pub base_path: String,
}

impl ExternalHost {
    /// `scheme://host[:port]`, without a slash behind it.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.port {
            Some(port) => format!("{}://{}:{port}", self.scheme, self.host),
            None => format!("{}://{}", self.scheme, self.host),
        }
    }

    /// The whole address, with a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}/", self.origin(), self.base_path)
    }
}

/// A rule that lets requests through without a login.
#[derive(Clone, Debug)]
pub struct PublicPathRule {
    /// What the path must be.
    pub path: PathPattern,
    /// Only on this host.
    pub host: Option<Host<'static>>,
    /// Only these methods; empty: any.
    pub methods: Vec<Method>,
}

/// What a path must be, whole and anchored; never looked for in the query.
#[derive(Clone, Debug)]
pub enum PathPattern {
    /// Exactly this path.
    Path(String),
    /// This path, or one below it: `/static` and `/static/` both match `/static/x` and not `/staticx`.
    Prefix(String),
    /// A regular expression for the whole path.
    Regex(Regex),
}
