//! The decision table: every dialect, application mode, credential, path and kind of request, with what is answered.
//!
//! It is the specification, kept readable in `decision-table.txt`.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Request};
use tokio_util::task::TaskTracker;

use super::*;
use crate::app::{Application, Registry, samples};
use crate::cookie::Sealer;
use crate::forwarded::{Dialect, ENVOY_PREFIX, TrustedProxies};
use crate::login::{LoginParts, Logins};
use crate::logout::{LogoutParts, Logouts, Revoker};
use crate::oidc::Provider;
use crate::serve::Peer;
use crate::session::samples::{alice, bob};
use crate::session::{MemoryStore, Session, SessionStore, SessionToken};
use crate::settings::{Action, PathPattern, PublicPathRule, Requirement, Revalidation, RoutineChecks, Rule};
use crate::telemetry::log::Sampler;
use crate::telemetry::metrics::Metrics;
use crate::token::{TokenParts, Tokens};
use crate::world::{UnixTime, World};

const ISSUER: &str = "https://idp.example.com";
const HOUR: Duration = Duration::from_hours(1);
const EXPECTED: &str = include_str!("decision-table.txt");

/// An outpost in process, with one application of each mode and sessions of every sort.
struct Stage {
    outpost: Outpost,
    cookies: BTreeMap<(Mode, Credential), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Single,
    Domain,
}

const MODES: [Mode; 2] = [Mode::Single, Mode::Domain];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Credential {
    None,
    Garbage,
    Truncated,
    Unknown,
    Expired,
    Idle,
    Revoked,
    OtherApplication,
    BadTwice,
    Valid,
    BadThenValid,
    ValidThenBad,
    NotEntitled,
}

const CREDENTIALS: [Credential; 13] = [
    Credential::None,
    Credential::Garbage,
    Credential::Truncated,
    Credential::Unknown,
    Credential::Expired,
    Credential::Idle,
    Credential::Revoked,
    Credential::OtherApplication,
    Credential::BadTwice,
    Credential::Valid,
    Credential::BadThenValid,
    Credential::ValidThenBad,
    Credential::NotEntitled,
];

