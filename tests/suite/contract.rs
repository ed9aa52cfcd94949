//! The wire contract: what each endpoint answers to whom.

use http::Method;
use serde_json::json;

use crate::provider::Behaviour;
use crate::support::{Browser, Stage, fill_in};

const APP: &str = "https://app.example.com/page?x=1&y=a%20b";

/// A login through each dialect's proxy, then the identity headers.
#[tokio::test]
async fn every_dialect_lets_in_who_has_signed_in() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let entered = stage.sign_in(&mut browser, APP, "alice").await;
    entered.is(200);
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        let reply = stage.check(dialect, &mut browser, APP).await;
        reply.is(200);
        assert_eq!(reply.body, "", "{dialect}");
        assert_eq!(reply.header("content-length"), "0", "{dialect}");
        assert_eq!(reply.header("set-cookie"), "", "{dialect}");
        let expected = [
            ("x-authentik-username", "alice"),
            ("x-authentik-groups", "admins|staff"),
            ("x-authentik-entitlements", ""),
            ("x-authentik-email", "alice@example.test"),
            ("x-authentik-name", "Alice Ärger"),
            ("x-authentik-uid", "id-alice"),
            ("x-authentik-meta-outpost", "forepost"),
            ("x-authentik-meta-provider", "idp"),
            ("x-authentik-meta-app", "app"),
        ];
        for (name, value) in expected {
            assert_eq!(reply.header(name), value, "{dialect} {name}");
        }
        assert_eq!(reply.header("x-authentik-jwt").split('.').count(), 3);
        assert_eq!(reply.header("x-authentik-meta-jwks"), format!("{}/jwks", stage.provider.issuer()));
    }
}

#[tokio::test]
async fn no_other_user_gets_in() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    for (dialect, navigation, fetch) in
        [("traefik", 302, 401), ("caddy", 302, 401), ("nginx", 401, 401), ("envoy", 302, 401)]
    {
        stage.check(dialect, &mut browser, APP).await.is(navigation);
        let reply = stage.ask(dialect, &mut browser, Method::GET, APP, &[("accept", "application/json")]).await;
        reply.is(fetch);
        assert!(!reply.header("www-authenticate").is_empty());
        assert_eq!(reply.header("set-cookie"), "");
        let upgrade = [("sec-websocket-key", "x"), ("sec-websocket-version", "13")];
        stage.ask(dialect, &mut browser, Method::GET, APP, &upgrade).await.is(401);
    }
}

#[tokio::test]
async fn a_post_is_sent_to_the_login_with_303() {
    let stage = Stage::start().await;
    for (dialect, expected) in [("traefik", 303), ("caddy", 303), ("envoy", 303), ("nginx", 401)] {
        stage.ask(dialect, &mut stage.browser(), Method::POST, APP, &[]).await.is(expected);
    }
}

#[tokio::test]
async fn the_nginx_401_carries_the_login_url() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let reply = stage.check("nginx", &mut browser, APP).await;
    reply.is(401);
    assert_eq!(
        reply.header("location"),
        "https://app.example.com/outpost.goauthentik.io/start?rd=https%3A%2F%2Fapp%2Eexample%2Ecom%2Fpage%3Fx%3D1%26y%3Da%2520b"
    );
    assert_eq!(reply.header("x-forepost-action"), "redirect");
    assert_eq!((reply.header("content-length"), reply.header("set-cookie")), ("0".into(), String::new()));
    let start = browser.get(&reply.header("location")).await;
    let back = stage.come_back(&mut browser, start, "alice").await;
    assert_eq!(back.header("location"), APP);
    stage.check("nginx", &mut browser, APP).await.is(200);

    let fetch = stage.ask("nginx", &mut stage.browser(), Method::GET, APP, &[("accept", "application/json")]).await;
    assert_eq!(fetch.header("x-forepost-action"), "challenge");
}

