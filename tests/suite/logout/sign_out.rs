//! Sign-out by the user: its refresh token, and all sessions at once.

use std::sync::Arc;
use std::time::Duration;

use forepost::daemon::Assembly;
use forepost::serve::Peer;
use forepost::session::SessionToken;
use forepost::settings::Settings;
use http::{Request, StatusCode};
use serde_json::Value;

use super::dropped::{Lines, alice};
use super::*;
use crate::provider::{Behaviour, Config, Endpoint, Fault, Provider, Seen};
use crate::support::{Hands, client};

const SIGN_OUT: &str = "https://app.example.com/outpost.goauthentik.io/sign_out";
const EVERYWHERE: &str = "https://app.example.com/outpost.goauthentik.io/sign_out?everywhere=true";
const ORIGIN: (&str, &str) = ("origin", "https://app.example.com");

async fn stage() -> Stage {
    let stage = Stage::tuned(World::system(), |_| (), |settings| settings.session.sign_out_everywhere = true).await;
    stage.daemon.ready().await;
    stage
}

#[tokio::test]
async fn everywhere_is_every_browser_and_application() {
    let stage = stage().await;
    let mut alice = visitor(&stage, APP, "alice").await;
    stage.sign_in(&mut alice, ADMIN, "alice").await.is(200);
    let elsewhere = visitor(&stage, APP, "alice").await;
    let bob = visitor(&stage, APP, "bob").await;
    let mut under_way = stage.browser();
    let start = stage.check("traefik", &mut under_way, APP).await;
    let page = under_way.get(start.location().as_str()).await;
    let back = crate::support::fill_in(&mut under_way, &page, "alice").await;

    let done = alice.clone().send(Method::POST, EVERYWHERE, &[ORIGIN], None).await;
    assert!(done.is(303).header("set-cookie").contains("Max-Age=0"), "{done:#?}");
    under_way.get(back.location().as_str()).await.is(302);
    for (browser, url) in [(&alice, APP), (&alice, ADMIN), (&elsewhere, APP), (&under_way, APP)] {
        assert!(!is_in(&stage, browser, url).await, "{url}");
    }
    assert!(is_in(&stage, &bob, APP).await);
    assert_eq!(metric(&stage, "forepost_sign_outs_total{application=\"app\"}").await, 1);

    // A session that has ended ends no other sessions.
    let again = visitor(&stage, APP, "alice").await;
    for browser in [&alice, &stage.browser()] {
        let told = browser.clone().send(Method::POST, EVERYWHERE, &[ORIGIN], None).await;
        told.is(200).contains("Not signed out elsewhere").contains("none was ended").contains(">Sign in</a>");
        assert!(told.header("set-cookie").contains("Max-Age=0"), "{told:#?}");
        let accept = [ORIGIN, ("accept", "application/json")];
        let told = browser.clone().send(Method::POST, EVERYWHERE, &accept, None).await;
        assert_eq!(told.json()["error"], "not_signed_in");
    }
    assert!(is_in(&stage, &again, APP).await);
}

/// Sessions that began later, by the clock of then, are those that an order is about all the same.
#[tokio::test]
async fn a_clock_that_is_set_back_saves_no_session_and_locks_no_user_out() {
    let hands = Hands::new();
    let world = World::with_clock(hands.clone());
    let stage = Stage::tuned(world, |_| (), |settings| settings.session.sign_out_everywhere = true).await;
    stage.daemon.ready().await;
    // Less than what tokens of the provider may be off.
    let error = Duration::from_secs(40);
    hands.pass(error);
    let (alice, elsewhere) = (visitor(&stage, APP, "alice").await, visitor(&stage, APP, "alice").await);
    hands.set_back(error);
    alice.clone().send(Method::POST, EVERYWHERE, &[ORIGIN], None).await.is(303);
    for browser in [&alice, &elsewhere] {
        assert!(!is_in(&stage, browser, APP).await);
    }
    let again = visitor(&stage, APP, "alice").await;
    assert!(is_in(&stage, &again, APP).await);
}

