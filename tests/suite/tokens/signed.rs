use forepost::world::World;
use http::Method;
use serde_json::{Map, Value, json};

use super::{APP, bearer, claims, refused, show, signed_in, stage};
use crate::provider::{Algorithm, Config, Endpoint, Provider, PublicForm, SigningKey};
use crate::support::{Stage, client};

#[tokio::test]
async fn a_good_token_lets_in_behind_every_proxy() {
    let stage = stage().await;
    let token = stage.provider.sign("proxy", &claims(&stage)).unwrap();
    let asked = stage.provider.requests(Endpoint::Jwks);
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        for _ in 0..3 {
            let reply = show(&stage, dialect, APP, &format!("Bearer {token}")).await;
            reply.is(200);
            assert_eq!(reply.header("x-authentik-username"), "alice", "{dialect}");
            assert_eq!(reply.header("x-authentik-groups"), "users|admins", "{dialect}");
            assert_eq!(reply.header("x-authentik-jwt"), token, "{dialect}");
            assert_eq!(reply.header("set-cookie"), "", "{dialect}");
        }
    }
    assert_eq!(stage.provider.requests(Endpoint::Jwks), asked, "the keys were known");
}

/// Signs `change`d claims, shows the token, and compares.
async fn check(stage: &Stage, what: &str, good: bool, change: impl FnOnce(&mut Map<String, Value>)) {
    let mut claims = claims(stage);
    change(&mut claims);
    let token = stage.provider.sign("proxy", &claims).unwrap();
    let reply = bearer(stage, APP, &token).await;
    if good {
        assert_eq!(reply.status, 200, "{what}: {reply:#?}");
    } else {
        refused(&reply, what);
    }
}

/// SECURITY: 17, 74, 89
#[tokio::test]
async fn claims_that_prove_nothing() {
    let stage = stage().await;
    let now = World::system().now().as_secs();
    let set = |name: &'static str, value: Value| {
        move |claims: &mut Map<String, Value>| drop(claims.insert(name.to_owned(), value))
    };
    let without = |name: &'static str| move |claims: &mut Map<String, Value>| drop(claims.remove(name));
    check(&stage, "as it is", true, |_| ()).await;
    check(&stage, "the application's address", true, set("aud", json!(["https://app.example.com/"]))).await;
    check(&stage, "a configured audience", true, set("aud", json!("https://app.example.com/mcp"))).await;
    check(&stage, "a friend's", true, |claims| {
        claims.extend([("aud".to_owned(), json!("friend")), ("client_id".to_owned(), json!("friend"))]);
    })
    .await;
    check(&stage, "a client's own", true, without("sub")).await;
    check(&stage, "other issuer", false, set("iss", json!("https://evil.example.com"))).await;
    check(&stage, "issuer with a slash", false, set("iss", json!(format!("{}/", stage.provider.issuer())))).await;
    check(&stage, "no issuer", false, without("iss")).await;
    check(&stage, "other audience", false, set("aud", json!("other"))).await;
    check(&stage, "a part of the application", false, set("aud", json!("https://app.example.com/other"))).await;
    check(&stage, "another application", false, set("aud", json!("https://opaque.example.com"))).await;
    check(&stage, "a friend's audience, another's token", false, set("aud", json!("friend"))).await;
    check(&stage, "a friend's token for others", false, |claims| {
        claims.extend([("aud".to_owned(), json!("other")), ("client_id".to_owned(), json!("friend"))]);
    })
    .await;
    check(&stage, "no audience", false, without("aud")).await;
    check(&stage, "expired", false, set("exp", json!(now - 1))).await;
    check(&stage, "no end", false, without("exp")).await;
    check(&stage, "not yet", false, set("nbf", json!(now + 600))).await;
    check(&stage, "from the future", false, set("iat", json!(now + 600))).await;
    check(&stage, "an ID token", false, |claims| {
        claims.retain(|name, _| !["scope", "client_id"].contains(&&**name));
        claims.insert("nonce".to_owned(), json!("n"));
    })
    .await;
    check(&stage, "an ID token that names a client", false, |claims| {
        claims.remove("scope");
        claims.insert("nonce".to_owned(), json!("n"));
    })
    .await;
    check(&stage, "another refresh token", false, set("tokenType", json!("refresh-token"))).await;
    check(&stage, "no user", false, without("preferred_username")).await;
    check(&stage, "an accepted client's own", true, |claims| {
        claims.retain(|name, _| !["sub", "preferred_username"].contains(&&**name));
        claims.extend([("aud".to_owned(), json!("friend")), ("client_id".to_owned(), json!("friend"))]);
    })
    .await;
    check(&stage, "an accepted client's user without a name", false, |claims| {
        claims.remove("preferred_username");
        claims.extend([("aud".to_owned(), json!("friend")), ("client_id".to_owned(), json!("friend"))]);
    })
    .await;
    check(&stage, "an ID token without a nonce", false, |claims| {
        claims.retain(|name, _| !["scope", "client_id"].contains(&&**name));
    })
    .await;
    check(&stage, "bound to a key", false, set("cnf", json!({"jkt": "x"}))).await;
    check(&stage, "a refresh token", false, set("typ", json!("Refresh"))).await;
    check(&stage, "no user", false, set("sub", json!(""))).await;
}

