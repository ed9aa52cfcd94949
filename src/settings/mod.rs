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
pub use redis::{RedisAddress, RedisMode, RedisSettings};
pub use rule::{Action, HostPattern, Requirement, Rule};
pub use tokens::{Basic, Bearer, TokenIssuer, Tokens};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;
use regex::Regex;
use secrecy::SecretString;

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

/// Listeners, limits and whom to believe.
#[derive(Clone, Debug)]
pub struct Server {
    /// The name sent as `X-authentik-meta-outpost`.
    pub name: String,
    /// Cleartext HTTP/1.1 and HTTP/2; `None` when switched off.
    pub http: Option<SocketAddr>,
    /// TLS, when a certificate is configured.
    pub https: Option<Https>,
    /// Metrics, liveness and readiness; `None` when switched off.
    pub metrics: Option<SocketAddr>,
    /// A Unix socket that speaks the same as `http`.
    pub unix_socket: Option<PathBuf>,
    /// A Unix socket for operators, who see and end sessions there.
    pub admin: Admin,
    /// Peers whose forwarded headers are read.
    pub trusted_proxies: Vec<IpNet>,
    /// Connections served at once, all listeners together; further ones wait to be accepted.
    pub max_connections: usize,
    /// Bytes of a request's header section.
    pub max_header_bytes: usize,
    /// Header fields of a request.
    pub max_headers: usize,
    /// From the first byte of a request's header section to its last.
    pub header_timeout: Duration,
    /// From the end of the header section to the end of the answer.
    pub request_timeout: Duration,
    /// A kept-alive connection without a request.
    pub idle_timeout: Duration,
    /// For the TLS handshake.
    pub tls_handshake_timeout: Duration,
    /// From the signal to the end of the process, for what is in flight.
    pub shutdown_timeout: Duration,
    /// With one application configured, let it answer for hosts that are not its own.
    pub danger_any_host: bool,
}

/// Where operators reach the running daemon: a Unix socket that only its owner can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admin {
    /// Nowhere.
    Off,
    /// There, or the daemon does not start.
    At(PathBuf),
    /// Nobody said where: there as far as that can be had; `None`: no directory of the daemon's is known.
    Usual(Option<PathBuf>),
}

/// The TLS listener.
#[derive(Clone, Debug)]
pub struct Https {
    /// Where to listen.
    pub listen: SocketAddr,
    /// PEM file with the certificate chain, leaf first.
    pub certificate: PathBuf,
    /// PEM file with the private key.
    pub key: PathBuf,
    /// How often the two files are looked at for a change.
    pub reload_interval: Duration,
}

/// An OpenID provider and our registration there.
#[derive(Clone, Debug)]
pub struct IdentityProvider {
    /// The issuer identifier, compared to the last character (OIDC Discovery §4.3).
    pub issuer: String,
    /// Our client identifier.
    pub client_id: String,
    /// Our secret; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// Scopes to ask for; always with `openid`.
    pub scopes: Vec<String>,
    /// Whether `offline_access` is asked for, too; never [`OfflineAccess::Never`] where it is among the scopes.
    pub offline_access: OfflineAccess,
    /// How the client proves itself at the token endpoint.
    pub token_endpoint_auth_method: TokenEndpointAuthMethod,
    /// The one algorithm that the registration has for ID tokens and logout tokens; `None`: what the metadata announce.
    pub id_token_signed_response_alg: Option<SigningAlgorithm>,
    /// PEM file with certificates trusted beside the system's authorities.
    pub ca_file: Option<PathBuf>,
    /// For one request to the provider, connection included.
    pub timeout: Duration,
    /// Least time between two key refreshes that unknown key ids ask for.
    pub jwks_cooldown: Duration,
    /// Where in the claims the parts of an identity are.
    pub claims: ClaimNames,
    /// Further parameters of the authorisation request; none that the protocol owns.
    pub authorization_parameters: BTreeMap<String, String>,
    /// Whether whoever names a session of the provider (`sid`) ends ours of it (Front-Channel Logout 1.0).
    pub frontchannel_logout: bool,
    /// Whether the redirect URI carries `?X-authentik-auth-callback=true`, as authentik registers it.
    pub callback_marker: bool,
    /// The client by which command-line programs get tokens; published with each application that accepts some.
    pub cli_client_id: Option<String>,
    /// Speak to an issuer in cleartext although it is not on this machine.
    pub danger_http_issuer: bool,
}