#[tokio::test]
async fn everywhere_is_asked_for_by_a_post_of_our_own_page() {
    let stage = stage().await;
    let (alice, elsewhere) = (visitor(&stage, APP, "alice").await, visitor(&stage, APP, "alice").await);
    for (method, headers) in [
        (Method::GET, &[("sec-fetch-site", "same-origin")][..]),
        (Method::GET, &[("sec-fetch-site", "none")]),
        (Method::GET, &[("referer", "https://app.example.com/")]),
        (Method::POST, &[("sec-fetch-site", "cross-site")]),
        (Method::POST, &[("sec-fetch-site", "same-site")]),
        (Method::POST, &[("sec-fetch-site", "same-site"), ORIGIN]),
        (Method::POST, &[("sec-fetch-site", "none"), ORIGIN]),
        (Method::POST, &[("origin", "https://evil.test")]),
        (Method::POST, &[("origin", "https://evil.example.com")]),
        (Method::POST, &[("origin", "http://app.example.com")]),
        (Method::POST, &[("origin", "https://app.example.com:8443")]),
        (Method::POST, &[("referer", "https://app.example.com/")]),
        (Method::POST, &[]),
    ] {
        let reply = alice.clone().send(method.clone(), EVERYWHERE, headers, None).await;
        reply
            .is(200)
            .contains("Sign out everywhere")
            .contains("action=\"/outpost.goauthentik.io/sign_out?everywhere=true\"");
        assert!(is_in(&stage, &alice, APP).await && is_in(&stage, &elsewhere, APP).await, "{method} {headers:?}");
    }
    assert_eq!(stage.provider.requests(Endpoint::Revocation), 0);
    // Where there is a domain, the page is on the host that is asked, whichever it is.
    let wiki = visitor(&stage, DOMAIN, "alice").await;
    let everywhere = "https://wiki.example.test/outpost.goauthentik.io/sign_out?everywhere=true";
    for origin in ["https://auth.example.test", "https://example.test"] {
        let reply = wiki.clone().send(Method::POST, everywhere, &[("origin", origin)], None).await;
        reply.is(200).contains("Sign out everywhere");
        assert!(is_in(&stage, &wiki, DOMAIN).await && is_in(&stage, &elsewhere, APP).await, "{origin}");
    }
    // One alone ends as before, and its refresh token with it.
    let mut leaving = alice.clone();
    let out = leaving.send(Method::POST, SIGN_OUT, &[ORIGIN], None).await;
    leaving.follow(out).await.is(200).contains("Signed out");
    assert!(!is_in(&stage, &alice, APP).await && is_in(&stage, &elsewhere, APP).await);
    stage.provider.wait_for_requests(Endpoint::Revocation, 1).await;
}

#[tokio::test]
async fn everywhere_is_not_offered_unless_it_is_on() {
    let stage = Stage::start().await;
    let (alice, elsewhere) = (visitor(&stage, APP, "alice").await, visitor(&stage, APP, "alice").await);
    let page = alice.clone().send(Method::POST, EVERYWHERE, &[], None).await;
    assert!(!page.is(200).contains("Sign out?").body.contains("everywhere"), "{page:#?}");
    alice.clone().send(Method::POST, EVERYWHERE, &[ORIGIN], None).await.is(303);
    assert!(!is_in(&stage, &alice, APP).await && is_in(&stage, &elsewhere, APP).await);
}

#[tokio::test]
async fn everywhere_is_wanted_by_the_page_of_the_host_that_is_asked() {
    let stage = stage().await;
    for (url, headers) in [
        (APP, &[("sec-fetch-site", "same-origin")][..]),
        (APP, &[ORIGIN]),
        (DOMAIN, &[("sec-fetch-site", "same-origin")]),
        (DOMAIN, &[("origin", "https://wiki.example.test")]),
    ] {
        let (alice, elsewhere) = (visitor(&stage, url, "alice").await, visitor(&stage, ADMIN, "alice").await);
        let everywhere = url.replace("/page", "/outpost.goauthentik.io/sign_out?everywhere=true");
        alice.clone().send(Method::POST, &everywhere, headers, None).await.is(303);
        assert!(!is_in(&stage, &alice, url).await && !is_in(&stage, &elsewhere, ADMIN).await, "{url} {headers:?}");
    }
}

