//! Where a browser ends: some hundreds of targets, through every door, to the last `Location` of a completed login.

use forepost::daemon::catalog;
use forepost::login::{ReturnTarget, requested_target};
use forepost::settings::Settings;
use forepost::world::World;
use http::{HeaderValue, Method};
use url::Url;

use super::{RULES, START};
use crate::provider::{Algorithm, Config, Jwks, Provider};
use crate::support::{Browser, Reply, Stage, client, fill_in};

const HOSTILE: &str = include_str!("../../data/redirects/hostile.txt");
const FRIENDLY: &str = include_str!("../../data/redirects/friendly.txt");

const HOMES: [(Mode, &str); 2] =
    [(Mode::Single, "https://app.example.com/"), (Mode::Domain, "https://auth.example.test/")];

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Single,
    Domain,
}

impl Mode {
    fn home(self) -> &'static str {
        HOMES[self as usize].1
    }

    /// Whether `labels` name one of the application's hosts.
    fn owns(self, labels: &[&str]) -> bool {
        match self {
            Self::Single => labels == ["app", "example", "com"],
            Self::Domain => labels.ends_with(&["example", "test"]) && labels.iter().all(|label| !label.is_empty()),
        }
    }
}

/// `{2f}` is the character U+002F.
fn decode(line: &str) -> String {
    let mut parts = line.split('{');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (number, rest) = part.split_once('}').unwrap_or_else(|| panic!("no }} in {line}"));
        text.push(char::from_u32(u32::from_str_radix(number, 16).unwrap()).unwrap());
        text.push_str(rest);
    }
    text
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with("# "))
}

fn hostile() -> Vec<String> {
    let targets: Vec<_> = lines(HOSTILE).map(decode).collect();
    assert!(targets.len() > 700, "{}", targets.len());
    targets
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// `location` leads to the application: as text, label by label, and as a browser reads it.
#[track_caller]
fn inside(mode: Mode, location: &str, what: &str) {
    let wrong = || format!("{what:?} leads to {location:?}");
    assert!(location.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b'\\'), "{}", wrong());
    let (authority, _) = location
        .strip_prefix("https://")
        .and_then(|rest| rest.split_once('/'))
        .unwrap_or_else(|| panic!("{}", wrong()));
    let (host, port) = authority.split_once(':').unwrap_or((authority, "443"));
    assert!(port.parse::<u16>().is_ok(), "{}", wrong());
    assert!(mode.owns(&host.split('.').collect::<Vec<_>>()), "{}", wrong());
    assert!(
        host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte)),
        "{}",
        wrong()
    );

    let url = Url::parse(location).unwrap_or_else(|_| panic!("{}", wrong()));
    assert_eq!(
        (url.scheme(), url.host_str(), url.username(), url.password()),
        ("https", Some(host), "", None),
        "{}",
        wrong()
    );
    let path = url.path().replace("%6f", "o").replace("%2e", ".");
    assert!(!path.trim_start_matches('/').starts_with("outpost.goauthentik.io"), "our own endpoint: {}", wrong());
}

/// A provider and a daemon with [`RULES`]; its tokens are of the kind that is verified fastest.
async fn stage() -> Stage {
    let secret = "a client secret that is long enough for HS256";
    let origins = HOMES.map(|(_, home)| home.trim_end_matches('/'));
    let config = Config { clients: vec![client("proxy", Some(secret), &origins)], ..Config::default() };
    let provider = Provider::start(config).await.unwrap();
    provider.set(|behaviour| {
        behaviour.algorithm = Algorithm::Hs256;
        behaviour.jwks = Jwks::EmptyObject;
    });
    Stage::of(provider, secret, "", RULES).await
}

/// A browser that is known to the provider, and nowhere else signed in.
async fn known(stage: &Stage) -> Browser {
    let mut browser = stage.browser();
    let start = browser.get(START).await;
    let page = browser.get(start.is(302).location().as_str()).await;
    fill_in(&mut browser, &page, "alice").await;
    browser
}

/// Where a login ends that began with `start`; the session is used once, so that this is not a loop.
async fn end_of(stage: &Stage, browser: &mut Browser, mode: Mode, start: Reply) -> String {
    let back = stage.come_back(browser, start, "alice").await;
    let end = back.is(302).header("location");
    stage.check("caddy", browser, mode.home()).await.is(200);
    end
}

