//! A provider in process, a daemon in process, and the proxy's side of each dialect.

use std::net::SocketAddr;
use std::time::Duration;

use forepost::daemon::Daemon;
use forepost::settings::Settings;
use forepost::world::World;
use http::Method;
use tokio::time::timeout;

use super::{Browser, Reply};
use crate::provider::{Behaviour, Client, Config, Provider};

/// Our registration: any of these redirect URIs.
pub(crate) fn client(id: &str, secret: Option<&str>, origins: &[&str]) -> Client {
    let callback = |origin: &&str| format!("{origin}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true");
    Client {
        id: id.to_owned(),
        secret: secret.map(str::to_owned),
        redirect_uris: origins.iter().map(callback).collect(),
        post_logout_redirect_uris: origins
            .iter()
            .map(|origin| format!("{origin}/outpost.goauthentik.io/signed_out"))
            .collect(),
        backchannel_logout_uri: None,
    }
}

/// Starts a daemon on free ports with this configuration.
pub(crate) async fn start_daemon(toml: &str) -> Daemon {
    start_tuned(toml, World::system(), |_| ()).await
}

/// The same in another world, and with settings that no configuration could have.
pub(crate) async fn start_tuned(toml: &str, world: World, tune: impl FnOnce(&mut Settings)) -> Daemon {
    // Shown where a test fails; another test of this process may have set it up already.
    let _ = tracing_subscriber::fmt().with_test_writer().with_max_level(tracing::Level::WARN).try_init();
    let mut settings = Settings::from_toml(toml).unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let free = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
    settings.server.http = free;
    settings.server.metrics = free;
    tune(&mut settings);
    Daemon::start(settings, world).await.unwrap_or_else(|error| panic!("{error}"))
}

/// A provider and a daemon, with applications in front of which a proxy would stand.
pub(crate) struct Stage {
    pub(crate) provider: Provider,
    pub(crate) daemon: Daemon,
}

/// The applications of [`Stage::start`]: one host, one with required groups, a whole domain.
pub(crate) const APPLICATIONS: &str = r#"
[[application]]
name = "The App"
slug = "app"
external_host = "https://app.example.com"
public_paths = [{ prefix = "/public" }, { path = "/health", methods = ["GET"] }]
cors = { allowed_origins = ["https://spa.example.com"], pass_preflight = true }

[[application]]
name = "Administration"
slug = "admin"
external_host = "https://admin.example.com/sub"
required_groups = ["admins"]

[[application]]
name = "Everything"
slug = "domain"
external_host = "https://auth.example.test"
cookie_domain = "example.test"
headers = { jwt = false }
"#;

const ORIGINS: [&str; 3] = ["https://app.example.com", "https://admin.example.com/sub", "https://auth.example.test"];

impl Stage {
    /// An honest provider, and a daemon for [`APPLICATIONS`].
    pub(crate) async fn start() -> Self {
        Self::with("", APPLICATIONS).await
    }

    /// The same, with further keys of the provider's section, and other applications.
    pub(crate) async fn with(provider_keys: &str, applications: &str) -> Self {
        let config = Config { clients: vec![client("proxy", Some("proxy-secret"), &ORIGINS)], ..Config::default() };
        Self::of(Provider::start(config).await.unwrap(), "proxy-secret", provider_keys, applications).await
    }

    /// The same, with this provider, where our secret is `secret`; empty: none.
    pub(crate) async fn of(provider: Provider, secret: &str, provider_keys: &str, applications: &str) -> Self {
        let stage = Self::waiting(provider, secret, provider_keys, applications).await;
        stage.daemon.ready().await;
        stage
    }

    /// The same, perhaps before logins are possible.
    pub(crate) async fn waiting(provider: Provider, secret: &str, provider_keys: &str, applications: &str) -> Self {
        let toml = configuration(&provider, secret, provider_keys, applications);
        Self { daemon: start_daemon(&toml).await, provider }
    }

    /// A provider and a daemon for [`APPLICATIONS`] in this world, with settings that no configuration could have;
    /// `prepare` changes the provider before the daemon looks at it.
    pub(crate) async fn tuned(
        world: World,
        prepare: impl FnOnce(&mut Behaviour),
        tune: impl FnOnce(&mut Settings),
    ) -> Self {
        let clients = vec![client("proxy", Some("proxy-secret"), &ORIGINS)];
        let provider = Provider::start(Config { clients, world: world.clone(), ..Config::default() }).await.unwrap();
        provider.set(prepare);
        let toml = configuration(&provider, "proxy-secret", "", APPLICATIONS);
        Self { daemon: start_tuned(&toml, world, tune).await, provider }
    }

    /// Another daemon for the same provider, as that of [`Stage::tuned`] is.
    pub(crate) async fn another(&self, world: World, tune: impl FnOnce(&mut Settings)) -> Daemon {
        let toml = configuration(&self.provider, "proxy-secret", "", APPLICATIONS);
        let daemon = start_tuned(&toml, world, tune).await;
        daemon.ready().await;
        daemon
    }

