//! No log line and no page of a run tells a secret that was used in it, at the most talkative level.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::provider::{Behaviour, Endpoint, Fault, LogoutToken, Provider, SigningKey};
use crate::support::process::{Running, borrowed, provider, quick_start};
use crate::support::{Browser, Reply, fill_in};

const ORIGIN: &str = "https://app.example.com";
const OUTPOST: &str = "https://app.example.com/outpost.goauthentik.io";

/// Stands in every query that a browser sends.
const IN_QUERIES: &str = "in-the-query";

/// A daemon under the command's own logging, and all that is secret or shown so far.
struct Run {
    provider: Provider,
    http: SocketAddr,
    secrets: Vec<String>,
    shown: Vec<Reply>,
}

impl Run {
    fn browser(&self) -> Browser {
        Browser::new().route("idp.localhost", self.provider.address()).route("*", self.http)
    }

    /// Notes what a reply of the daemon carries.
    fn note(&mut self, reply: Reply) -> Reply {
        const NAMES: [&str; 5] = ["state", "nonce", "code_challenge", "code", "id_token_hint"];
        if !reply.header("location").is_empty() {
            let query = reply.location();
            let secret = query.query_pairs().filter(|(name, _)| NAMES.contains(&&**name));
            self.secrets.extend(secret.map(|(_, value)| value.into_owned()));
        }
        for line in reply.headers.get_all("set-cookie") {
            self.secrets.extend(line.to_str().unwrap().split(['=', ';']).nth(1).map(str::to_owned));
        }
        self.secrets.extend([reply.header("x-authentik-jwt")]);
        self.shown.push(reply.clone());
        reply
    }

    async fn get(&mut self, browser: &mut Browser, url: &str) -> Reply {
        let reply = browser.get(url).await;
        self.note(reply)
    }

    /// A question about `url` in each dialect, with further headers.
    async fn ask(&mut self, browser: &mut Browser, url: &str, more: &[(&str, &str)]) {
        let target = url.trim_start_matches(ORIGIN);
        for dialect in super::DIALECTS {
            let mut fields = vec![
                ("x-forwarded-method", "GET"),
                ("x-forwarded-proto", "https"),
                ("x-forwarded-host", "app.example.com"),
                ("x-forwarded-uri", target),
            ];
            if dialect == "nginx" {
                fields = vec![("x-original-url", url)];
            }
            fields.extend(more);
            let behind = if dialect == "envoy" { target } else { "?in-the-query" };
            let reply = browser.send(Method::GET, &format!("{OUTPOST}/auth/{dialect}{behind}"), &fields, None).await;
            self.note(reply);
        }
    }

    /// A whole login, however it ends.
    async fn login(&mut self, browser: &mut Browser) -> Reply {
        let start = self.get(browser, &format!("{OUTPOST}/start?rd=/x%3Fprivate={IN_QUERIES}")).await;
        let page = browser.get(start.location().as_str()).await;
        let way = if page.status.is_redirection() { page } else { fill_in(browser, &page, "alice").await };
        let callback = self.note(way).location();
        let back = self.get(browser, callback.as_str()).await;
        for endpoint in [Endpoint::Token, Endpoint::Userinfo] {
            let Some(seen) = self.provider.last_request(endpoint) else { continue };
            self.secrets
                .extend(["code", "code_verifier"].iter().filter_map(|name| Some(seen.form.get(name)?.to_owned())));
            let authorization = seen.headers.get("authorization").map(|value| value.to_str().unwrap().to_owned());
            self.secrets.extend(authorization.and_then(|value| Some(value.split_once(' ')?.1.to_owned())));
        }
        // Once more: the attempt is used up, or the state is another browser's.
        self.get(browser, callback.as_str()).await;
        let mut stranger = self.browser();
        self.get(&mut stranger, callback.as_str()).await;
        self.get(&mut stranger, &callback.as_str().replace("state=", "state=A")).await;
        back
    }
}

type Change = fn(&mut Behaviour);