/// Whether the scope that brings refresh tokens is asked for (OIDC Core §11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OfflineAccess {
    /// Where the provider announces it and, as far as is known, gives no refresh token without it.
    Auto,
    /// Everywhere.
    Always,
    /// Nowhere; a provider may give refresh tokens all the same.
    Never,
}

/// How the client proves itself at the token endpoint (OIDC Core §9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenEndpointAuthMethod {
    /// What the provider's metadata allows, basic before post.
    Auto,
    /// HTTP Basic with form-encoded id and secret (RFC 6749 §2.3.1).
    ClientSecretBasic,
    /// Id and secret in the body.
    ClientSecretPost,
    /// A public client: id only.
    None,
}

/// Names or dotted paths of claims (`realm_access.roles`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// For `X-authentik-username`.
    pub username: ClaimPath,
    /// For `X-authentik-email`.
    pub email: ClaimPath,
    /// For `X-authentik-name`.
    pub name: ClaimPath,
    /// For `X-authentik-groups` and `required_groups`.
    pub groups: ClaimPath,
    /// For `X-authentik-entitlements`.
    pub entitlements: ClaimPath,
    /// For `X-authentik-uid`.
    pub uid: ClaimPath,
}

pub use crate::identity::ClaimPath;

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

/// Where sessions are kept.
#[derive(Clone, Debug)]
pub enum Store {
    /// In this process; they end with it.
    Memory,
    /// In a file in this directory.
    File(PathBuf),
    /// In a Redis or Valkey, for several processes.
    Redis(RedisSettings),
}

/// Lifetimes, cookies and where sessions are kept.
#[derive(Clone, Debug)]
pub struct Session {
    /// Where sessions are kept.
    pub store: Store,
    /// From login to the end, whatever happens in between.
    pub lifetime: Duration,
    /// Without a request; `None`: no limit.
    pub idle_timeout: Option<Duration>,
    /// Sessions in memory at once; the longest unused go first.
    pub max_sessions: u64,
    /// Whether users are offered to end all of their sessions.
    pub sign_out_everywhere: bool,
    /// What cookies and records are sealed with; `None`: the one that lies in the directory of the store, else a random one,
    /// and logins under way end with the process. Always there with a Redis, because all processes need the same.
    pub secret: Option<SecretString>,
    /// How the provider is asked whether it still vouches for a user.
    pub revalidation: Revalidation,
}

/// How the provider is asked whether it still vouches for a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Revalidation {
    /// So long after it was asked for the last time it is asked again, beside the requests; `None`: never.
    pub after: Option<Duration>,
    /// So long after it was asked successfully a session is used no more without asking.
    pub within: Duration,
    /// Whether browsers without a refresh token are sent to it and back, unseen.
    pub silent_login: bool,
    /// So long after a login every browser is sent to it and back, also with a refresh token; `None`: never.
    pub reauthorize_after: Option<Duration>,
}

/// What is written about requests, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The form of a line.
    pub format: LogFormat,
    /// A `tracing` filter: `info`, `forepost=debug`.
    pub level: String,
    /// Which of the checks that end as most do are written.
    pub routine_checks: RoutineChecks,
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Human at a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Human,
}

/// Which of the checks that end as most do are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RoutineChecks {
    /// Each.
    All,
    /// One in so many, two at least.
    OneIn(u32),
    /// None.
    Off,
}