/// What a proxy asks about rather than routing it here counts as much, and no more.
#[tokio::test]
async fn everywhere_is_heard_by_way_of_a_proxy() {
    let stage = stage().await;
    for dialect in ["traefik", "caddy", "envoy"] {
        let (mut alice, elsewhere) = (visitor(&stage, APP, "alice").await, visitor(&stage, ADMIN, "alice").await);
        for site in ["same-site", "cross-site"] {
            let headers = [("sec-fetch-site", site)];
            let reply = stage.ask(dialect, &mut alice.clone(), Method::POST, EVERYWHERE, &headers).await;
            assert!(!reply.status.is_success() && reply.header("location").is_empty(), "{dialect}: {reply:#?}");
            assert!(is_in(&stage, &alice, APP).await && is_in(&stage, &elsewhere, ADMIN).await, "{dialect} {site}");
        }
        let headers = [("sec-fetch-site", "same-origin")];
        let reply = stage.ask(dialect, &mut alice, Method::POST, EVERYWHERE, &headers).await;
        assert_eq!(reply.is(303).location().path(), "/end-session", "{dialect}");
        assert!(!is_in(&stage, &alice, APP).await && !is_in(&stage, &elsewhere, ADMIN).await, "{dialect}");
    }
}

/// A daemon's parts, and a provider that knows nothing of the session that is in its store.
struct Parts {
    provider: Provider,
    assembly: Assembly,
    world: World,
}

impl Parts {
    async fn new() -> Self {
        Self::with(Some("proxy-secret"), "", |_| ()).await
    }

    /// With this secret, further keys of the provider's section, and a provider that is different.
    async fn with(secret: Option<&str>, keys: &str, prepare: impl FnOnce(&mut Behaviour)) -> Self {
        let clients = vec![client("proxy", secret, &["https://app.example.com"])];
        let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
        provider.set(prepare);
        let secret = secret.map(|secret| format!("client_secret = \"{secret}\"\n")).unwrap_or_default();
        let settings = Settings::from_toml(&format!(
            "session.sign_out_everywhere = true\n\
             [identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\n{secret}{keys}\n\
             [[application]]\nexternal_host = \"https://app.example.com\"\n",
            provider.issuer()
        ));
        let world = World::system();
        let assembly = Assembly::new(settings.unwrap(), world.clone()).unwrap();
        assembly.catalog.load_full().providers()[0].refresh().await.unwrap();
        Self { provider, assembly, world }
    }

    /// The cookie of a new session with a refresh token.
    async fn sign_in(&self) -> String {
        let catalog = self.assembly.catalog.load_full();
        let app = &catalog.applications()[0];
        let token = SessionToken::generate(&self.world).unwrap();
        self.assembly.store.save(&token, Arc::new(alice(app, &self.world))).await.unwrap();
        format!("{}={}", app.cookies.session().as_str(), token.encode())
    }

    /// Gives what the browser is to come back with.
    async fn sign_out(&self, cookie: &str, query: &str) -> String {
        let request = Request::post(format!("/outpost.goauthentik.io/sign_out{query}"))
            .header("host", "app.example.com")
            .header("origin", "https://app.example.com")
            .header("cookie", cookie);
        let (head, ()) = request.body(()).unwrap().into_parts();
        let answer = self.assembly.outpost.answer(&head, Peer::Ip(([127, 0, 0, 1], 1).into())).await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let location = url::Url::parse(answer.headers()["location"].to_str().unwrap()).unwrap();
        location.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned()
    }