/// Providers that fail in every way that has words of its own.
const FAULTS: [Change; 16] = [
    |b| {
        b.id_token.set("nonce", "another-nonce-entirely");
    },
    |b| {
        b.id_token.set("aud", "other");
    },
    |b| {
        b.id_token.set("iss", "http://evil.test");
    },
    |b| {
        b.id_token.set("exp", 1000);
    },
    |b| {
        b.id_token.set("at_hash", "AAAAAAAAAAAAAAAAAAAAAA");
    },
    |b| {
        b.id_token.set("sub", Value::Null);
    },
    |b| b.id_token_text = Some("secret.id.token".into()),
    |b| {
        b.token.set("access_token", json!(["secret-access-token"]));
    },
    |b| {
        b.token.remove("id_token");
    },
    |b| {
        b.faults.insert(Endpoint::Token, Fault { body: Some("secret-body".into()), ..Fault::default() });
    },
    |b| {
        b.faults.insert(Endpoint::Token, Fault::status(StatusCode::INTERNAL_SERVER_ERROR));
    },
    |b| {
        b.faults.insert(Endpoint::Token, Fault { hang_up: true, ..Fault::default() });
    },
    |b| {
        b.user_claims_only_in_userinfo = true;
        b.faults
            .insert(Endpoint::Userinfo, Fault { body: Some("{\"sub\": \"secret-body\"".into()), ..Fault::default() });
    },
    |b| {
        b.user_claims_only_in_userinfo = true;
        b.userinfo.set("sub", "another");
    },
    |b| b.refuse = Some("access_denied"),
    |b| {
        b.callback.set("iss", "http://evil.test");
    },
];

/// With claims in either place, and names that would like to be lines of their own; then questions, and sign-out.
async fn logins_that_succeed(run: &mut Run) {
    let page = format!("{ORIGIN}/x?private={IN_QUERIES}");
    let changes: [Change; 3] = [
        |_| (),
        |b| b.user_claims_only_in_userinfo = true,
        |b| {
            b.id_token
                .set("preferred_username", "alice\r\n{\"level\":\"ERROR\"}\u{2028}\u{1b}[2J")
                .set("email", "a\n@b");
        },
    ];
    for change in changes {
        run.provider.set(change);
        let mut browser = run.browser();
        run.login(&mut browser).await.is(302);
        run.ask(&mut browser, &page, &[]).await;
        let out = format!("{OUTPOST}/sign_out?{IN_QUERIES}");
        let asked = browser.get(&out).await;
        run.note(asked).is(200).contains("<form");
        let done = browser.send(Method::POST, &out, &[("origin", ORIGIN)], None).await;
        run.note(done).is(303);
        run.ask(&mut browser, &page, &[]).await;
        run.provider.set(|behaviour| *behaviour = Behaviour::default());
    }
}

/// By every fault, by a provider that tells what it was told, and by a cookie that never comes back.
async fn logins_that_do_not(run: &mut Run) {
    for (number, fault) in FAULTS.into_iter().enumerate() {
        run.provider.set(fault);
        let mut browser = run.browser();
        let back = run.login(&mut browser).await;
        assert!(back.status.as_u16() >= 400, "fault {number}: {back:#?}");
        run.provider.set(|behaviour| *behaviour = Behaviour::default());
    }
    // A cookie that never comes back.
    for _ in 0..3 {
        let mut browser = run.browser();
        run.login(&mut browser).await;
    }
    let mut browser = run.browser();
    let start = run.get(&mut browser, &format!("{OUTPOST}/start?rd=/{IN_QUERIES}")).await;
    let page = browser.get(start.location().as_str()).await;
    let way = fill_in(&mut browser, &page, "alice").await;
    let callback = run.note(way).location();
    let code = callback.query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    for text in [format!("there is no {code} here"), "proxy-secret is not the secret".to_owned()] {
        let body = json!({"error": "invalid_grant", "error_description": text}).to_string();
        run.provider.set(|behaviour| {
            let fault = Fault { status: Some(StatusCode::BAD_REQUEST), body: Some(body.into()), ..Fault::default() };
            behaviour.faults.insert(Endpoint::Token, fault);
        });
        let mut browser = browser.clone();
        if text.starts_with("proxy") {
            // Another login begins first.
            let again = run.login(&mut browser).await;
            let way = browser.get(again.is(302).location().as_str()).await;
            let callback = run.note(way).location();
            run.get(&mut browser, callback.as_str()).await.is(502);
        } else {
            run.get(&mut browser, callback.as_str()).await.is(302);
        }
        run.provider.set(|behaviour| *behaviour = Behaviour::default());
    }
}

/// The provider's name of a session: by front-channel logout it ends one, so the audit log alone has it.
const SESSION: &str = "a-session-of-the-provider";

/// By the provider's word, right and wrong.
async fn logouts(run: &mut Run) {
    let right = LogoutToken { session: Some(SESSION.to_owned()), ..LogoutToken::default() };
    let stray = LogoutToken { signing_key: SigningKey::Stray, ..right.clone() };
    let mut late = right.clone();
    late.claims.set("exp", 1000);
    let mut tokens = [right, stray, late].map(|it| run.provider.logout_token("proxy", &it).unwrap()).to_vec();
    tokens.extend(["junk.logout.token", "a-logout-token-of-no-user"].map(str::to_owned));
    for (token, expected) in tokens.iter().zip([200, 400, 400, 400, 400]) {
        let mut provider = run.browser();
        let reply = provider.post(&format!("{OUTPOST}/backchannel-logout"), &format!("logout_token={token}")).await;
        run.note(reply).is(expected);
    }
    run.secrets.extend(tokens);
    let mut browser = run.browser();
    for issuer in [run.provider.issuer().to_owned(), "https://evil.test".to_owned()] {
        run.get(&mut browser, &format!("{OUTPOST}/frontchannel-logout?iss={issuer}&sid={SESSION}")).await.is(400);
    }
}

