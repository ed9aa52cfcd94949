//! A real provider and a daemon, as a browser meets them.

use forepost::daemon::Daemon;
use http::Method;
use serde_json::json;
use url::Url;

use super::glewlwyd::Glewlwyd;
use crate::support::{Browser, OpenIdProvider, Reply, ask, start_daemon};

pub(super) const ORIGIN: &str = "https://app.example.com";
pub(super) const PAGE: &str = "https://app.example.com/page?x=1";

/// Which provider, and how our client is registered there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    /// npm's `oidc-provider`.
    OpenId {
        /// `id_token_signed_response_alg`.
        algorithm: &'static str,
        /// `token_endpoint_auth_method`.
        method: &'static str,
    },
    /// Debian's Glewlwyd.
    Glewlwyd,
}

/// Where the provider puts name, e-mail address and groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Claims {
    IdToken,
    Userinfo,
}

/// A provider that is what it is.
#[derive(Debug)]
pub(super) enum RealProvider {
    OpenId(OpenIdProvider),
    Glewlwyd(Glewlwyd),
}

impl RealProvider {
    /// Starts it, and gives our settings for it.
    pub(super) async fn start(kind: Kind, claims: Claims) -> (Self, String) {
        match kind {
            Kind::OpenId { algorithm, method } => {
                let mut registration =
                    json!({"id_token_signed_response_alg": algorithm, "token_endpoint_auth_method": method});
                let mut secret = format!("client_secret = \"{}\"", OpenIdProvider::CLIENT_SECRET);
                if method == "none" {
                    registration["client_secret"] = json!(null);
                    secret.clear();
                }
                let configuration = json!({"slim": claims == Claims::Userinfo});
                let provider = OpenIdProvider::with(ORIGIN, &registration, configuration);
                (Self::OpenId(provider), format!("token_endpoint_auth_method = \"{method}\"\n{secret}"))
            }
            Kind::Glewlwyd => {
                let place = if claims == Claims::IdToken { "id_token" } else { "userinfo" };
                let wanted = json!({place: {"name": null, "email": null, "groups": null}});
                let secret = Glewlwyd::CLIENT_SECRET;
                // It has no preferred_username.
                let settings = format!(
                    "client_secret = \"{secret}\"\nclaims = {{ username = \"email\" }}\n\
                     authorization_parameters = {{ claims = '{wanted}' }}"
                );
                (Self::Glewlwyd(Glewlwyd::start(ORIGIN).await), settings)
            }
        }
    }

    pub(super) fn issuer(&self) -> &str {
        match self {
            Self::OpenId(provider) => &provider.issuer,
            Self::Glewlwyd(provider) => &provider.issuer,
        }
    }

    pub(super) fn address(&self) -> std::net::SocketAddr {
        match self {
            Self::OpenId(provider) => provider.address,
            Self::Glewlwyd(provider) => provider.address,
        }
    }

    /// Answers an authorisation request as a person would, up to the address of our callback.
    pub(super) async fn up_to_callback(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Url {
        let back = match self {
            Self::OpenId(provider) => {
                let page = browser.get(authorization.as_str()).await;
                let page = browser.follow_on_host(page).await;
                provider.sign_in(browser, &page, user).await
            }
            Self::Glewlwyd(provider) => provider.sign_in(browser, authorization, user).await,
        };
        let callback = back.location();
        assert!(callback.as_str().starts_with(&format!("{ORIGIN}/outpost.goauthentik.io/callback?")), "{back:#?}");
        callback
    }

    /// New signing keys; the old ones are gone.
    pub(super) async fn rotate(&self) {
        match self {
            Self::OpenId(provider) => drop(provider.hook("rotate").await),
            Self::Glewlwyd(provider) => provider.rotate().await,
        }
    }

    /// Takes it down: one answers 503, the other does not answer.
    pub(super) async fn stop(&mut self) {
        match self {
            Self::OpenId(provider) => drop(provider.hook("down").await),
            Self::Glewlwyd(provider) => provider.stop(),
        }
    }

    /// Takes it up again.
    pub(super) async fn resume(&mut self) {
        match self {
            Self::OpenId(provider) => drop(provider.hook("up").await),
            Self::Glewlwyd(provider) => provider.resume().await,
        }
    }
}

/// Provider and daemon.
pub(super) struct Scene {
    pub(super) provider: RealProvider,
    pub(super) daemon: Daemon,
}

impl Scene {
    pub(super) async fn start(kind: Kind, claims: Claims) -> Self {
        let (provider, settings) = RealProvider::start(kind, claims).await;
        Self::of(provider, &settings).await
    }