/// Name, method and headers of a kind of request.
type Kind = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The columns of the table.
const KINDS: [Kind; 10] = [
    ("navigation", "GET", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")]),
    ("post", "POST", &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document"), ("accept", "text/html")]),
    ("no hints", "GET", &[]),
    ("head", "HEAD", &[]),
    ("fetch", "GET", &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")]),
    ("api", "GET", &[("accept", "application/json")]),
    ("image", "GET", &[("sec-fetch-mode", "no-cors"), ("sec-fetch-dest", "image")]),
    ("websocket", "GET", &[("upgrade", "websocket"), ("sec-websocket-key", "x")]),
    ("preflight", "OPTIONS", &[("origin", "https://spa.example.com"), ("access-control-request-method", "PUT")]),
    ("stranger's", "OPTIONS", &[("origin", "https://evil.test"), ("access-control-request-method", "PUT")]),
];

/// Names and targets of the paths.
const PATHS: [(&str, &str); 11] = [
    ("restricted", "/page?x=/public/"),
    ("public", "/public/page"),
    ("perhaps public", "/public/..%2fpage"),
    ("ambiguous", "//y/public"),
    ("outpost's own", "/outpost.goauthentik.io/start?rd=/page"),
    ("near the outpost's", "/outpost.goauthentik.io/../page"),
    ("denied", "/shut"),
    ("perhaps denied", "/open/..%2fshut"),
    ("public for GET", "/open"),
    ("better login's", "/gold"),
    ("staff's", "/staff"),
];

/// Rules of each kind.
fn rules() -> Vec<Rule> {
    let rule = |path: &str, methods: &[Method], action| Rule {
        hosts: Vec::new(),
        paths: vec![PathPattern::Prefix(path.into())],
        methods: methods.to_vec(),
        networks: Vec::new(),
        when: None,
        action,
    };
    let require = |requirement| Action::Require(vec![requirement]);
    vec![
        rule("/shut", &[], Action::Deny),
        rule("/open", &[Method::GET, Method::HEAD], Action::Public),
        rule("/gold", &[], require(Requirement { acr: vec!["gold".into()], ..Requirement::default() })),
        rule("/staff", &[], require(Requirement { groups_all: vec!["staff".into()], ..Requirement::default() })),
    ]
}

impl Stage {
    async fn new() -> Self {
        let world = World::system();
        let change = |app: &mut crate::settings::Application| {
            app.required_groups = vec!["admins".into()];
            app.rules = rules();
            app.cors.allowed_origins = vec!["https://spa.example.com".into()];
            app.cors.pass_preflight = true;
            app.public_paths =
                vec![PublicPathRule { path: PathPattern::Prefix("/public".into()), host: None, methods: Vec::new() }];
        };
        let single = Arc::new(samples::application("https://app.example.com", None, change));
        let domain = Arc::new(samples::application("https://auth.example.test", Some("example.test"), change));
        let other = samples::single("https://other.example.com");
        let metrics = Arc::new(Metrics::new("forepost", [], ["default"], &DIALECTS, &VERDICTS));
        let observer = Arc::clone(&metrics);
        let provider = Provider::known("default", samples::provider_settings(ISSUER), world.clone(), observer);
        let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new(crate::session::contract::parts(1000)));
        let provider = Arc::new(provider);
        let revoker = Revoker::new(TaskTracker::new());
        let logouts = Logouts::new(LogoutParts {
            world: world.clone(),
            store: Arc::clone(&store),
            providers: [("default".to_owned(), Arc::clone(&provider))].into(),
            lifetime: HOUR,
            everywhere: false,
            revoker: Arc::clone(&revoker),
            background: TaskTracker::new(),
        });
        let logins = Arc::new(Logins::new(LoginParts {
            world: world.clone(),
            sealer: Sealer::new(b"secret"),
            store: Arc::clone(&store),
            providers: [("default".to_owned(), provider)].into(),
            metrics: Arc::clone(&metrics),
            lifetime: HOUR,
            idle_timeout: None,
            revalidation: Revalidation { after: None, within: HOUR, silent_login: false, reauthorize_after: None },
            revoker,
        }));
        let mut cookies = BTreeMap::new();
        for (mode, app) in [(Mode::Single, &single), (Mode::Domain, &domain)] {
            for credential in CREDENTIALS {
                let cookie = cookie(credential, app, &other, store.as_ref(), &world).await;
                cookies.insert((mode, credential), cookie);
            }
        }
        let tokens = Tokens::new(TokenParts {
            world: world.clone(),
            providers: HashMap::new(),
            issuers: HashMap::new(),
            metrics: Arc::clone(&metrics),
        });
        let outpost = Outpost::new(OutpostParts {
            tokens,
            registry: Registry::new(vec![single, domain], false),
            logins,
            logouts,
            store,
            metrics,
            sampler: Sampler::new(RoutineChecks::Off),
            world,
            trusted: TrustedProxies::new(vec!["127.0.0.0/8".parse().unwrap()]),
        });
        Self { outpost, cookies }
    }

    /// The question of `dialect`'s proxy about a request.
    fn question(&self, dialect: Dialect, mode: Mode, credential: Credential, path: &str, kind: usize) -> Parts {
        let (_, method, fields) = KINDS[kind];
        let host = match mode {
            Mode::Single => "app.example.com",
            Mode::Domain => "deep.app.example.test",
        };
        let mut request = match dialect {
            Dialect::Envoy => Request::builder().method(method).uri(format!("{ENVOY_PREFIX}{path}")),
            Dialect::Traefik | Dialect::Caddy | Dialect::Nginx => {
                Request::get(format!("/outpost.goauthentik.io/auth/{}", dialect.as_str()))
            }
        };
        request = request.header(HOST, host);
        request = match dialect {
            Dialect::Traefik | Dialect::Caddy => request
                .header("x-forwarded-method", method)
                .header("x-forwarded-proto", "https")
                .header("x-forwarded-host", host)
                .header("x-forwarded-uri", path),
            Dialect::Nginx => request.header("x-original-url", format!("https://{host}{path}")),
            Dialect::Envoy => request.header("x-forwarded-proto", "https"),
        };
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let cookie = &self.cookies[&(mode, credential)];
        if !cookie.is_empty() {
            request = request.header(COOKIE, cookie);
        }
        request.body(()).unwrap().into_parts().0
    }

    async fn cell(&self, dialect: Dialect, mode: Mode, credential: Credential, path: &str, kind: usize) -> Cell {
        let parts = self.question(dialect, mode, credential, path, kind);
        let answer = self.outpost.answer(&parts, Peer::Ip(([127, 0, 0, 1], 1).into())).await;
        let headers = answer.headers();
        let location = headers.get(LOCATION).map(|it| it.to_str().unwrap());
        let identity = headers.get("x-authentik-username").map(HeaderValue::as_bytes);
        assert!(headers.iter().filter(|(name, _)| name.as_str().starts_with("x-authentik")).count() % 12 == 0);
        let cookies = headers.get_all(SET_COOKIE).iter().count();
        Cell {
            status: answer.status().as_u16(),
            location: match location {
                None => "",
                Some(url) if url.starts_with(&format!("{ISSUER}/authorize?")) => " provider",
                Some(url) if url.contains("/outpost.goauthentik.io/start?rd=") => {
                    match headers.get(reply::ACTION).map(HeaderValue::as_bytes) {
                        Some(b"redirect") => " login:redirect",
                        Some(b"challenge") => " login:challenge",
                        _ => " elsewhere",
                    }
                }
                Some(_) => " elsewhere",
            },
            identity: match identity {
                None => "",
                Some(b"") => " nobody",
                Some(b"alice") => " alice",
                Some(_) => " somebody",
            },
            cookies,
        }
    }
}

/// What was answered, as far as the table tells.
struct Cell {
    status: u16,
    location: &'static str,
    identity: &'static str,
    cookies: usize,
}

impl Cell {
    fn text(&self) -> String {
        let Self { status, location, identity, cookies } = self;
        let cookies = if *cookies == 0 { String::new() } else { format!(" +{cookies}") };
        format!("{status}{location}{identity}{cookies}")
    }
}

async fn cookie(
    credential: Credential,
    app: &Application,
    other: &Application,
    store: &dyn SessionStore,
    world: &World,
) -> String {
    let now = world.now();
    let ago =
        |duration: Duration| UnixTime::from_millis(now.as_millis() - u64::try_from(duration.as_millis()).unwrap());
    let keep = async |session: Session| {
        let token = SessionToken::generate(world).unwrap();
        store.save(&token, Arc::new(session)).await.unwrap();
        token
    };
    let good = async || keep(alice(app, now, HOUR, None)).await.encode();
    let unknown = || SessionToken::generate(world).unwrap().encode();
    let values = match credential {
        Credential::None => vec![],
        Credential::Garbage => vec!["garbage; = ;".to_owned()],
        Credential::Truncated => vec![good().await[..42].to_owned()],
        Credential::Unknown => vec![unknown()],
        Credential::Expired => vec![keep(alice(app, ago(HOUR), HOUR, None)).await.encode()],
        Credential::Idle => vec![keep(alice(app, ago(HOUR / 20 * 11), HOUR, Some(HOUR / 2))).await.encode()],
        Credential::Revoked => {
            let token = keep(alice(app, now, HOUR, None)).await;
            store.remove(&token).await.unwrap();
            vec![token.encode()]
        }
        Credential::OtherApplication => vec![keep(alice(other, now, HOUR, None)).await.encode()],
        Credential::BadTwice => vec![unknown(), "garbage".to_owned()],
        Credential::Valid => vec![good().await],
        Credential::BadThenValid => vec![unknown(), good().await],
        Credential::ValidThenBad => vec![good().await, "garbage".to_owned()],
        Credential::NotEntitled => vec![keep(bob(app, now, HOUR)).await.encode()],
    };
    let name = app.cookies.session().as_str();
    values.iter().map(|value| format!("{name}={value}")).collect::<Vec<_>>().join("; ")
}

/// Whether an identity, a rule or a permitted preflight is there to be proved; said again, without the program's own code.
fn is_proved(dialect: Dialect, credential: Credential, path: &str, kind: &str) -> bool {
    let entitled = matches!(credential, Credential::Valid | Credential::BadThenValid | Credential::ValidThenBad);
    let told_preflight = kind == "preflight" && dialect != Dialect::Nginx;
    let has_session = entitled || credential == Credential::NotEntitled;
    let told_get = dialect != Dialect::Nginx && !["post", "preflight", "stranger's"].contains(&kind);
    match path {
        "outpost's own" | "denied" | "perhaps denied" | "ambiguous" => false,
        "public" => true,
        "public for GET" => entitled || told_preflight || told_get,
        "better login's" => told_preflight,
        "staff's" => has_session || told_preflight,
        _ => entitled || told_preflight,
    }
}

#[tokio::test]
async fn the_decision_table() {
    let stage = Stage::new().await;
    let mut table = String::from(HEAD);
    for (path_name, path) in PATHS {
        let mut sections: Vec<(Vec<&str>, String)> = Vec::new();
        for dialect in Dialect::ALL {
            let section = section(&stage, dialect, path_name, path).await;
            match sections.iter_mut().find(|(_, other)| *other == section) {
                Some((dialects, _)) => dialects.push(dialect.as_str()),
                None => sections.push((vec![dialect.as_str()], section)),
            }
        }
        for (dialects, section) in sections {
            let _ = write!(table, "\n== {path_name} path: {} ==\n{section}", dialects.join(", "));
        }
    }
    if std::env::var_os("FOREPOST_WRITE_TABLE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/decision-table.txt"), &table).unwrap();
    } else {
        assert!(table == EXPECTED, "the table changed; with FOREPOST_WRITE_TABLE=1 this test writes it anew:\n{table}");
    }
}

