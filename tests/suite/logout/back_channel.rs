//! Whose sessions end by a logout token, and whose do not.

use http::StatusCode;
use serde_json::{Value, json};

use super::*;
use crate::provider::{Algorithm, Config, Endpoint, Fault, Jwks, Provider, SigningKey};
use crate::support::{APPLICATIONS, client};

#[tokio::test]
async fn a_session_of_the_provider_ends_alone() {
    let stage = Stage::start().await;
    let first = visitor(&stage, APP, "alice").await;
    let [session] = &*stage.provider.session_ids("alice") else { panic!("one session") };
    let second = visitor(&stage, APP, "alice").await;
    let bob = visitor(&stage, APP, "bob").await;
    let reply = send(&stage, &made(&stage, &of_session(session))).await;
    reply.is(200);
    assert_eq!(
        (&*reply.body, reply.header("cache-control"), reply.header("pragma")),
        ("", "no-store".into(), "no-cache".into())
    );
    assert!(!is_in(&stage, &first, APP).await);
    assert!(is_in(&stage, &second, APP).await && is_in(&stage, &bob, APP).await);
    assert_eq!(logout_tokens(&stage, "idp", "logout").await, 1);

    // With both, the session alone is meant.
    let both = LogoutToken { subject: Some("id-alice".into()), ..of_session("another") };
    send(&stage, &made(&stage, &both)).await.is(200);
    assert!(is_in(&stage, &second, APP).await);
}

#[tokio::test]
async fn a_user_ends_in_every_application() {
    let stage = Stage::start().await;
    let mut alice = visitor(&stage, APP, "alice").await;
    for url in [ADMIN, DOMAIN] {
        stage.sign_in(&mut alice, url, "alice").await.is(200);
    }
    let elsewhere = visitor(&stage, APP, "alice").await;
    let bob = visitor(&stage, APP, "bob").await;
    send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
    for url in [APP, ADMIN, DOMAIN] {
        assert!(!is_in(&stage, &alice, url).await, "{url}");
    }
    assert!(!is_in(&stage, &elsewhere, APP).await && is_in(&stage, &bob, APP).await);
    stage.sign_in(&mut alice, APP, "alice").await.is(200);
}

/// Some providers name no session in ID tokens and one in logout tokens.
#[tokio::test]
async fn a_session_that_was_never_named_ends_with_its_user() {
    let stage = Stage::start().await;
    stage.provider.set(|it| {
        it.id_token.remove("sid");
    });
    let (alice, bob) = (visitor(&stage, APP, "alice").await, visitor(&stage, APP, "bob").await);
    let both = LogoutToken { subject: Some("id-alice".into()), ..of_session("any") };
    send(&stage, &made(&stage, &both)).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await && is_in(&stage, &bob, APP).await);
}

#[tokio::test]
async fn a_login_that_is_under_way_opens_nothing() {
    let stage = Stage::start().await;
    for by_session in [false, true] {
        let mut browser = stage.browser();
        let start = stage.check("traefik", &mut browser, APP).await;
        let page = browser.get(start.is(302).location().as_str()).await;
        let back = crate::support::fill_in(&mut browser, &page, "alice").await;
        let sessions = stage.provider.session_ids("alice");
        let token = if by_session { of_session(sessions.last().unwrap()) } else { of_user("alice") };
        let tokens = if by_session { sessions.iter().map(|it| of_session(it)).collect() } else { vec![token] };
        for token in tokens {
            send(&stage, &made(&stage, &token)).await.is(200);
        }
        browser.get(back.location().as_str()).await.is(302);
        assert!(!is_in(&stage, &browser, APP).await, "by its session: {by_session}");
    }
}

#[tokio::test]
async fn a_repeated_token_succeeds_and_ends_nothing_more() {
    let stage = Stage::start().await;
    let mut alice = visitor(&stage, APP, "alice").await;
    let token = made(&stage, &of_user("alice"));
    send(&stage, &token).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
    stage.sign_in(&mut alice, APP, "alice").await.is(200);
    for _ in 0..3 {
        send(&stage, &token).await.is(200);
    }
    assert!(is_in(&stage, &alice, APP).await);
    assert_eq!((logout_tokens(&stage, "idp", "logout").await, logout_tokens(&stage, "idp", "repeated").await), (1, 3));
    send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await, "another token is another order");
}