    /// A daemon that looks for new keys of the provider once in this time, however many tokens want them.
    pub(crate) async fn with_key_cooldown(cooldown: Duration) -> Self {
        let tune = |settings: &mut Settings| {
            for provider in settings.identity_providers.values_mut() {
                provider.jwks_cooldown = cooldown;
            }
        };
        Self::tuned(World::system(), |_| (), tune).await
    }

    /// A browser whose every host but the provider's is forepost itself.
    pub(crate) fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.daemon.http_address().unwrap())
    }

    /// Asks forepost about a GET of `url`, as `dialect`'s proxy would, with the browser's cookies for it.
    pub(crate) async fn check(&self, dialect: &str, browser: &mut Browser, url: &str) -> Reply {
        self.ask(dialect, browser, Method::GET, url, &[]).await
    }

    /// The same, with method and further headers.
    pub(crate) async fn ask(
        &self,
        dialect: &str,
        browser: &mut Browser,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
    ) -> Reply {
        ask(dialect, browser, method, url, headers).await
    }

    /// Goes to `url` behind a Traefik and signs in as `user` where the provider asks; ends with the check that lets in,
    /// or with the page that does not.
    pub(crate) async fn sign_in(&self, browser: &mut Browser, url: &str, user: &str) -> Reply {
        let reply = self.check("traefik", browser, url).await;
        self.complete(browser, reply, user).await
    }

    /// Follows a redirect to the provider, signs in where it asks, and goes back to where that leads.
    pub(crate) async fn complete(&self, browser: &mut Browser, reply: Reply, user: &str) -> Reply {
        let back = self.come_back(browser, reply, user).await;
        if !back.status.is_redirection() {
            return back;
        }
        self.check("traefik", browser, back.location().as_str()).await
    }

    /// The same, up to the answer of our callback.
    pub(crate) async fn come_back(&self, browser: &mut Browser, reply: Reply, user: &str) -> Reply {
        reply.is(302);
        let mut reply = browser.get(reply.location().as_str()).await;
        if reply.status == 200 {
            reply = fill_in(browser, &reply, user).await;
        }
        let callback = reply.location();
        assert!(callback.path().ends_with("/outpost.goauthentik.io/callback"), "{callback}");
        browser.get(callback.as_str()).await
    }
}

/// Longer than anything takes that has to come.
const PATIENCE: Duration = Duration::from_mins(1);

/// Asks until `wanted` holds of the answer.
pub(crate) async fn until_answer(mut ask: impl AsyncFnMut() -> Reply, wanted: impl Fn(&Reply) -> bool) -> Reply {
    let seen = async {
        loop {
            let reply = ask().await;
            if wanted(&reply) {
                return reply;
            }
        }
    };
    timeout(PATIENCE, seen).await.expect("the answer comes")
}

/// Asks the forepost that `browser` is routed to about a request for `url`, as `dialect`'s proxy would.
pub(crate) async fn ask(
    dialect: &str,
    browser: &mut Browser,
    method: Method,
    url: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let (scheme, rest) = url.split_once("://").unwrap();
    let (host, target) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let origin = format!("{scheme}://{host}");
    let auth = format!("{origin}/outpost.goauthentik.io/auth/{dialect}");
    let mut fields = match dialect {
        "nginx" => vec![("x-original-url", url)],
        "envoy" => vec![("x-forwarded-proto", scheme)],
        _ => vec![
            ("x-forwarded-method", method.as_str()),
            ("x-forwarded-proto", scheme),
            ("x-forwarded-host", host),
            ("x-forwarded-uri", target),
        ],
    };
    fields.extend(headers);
    match dialect {
        "envoy" => browser.send(method.clone(), &format!("{auth}{target}"), &fields, None).await,
        _ => browser.send(Method::GET, &auth, &fields, None).await,
    }
}

/// The configuration for `provider`, where our secret is `secret`; empty: none.
fn configuration(provider: &Provider, secret: &str, provider_keys: &str, applications: &str) -> String {
    let secret = if secret.is_empty() { String::new() } else { format!("client_secret = \"{secret}\"\n") };
    format!(
        "[identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\n{secret}\
         scopes = [\"openid\", \"profile\", \"email\", \"groups\"]\n{provider_keys}\n{applications}",
        provider.issuer()
    )
}

/// Sends the login form of the provider's page.
pub(crate) async fn fill_in(browser: &mut Browser, page: &Reply, user: &str) -> Reply {
    page.contains("name=\"password\"");
    let request = page.url.query().unwrap_or_default();
    let form = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("request", request), ("login", user), ("password", "x")])
        .finish();
    browser.post(page.url.join("/login").unwrap().as_str(), &form).await
}
