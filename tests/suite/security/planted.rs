//! Cookies that another host of the same site set: within others, beside ours, or in place of them.

use http::Method;
use url::Url;

use super::raw::{self, is_2xx};
use super::{APP, DIALECTS, START, stage};
use crate::provider::{Config, Provider};
use crate::support::{Stage, client};

const DOMAIN: &str = "https://deep.example.test/";

/// Name and value of the session cookie of a browser that is signed in at `url`.
async fn session_of(stage: &Stage, url: &str, user: &str) -> (String, String) {
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, url, user).await.is(200);
    let url = Url::parse(url).unwrap();
    (browser.cookie_names(&url).remove(0), browser.cookie(&url, "authentik_proxy").unwrap())
}

/// Pairs in which a host of the same site can put `ours`, and none of which is `ours`.
fn with_in_it(ours: &str) -> Vec<String> {
    let (name, value) = ours.split_once('=').unwrap();
    vec![
        format!("theme=dark,{ours}"),
        format!("theme=dark, {ours}"),
        format!("theme=dark ,\t{ours}"),
        format!("theme,{ours}"),
        format!("theme=\"dark, {ours}\""),
        format!("theme=dark {ours}"),
        format!("theme=dark\t{ours}"),
        format!("theme=dark&{ours}"),
        format!("theme={ours}"),
        format!("={ours}"),
        format!(",{ours}"),
        format!("\u{a0}{ours}"),
        format!("\u{2028}{ours}"),
        format!("\u{feff}{ours}"),
        format!("{name} ={value}"),
        format!("{name}\t={value}"),
        format!("{name}= {value}"),
        format!("{name}=\"{value}\""),
        format!("{name}={value},theme=dark"),
        format!("{name}={value}, theme=dark"),
        format!("{name}={value}\u{a0}"),
        format!("{}={value}", name.to_lowercase()),
        format!("{}={value}", name.to_uppercase()),
        format!("${name}={value}"),
        format!("\"{name}\"={value}"),
        format!("{}={value}", name.replace('_', "%5f")),
    ]
}

#[tokio::test]
async fn a_cookie_within_a_cookie_is_not_seen() {
    let stage = stage().await;
    let (name, planted) = session_of(&stage, APP, "bob").await;
    let (_, own) = session_of(&stage, APP, "alice").await;
    for pair in with_in_it(&format!("{name}={planted}")) {
        let alone = format!("Cookie: {pair}");
        let beside = format!("Cookie: {pair}; {name}={own}; {pair}");
        for dialect in DIALECTS {
            let status = raw::ask(&stage, dialect, "app.example.com", b"/page", &[alone.as_bytes()]).await;
            assert!(status == 302 || status == 401, "{dialect} {status} {alone}");
            let status = raw::ask(&stage, dialect, "app.example.com", b"/page", &[beside.as_bytes()]).await;
            assert_eq!(status, 200, "{dialect} {beside}");
        }
    }
    // Several fields are several, as HTTP/2 has them.
    let own = format!("Cookie: {name}={own}");
    for lines in [["Cookie: theme=dark,", &own], [&own, "Cookie: theme=dark,"]] {
        let status = raw::ask(&stage, "traefik", "app.example.com", b"/page", &lines.map(str::as_bytes)).await;
        assert_eq!(status, 200, "{lines:?}");
    }
}

/// Login CSRF: a browser that ends in the session of another user's login.
#[tokio::test]
async fn an_attempt_within_a_cookie_is_not_seen() {
    let stage = stage().await;
    let mut mallory = stage.browser();
    let login = mallory.get(&format!("{START}?rd=/page")).await;
    let attempt = login.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = mallory.get(login.location().as_str()).await;
    let callback = crate::support::fill_in(&mut mallory, &page, "bob").await.location();
    for pair in with_in_it(&attempt) {
        let reply = stage.browser().send(Method::GET, callback.as_str(), &[("cookie", &pair)], None).await;
        // A login of its own begins, and no session.
        assert!(reply.is(302).location().as_str().starts_with(stage.provider.issuer()), "{pair}: {reply:#?}");
        let mut cookies = reply.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap());
        assert!(cookies.all(|line| line.contains("authentik_proxy_login_")), "{reply:#?}");
        assert_ne!(reply.parameter("state").as_deref(), login.parameter("state").as_deref());
    }
    mallory.get(callback.as_str()).await.is(302);
}