/// Programs find out as browsers do that the provider signs in another way.
#[tokio::test]
async fn a_provider_that_signs_in_another_way_is_looked_at_again() {
    for algorithm in [Algorithm::Rs256, Algorithm::Hs256] {
        let stage = stage().await;
        let looks = || [Endpoint::Discovery, Endpoint::Jwks].map(|it| stage.provider.requests(it));
        let before = looks();
        stage.provider.set(|behaviour| behaviour.algorithm = algorithm);
        for _ in 0..3 {
            let token = stage.provider.sign("proxy", &claims(&stage)).unwrap();
            assert_eq!(bearer(&stage, APP, &token).await.status, 200, "{algorithm:?}");
        }
        assert_eq!(looks(), before.map(|count| count + 1), "{algorithm:?}");
    }
}

/// SECURITY: 42, 89, 90
#[tokio::test]
async fn signatures_that_prove_nothing() {
    let stage = stage().await;
    let sign = |what: &'static str| (what, stage.provider.sign("proxy", &claims(&stage)).unwrap());
    let mut tokens = Vec::new();
    stage.provider.set(|behaviour| behaviour.algorithm = Algorithm::None);
    tokens.push(sign("none"));
    stage.provider.set(|behaviour| behaviour.algorithm = Algorithm::Hs256);
    tokens.push(sign("the secret, where the metadata names no such algorithm"));
    stage.provider.set(|behaviour| behaviour.algorithm = Algorithm::default());
    for key in [
        SigningKey::Stray,
        SigningKey::StrayWithPublishedId,
        SigningKey::PublicKeyAsSecret(PublicForm::Der),
        SigningKey::PublicKeyAsSecret(PublicForm::Pem),
    ] {
        stage.provider.set(|behaviour| behaviour.signing_key = key);
        tokens.push(sign("another key"));
    }
    stage.provider.set(|behaviour| behaviour.signing_key = SigningKey::Published);
    stage.provider.set(|behaviour| {
        behaviour.id_token_header.set("typ", json!("logout+jwt"));
    });
    tokens.push(sign("a logout token"));
    stage.provider.set(|behaviour| {
        behaviour.id_token_header.set("crit", json!(["exp"]));
    });
    tokens.push(sign("crit"));
    for (what, token) in tokens {
        refused(&bearer(&stage, APP, &token).await, what);
    }
    for text in ["x", "..", "a.b.c", "eyJhbGciOiJub25lIn0.e30."] {
        refused(&bearer(&stage, APP, text).await, text);
    }
    for authorization in ["Bearer", "Bearer ", "Bearer a b", "bearer a,b"] {
        refused(&show(&stage, "traefik", APP, authorization).await, authorization);
    }
}