/// Changes to a right token, each of which makes it worthless.
fn wrong_tokens() -> Vec<(&'static str, LogoutToken)> {
    let claim = |name, value: Value| {
        let mut token = of_user("alice");
        token.claims.set(name, value);
        token
    };
    let without = |name| {
        let mut token = of_user("alice");
        token.claims.remove(name);
        token
    };
    let kind = |value| {
        let mut token = of_user("alice");
        token.header.set("typ", value);
        token
    };
    let now = World::system().now().as_secs();
    vec![
        ("another client", claim("aud", json!("other"))),
        ("other clients", claim("aud", json!(["other", "another"]))),
        ("no audience", without("aud")),
        ("another issuer", claim("iss", json!("https://evil.test"))),
        ("no issuer", without("iss")),
        ("no event", without("events")),
        ("another event", claim("events", json!({"http://schemas.openid.net/event/other": {}}))),
        ("an event that is none", claim("events", json!("http://schemas.openid.net/event/backchannel-logout"))),
        ("a nonce", claim("nonce", json!("n"))),
        ("no name", without("jti")),
        ("an empty name", claim("jti", json!(""))),
        ("a number as name", claim("jti", json!(7))),
        ("no time", without("iat")),
        ("from the future", claim("iat", json!(now + 3600))),
        ("a time as text", claim("iat", json!(now.to_string()))),
        ("expired", claim("exp", json!(now - 3600))),
        ("an end beyond all time", claim("exp", json!(1e300))),
        ("not yet", claim("nbf", json!(now + 3600))),
        ("no user", without("sub")),
        ("an empty user", claim("sub", json!(""))),
        ("a number as user", claim("sub", json!(7))),
        ("a list as session", claim("sid", json!(["s"]))),
        ("an access token", kind("at+jwt")),
        ("a strange type", kind("JWT+logout")),
        ("unsigned", LogoutToken { algorithm: Some(Algorithm::None), ..of_user("alice") }),
        ("signed with the secret", LogoutToken { algorithm: Some(Algorithm::Hs256), ..of_user("alice") }),
        ("a stranger's key", LogoutToken { signing_key: SigningKey::StrayWithPublishedId, ..of_user("alice") }),
    ]
}

/// SECURITY: 22, 90
#[tokio::test]
async fn a_token_with_a_fault_ends_nothing() {
    let stage = Stage::start().await;
    let alice = visitor(&stage, APP, "alice").await;
    let mut tokens: Vec<_> = wrong_tokens().into_iter().map(|(what, token)| (what, made(&stage, &token))).collect();
    let right = made(&stage, &of_user("alice"));
    let claims = json!({"iss": stage.provider.issuer(), "aud": "proxy", "sub": "id-alice", "iat": 1, "exp": u32::MAX});
    tokens.extend([
        ("an ID token", stage.provider.sign("proxy", claims.as_object().unwrap()).unwrap()),
        ("cut", right[..right.len() - 3].to_owned()),
        ("of two parts", right.rsplit_once('.').unwrap().0.to_owned()),
        ("of four parts", format!("{right}.e30")),
        ("too long", format!("{right}{}", "a".repeat(20_000))),
        ("blanks before", format!("+{right}")),
        ("junk", "junk".into()),
        ("dots", "..".into()),
        ("bytes", "%ff%00".into()),
    ]);
    let count = u64::try_from(tokens.len()).unwrap();
    for (what, token) in tokens {
        let reply = send(&stage, &token).await;
        // A signature that no known key made may be one of a key that is not known yet.
        let unsure = ["a stranger's key", "cut"].contains(&what) && reply.status == 503;
        let expected = if unsure { 503 } else { 400 };
        assert_eq!(reply.status, expected, "{what}: {reply:#?}");
        assert_eq!((reply.header("cache-control"), reply.header("pragma")), ("no-store".into(), "no-cache".into()));
        let error = if expected == 400 { "invalid_request" } else { "temporarily_unavailable" };
        assert_eq!(reply.json()["error"], error, "{what}");
        assert!(
            !reply.body.contains("alice") && (token.len() < 20 || !reply.body.contains(&token[..20])),
            "{reply:#?}"
        );
        assert!(is_in(&stage, &alice, APP).await, "{what}");
    }
    let mut refused = 0;
    for identity_provider in ["idp", "unknown"] {
        for result in ["refused", "unavailable"] {
            refused += logout_tokens(&stage, identity_provider, result).await;
        }
    }
    assert_eq!(refused, count);
    send(&stage, &right).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await, "the same without a fault");
}

