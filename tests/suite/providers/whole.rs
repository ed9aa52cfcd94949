//! A daemon in front of a provider that is built or installed whole: Keycloak, Hydra, Dex.

use std::net::SocketAddr;

use forepost::daemon::Daemon;
use http::Method;
use url::Url;

use super::dex::Dex;
use super::hydra::Hydra;
use super::keycloak::Realm;
use super::scene::PAGE;
use crate::support::{Browser, Reply, ask, start_daemon, tool, until_answer};

/// What the scene needs of a provider.
pub(super) trait WholeProvider {
    fn issuer(&self) -> &str;
    fn address(&self) -> SocketAddr;
    /// Answers an authorization request as a person would, up to the redirect that leaves the provider.
    async fn sign_in(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Reply;
}

macro_rules! whole_provider {
    ($($type:ty),+) => {
        $(impl WholeProvider for $type {
            fn issuer(&self) -> &str {
                &self.issuer
            }

            fn address(&self) -> SocketAddr {
                self.address
            }

            async fn sign_in(&self, browser: &mut Browser, authorization: &Url, user: &str) -> Reply {
                self.sign_in(browser, authorization, user).await
            }
        })+
    };
}

whole_provider!(Dex, Hydra, Realm);

/// A provider and a daemon with its applications.
pub(super) struct Scene<P> {
    pub(super) provider: P,
    pub(super) daemon: Daemon,
}

impl<P: WholeProvider> Scene<P> {
    /// `client` is our id and secret there; `keys` are further keys of the provider's table; `rest` are the applications.
    pub(super) async fn start(provider: P, client: (&str, &str), keys: &str, rest: &str) -> Self {
        let (id, secret) = client;
        let daemon = start_daemon(&format!(
            "[identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"{id}\"\nclient_secret = \"{secret}\"\n{keys}\n{rest}\n",
            provider.issuer(),
        ))
        .await;
        daemon.ready().await;
        Self { provider, daemon }
    }

    /// A browser whose every host but the provider's is forepost itself.
    pub(super) fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.daemon.http_address().unwrap())
    }

    /// Asks about the page as Traefik does.
    pub(super) async fn check(&self, browser: &mut Browser) -> Reply {
        self.check_page(browser, PAGE).await
    }

    /// The same for another page.
    pub(super) async fn check_page(&self, browser: &mut Browser, page: &str) -> Reply {
        ask("traefik", browser, Method::GET, page, &[]).await
    }

    /// Shows a bearer token for the page.
    pub(super) async fn show(&self, token: &str) -> Reply {
        let authorization = format!("Bearer {token}");
        ask("traefik", &mut self.browser(), Method::GET, PAGE, &[("authorization", &authorization)]).await
    }

    /// Goes to the page and signs in; ends with the check that lets in, or with the page that says why not.
    pub(super) async fn sign_in(&self, browser: &mut Browser, user: &str) -> Reply {
        self.sign_in_at(browser, PAGE, user).await
    }

    /// The same for another page.
    pub(super) async fn sign_in_at(&self, browser: &mut Browser, page: &str, user: &str) -> Reply {
        let authorization = self.check_page(browser, page).await.is(302).location();
        let back = self.provider.sign_in(browser, &authorization, user).await;
        let reply = browser.get(back.location().as_str()).await;
        if reply.status == 302 { self.check_page(browser, page).await } else { reply }
    }

    /// Asks about the page until `wanted` holds of the answer.
    pub(super) async fn until(&self, browser: &mut Browser, wanted: impl Fn(&Reply) -> bool) -> Reply {
        until_answer(async || self.check(browser).await, wanted).await
    }
}

/// Whether a provider says that it is ready, in the way of Keycloak and Hydra.
pub(super) async fn is_healthy(address: SocketAddr) -> bool {
    // The browser fails the test where no process listens.
    tool::listens(address).await
        && Browser::new().route("*", address).get("http://provider/health/ready").await.status == 200
}

/// The configuration of one application, with further keys of its table.
pub(super) fn application(keys: &str) -> String {
    let origin = super::scene::ORIGIN;
    format!("[[application]]\nname = \"The App\"\nslug = \"app\"\nexternal_host = \"{origin}\"\n{keys}\n")
}