#[tokio::test]
async fn a_thousand_bad_tokens_cost_the_provider_nothing() {
    let stage = stage().await;
    let mut claims = claims(&stage);
    stage.provider.set(|behaviour| behaviour.signing_key = SigningKey::Stray);
    let asked = stage.provider.requests(Endpoint::Jwks);
    for number in 0..1000 {
        claims.insert("jti".to_owned(), json!(number));
        stage.provider.set(|behaviour| {
            behaviour.id_token_header.set("kid", json!(format!("kid-{number}")));
        });
        let token = stage.provider.sign("proxy", &claims).unwrap();
        assert_eq!(bearer(&stage, APP, &token).await.status, 401);
    }
    assert!(stage.provider.requests(Endpoint::Jwks) <= asked + 1, "keys are asked for once a cooldown");
    assert_eq!(stage.provider.requests(Endpoint::Introspection), 0);
}

#[tokio::test]
async fn a_bad_token_counts_whatever_else_is_there() {
    let stage = stage().await;
    let mut browser = signed_in(&stage, APP).await;
    stage.provider.set(|behaviour| behaviour.signing_key = SigningKey::Stray);
    let bad = format!("Bearer {}", stage.provider.sign("proxy", &claims(&stage)).unwrap());
    stage.provider.set(|behaviour| behaviour.signing_key = SigningKey::Published);
    let headers = [("authorization", bad.as_str()), ("sec-fetch-mode", "navigate"), ("accept", "text/html")];
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        refused(&stage.ask(dialect, &mut browser, Method::GET, APP, &headers).await, dialect);
        // A public path asks no user, and the application may have its own tokens there.
        let public = stage.ask(dialect, &mut browser, Method::GET, "https://app.example.com/public/x", &headers).await;
        public.is(200);
        assert_eq!(public.header("x-authentik-username"), "");
        // Schemes that are not accepted are the application's own.
        let own = [("authorization", "Digest x"), ("accept", "*/*")];
        stage.ask(dialect, &mut browser, Method::GET, APP, &own).await.is(200);
    }
    let mut plain = signed_in(&stage, "https://plain.example.com/").await;
    stage.ask("traefik", &mut plain, Method::GET, "https://plain.example.com/", &headers).await.is(200);
    // Another user's session beside a good token: the token counts.
    let token = stage.provider.sign("proxy", &claims(&stage)).unwrap();
    let mut bob = stage.browser();
    stage.sign_in(&mut bob, APP, "bob").await.is(200);
    let authorization = format!("Bearer {token}");
    let reply = stage.ask("traefik", &mut bob, Method::GET, APP, &[("authorization", &authorization)]).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn groups_count_for_tokens_too() {
    let stage = stage().await;
    let mut claims = claims(&stage);
    claims.insert("aud".to_owned(), json!("https://opaque.example.com"));
    let url = "https://opaque.example.com/";
    bearer(&stage, url, &stage.provider.sign("proxy", &claims).unwrap()).await.is(200);
    claims.insert("groups".to_owned(), json!(["users"]));
    let reply = bearer(&stage, url, &stage.provider.sign("proxy", &claims).unwrap()).await;
    assert_eq!(reply.is(403).header("x-authentik-username"), "");
}

