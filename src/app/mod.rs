//! What is protected: applications, and the way from a host to one.

mod declaration;
mod declared_host;
mod external_host;
mod shared;
mod tokens;

pub use declaration::DeclaredApplication;
pub use declared_host::DeclaredHost;
pub use external_host::ExternalHost;
pub use shared::Shared;
pub use tokens::{AcceptedTokens, Basic, Bearer, TokenIssuer};

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use crate::access::{AccessRequest, Policy};
use crate::application_id::ApplicationId;
use crate::cookie::CookiePolicy;
use crate::forwarded::OriginalRequest;
use crate::host::{AbsoluteUrl, Authority, CookieDomain, Host, Scheme};
use crate::identity::{
    FurtherHeaders, HeaderSwitches, HeaderTemplate, Identity, Meta, PackedIdentity, WantedClaims, header_value,
};
use crate::oidc::Provider;
use crate::session::Realm;
use crate::telemetry::metrics::ApplicationMetrics;
use crate::world::UnixTime;

/// The path below which the outpost's own endpoints lie, on every application.
pub const OUTPOST_PATH: &str = "/outpost.goauthentik.io";

/// The number of applications that this process has made so far.
static INSTANCES: AtomicU64 = AtomicU64::new(0);

/// An application, or one host of its cookie domain, with everything derived from its settings.
pub struct Application {
    /// Differs from that of every other application of this process, also of the same one with other settings: what was
    /// verified under one set of rules does not count under another.
    pub(crate) instance: u64,
    /// The name that pages and logs show.
    pub name: String,
    /// The unique short name.
    pub id: ApplicationId,
    /// Whose sessions count for it: those of the application, for its hosts too.
    pub realm: Realm,
    /// What it shares with the application, or with the hosts of it.
    pub(crate) shared: Arc<Shared>,
    /// Set: the host of the cookie domain that it is for.
    pub(crate) host: Option<Arc<DeclaredHost>>,
    /// Where browsers reach the application, and where logins come back to.
    pub external_host: ExternalHost,
    /// The same without the path: `https://app.example.com`.
    pub origin: String,
    /// Set: every host under this domain.
    pub cookie_domain: Option<CookieDomain>,
    /// Its identity provider.
    pub provider: Arc<Provider>,
    /// Further issuers of tokens, in the order of [`AcceptedTokens::issuers`].
    pub token_issuers: Vec<Arc<Provider>>,
    /// What is counted of it.
    pub metrics: ApplicationMetrics,
    /// Who gets in.
    pub policy: Policy,
    /// Which headers are sent.
    pub headers: HeaderSwitches,
    /// Names and attributes of its cookies.
    pub cookies: CookiePolicy,
    /// Where the provider sends the browser back to after a login.
    pub redirect_uri: String,
    /// Where the provider sends the browser after its logout.
    pub post_logout_redirect_uri: String,
    /// The identity headers without a user.
    pub header_template: HeaderTemplate,
    /// The headers besides those.
    pub further_headers: FurtherHeaders,
    /// Which claims its settings look at, and those of all that share its sessions.
    pub wanted_claims: Arc<WantedClaims>,
    /// What programs may show in place of a session.
    pub tokens: Option<Box<AcceptedTokens>>,
}