/// SECURITY: 1, 3, 4, 5, 6, 20, 24, 47, 55, 62, 66, 77, 80, 84, 95, 96
#[test]
fn no_text_is_read_as_another_place() {
    let settings = Settings::from_toml(&format!(
        "[identity_provider.idp]\nissuer = \"https://idp.test\"\nclient_id = \"x\"\nclient_secret = \"x\"\n{RULES}"
    ))
    .unwrap();
    let (catalog, _) = catalog(&settings, World::system());
    for (mode, slug) in [(Mode::Single, "app"), (Mode::Domain, "domain")] {
        let app = catalog.application(slug).unwrap();
        let parsed = |text: &str| ReturnTarget::parse(app, text);
        for target in hostile() {
            let (once, twice) = (encoded(&target), encoded(&encoded(&target)));
            let unescaped: String =
                url::form_urlencoded::parse(format!("x={target}").as_bytes()).next().unwrap().1.into();
            let queries =
                [format!("rd={target}"), format!("rd={once}"), format!("rd={twice}"), format!("x&rd={target}")];
            let asked = queries.iter().filter_map(|query| requested_target(query));
            for text in asked.chain([
                target.clone(),
                unescaped,
                format!("/{target}"),
                format!("https://{target}"),
                format!("{}{target}", mode.home()),
                format!("{}{target}", mode.home().trim_end_matches('/')),
            ]) {
                if let Some(found) = parsed(&text) {
                    inside(mode, found.as_str(), &text);
                    // What was found is found again, so a second reading changes nothing.
                    assert_eq!(parsed(found.as_str()).as_ref().map(ReturnTarget::as_str), Some(found.as_str()));
                }
            }
        }
        for (_, target, expected) in friendly().into_iter().filter(|(it, ..)| *it == mode) {
            assert_eq!(parsed(&target).as_ref().map(ReturnTarget::as_str), Some(expected.as_str()), "{target}");
            inside(mode, &expected, &target);
        }
    }
}

fn friendly() -> Vec<(Mode, String, String)> {
    let rows: Vec<_> = lines(FRIENDLY)
        .map(|line| {
            let [mode, target, expected] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
            let mode = if mode == "single" { Mode::Single } else { Mode::Domain };
            (mode, decode(target), decode(if expected == "=" { target } else { expected }))
        })
        .collect();
    assert!(rows.len() > 50, "{}", rows.len());
    rows
}

/// SECURITY: 1, 3, 4, 5, 6, 20, 24, 47, 55, 62, 66, 77, 80, 84, 95, 96, 97, 97b
#[tokio::test]
async fn no_login_and_no_sign_out_leads_away() {
    let stage = stage().await;
    let mut browser = known(&stage).await;
    let out = START.replace("start", "sign_out");
    let from_here = [("origin", "https://app.example.com")];
    let stranger = stage.browser();
    for (number, target) in hostile().into_iter().enumerate() {
        let once = encoded(&target);
        // Each target as it is meant; and in turn in a domain, encoded twice, and not at all.
        let others = [(Mode::Domain, once.clone()), (Mode::Single, encoded(&once)), (Mode::Single, target.clone())];
        for (mode, query) in [(Mode::Single, once.clone()), others[number % 3].clone()] {
            let start = browser.get(&format!("{}outpost.goauthentik.io/start?rd={query}", mode.home())).await;
            let end = end_of(&stage, &mut browser, mode, start).await;
            inside(mode, &end, &query);
        }
        let names = ["rd", "post_logout_redirect_uri", "redirect", "redirect_uri", "next", "url", "returnTo", "rd"];
        let query: Vec<_> = names.iter().map(|name| format!("{name}={once}")).collect();
        let out = format!("{out}?{}", query.join("&"));
        let anonymous = stranger.clone().send(Method::POST, &out, &from_here, None).await;
        assert_eq!(anonymous.is(200).header("location"), "", "{target:?}");
        assert!(!anonymous.body.contains("evil.test"), "{anonymous:#?}");
        if number % 8 == 0 {
            let done = browser.send(Method::POST, &out, &from_here, None).await;
            let end = done.is(303).location();
            assert!(end.as_str().starts_with(&format!("{}/end-session?", stage.provider.issuer())), "{end}");
            let random = |name: &str| name == "id_token_hint" || name == "state";
            let mut sent: Vec<_> = end.query_pairs().filter(|(name, _)| !random(name)).collect();
            sent.sort();
            let back = "https://app.example.com/outpost.goauthentik.io/signed_out";
            let expected = [("client_id", "proxy"), ("post_logout_redirect_uri", back)];
            assert_eq!(sent, expected.map(|(name, value)| (name.into(), value.into())), "{target:?}");
        }
    }
}