/// SECURITY: 35, 73, 75, 90, 99
#[tokio::test(flavor = "multi_thread")]
async fn nothing_secret_is_logged_or_shown() {
    let provider = provider().await;
    let mut environment = quick_start(provider.issuer());
    environment.push(("FOREPOST_LOG__LEVEL", "trace".into()));
    environment.push(("FOREPOST_SESSION__SECRET", "a-sealing-secret-that-no-log-shows".into()));
    let mut daemon = Running::start(&borrowed(&environment));
    let http = daemon.address("http");
    daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
    let given = [
        "proxy-secret",
        "a-sealing-secret-that-no-log-shows",
        "secret.id.token",
        "secret-access-token",
        "secret-body",
        "in-the-header",
    ];
    let secrets = given.map(str::to_owned).to_vec();
    let mut run = Run { provider, http, secrets, shown: Vec::new() };

    logins_that_succeed(&mut run).await;
    logins_that_do_not(&mut run).await;
    logouts(&mut run).await;
    // Questions that make no sense, and headers that forepost does not need.
    let headers = [
        ("authorization", "Bearer in-the-header"),
        ("cookie", "a=in-the-header; __Host-authentik_proxy_deadbeef=in-the-header"),
        ("referer", "https://evil.test/?in-the-header"),
        ("user-agent", "in-the-header\u{2028}"),
        ("x-custom", "in-the-header"),
    ];
    let mut browser = run.browser();
    for url in [
        format!("{ORIGIN}/x?private={IN_QUERIES}"),
        format!("{ORIGIN}/100%?{IN_QUERIES}"),
        format!("{ORIGIN}/%0d%0a%1b?{IN_QUERIES}"),
        format!("{ORIGIN}/\u{2028}?{IN_QUERIES}"),
        format!("{OUTPOST}/callback?code={IN_QUERIES}&state={IN_QUERIES}"),
        format!("{OUTPOST}/sign_out?{IN_QUERIES}"),
        format!("{ORIGIN}/x?X-authentik-auth-callback=true&error={IN_QUERIES}"),
    ] {
        run.ask(&mut browser, &url, &headers).await;
    }
    for path in ["start", "callback", "signed_out", "nothing", "auth/traefik", "auth/nginx", "ping"] {
        for host in ["https://app.example.com", "https://stranger.test"] {
            let url = format!("{host}/outpost.goauthentik.io/{path}?code={IN_QUERIES}&rd=/{IN_QUERIES}");
            let reply = browser.send(Method::GET, &url, &headers, None).await;
            run.note(reply);
        }
    }
    run.provider.set(|behaviour| behaviour.down = true);
    let mut browser = run.browser();
    run.get(&mut browser, &format!("{OUTPOST}/start?rd=/{IN_QUERIES}")).await;

    daemon.signal("TERM");
    let (code, log) = daemon.end();
    assert_eq!(code, Some(0));
    for line in &log {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        assert!(line["level"].is_string() && line["target"].is_string(), "{line}");
    }
    run.secrets.extend(run.secrets.clone().iter().filter_map(|it| Some(it.rsplit_once('.')?.1.to_owned())));
    run.secrets.retain(|secret| secret.len() > 8);
    run.secrets.sort();
    run.secrets.dedup();
    assert!(run.secrets.len() > 150, "{}", run.secrets.len());
    let logged = log.join("\n");
    for secret in &run.secrets {
        assert!(!logged.contains(secret.as_str()), "{secret} is in {:#?}", lines_with(&log, secret));
        for reply in &run.shown {
            assert!(!reply.body.contains(secret.as_str()), "{secret} is in {reply:#?}");
        }
    }
    let named = lines_with(&log, SESSION);
    assert!(named.len() == 1 && named[0].contains("\"target\":\"forepost::audit\""), "{named:#?}");
    assert!(run.shown.iter().all(|reply| !reply.body.contains(SESSION)));
    assert!(!logged.contains(IN_QUERIES), "{:#?}", lines_with(&log, IN_QUERIES));
    assert!(logged.contains("\"outcome\":\"login\"") && logged.contains("\"TRACE\""), "{logged}");
}

fn lines_with<'l>(log: &'l [String], text: &str) -> Vec<&'l String> {
    log.iter().filter(|line| line.contains(text)).collect()
}
