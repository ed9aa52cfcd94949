//! Applications for tests.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use url::Url;

use super::{Application, DeclaredApplication, Shared};
use crate::access::Cors;
use crate::app::ExternalHost;
use crate::host::{CookieDomain, Host, Scheme};
use crate::identity::{ClaimNames, ClaimPath, HeaderSwitches};
use crate::oidc::{OfflineAccess, Provider, TokenEndpointAuthMethod};
use crate::telemetry::metrics::Metrics;
use crate::world::World;

pub(crate) fn provider_settings(issuer: &str) -> crate::oidc::IdentityProvider {
    crate::oidc::IdentityProvider {
        issuer: issuer.into(),
        client_id: "proxy".into(),
        client_secret: Some("proxy-secret".to_owned().into()),
        scopes: vec!["openid".into()],
        offline_access: OfflineAccess::Auto,
        token_endpoint_auth_method: TokenEndpointAuthMethod::Auto,
        id_token_signed_response_alg: None,
        ca_file: None,
        timeout: Duration::from_secs(5),
        jwks_cooldown: Duration::from_secs(30),
        claims: ClaimNames {
            username: ClaimPath::new("preferred_username"),
            email: ClaimPath::new("email"),
            name: ClaimPath::new("name"),
            groups: ClaimPath::new("groups"),
            entitlements: ClaimPath::new("entitlements"),
            uid: ClaimPath::new("sub"),
        },
        authorization_parameters: BTreeMap::new(),
        frontchannel_logout: false,
        callback_marker: true,
        cli_client_id: None,
        danger_http_issuer: false,
    }
}

/// The provider of applications that name none; to make one, the system's certificates are read.
static DEFAULT: LazyLock<Arc<Provider>> = LazyLock::new(|| provider("default", "https://id.example.com"));

/// A provider of which nothing is known yet.
pub(crate) fn provider(name: &str, issuer: &str) -> Arc<Provider> {
    let metrics = Arc::new(metrics());
    Arc::new(Provider::new(name, provider_settings(issuer), World::system(), metrics).expect("no CA file"))
}

fn metrics() -> Metrics {
    Metrics::new("forepost", &[], &[])
}

pub(crate) fn application(
    external_host: &str,
    cookie_domain: Option<&str>,
    change: impl FnOnce(&mut DeclaredApplication),
) -> Application {
    at_provider(external_host, cookie_domain, Arc::clone(&DEFAULT), change)
}

pub(crate) fn at_provider(
    external_host: &str,
    cookie_domain: Option<&str>,
    provider: Arc<Provider>,
    change: impl FnOnce(&mut DeclaredApplication),
) -> Application {
    let declared = declaration(external_host, cookie_domain, provider.name(), change);
    let metrics = metrics().application(&declared.slug, declared.external_host.host.as_str());
    Application::new(&Arc::new(Shared::new(&declared, provider, Vec::new())), None, "forepost", metrics)
}

pub(crate) fn declaration(
    external_host: &str,
    cookie_domain: Option<&str>,
    identity_provider: &str,
    change: impl FnOnce(&mut DeclaredApplication),
) -> DeclaredApplication {
    let url = Url::parse(external_host).expect("a URL");
    let host = url.host_str().and_then(|host| Host::parse(host).ok()).expect("a host").into_owned();
    let mut settings = DeclaredApplication {
        name: format!("The {host}"),
        slug: host.as_str().replace('.', "-"),
        external_host: ExternalHost {
            scheme: if url.scheme() == "https" { Scheme::Https } else { Scheme::Http },
            host,
            port: url.port(),
            base_path: url.path().trim_end_matches('/').to_owned(),
        },
        cookie_domain: cookie_domain.map(|domain| CookieDomain::parse(domain).expect("a domain")),
        identity_provider: identity_provider.into(),
        public_paths: Vec::new(),
        rules: Vec::new(),
        required_groups: Vec::new(),
        danger_unverified_email: false,
        show_required: false,
        headers: HeaderSwitches { jwt: true, warn_bytes: 4096 },
        further_headers: Vec::new(),
        basic_auth: None,
        cors: Cors::default(),
        post_logout_redirect_uri: None,
        tokens: None,
        hosts: Vec::new(),
    };
    change(&mut settings);
    settings
}

/// A domain with one host, and the application of that host.
#[cfg(test)]
pub(crate) fn with_host(external_host: &str, cookie_domain: &str, host: &str) -> (Application, Application) {
    let own = super::DeclaredHost {
        host: Host::parse(host).expect("a host").into_owned(),
        name: format!("The {host}"),
        slug: host.replace('.', "-"),
        public_paths: Vec::new(),
        rules: Vec::new(),
        required_groups: Vec::new(),
        jwt: None,
        further_headers: Vec::new(),
    };
    let own = Arc::new(own);
    let declared =
        declaration(external_host, Some(cookie_domain), DEFAULT.name(), |it| it.hosts.push(Arc::clone(&own)));
    let shared = Arc::new(Shared::new(&declared, Arc::clone(&DEFAULT), Vec::new()));
    let metrics = |slug, host| metrics().application(slug, host);
    let application =
        Application::new(&shared, None, "forepost", metrics(&declared.slug, declared.external_host.host.as_str()));
    let of_host = Application::new(&shared, Some(&own), "forepost", metrics(&own.slug, own.host.as_str()));
    (application, of_host)
}

pub(crate) fn single(external_host: &str) -> Application {
    application(external_host, None, |_| ())
}

pub(crate) fn domain(external_host: &str, cookie_domain: &str) -> Application {
    application(external_host, Some(cookie_domain), |_| ())
}