#[tokio::test]
async fn users_of_another_issuer_share_no_users_name() {
    let other =
        Provider::start(Config { clients: vec![client("proxy", None, &[])], ..Config::default() }).await.unwrap();
    let applications = format!(
        "[[application]]\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n\
         [application.tokens]\nbearer = \"jwt\"\n\
         [[application.token_issuer]]\nname = \"ci\"\nissuer = \"{}\"\naudiences = [\"deploy\"]\n\
         [[application]]\nslug = \"admin\"\nexternal_host = \"https://admin.example.com\"\nrequired_groups = [\"admins\"]\n\
         [application.tokens]\nbearer = \"jwt\"\n\
         [[application.token_issuer]]\nname = \"ci\"\nissuer = \"{}\"\naudiences = [\"deploy\"]\n",
        other.issuer(),
        other.issuer()
    );
    // What a login would need may be missing in its metadata.
    other.set(|behaviour| {
        behaviour.metadata.remove("authorization_endpoint");
        behaviour.metadata.remove("token_endpoint");
    });
    let stage = Stage::with("", &applications).await;
    other.wait_for_requests(Endpoint::Jwks, 2).await;
    let mut claims = claims(&stage);
    claims.insert("iss".to_owned(), json!(other.issuer()));
    claims.insert("aud".to_owned(), json!("deploy"));
    let token = other.sign("proxy", &claims).unwrap();
    let mut reply = bearer(&stage, APP, &token).await;
    // The keys are asked for beside the requests.
    while reply.status == 503 {
        tokio::task::yield_now().await;
        reply = bearer(&stage, APP, &token).await;
    }
    reply.is(200);
    assert_eq!(reply.header("x-authentik-username"), "ci:alice");
    assert_eq!(reply.header("x-authentik-uid"), "ci:alice-sub");
    assert_eq!(reply.header("x-authentik-groups"), "ci:users|ci:admins");
    assert_eq!(reply.header("x-authentik-email"), "");
    bearer(&stage, "https://admin.example.com/", &token).await.is(403);
    // Each vouches for its own only.
    claims.insert("iss".to_owned(), json!(stage.provider.issuer()));
    claims.insert("aud".to_owned(), json!("proxy"));
    refused(&bearer(&stage, APP, &other.sign("proxy", &claims).unwrap()).await, "the other's key");
    claims.insert("aud".to_owned(), json!("deploy"));
    refused(&bearer(&stage, APP, &stage.provider.sign("proxy", &claims).unwrap()).await, "the other's audience");
}

/// The other way round: who may choose a name or a group at the identity provider.
#[tokio::test]
async fn users_of_the_provider_do_not_pass_for_those_of_another_issuer() {
    let applications = "
[[application]]
slug = \"app\"
external_host = \"https://app.example.com\"
[application.tokens]
bearer = \"jwt\"
[[application.token_issuer]]
name = \"ci\"
issuer = \"https://ci.example.com\"
audiences = [\"deploy\"]
[[application.rule]]
paths = [\"/user\"]
require = { users = [\"ci:alice\"] }
[[application.rule]]
paths = [\"/group\"]
require = { groups_any = [\"ci:deployers\"] }
[[application.rule]]
paths = [\"/claim\"]
require = { claims = { \"ci.role\" = [\"boss\"] } }
";
    let stage = Stage::with("", applications).await;
    stage.provider.set(|behaviour| {
        behaviour.id_token.set("preferred_username", json!("ci:alice"));
        behaviour.id_token.set("groups", json!(["ci:deployers", "cis:x", "users"]));
        behaviour.id_token.set("ci", json!({"role": "boss"}));
    });
    let mut browser = stage.browser();
    let entered = stage.sign_in(&mut browser, "https://app.example.com/", "alice").await;
    assert_eq!(entered.is(200).header("x-authentik-username"), "ci%253Aalice");
    assert_eq!(entered.header("x-authentik-groups"), "ci%253Adeployers|cis:x|users");
    let mut token = claims(&stage);
    token.insert("preferred_username".to_owned(), json!("ci:alice"));
    token.insert("groups".to_owned(), json!(["ci:deployers"]));
    token.insert("ci".to_owned(), json!({"role": "boss"}));
    let token = stage.provider.sign("proxy", &token).unwrap();
    for path in ["user", "group", "claim"] {
        let url = format!("https://app.example.com/{path}");
        stage.check("traefik", &mut browser, &url).await.is(403);
        bearer(&stage, &url, &token).await.is(403);
    }
}