/// The rows of one path in one dialect; credentials and kinds with equal answers stand together.
async fn section(stage: &Stage, dialect: Dialect, path_name: &str, path: &str) -> String {
    let mut rows: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for mode in MODES {
        for credential in CREDENTIALS {
            let mut row = Vec::new();
            for (kind, (kind_name, ..)) in KINDS.iter().enumerate() {
                let cell = stage.cell(dialect, mode, credential, path, kind).await;
                let what = format!("{dialect:?} {mode:?} {credential:?} {path_name} {kind_name}: {}", cell.text());
                let proved = is_proved(dialect, credential, path_name, kind_name);
                assert_eq!((200..300).contains(&cell.status), proved, "a 2xx if and only if proved: {what}");
                assert!(cell.status != 200 || cell.cookies == 0, "{what}");
                row.push(format!("{kind_name}: {}", cell.text()));
            }
            let name = format!("{mode:?}/{credential:?}");
            match rows.iter_mut().find(|(_, other)| *other == row) {
                Some((names, _)) => names.push(name),
                None => rows.push((vec![name], row)),
            }
        }
    }
    let mut text = String::new();
    for (names, row) in rows {
        let _ = writeln!(text, "{}", credentials(&names));
        for (answer, kinds) in by_answer(&row) {
            let _ = writeln!(text, "    {answer:<24} {kinds}");
        }
    }
    text
}