impl Application {
    /// Derives names, policy and headers of the application, or of one `host` of it; `outpost_name` is the daemon's own.
    #[must_use]
    pub fn new(
        shared: &Arc<Shared>,
        host: Option<&Arc<DeclaredHost>>,
        outpost_name: &str,
        metrics: ApplicationMetrics,
    ) -> Self {
        let declared = &shared.declared;
        let registration = shared.provider.settings();
        let marker = if registration.callback_marker { "?X-authentik-auth-callback=true" } else { "" };
        let outpost = format!("{}{}{OUTPOST_PATH}", declared.external_host.origin(), declared.external_host.base_path);
        let (name, slug) = host.map_or((&declared.name, &declared.slug), |host| (&host.name, &host.slug));
        let further_headers = host.map_or_else(|| declared.further_headers.clone(), |it| it.further_headers(declared));
        let further_headers = FurtherHeaders::new(further_headers, declared.basic_auth.clone());
        Self {
            instance: INSTANCES.fetch_add(1, Ordering::Relaxed),
            cookies: CookiePolicy::new(
                declared.external_host.scheme,
                declared.cookie_domain.as_ref(),
                &registration.client_id,
            ),
            redirect_uri: format!("{outpost}/callback{marker}"),
            post_logout_redirect_uri: declared
                .post_logout_redirect_uri
                .clone()
                .unwrap_or_else(|| format!("{outpost}/signed_out")),
            header_template: HeaderTemplate::new(
                Meta {
                    outpost: header_value(outpost_name),
                    provider: header_value(&declared.identity_provider),
                    app: header_value(slug),
                    version: HeaderValue::from_static(concat!("forepost/", env!("CARGO_PKG_VERSION"))),
                },
                further_headers.names(),
            ),
            further_headers,
            wanted_claims: Arc::clone(&shared.wanted_claims),
            policy: host.map_or_else(|| shared.policy.clone(), |host| shared.policy.for_host(host.declared_rules())),
            tokens: declared.tokens.clone().map(Box::new),
            name: name.clone(),
            id: slug.as_str().into(),
            realm: Realm::new(declared.slug.as_str(), &registration.issuer),
            origin: declared.external_host.origin(),
            external_host: declared.external_host.clone(),
            cookie_domain: declared.cookie_domain.clone(),
            headers: host.map_or_else(|| declared.headers.clone(), |host| host.switches(declared)),
            provider: Arc::clone(&shared.provider),
            token_issuers: shared.token_issuers.clone(),
            metrics,
            host: host.map(Arc::clone),
            shared: Arc::clone(shared),
        }
    }