#[tokio::test]
async fn a_challenge_names_the_login_and_lets_allowed_origins_read_it() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let headers = [
        ("accept", "application/json"),
        ("origin", "https://spa.example.com"),
        ("referer", "https://app.example.com/here?tab=2"),
    ];
    let reply = stage.ask("traefik", &mut browser, Method::GET, APP, &headers).await;
    reply.is(401);
    let body = reply.json();
    assert_eq!(body["error"], "login_required");
    let login_url = body["login_url"].as_str().unwrap().to_owned();
    assert!(login_url.contains("rd=https%3A%2F%2Fapp%2Eexample%2Ecom%2Fhere%3Ftab%3D2"), "{login_url}");
    assert_eq!(reply.header("access-control-allow-origin"), "https://spa.example.com");
    assert_eq!(reply.header("access-control-allow-credentials"), "true");
    assert_eq!(reply.header("vary"), "Origin");
    browser.get(&login_url).await.is(302);

    let stranger = [("accept", "application/json"), ("origin", "https://evil.example.com")];
    let reply = stage.ask("traefik", &mut browser, Method::GET, APP, &stranger).await;
    assert_eq!(reply.is(401).header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn preflights_of_allowed_origins_pass() {
    let stage = Stage::start().await;
    let browser = &mut stage.browser();
    let preflight = |origin| [("origin", origin), ("access-control-request-method", "PUT")];
    let (spa, evil) = (preflight("https://spa.example.com"), preflight("https://evil.example.com"));
    for dialect in ["traefik", "caddy", "envoy"] {
        let passed = stage.ask(dialect, browser, Method::OPTIONS, APP, &spa).await;
        assert_eq!(passed.is(200).headers.get("x-authentik-username").unwrap(), "");
        stage.ask(dialect, browser, Method::OPTIONS, APP, &evil).await.is(401);
        let other = "https://admin.example.com/";
        stage.ask(dialect, browser, Method::OPTIONS, other, &spa).await.is(401);
    }
    // What nginx says about the method may be the client's own words.
    stage.ask("nginx", browser, Method::OPTIONS, APP, &spa).await.is(401);
    let claimed = [spa[0], spa[1], ("x-forwarded-method", "OPTIONS"), ("x-original-method", "OPTIONS")];
    stage.ask("nginx", browser, Method::GET, APP, &claimed).await.is(401);
}

#[tokio::test]
async fn public_paths_carry_empty_identity_headers() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        let reply = stage.check(dialect, &mut browser, "https://app.example.com/public/x?y").await;
        reply.is(200);
        for name in ["username", "groups", "entitlements", "email", "name", "uid", "jwt"] {
            let value = reply.headers.get(format!("x-authentik-{name}"));
            assert_eq!(value.unwrap_or_else(|| panic!("{dialect} {name} is missing")), "", "{dialect} {name}");
        }
        assert_eq!(reply.header("x-authentik-meta-app"), "app");
        stage
            .check(dialect, &mut browser, "https://app.example.com/public/..%2fadmin")
            .await
            .is(if dialect == "nginx" { 401 } else { 302 });
    }
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let reply = stage.check("traefik", &mut browser, "https://app.example.com/public/x").await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}

#[tokio::test]
async fn forbidden_is_403_everywhere() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let url = "https://admin.example.com/sub/x";
    let page = stage.sign_in(&mut browser, url, "bob").await;
    page.is(403).contains("bob").contains("/sub/outpost.goauthentik.io/sign_out");
    for dialect in ["caddy", "nginx", "envoy"] {
        let reply = stage.check(dialect, &mut browser, url).await;
        reply.is(403);
        assert_eq!(reply.headers.get("x-authentik-username"), None);
    }
    let json = stage.ask("traefik", &mut browser, Method::GET, url, &[("accept", "application/json")]).await;
    assert_eq!(json.is(403).json()["error"], "access_denied");
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, url, "alice").await.is(200);
}

#[tokio::test]
async fn a_session_is_for_its_application_alone() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let app = url::Url::parse(APP).unwrap();
    let admin = url::Url::parse("https://admin.example.com/").unwrap();
    let names = browser.cookie_names(&app);
    let [name] = names.as_slice() else { panic!("one cookie is enough: {names:?}") };
    assert!(name.starts_with("__Host-authentik_proxy_"), "{name}");
    let value = browser.cookie(&app, "authentik_proxy").unwrap();
    browser.set_cookie(&admin, &format!("{name}={value}; Path=/; Secure"));
    stage.check("traefik", &mut browser, admin.as_str()).await.is(302);
}

#[tokio::test]
async fn one_login_opens_a_whole_domain() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    let wanted = "https://a.b.example.test/deep?q=1";
    let entered = stage.sign_in(&mut browser, wanted, "alice").await;
    entered.is(200);
    assert_eq!(entered.header("x-authentik-jwt"), "", "switched off");
    assert_eq!(entered.header("x-authentik-meta-app"), "domain");
    for url in ["https://other.example.test/", "https://example.test/", "https://auth.example.test/x"] {
        stage.check("traefik", &mut browser, url).await.is(200);
    }
    let names = browser.cookie_names(&url::Url::parse(wanted).unwrap());
    assert!(names.iter().all(|name| name.starts_with("__Secure-authentik_proxy_")), "{names:?}");
    stage.check("traefik", &mut browser, "https://app.example.com/").await.is(302);
}