#[tokio::test]
async fn sessions_of_different_users_are_refused() {
    let stage = stage().await;
    for (url, host, path) in [(APP, "app.example.com", "/page"), (DOMAIN, "deep.example.test", "/")] {
        for dialect in DIALECTS {
            for turned in [false, true] {
                let (name, alice) = session_of(&stage, url, "alice").await;
                let (_, bob) = session_of(&stage, url, "bob").await;
                let (first, second) = if turned { (&bob, &alice) } else { (&alice, &bob) };
                let joined = format!("Cookie: {name}={first}; {name}={second}");
                let fields = [format!("Cookie: {name}={first}"), format!("Cookie: {name}={second}")];
                let public = raw::ask(&stage, dialect, host, b"/public/x", &[joined.as_bytes()]).await;
                assert_eq!(is_2xx(public), host == "app.example.com", "{dialect} {public}");
                let status = raw::ask(&stage, dialect, host, path.as_bytes(), &[joined.as_bytes()]).await;
                assert!(status == 302 || status == 401, "{dialect} {status}");
                let [one, other] = fields.each_ref().map(String::as_bytes);
                let status = raw::ask(&stage, dialect, host, path.as_bytes(), &[one, other]).await;
                assert!(status == 302 || status == 401, "{dialect} {status}");
                // Both have ended, so the next login ends with one that counts, whatever else the browser brings.
                for cookie in [one, other] {
                    let status = raw::ask(&stage, dialect, host, path.as_bytes(), &[cookie]).await;
                    assert!(status == 302 || status == 401, "{dialect} {status}");
                }
                let (_, again) = session_of(&stage, url, "alice").await;
                let cookie = format!("Cookie: {name}={bob}; {name}={again}; {name}={alice}");
                let status = raw::ask(&stage, dialect, host, path.as_bytes(), &[cookie.as_bytes()]).await;
                assert_eq!(status, 200, "{dialect}");
            }
        }
        // Two of one user contradict nothing.
        let (name, one) = session_of(&stage, url, "alice").await;
        let (_, other) = session_of(&stage, url, "alice").await;
        let cookie = format!("Cookie: {name}={one}; {name}={other}; {name}={one}");
        assert_eq!(raw::ask(&stage, "traefik", host, path.as_bytes(), &[cookie.as_bytes()]).await, 200);
    }
}

/// A login replaces what the browser brought to its callback, and ends where the person wanted to go.
#[tokio::test]
async fn a_planted_session_makes_no_loop() {
    let stage = stage().await;
    let mut victim = stage.browser();
    stage.sign_in(&mut victim, DOMAIN, "alice").await.is(200);
    let url = Url::parse(DOMAIN).unwrap();
    let (name, planted) = session_of(&stage, DOMAIN, "bob").await;
    let mut logins = 0;
    loop {
        // What the browser of a victim brings whose neighbour planted a cookie for this path alone.
        let own = victim.cookie(&url, "authentik_proxy").unwrap();
        let both = format!("{name}={planted}; {name}={own}");
        let reply = stage.ask("traefik", &mut victim, Method::GET, DOMAIN, &[("cookie", &both)]).await;
        if reply.status == 200 {
            assert_eq!(reply.header("x-authentik-username"), "alice");
            break;
        }
        logins += 1;
        assert!(logins < 3, "a loop");
        stage.come_back(&mut victim, reply, "alice").await.is(302);
    }
    assert_eq!(logins, 1);
}

