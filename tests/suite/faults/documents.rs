//! Metadata and keys that change or break while the daemon runs, and a provider that is not there at its start.

use std::sync::Arc;
use std::time::Duration;

use forepost::identity::WantedClaims;
use forepost::oidc::{
    AuthorizationRequest, CodeExchange, KeyRefresh, Observer, OidcError, Operation, Provider as Known,
};
use forepost::settings::Settings;
use forepost::telemetry::WithCauses;
use forepost::world::World;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;
use tokio::sync::Semaphore;

use super::odd::{Manner, Odd};
use super::{APP, AWAY, side_by_side};
use crate::provider::{Behaviour, Config, Endpoint, Fault, Provider};
use crate::support::{APPLICATIONS, Browser, Stage, client, fill_in};

const CALLBACK: &str = "https://app.example.com/outpost.goauthentik.io/callback?X-authentik-auth-callback=true";
const VERIFIER: &str = "a verifier of PKCE that has at least 43 characters, as it must".split_at(43).0;

struct Deaf;

impl Observer for Deaf {
    fn request(&self, _: &str, _: Operation, _: bool, _: Duration) {}
    fn keys_refreshed(&self, _: &str, _: KeyRefresh, _: bool) {}
    fn ready(&self, _: &str, _: bool) {}
}

/// A provider as the daemon sees it, but refreshed when the test wants it.
struct Watched {
    provider: Provider,
    known: Known,
}

impl Watched {
    async fn start() -> Self {
        let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        let toml = format!(
            "[identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n{APPLICATIONS}",
            provider.issuer()
        );
        let settings = Settings::from_toml(&toml).unwrap().identity_providers.remove("idp").unwrap();
        let known = Known::new("idp", settings, World::system(), Arc::new(Deaf)).unwrap();
        known.refresh().await.unwrap();
        Self { provider, known }
    }

    /// What a browser brings back from where `known` sends it now.
    async fn code(&self) -> String {
        let request = AuthorizationRequest {
            redirect_uri: CALLBACK,
            state: "state",
            nonce: "nonce",
            pkce_verifier: VERIFIER,
            prompt: None,
            assurance: None,
        };
        let mut browser = Browser::new().route("idp.localhost", self.provider.address());
        let page = browser.get(&self.known.authorization_url(&request).unwrap()).await;
        fill_in(&mut browser, &page, "alice").await.parameter("code").unwrap()
    }