    async fn come_back(&self, name: &str) {
        let request = Request::get(format!("/outpost.goauthentik.io/signed_out?state={name}"));
        let (head, ()) = request.header("host", "app.example.com").body(()).unwrap().into_parts();
        let answer = self.assembly.outpost.answer(&head, Peer::Ip(([127, 0, 0, 1], 1).into())).await;
        assert_eq!(answer.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_refresh_token_is_revoked_and_no_request_waits_for_it() {
    let parts = Parts::new().await;
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let hold = Fault { hold: Some(Arc::clone(&gate)), ..Fault::default() };
    parts.provider.set(|it| drop(it.faults.insert(Endpoint::Revocation, hold)));
    for (count, query) in [(1, ""), (2, "?everywhere=true")] {
        let cookie = parts.sign_in().await;
        let name = parts.sign_out(&cookie, query).await;
        parts.come_back(&name).await;
        parts.provider.wait_for_requests(Endpoint::Revocation, count).await;
        let seen = parts.provider.last_request(Endpoint::Revocation).unwrap();
        assert!(format!("{seen:?}").contains("the-refresh-token"), "{seen:?}");
    }
    assert_eq!(parts.assembly.background.len(), 2, "they wait for the provider");
    gate.add_permits(2);
    parts.assembly.background.close();
    parts.assembly.background.wait().await;
}

/// The lines about a revocation that a sign-out causes, and what the provider was asked.
async fn revoked(parts: &Parts) -> (Vec<Value>, Option<Seen>) {
    let lines = Lines::default();
    // Tasks of this test run in its own thread.
    let _guard = lines.listen();
    let cookie = parts.sign_in().await;
    parts.sign_out(&cookie, "").await;
    parts.assembly.revoker.hurry();
    parts.assembly.background.close();
    parts.assembly.background.wait().await;
    let told = lines.all().into_iter().filter(|line| line["level"] == "WARN").collect();
    (told, parts.provider.last_request(Endpoint::Revocation))
}

#[tokio::test]
async fn the_client_proves_itself_at_a_revocation_as_at_the_token_endpoint() {
    let (basic, post) =
        ("token_endpoint_auth_method = \"client_secret_basic\"", "token_endpoint_auth_method = \"client_secret_post\"");
    let public = "token_endpoint_auth_method = \"none\"";
    for (secret, keys) in [(Some("proxy-secret"), basic), (Some("proxy-secret"), post), (None, public)] {
        let (told, seen) = revoked(&Parts::with(secret, keys, |_| ()).await).await;
        assert!(told.is_empty(), "{keys}: {told:?}");
        let seen = seen.unwrap();
        let has = |name: &str| seen.form.get(name);
        assert_eq!(
            (has("token"), has("token_type_hint")),
            (Some("the-refresh-token"), Some("refresh_token")),
            "{keys}"
        );
        let (id, in_form) = (Some("proxy").filter(|_| keys != basic), secret.filter(|_| keys != basic));
        assert_eq!((has("client_id"), has("client_secret")), (id, in_form), "{keys}");
        assert_eq!(seen.headers.contains_key("authorization"), keys == basic, "{keys}");
    }
}

#[tokio::test]
async fn a_provider_that_revokes_nothing_is_not_asked() {
    let prepare = |it: &mut Behaviour| drop(it.metadata.remove("revocation_endpoint").clone());
    let (told, seen) = revoked(&Parts::with(Some("proxy-secret"), "", prepare).await).await;
    assert!(told.is_empty() && seen.is_none(), "{told:?} {seen:?}");
}

#[tokio::test]
async fn a_refusal_is_told_without_the_token() {
    let body = Some("{\"error\":\"invalid_client\",\"error_description\":\"the-refresh-token\"}".into());
    let refusal = Fault { body, ..Fault::status(StatusCode::UNAUTHORIZED) };
    let prepare = |it: &mut Behaviour| drop(it.faults.insert(Endpoint::Revocation, refusal));
    let (told, seen) = revoked(&Parts::with(Some("proxy-secret"), "", prepare).await).await;
    let [told] = &*told else { panic!("{told:?}") };
    let fields = &told["fields"];
    let message = "a refresh token was not revoked at sign-out and lives on at the provider";
    assert_eq!((&fields["message"], &fields["identity_provider"]), (&message.into(), &"idp".into()));
    assert!(fields["error"].as_str().unwrap().contains("invalid_client"), "{told}");
    assert!(!told.to_string().contains("the-refresh-token") && seen.is_some(), "{told}");
}

#[tokio::test]
async fn a_slow_provider_is_not_asked_without_end() {
    let parts = Parts::new().await;
    let hold = Fault { hold: Some(Arc::new(tokio::sync::Semaphore::new(0))), ..Fault::default() };
    parts.provider.set(|it| drop(it.faults.insert(Endpoint::Revocation, hold)));
    for _ in 0..300 {
        let cookie = parts.sign_in().await;
        parts.sign_out(&cookie, "").await;
    }
    assert_eq!(parts.provider.requests(Endpoint::Revocation), 0, "they wait for their browsers");
    parts.assembly.revoker.hurry();
    parts.provider.wait_for_requests(Endpoint::Revocation, 256).await;
    assert_eq!(parts.provider.requests(Endpoint::Revocation), 256);
}

/// A page at a typed address may redirect here, and browsers do not tell the two apart.
#[tokio::test]
async fn a_typed_sign_out_is_confirmed() {
    let stage = stage().await;
    let mut alice = visitor(&stage, APP, "alice").await;
    for headers in [&[("sec-fetch-site", "none")][..], &[]] {
        alice.send(Method::GET, SIGN_OUT, headers, None).await.is(200).contains("Sign out?");
        assert!(is_in(&stage, &alice, APP).await, "{headers:?}");
    }
    let out = alice.send(Method::POST, SIGN_OUT, &[ORIGIN], None).await;
    alice.follow(out).await.is(200).contains("Signed out");
    assert!(!is_in(&stage, &alice, APP).await);
}