    /// Where browsers find it: its external host, or the host of the cookie domain that it is for.
    #[must_use]
    pub fn own_host(&self) -> &Host<'static> {
        self.host.as_ref().map_or(&self.external_host.host, |it| &it.host)
    }

    /// The address of its first page, with a slash at the end.
    #[must_use]
    pub fn home_url(&self) -> String {
        match &self.host {
            Some(it) => format!("{}/", self.resource(&it.host)),
            None => self.external_host.url(),
        }
    }

    /// A request to this application, as [`decide`](crate::access::decide) takes it.
    #[must_use]
    pub fn access_request<'r>(
        &'r self,
        original: &'r OriginalRequest<'r>,
        client: Option<IpAddr>,
    ) -> AccessRequest<'r> {
        AccessRequest { realm: &self.realm, wanted_claims: &self.wanted_claims, original, client }
    }

    /// The path of one of the outpost's own endpoints on this application.
    #[must_use]
    pub fn outpost_path(&self, endpoint: &str) -> String {
        format!("{}{OUTPOST_PATH}/{endpoint}", self.external_host.base_path)
    }

    /// Whether the provider sends the browser to our own page after its logout.
    #[must_use]
    pub fn comes_back_to_us_after_logout(&self) -> bool {
        self.post_logout_redirect_uri.strip_prefix(&self.origin) == Some(self.outpost_path("signed_out").as_str())
    }

    /// Where its provider's keys are, as a header value; empty while that is unknown.
    #[must_use]
    pub fn jwks(&self) -> HeaderValue {
        let ready = self.provider.ready();
        ready.map_or(const { HeaderValue::from_static("") }, |ready| ready.jwks_header.clone())
    }

    /// Whether `host` is one of this application's.
    #[must_use]
    pub fn owns(&self, host: &Host<'_>) -> bool {
        *host == self.external_host.host || self.cookie_domain.as_ref().is_some_and(|domain| domain.contains(host))
    }

    /// Whether pages of this origin are its own: scheme, host and port (RFC 6454 §5), as browsers see them.
    #[must_use]
    pub fn has_origin(&self, scheme: Scheme, authority: &Authority<'_>) -> bool {
        let port = authority.port.filter(|port| *port != scheme.default_port());
        scheme == self.external_host.scheme && port == self.external_host.port && self.owns(&authority.host)
    }

    /// The origin of its pages on one of its hosts, as browsers write it (RFC 6454 §6.2).
    #[must_use]
    pub fn origin_on(&self, host: &Host<'_>) -> String {
        let ExternalHost { scheme, port, .. } = &self.external_host;
        let port = port.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}")
    }

    /// The application as a protected resource (RFC 9728 §1.2), on a host of its own.
    #[must_use]
    pub fn resource(&self, host: &Host<'_>) -> String {
        self.origin_on(host) + &self.external_host.base_path
    }

    /// Whether `audience` is the address of this application, with or without a slash at its end; that of a part of it is not.
    #[must_use]
    pub fn is_resource(&self, audience: &str) -> bool {
        let authority = AbsoluteUrl::split(audience).and_then(|url| Authority::parse(url.authority).ok());
        let authority = authority.filter(|it| self.owns(&it.host));
        authority.is_some_and(|it| audience.strip_suffix('/').unwrap_or(audience) == self.resource(&it.host))
    }

    /// Keeps users of the identity provider from passing for those of a further issuer of tokens, whose names begin with the issuer's
    /// and a colon, and whose claims are members of a claim of its name.
    pub fn set_apart_from_issuers(&self, identity: &mut Identity, claims: &mut Map<String, Value>) {
        for issuer in self.tokens.iter().flat_map(|tokens| &tokens.issuers) {
            let Identity { username, uid, groups, entitlements, .. } = &mut *identity;
            for text in [username, uid].into_iter().chain(groups).chain(entitlements) {
                if text.strip_prefix(&*issuer.name).is_some_and(|rest| rest.starts_with(':')) {
                    text.replace_range(issuer.name.len()..=issuer.name.len(), "%3A");
                }
            }
            if claims.get(&issuer.name).is_some_and(Value::is_object) {
                claims.remove(&issuer.name);
            }
        }
    }

    /// What a session of this application keeps of a user whom `claims` describe, and whose ID token ends at `token_ends`: the same
    /// for all that share its sessions.
    ///
    /// A token without an end is not sent.
    #[must_use]
    pub fn pack(
        &self,
        identity: Identity,
        id_token: &str,
        token_ends: Option<UnixTime>,
        claims: &Map<String, Value>,
    ) -> PackedIdentity {
        let sent_until = token_ends.filter(|_| self.shared.sends_id_token);
        PackedIdentity::new(identity, id_token, sent_until)
            .with_claims(self.wanted_claims.pick(claims))
            .keeping(Arc::clone(self.wanted_claims.kept()))
    }

    /// All headers for a user at `now`, `jwks` being where the provider's keys are.
    #[must_use]
    pub fn headers_for(&self, identity: &PackedIdentity, jwks: &HeaderValue, now: UnixTime) -> HeaderMap {
        let mut headers = identity.headers(&self.header_template, jwks, Some(now).filter(|_| self.headers.jwt));
        self.further_headers.fill(identity, &mut headers);
        headers
    }
}

#[cfg(any(test, fuzzing))]
pub(crate) mod samples;

#[cfg(test)]
mod tests {
    use super::samples::{domain, single};
    use super::*;

    #[track_caller]
    fn check(app: &Application, audience: &str, expected: bool) {
        assert_eq!(app.is_resource(audience), expected, "{audience}");
    }

    #[test]
    fn the_address_of_an_application_is_an_audience() {
        let app = single("https://app.example.com");
        check(&app, "https://app.example.com", true);
        check(&app, "https://app.example.com/", true);
        for other in [
            "https://app.example.com//",
            "https://app.example.com/mcp",
            "https://app.example.com?x",
            "https://app.example.com#x",
            "http://app.example.com",
            "https://app.example.com:8443",
            "https://APP.example.com",
            "https://app.example.com.",
            "https://me@app.example.com",
            "https://other.example.com",
            "app.example.com",
            "://app.example.com",
            "",
        ] {
            check(&app, other, false);
        }
        let below = single("https://app.example.com:8443/sub");
        check(&below, "https://app.example.com:8443/sub", true);
        check(&below, "https://app.example.com:8443/sub/", true);
        check(&below, "https://app.example.com:8443", false);
        check(&below, "https://app.example.com/sub", false);
        let all = domain("https://auth.example.com", "example.com");
        check(&all, "https://wiki.example.com", true);
        check(&all, "https://wiki.example.com.evil.test", false);
        check(&all, "https://evilexample.com", false);
    }
}