#[tokio::test]
async fn every_provider_is_tried() {
    const SECOND: &str = "https://second.example.com/page";
    let origins = ["https://app.example.com", "https://second.example.com", "https://third.example.com"];
    let clients = ["proxy", "second"].map(|id| client(id, Some("proxy-secret"), &origins));
    let provider = Provider::start(Config { clients: clients.into(), ..Config::default() }).await.unwrap();
    let other =
        Provider::start(Config { clients: vec![client("proxy", Some("proxy-secret"), &origins)], ..Config::default() });
    let other = other.await.unwrap();
    let applications = format!(
        "[identity_provider.a-second-client]\nissuer = \"{0}\"\nclient_id = \"second\"\nclient_secret = \"proxy-secret\"\n\
         [identity_provider.other]\nissuer = \"{1}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
         [[application]]\nexternal_host = \"https://app.example.com\"\nidentity_provider = \"idp\"\n\
         [[application]]\nexternal_host = \"https://second.example.com\"\nidentity_provider = \"a-second-client\"\n\
         [[application]]\nexternal_host = \"https://third.example.com\"\nidentity_provider = \"other\"\n",
        provider.issuer(),
        other.issuer()
    );
    let stage = Stage::of(provider, "proxy-secret", "", &applications).await;
    let mut alice = visitor(&stage, APP, "alice").await;
    stage.sign_in(&mut alice, SECOND, "alice").await.is(200);
    let of_second = stage.provider.logout_token("second", &of_user("alice")).unwrap();
    let of_other = other.logout_token("proxy", &of_user("alice")).unwrap();

    send(&stage, &of_other).await.is(200);
    assert!(is_in(&stage, &alice, APP).await, "she is another user there");
    assert_eq!(logout_tokens(&stage, "other", "logout").await, 1);
    // A user is the same at all clients of an issuer.
    send(&stage, &of_second).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await && !is_in(&stage, &alice, SECOND).await);
    assert_eq!(logout_tokens(&stage, "a-second-client", "logout").await, 1);
    send(&stage, &stage.provider.logout_token("proxy", &of_user("alice")).unwrap()).await.is(200);
    assert_eq!(logout_tokens(&stage, "idp", "logout").await, 1);
}

/// A provider that signs with the client secret and publishes no keys, as authentik's proxy providers do.
#[tokio::test]
async fn the_client_secret_is_a_key_where_the_provider_says_so() {
    let stage = Stage::tuned(
        World::system(),
        |it| {
            it.algorithm = Algorithm::Hs256;
            it.jwks = Jwks::EmptyObject;
        },
        |_| (),
    )
    .await;
    stage.daemon.ready().await;
    let alice = visitor(&stage, APP, "alice").await;
    send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}

/// A client has one registered algorithm (the conformance suite's `wrong-alg`): others are the provider's own, and not for it.
#[tokio::test]
async fn a_token_of_another_algorithm_than_id_tokens_ends_nothing() {
    let eddsa = || LogoutToken { algorithm: Some(Algorithm::EdDsa), ..of_user("alice") };
    let stage = Stage::start().await;
    // No user has signed in yet: there is nothing to compare with, and nothing to end.
    send(&stage, &made(&stage, &eddsa())).await.is(200);
    let mut alice = visitor(&stage, APP, "alice").await;
    assert_eq!(send(&stage, &made(&stage, &eddsa())).await.is(400).json()["error"], "invalid_request");
    assert!(is_in(&stage, &alice, APP).await);
    send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);

    // A provider may change how it signs; the first ID token says so.
    stage.sign_in(&mut alice, APP, "alice").await.is(200);
    stage.provider.set(|it| it.algorithm = Algorithm::EdDsa);
    visitor(&stage, APP, "bob").await;
    send(&stage, &made(&stage, &eddsa())).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}

/// Two clients of one issuer are two registrations: how the ID tokens of one are signed says nothing about the other.
#[tokio::test]
async fn the_algorithm_of_another_client_ends_nothing() {
    let clients = vec![
        client("proxy", Some("proxy-secret"), &["https://app.example.com"]),
        client("other", None, &["https://other.example.com"]),
    ];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    let applications = format!(
        "[identity_provider.other]\nissuer = \"{}\"\nclient_id = \"other\"\n\
         [[application]]\nname = \"The App\"\nslug = \"app\"\nidentity_provider = \"idp\"\n\
         external_host = \"https://app.example.com\"\n\
         [[application]]\nname = \"Other\"\nslug = \"other\"\nidentity_provider = \"other\"\n\
         external_host = \"https://other.example.com\"\n",
        provider.issuer()
    );
    let stage = Stage::of(provider, "proxy-secret", "", &applications).await;
    let alice = visitor(&stage, APP, "alice").await;
    stage.provider.set(|it| it.algorithm = Algorithm::EdDsa);
    let other = visitor(&stage, "https://other.example.com/", "alice").await;
    let eddsa = LogoutToken { algorithm: Some(Algorithm::EdDsa), ..of_user("alice") };
    let refusal = send(&stage, &made(&stage, &eddsa)).await;
    assert_eq!(refusal.is(400).json()["error"], "invalid_request");
    assert!(is_in(&stage, &alice, APP).await && is_in(&stage, &other, "https://other.example.com/").await);
    let of_other = stage.provider.logout_token("other", &eddsa).unwrap();
    send(&stage, &of_other).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await, "the order is for all applications of the issuer");
}