#[tokio::test]
async fn unknown_hosts_and_broken_questions_are_refused() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    for (dialect, expected) in [("traefik", 400), ("caddy", 400), ("nginx", 403), ("envoy", 400)] {
        stage.check(dialect, &mut browser, "https://stranger.test/").await.is(expected);
        stage.check(dialect, &mut browser, "https://evilexample.test/").await.is(expected);
        stage.check(dialect, &mut browser, "https://app.example.com/100%").await.is(expected);
    }
    let auth = |dialect| format!("https://app.example.com/outpost.goauthentik.io/auth/{dialect}");
    for (dialect, expected) in [("traefik", 400), ("caddy", 400), ("nginx", 403)] {
        browser.get(&auth(dialect)).await.is(expected);
        browser.get(&format!("{}?rd=/x&X-authentik-auth-callback=true", auth(dialect))).await.is(expected);
    }
    for path in ["/", "/outpost.goauthentik.io/", "/outpost.goauthentik.io/auth/haproxy", "/metrics", "/ready"] {
        browser.get(&format!("https://app.example.com{path}")).await.is(404);
    }
}

#[tokio::test]
async fn sign_out_ends_the_session_and_goes_on_to_the_provider() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let before = browser.clone();
    let url = "https://app.example.com/outpost.goauthentik.io/sign_out";

    let asked = browser.send(Method::GET, url, &[("sec-fetch-site", "cross-site")], None).await;
    asked.is(200).contains("<form").contains("method=\"post\"");
    stage.check("traefik", &mut browser, APP).await.is(200);

    let reply = browser.send(Method::POST, url, &[("origin", "https://app.example.com")], None).await;
    reply.is(303);
    let end = reply.location();
    assert!(end.as_str().starts_with(&format!("{}/end-session?", stage.provider.issuer())), "{end}");
    assert!(reply.parameter("id_token_hint").is_some_and(|hint| hint.split('.').count() == 3));
    assert_eq!(reply.parameter("client_id").unwrap(), "proxy");
    let state = reply.parameter("state").unwrap();
    let signed_out = browser.follow(reply).await;
    let back = format!("https://app.example.com/outpost.goauthentik.io/signed_out?state={state}");
    assert_eq!(signed_out.url.as_str(), back);
    signed_out.is(200).contains("https://app.example.com/");
    assert_eq!(browser.cookie_names(&signed_out.url), Vec::<String>::new());

    stage.check("traefik", &mut before.clone(), APP).await.is(302);
    let page = stage.check("traefik", &mut browser, APP).await;
    browser.get(page.location().as_str()).await.is(200).contains("password");
}

#[tokio::test]
async fn own_routes_work_as_forwarded_urls_and_never_allow() {
    let stage = Stage::start().await;
    for dialect in ["traefik", "caddy", "envoy"] {
        let mut browser = stage.browser();
        let login = stage.check(dialect, &mut browser, APP).await;
        let page = browser.get(login.is(302).location().as_str()).await;
        let callback = fill_in(&mut browser, &page, "alice").await;
        let back = stage.check(dialect, &mut browser, callback.location().as_str()).await;
        assert_eq!(back.is(302).header("location"), APP, "{dialect}");
        stage.check(dialect, &mut browser, APP).await.is(200);

        let sign_out = "https://app.example.com/outpost.goauthentik.io/sign_out";
        let asked = stage.ask(dialect, &mut browser, Method::GET, sign_out, &[("sec-fetch-site", "cross-site")]).await;
        asked.is(401).contains("<form");
        let marked = stage.check(dialect, &mut browser, "https://app.example.com/x?X-authentik-logout=true").await;
        marked.is(200);
        let done = stage.ask(dialect, &mut browser, Method::GET, sign_out, &[("sec-fetch-site", "same-origin")]).await;
        done.is(302);
        stage.check(dialect, &mut browser, APP).await.is(302);
        stage.check(dialect, &mut browser, "https://app.example.com/outpost.goauthentik.io/signed_out").await.is(401);
        for path in ["ping", "../admin", "auth/traefik"] {
            let url = format!("https://app.example.com/outpost.goauthentik.io/{path}");
            stage.check(dialect, &mut browser, &url).await.is(302);
        }
    }
    let own = "https://app.example.com/outpost.goauthentik.io/start?rd=/";
    stage.check("nginx", &mut stage.browser(), own).await.is(403);
    let marked = "https://app.example.com/x?X-authentik-auth-callback=true";
    stage.check("nginx", &mut stage.browser(), marked).await.is(401);
    stage.check("traefik", &mut stage.browser(), marked).await.is(400);
}