const HEAD: &str = "\
What a check is answered: by path, dialect and credential, for each kind of request.
Made by the test `the_decision_table`, which also proves that a 2xx is given if and only if an identity or a public rule was proved.

A line tells the status; where Location leads (`provider`: the authorisation endpoint, `login`: our start link, with the
action that nginx and HAProxy are told); whose identity headers are there (`nobody`: all of them, empty); how many cookies are set.
A credential stands for both modes, one host and a whole domain, unless it says otherwise.
";

/// `Single/X` and `Domain/X` as `X`.
fn credentials(names: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        let (mode, credential) = name.split_once('/').unwrap();
        let twin = if mode == "Single" { "Domain" } else { "Single" };
        let both = names.contains(&format!("{twin}/{credential}"));
        let text = if both { credential.to_owned() } else { format!("{credential} ({mode})") };
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    shown.join(", ")
}

/// Kinds of requests that get the same answer, together, in the order of the columns.
fn by_answer(row: &[String]) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    for cell in row {
        let (kind, answer) = cell.split_once(": ").unwrap();
        match groups.iter_mut().find(|(other, _)| other == answer) {
            Some((_, kinds)) => {
                kinds.push_str(", ");
                kinds.push_str(kind);
            }
            None => groups.push((answer.to_owned(), kind.to_owned())),
        }
    }
    groups
}