    /// A daemon for a provider that runs already.
    pub(super) async fn of(provider: RealProvider, settings: &str) -> Self {
        let daemon = start_daemon(&toml(provider.issuer(), settings)).await;
        daemon.ready().await;
        Self { provider, daemon }
    }

    /// A browser whose every host but the provider's is forepost itself.
    pub(super) fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.daemon.http_address().unwrap())
    }

    /// What a proxy is told about the page.
    pub(super) async fn check(&self, browser: &mut Browser) -> Reply {
        ask("traefik", browser, Method::GET, PAGE, &[]).await
    }

    /// Begins a login for the page: the authorisation request.
    pub(super) async fn begin(&self, browser: &mut Browser) -> Url {
        self.check(browser).await.is(302).location()
    }

    /// Answers an authorisation request as a person would, up to the address of our callback.
    pub(super) async fn up_to_callback(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Url {
        self.provider.up_to_callback(browser, authorization, user).await
    }

    /// Goes to the page and signs in; ends with the check that lets in, or with the page that says why not.
    pub(super) async fn sign_in(&self, browser: &mut Browser, user: &str) -> Reply {
        let authorization = self.begin(browser).await;
        let callback = self.up_to_callback(browser, &authorization, user).await;
        self.call_back(browser, &callback).await
    }

    /// Our callback and what it leads to.
    pub(super) async fn call_back(&self, browser: &mut Browser, callback: &Url) -> Reply {
        let reply = browser.get(callback.as_str()).await;
        if reply.status != 302 {
            return reply;
        }
        assert_eq!(reply.header("location"), PAGE);
        self.check(browser).await
    }

    /// Whether the provider answers an authorisation request without asking anything.
    pub(super) async fn remembers(&self, browser: &mut Browser, authorization: &Url) -> bool {
        let authorization = match &self.provider {
            RealProvider::OpenId(_) => authorization.clone(),
            RealProvider::Glewlwyd(_) => Glewlwyd::continued(authorization),
        };
        let reply = browser.get(authorization.as_str()).await;
        let reply = browser.follow_on_host(reply).await;
        reply.status.is_redirection() && reply.header("location").starts_with(ORIGIN)
    }

    /// Signs out here and at the provider.
    pub(super) async fn sign_out(&self, browser: &mut Browser) {
        let url = format!("{ORIGIN}/outpost.goauthentik.io/sign_out");
        let leaving = browser.send(Method::GET, &url, &[("sec-fetch-site", "same-origin")], None).await;
        let page = browser.get(leaving.is(302).location().as_str()).await;
        let page = browser.follow_on_host(page).await;
        match &self.provider {
            RealProvider::OpenId(provider) => {
                let back = provider.sign_out(browser, &page).await;
                let signed_out = format!("{ORIGIN}/outpost.goauthentik.io/signed_out?state=");
                assert!(back.location().as_str().starts_with(&signed_out), "{back:#?}");
                browser.follow(back).await.is(200).contains("Signed out");
            }
            RealProvider::Glewlwyd(provider) => drop(provider.sign_out(browser, &page).await.is(200)),
        }
    }
}

/// The configuration of one application that uses this provider.
pub(super) fn toml(issuer: &str, settings: &str) -> String {
    format!(
        r#"
        [identity_provider.idp]
        issuer = "{issuer}"
        client_id = "proxy"
        scopes = ["openid", "profile", "email", "groups"]
        {settings}

        [[application]]
        name = "The App"
        slug = "app"
        external_host = "{ORIGIN}"
        "#
    )
}