/// SECURITY: 1, 3, 4, 5, 6, 20, 24, 31, 47, 48, 55, 62, 66, 77, 80, 84, 95, 96
#[tokio::test]
async fn no_forwarded_url_leads_away() {
    let stage = stage().await;
    let known = known(&stage).await;
    let mut redirected = 0;
    for target in hostile() {
        let host = target
            .split_once("//")
            .map_or(target.as_str(), |(_, rest)| rest)
            .split('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        let questions: [(&str, Vec<(&str, String)>); 6] = [
            ("traefik", vec![("x-forwarded-host", "app.example.com".into()), ("x-forwarded-uri", target.clone())]),
            (
                "caddy",
                vec![("x-forwarded-host", "deep.example.test".into()), ("x-forwarded-uri", format!("/{target}"))],
            ),
            ("traefik", vec![("x-forwarded-host", host), ("x-forwarded-uri", "/x".into())]),
            ("caddy", vec![("x-forwarded-host", target.clone()), ("x-forwarded-uri", "/x".into())]),
            ("nginx", vec![("x-original-url", target.clone())]),
            ("nginx", vec![("x-original-url", format!("https://app.example.com{target}"))]),
        ];
        for (dialect, fields) in questions {
            if fields.iter().any(|(_, value)| HeaderValue::from_bytes(value.as_bytes()).is_err()) {
                continue;
            }
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
                .chain([("x-forwarded-proto", "https")])
                .collect();
            let mut browser = known.clone();
            // The browser's own host, for its cookies.
            let domain =
                fields.iter().any(|(name, value)| *name == "x-forwarded-host" && value.contains("example.test"));
            let home = if domain { Mode::Domain } else { Mode::Single }.home();
            let url = format!("{home}outpost.goauthentik.io/auth/{dialect}");
            let mut answer = browser.send(Method::GET, &url, &fields, None).await;
            let what = format!("{fields:?}");
            if answer.status == 401 && dialect == "nginx" {
                let login = answer.header("location");
                let (start, _) =
                    login.split_once("/outpost.goauthentik.io/start?rd=").unwrap_or_else(|| panic!("{answer:#?}"));
                let mode = if start == "https://app.example.com" { Mode::Single } else { Mode::Domain };
                inside(mode, &format!("{start}/"), &what);
                answer = browser.get(&login).await;
            }
            if answer.status.is_redirection() {
                redirected += 1;
                let marked = answer.parameter("redirect_uri").unwrap();
                let mode = if marked.starts_with("https://app.example.com/") { Mode::Single } else { Mode::Domain };
                let end = end_of(&stage, &mut browser, mode, answer).await;
                inside(mode, &end, &what);
            } else {
                assert!([400, 401, 403].contains(&answer.status.as_u16()), "{what}: {answer:#?}");
                assert_eq!(answer.header("location"), "", "{what}");
            }
        }
    }
    assert!(redirected > 300, "{redirected}");
}

#[tokio::test]
async fn friendly_targets_are_kept_to_the_letter() {
    let stage = stage().await;
    let mut browser = known(&stage).await;
    for (mode, target, expected) in friendly() {
        let start = browser.get(&format!("{}outpost.goauthentik.io/start?rd={}", mode.home(), encoded(&target))).await;
        assert_eq!(end_of(&stage, &mut browser, mode, start).await, expected, "{target}");
    }
    // The same through forwarded URLs, as far as a request can have them: without a fragment.
    let known = known(&stage).await;
    for (mode, target, expected) in friendly() {
        if !target.starts_with('/') || target.contains('#') {
            continue;
        }
        for dialect in ["traefik", "caddy", "nginx"] {
            let mut browser = known.clone();
            let url = format!("{}{target}", mode.home().trim_end_matches('/'));
            let mut login = stage.check(dialect, &mut browser, &url).await;
            if dialect == "nginx" {
                login = browser.get(&login.is(401).header("location")).await;
            }
            assert_eq!(end_of(&stage, &mut browser, mode, login).await, expected, "{dialect} {url}");
        }
    }
}