    async fn complete(&self, code: &str) -> Result<(), OidcError> {
        let exchange = CodeExchange { code, redirect_uri: CALLBACK, nonce: "nonce", pkce_verifier: VERIFIER };
        let wanted = WantedClaims::of(&self.known.settings().claims);
        self.known.complete(&exchange, &wanted).await.map(drop)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_stays_in_use_when_newer_documents_are_wrong() {
    type Case = (&'static str, fn(&mut Behaviour), &'static str);
    fn document(b: &mut Behaviour, endpoint: Endpoint, body: impl Into<bytes::Bytes>) {
        b.faults.insert(endpoint, Fault { body: Some(body.into()), ..Fault::default() });
    }
    fn status(b: &mut Behaviour, endpoint: Endpoint, status: StatusCode) {
        b.faults.insert(endpoint, Fault::status(status));
    }
    let cases: [Case; 21] = [
        (
            "another issuer",
            |b| {
                b.metadata.set("issuer", "http://evil.test").set("token_endpoint", "http://evil.test/token");
            },
            "issuer mismatch",
        ),
        (
            "no issuer",
            |b| {
                b.metadata.remove("issuer");
            },
            "issuer",
        ),
        (
            "no token endpoint",
            |b| {
                b.metadata.remove("token_endpoint");
            },
            "token_endpoint",
        ),
        (
            "no key set",
            |b| {
                b.metadata.remove("jwks_uri");
            },
            "jwks_uri",
        ),
        (
            "a key set that is not a URL",
            |b| {
                b.metadata.set("jwks_uri", "nowhere");
            },
            "metadata document",
        ),
        (
            "a key set in a file",
            |b| {
                b.metadata.set("jwks_uri", "file:///etc/passwd");
            },
            "",
        ),
        (
            "an authorisation endpoint that is not a URL",
            |b| {
                b.metadata.set("authorization_endpoint", 7);
            },
            "metadata document",
        ),
        ("all down", |b| b.down = true, "503"),
        ("metadata 404", |b| status(b, Endpoint::Discovery, StatusCode::NOT_FOUND), "404"),
        ("metadata 429", |b| status(b, Endpoint::Discovery, StatusCode::TOO_MANY_REQUESTS), "429"),
        ("metadata elsewhere", |b| status(b, Endpoint::Discovery, StatusCode::FOUND), "302"),
        ("metadata in HTML", |b| document(b, Endpoint::Discovery, "<html>"), "metadata document"),
        ("metadata without anything", |b| document(b, Endpoint::Discovery, "{}"), "metadata document"),
        ("metadata of two megabytes", |b| document(b, Endpoint::Discovery, vec![b' '; 2 << 20]), "larger"),
        (
            "metadata of ten thousand lists",
            |b| document(b, Endpoint::Discovery, "[".repeat(10_000)),
            "metadata document",
        ),
        ("keys 500", |b| status(b, Endpoint::Jwks, StatusCode::INTERNAL_SERVER_ERROR), "500"),
        ("keys elsewhere", |b| status(b, Endpoint::Jwks, StatusCode::TEMPORARY_REDIRECT), "307"),
        ("keys in HTML", |b| document(b, Endpoint::Jwks, "<html>"), "key set"),
        ("keys in a list", |b| document(b, Endpoint::Jwks, "[]"), "key set"),
        ("keys of two megabytes", |b| document(b, Endpoint::Jwks, vec![b' '; 2 << 20]), "larger"),
        (
            "keys that never come",
            |b| {
                b.faults.insert(Endpoint::Jwks, Fault { hang_up: true, ..Fault::default() });
            },
            "",
        ),
    ];
    side_by_side(cases.into_iter().map(|(name, fault, why)| {
        (name, async move {
            let watched = Watched::start().await;
            let code = watched.code().await;
            watched.provider.set(fault);
            let error = WithCauses(&watched.known.refresh().await.unwrap_err()).to_string();
            assert!(error.contains(why), "{name}: {error:?} does not say {why:?}");
            watched.provider.set(|b| *b = Behaviour::default());
            watched.complete(&code).await.unwrap();
            watched.complete(&watched.code().await).await.unwrap();
        })
    }))
    .await;
}

#[tokio::test]
async fn an_issuer_that_gains_a_slash_is_another_one() {
    let watched = Watched::start().await;
    let slash = json!(format!("{}/", watched.provider.issuer()));
    watched.provider.set(|b| {
        b.metadata.set("issuer", slash);
    });
    let error = WithCauses(&watched.known.refresh().await.unwrap_err()).to_string();
    assert!(error.contains("only the trailing slash differs"), "{error}");
    watched.complete(&watched.code().await).await.unwrap();
}

#[tokio::test]
async fn endpoints_that_move_in_flight_are_found() {
    let watched = Watched::start().await;
    let code = watched.code().await;
    let moved = json!(format!("{}/token?second=yes", watched.provider.issuer()));
    watched.provider.set(|b| {
        b.metadata.set("token_endpoint", moved);
    });
    watched.known.refresh().await.unwrap();
    watched.complete(&code).await.unwrap();
    let seen = watched.provider.last_request(Endpoint::Token).unwrap();
    assert_eq!(seen.query.get("second"), Some("yes"));
}

#[tokio::test]
async fn a_slow_refresh_does_not_bring_old_keys_back() {
    let watched = Watched::start().await;
    let codes = [watched.code().await, watched.code().await];
    let mut browser = Browser::new().route("idp.localhost", watched.provider.address());
    let old = browser.get(&format!("{}/jwks", watched.provider.issuer())).await.body;
    let gate = Arc::new(Semaphore::new(0));
    let fault = Fault { hold: Some(Arc::clone(&gate)), body: Some(old.into()), ..Fault::default() };
    watched.provider.set(|b| {
        b.faults.insert(Endpoint::Jwks, fault);
    });
    let before = watched.provider.requests(Endpoint::Jwks);
    let meanwhile = async {
        watched.provider.wait_for_requests(Endpoint::Jwks, before + 1).await;
        watched.provider.set(|b| *b = Behaviour::default());
        watched.provider.rotate(false).unwrap();
        watched.complete(&codes[0]).await.unwrap();
        gate.close();
    };
    let (refreshed, ()) = tokio::join!(watched.known.refresh(), meanwhile);
    refreshed.unwrap();
    watched.complete(&codes[1]).await.unwrap();
    assert_eq!(watched.provider.requests(Endpoint::Jwks), before + 2);
}

#[tokio::test]
async fn documents_are_never_read_elsewhere() {
    for endpoint in [Endpoint::Discovery, Endpoint::Jwks] {
        let (watched, elsewhere) = (Watched::start().await, Odd::start(Manner::Object).await);
        let location = HeaderValue::try_from(elsewhere.url()).unwrap();
        let headers = HeaderMap::from_iter([(http::header::LOCATION, location)]);
        watched.provider.set(|b| {
            b.faults.insert(endpoint, Fault { headers, ..Fault::status(StatusCode::FOUND) });
        });
        watched.known.refresh().await.unwrap_err();
        assert_eq!(elsewhere.seen().requests(), 0, "{endpoint:?}");
    }
}

/// Wrong from the start: alive, never ready, each login ends on a page, and no request lets anybody in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_that_is_wrong_from_the_start_stops_logins_and_nothing_else() {
    type Case = (&'static str, fn(&mut Behaviour));
    let cases: [Case; 5] = [
        ("another issuer", |b| {
            b.metadata.set("issuer", "http://evil.test");
        }),
        ("no token endpoint", |b| {
            b.metadata.remove("token_endpoint");
        }),
        ("down", |b| b.down = true),
        ("keys in HTML", |b| {
            b.faults.insert(Endpoint::Jwks, Fault { body: Some("<html>".into()), ..Fault::default() });
        }),
        ("no connection", |b| {
            b.faults.insert(Endpoint::Discovery, Fault { hang_up: true, ..Fault::default() });
        }),
    ];
    side_by_side(cases.into_iter().map(|(name, fault)| {
        (name, async move {
            let stage = Stage::tuned(World::system(), fault, |_| ()).await;
            stage.provider.wait_for_requests(Endpoint::Discovery, 1).await;
            let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
            let ready = operator.get("http://x/ready").await;
            assert_eq!(ready.is(503).json()["identity_providers"]["idp"], false, "{name}");
            operator.get("http://x/outpost.goauthentik.io/ping").await.is(204);
            let mut browser = stage.browser();
            let page = stage.check("traefik", &mut browser, APP).await;
            AWAY.check(&page, true);
            assert!(!page.header("retry-after").is_empty());
            stage.check("envoy", &mut browser, APP).await.is(403);
            stage.check("nginx", &mut browser, APP).await.is(401);
            stage.check("traefik", &mut browser, "https://app.example.com/public/x").await.is(200);

            stage.provider.set(|b| *b = Behaviour::default());
            stage.daemon.ready().await;
            stage.sign_in(&mut browser, APP, "alice").await.is(200);
            operator.get("http://x/ready").await.is(200);
        })
    }))
    .await;
}

#[tokio::test]
async fn a_provider_that_goes_away_stops_logins_and_nothing_else() {
    let stage = super::stage(|_| (), super::PATIENT).await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let mut late = stage.browser();
    let begun = super::up_to_callback(&stage, &mut late, "bob").await.location();
    stage.provider.set(|behaviour| behaviour.down = true);
    stage.check("traefik", &mut browser, APP).await.is(200);
    AWAY.check(&late.get(begun.as_str()).await, true);
    stage.provider.set(|behaviour| behaviour.down = false);
    // The attempt is still good: reloading completes it.
    late.get(begun.as_str()).await.is(302);
    stage.check("traefik", &mut late, APP).await.is(200);
}