#[tokio::test]
async fn auth_endpoints_take_any_method_and_never_wait_for_a_body() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let stage = Stage::start().await;
    let address = stage.daemon.http_address().unwrap();
    for method in ["GET", "HEAD", "POST", "OPTIONS", "PROPFIND"] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        // A body is announced and never sent, as nginx does without `proxy_pass_request_body off`.
        let request = format!(
            "{method} /outpost.goauthentik.io/auth/nginx HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 3\r\n\
             X-Original-URL: https://app.example.com/public/x\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut start = [0; 15];
        stream.read_exact(&mut start).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200 OK", "{method}");
    }
}

#[tokio::test]
async fn liveness_readiness_and_metrics() {
    let stage = Stage::start().await;
    let mut browser = stage.browser();
    browser.get("https://anything.test/outpost.goauthentik.io/ping").await.is(204);
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
    operator.get("http://x/outpost.goauthentik.io/ping").await.is(204);
    assert_eq!(operator.get("http://x/ready").await.json()["identity_providers"]["idp"], true);
    let metrics = operator.get("http://x/metrics").await;
    metrics
        .is(200)
        .contains("forepost_sessions 1")
        .contains("forepost_logins_total{identity_provider=\"idp\",result=\"login\"} 1")
        .contains("forepost_provider_ready{identity_provider=\"idp\"} 1")
        .contains("authentik_outpost_proxy_request_duration_seconds_count{")
        .contains("application=\"app\",dialect=\"traefik\",outcome=\"allow\"");
}

/// Further headers are on every 200, with a user's values or empty, so that no client's own passes for ours.
#[tokio::test]
async fn further_headers_are_always_there() {
    let application = r#"
        [[application]]
        name = "The App"
        slug = "app"
        external_host = "https://app.example.com"
        public_paths = [{ prefix = "/public" }]
        headers = { presets = ["remote-user"], additional = ["X-Team"] }
        basic_auth = { username = "ak_proxy.user_attributes.user", password = "ak_proxy.user_attributes.password" }

        [[application.header]]
        name = "X-WEBAUTH-ROLE"
        groups = [{ group = "admins", value = "Admin" }, { group = "staff", value = "Editor" }]
        default = "Viewer"

        [[application.header]]
        name = "X-Locale"
        claim = "locale"

        [[application.header]]
        name = "X-Fixed"
        text = "yes"
        "#;
    let stage = Stage::with("", application).await;
    stage.provider.set(|behaviour| {
        let attributes =
            json!({"user": "al", "password": "pw", "additionalHeaders": {"X-Team": "blue", "Set-Cookie": "a=b"}});
        behaviour.id_token.set("ak_proxy", json!({ "user_attributes": attributes })).set("locale", "de-DE");
    });
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, APP, "alice").await.is(200);
    for dialect in ["traefik", "caddy", "nginx", "envoy"] {
        let reply = stage.check(dialect, &mut browser, APP).await;
        let values = [
            ("x-webauth-role", "Admin"),
            ("x-locale", "de-DE"),
            ("x-fixed", "yes"),
            ("x-team", "blue"),
            ("set-cookie", ""),
            ("remote-user", "alice"),
            ("remote-groups", "admins,staff"),
            ("remote-email", "alice@example.test"),
            ("remote-name", "Alice Ärger"),
            ("authorization", "Basic YWw6cHc="),
        ];
        for (name, value) in values {
            assert_eq!(reply.is(200).header(name), value, "{dialect} {name}");
        }
        let anonymous = stage.check(dialect, &mut stage.browser(), "https://app.example.com/public/x").await;
        for (name, _) in values.iter().filter(|(name, _)| *name != "set-cookie") {
            let sent = anonymous.is(200).headers.get(*name).map(http::HeaderValue::as_bytes);
            assert_eq!(sent, Some(&b""[..]), "{dialect} {name}");
        }
    }
    let mut bob = stage.browser();
    stage.provider.set(|behaviour| *behaviour = Behaviour::default());
    let reply = stage.sign_in(&mut bob, APP, "bob").await;
    assert_eq!((reply.header("x-webauth-role"), reply.header("x-team")), ("Editor".into(), String::new()));

    // Both kinds of list are UTF-8, and the separator of the one means nothing in the other.
    stage.provider.set(|behaviour| {
        behaviour.id_token.set("groups", json!(["Küche", "a,b|c", "50%", "%2C", " x"]));
    });
    let reply = stage.sign_in(&mut stage.browser(), APP, "bob").await;
    assert_eq!(reply.is(200).header("remote-groups"), "Küche,a%2Cb|c,50%,%252C,%20x");
    assert_eq!(reply.header("x-authentik-groups"), "Küche|a,b%7Cc|50%|%252C|%20x");
}