#[tokio::test]
async fn the_configured_algorithm_is_that_of_id_tokens_and_logout_tokens() {
    let stage = Stage::with("id_token_signed_response_alg = \"EdDSA\"", APPLICATIONS).await;
    stage.sign_in(&mut stage.browser(), APP, "alice").await.is(502).contains("id_token_signed_response_alg");
    stage.provider.set(|it| it.algorithm = Algorithm::EdDsa);
    let alice = visitor(&stage, APP, "alice").await;
    let es256 = LogoutToken { algorithm: Some(Algorithm::Es256), ..of_user("alice") };
    send(&stage, &made(&stage, &es256)).await.is(400);
    assert!(is_in(&stage, &alice, APP).await);
    send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}

#[tokio::test]
async fn every_algorithm_of_the_provider_counts() {
    for algorithm in [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa] {
        let stage = Stage::tuned(World::system(), |it| it.algorithm = algorithm, |_| ()).await;
        stage.daemon.ready().await;
        let (alice, bob) = (visitor(&stage, APP, "alice").await, visitor(&stage, APP, "bob").await);
        send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
        assert!(!is_in(&stage, &alice, APP).await && is_in(&stage, &bob, APP).await, "{algorithm:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_judged_yet_may_be_sent_again() {
    let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    provider.set(|it| it.down = true);
    let stage = Stage::waiting(provider, "proxy-secret", "", APPLICATIONS).await;
    let token = made(&stage, &of_user("alice"));
    let reply = send(&stage, &token).await;
    assert_eq!(
        (reply.is(503).json()["error"].as_str(), reply.header("retry-after")),
        (Some("temporarily_unavailable"), "5".into())
    );
    assert_eq!(logout_tokens(&stage, "idp", "unavailable").await, 1);
    stage.provider.set(|it| it.down = false);
    stage.daemon.ready().await;
    send(&stage, &token).await.is(200);

    // New keys are asked for; while they cannot be had, the token may be good.
    let alice = visitor(&stage, APP, "alice").await;
    let before = stage.provider.requests(Endpoint::Jwks);
    stage.provider.rotate(false).unwrap();
    stage.provider.set(|it| drop(it.faults.insert(Endpoint::Jwks, Fault::status(StatusCode::BAD_GATEWAY))));
    send(&stage, &made(&stage, &of_user("alice"))).await.is(503);
    assert!(is_in(&stage, &alice, APP).await && stage.provider.requests(Endpoint::Jwks) == before + 1);
}

/// What strangers send costs one request for keys, and no memory.
///
/// SECURITY: 90, 137
#[tokio::test]
async fn floods_of_junk_fetch_keys_once() {
    const MANY: usize = 2000;
    let stage = Stage::start().await;
    let alice = visitor(&stage, APP, "alice").await;
    let looks = || [Endpoint::Discovery, Endpoint::Jwks].map(|it| stage.provider.requests(it));
    let before = looks();
    let stray = LogoutToken { signing_key: SigningKey::Stray, ..of_user("alice") };
    let mut senders = tokio::task::JoinSet::new();
    for number in 0..8 {
        let mut browser = stage.browser();
        let mut tokens: Vec<String> = (0..20).map(|_| made(&stage, &stray)).collect();
        tokens.extend((0..20).map(|at| format!("junk{number}.{at}.x")));
        senders.spawn(async move {
            for token in tokens.iter().cycle().take(MANY / 8) {
                let reply = browser.post(BACK_CHANNEL, &format!("logout_token={token}")).await;
                assert!([400, 503].contains(&reply.status.as_u16()), "{reply:#?}");
            }
        });
    }
    senders.join_all().await;
    assert_eq!(looks(), before.map(|count| count + 1));
    assert!(is_in(&stage, &alice, APP).await);
    send(&stage, &made(&stage, &of_user("alice"))).await.is(200);
    assert!(!is_in(&stage, &alice, APP).await);
}