/// Above eight different tokens none counts, so a login helps nothing. It ends on a page, which takes the planted cookies back.
#[tokio::test]
async fn too_many_planted_cookies_end_on_a_page_and_are_taken_back() {
    let stage = stage().await;
    let target = "https://deep.example.test/a/b/c/d/e?x=y";
    let url = Url::parse(target).unwrap();
    let mut victim = stage.browser();
    stage.sign_in(&mut victim, target, "alice").await.is(200);
    let name = victim.cookie_names(&url).remove(0);
    let check = async |victim: &mut crate::support::Browser| {
        let field = victim.cookie_field(&url);
        stage.ask("traefik", victim, Method::GET, target, &[("cookie", &field)]).await
    };
    check(&mut victim).await.is(200);

    // A page of another host of the domain does this.
    let sibling = Url::parse("https://evil.example.test/").unwrap();
    let parts = ["/a", "/a/", "/a/b", "/a/b/", "/a/b/c", "/a/b/c/", "/a/b/c/d", "/a/b/c/d/"];
    for (number, path) in parts.iter().enumerate() {
        check(&mut victim).await.is(200);
        let value = format!("{number:042}A");
        victim.set_cookie(&sibling, &format!("{name}={value}; Domain=example.test; Path={path}; Secure"));
    }
    let mut logins = 0;
    let stopped = loop {
        let reply = check(&mut victim).await;
        logins += 1;
        let back = stage.come_back(&mut victim, reply, "alice").await;
        if !back.status.is_redirection() {
            break back;
        }
        assert_eq!(back.location().as_str(), target);
        assert!(logins < 4, "a loop");
    };
    assert_eq!(logins, 3);
    stopped.is(400).contains("Login stopped").contains("too many cookies");
    assert!(victim.cookie_names(&url).is_empty(), "{:?}", victim.cookie_field(&url));
    // The next login is a usual one.
    let reply = check(&mut victim).await;
    stage.come_back(&mut victim, reply, "alice").await.is(302);
    assert_eq!(check(&mut victim).await.is(200).header("x-authentik-username"), "alice");
}

/// What counts is who the sessions of one application are of.
#[tokio::test]
async fn sessions_of_other_applications_contradict_nothing() {
    let origins = ["http://auth.example.test", "http://single.example.test"];
    let config = Config { clients: vec![client("proxy", Some("proxy-secret"), &origins)], ..Config::default() };
    let applications = "[[application]]\nname = \"Everything\"\nslug = \"domain\"\n\
        external_host = \"http://auth.example.test\"\ncookie_domain = \"example.test\"\n\
        [[application]]\nname = \"Single\"\nslug = \"single\"\nexternal_host = \"http://single.example.test\"\n";
    let stage = Stage::of(Provider::start(config).await.unwrap(), "proxy-secret", "", applications).await;
    let (single, wiki) = ("http://single.example.test/", "http://wiki.example.test/");
    let (name, of_domain) = session_of(&stage, wiki, "alice").await;
    let (same, of_single) = session_of(&stage, single, "bob").await;
    assert_eq!(name, same, "without https there is no prefix");
    let both = format!("{name}={of_domain}; {name}={of_single}");
    let ask = async |url| stage.ask("traefik", &mut stage.browser(), Method::GET, url, &[("cookie", &*both)]).await;
    assert_eq!(ask(single).await.is(200).header("x-authentik-username"), "bob");
    assert_eq!(ask(wiki).await.is(200).header("x-authentik-username"), "alice");
}

/// Forepost cannot know which of two users asks for the end of all sessions.
#[tokio::test]
async fn different_users_sign_out_here_alone() {
    let stage =
        Stage::tuned(forepost::world::World::system(), |_| (), |settings| settings.session.sign_out_everywhere = true)
            .await;
    stage.daemon.ready().await;
    let (name, alice) = session_of(&stage, APP, "alice").await;
    let (_, bob) = session_of(&stage, APP, "bob").await;
    let (_, elsewhere) = session_of(&stage, APP, "alice").await;
    let is_in = async |cookie: &str| {
        let cookie = format!("Cookie: {name}={cookie}");
        raw::ask(&stage, "traefik", "app.example.com", b"/page", &[cookie.as_bytes()]).await == 200
    };
    let both = format!("{name}={alice}; {name}={bob}");
    let everywhere = START.replace("start", "sign_out?everywhere=true");
    let headers = [("cookie", &*both), ("origin", "https://app.example.com")];
    let reply = stage.browser().send(Method::POST, &everywhere, &headers, None).await;
    reply.is(200).contains("Not signed out elsewhere");
    assert!(!is_in(&alice).await && !is_in(&bob).await && is_in(&elsewhere).await);
}
