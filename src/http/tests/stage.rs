//! What the decision table is asked of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use http::request::Parts;
use http::{HeaderValue, Method, Request};
use tokio_util::task::TaskTracker;

use crate::access::{Action, PathPattern, PublicPathRule, Requirement, Rule};
use crate::app::{Application, samples};
use crate::catalog::samples::catalog;
use crate::cookie::Sealer;
use crate::credentials::CredentialVerifier;
use crate::forwarded::{Dialect, ENVOY_PREFIX, TrustedProxies};
use crate::http::{DIALECTS, Outpost, OutpostParts, VERDICTS, reply};
use crate::login::{LoginParts, Logins};
use crate::logout::{LogoutParts, Logouts, Revoker};
use crate::oidc::Provider;
use crate::refresh::Refresher;
use crate::serve::Peer;
use crate::session::Revalidation;
use crate::session::samples::{alice, bob};
use crate::session::{MemoryStore, Session, SessionStore, SessionToken};
use crate::telemetry::RoutineChecks;
use crate::telemetry::log::Sampler;
use crate::telemetry::metrics::Metrics;
use crate::world::{UnixTime, World};

const ISSUER: &str = "https://idp.example.com";
const HOUR: Duration = Duration::from_hours(1);

/// An outpost in process, with one application of each mode and sessions of every sort.
pub(super) struct Stage {
    pub(super) outpost: Outpost,
    pub(super) cookies: BTreeMap<(Mode, Credential), String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Mode {
    Single,
    Domain,
}

pub(super) const MODES: [Mode; 2] = [Mode::Single, Mode::Domain];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Credential {
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

pub(super) const CREDENTIALS: [Credential; 13] = [
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
pub(super) type Kind = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

/// The columns of the table.
pub(super) const KINDS: [Kind; 10] = [
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
    pub(super) async fn new() -> Self {
        let world = World::system();
        let change = |app: &mut crate::app::DeclaredApplication| {
            app.required_groups = vec!["admins".into()];
            app.rules = rules();
            app.cors.allowed_origins = vec!["https://spa.example.com".into()];
            app.cors.pass_preflight = true;
            app.public_paths =
                vec![PublicPathRule { path: PathPattern::Prefix("/public".into()), host: None, methods: Vec::new() }];
        };
        let metrics = Arc::new(Metrics::new("forepost", &DIALECTS, &VERDICTS));
        let observer = Arc::clone(&metrics);
        let provider = Provider::known("default", samples::provider_settings(ISSUER), world.clone(), observer);
        let provider = Arc::new(provider);
        let at_provider =
            |host: &str, domain: Option<&str>| samples::at_provider(host, domain, Arc::clone(&provider), change);
        let catalog = catalog(vec![
            at_provider("https://app.example.com", None),
            at_provider("https://auth.example.test", Some("example.test")),
        ]);
        let other = samples::single("https://other.example.com");
        let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new(crate::session::contract::parts(1000)));
        let revoker = Revoker::new(TaskTracker::new());
        let logouts = Logouts::new(LogoutParts {
            world: world.clone(),
            store: Arc::clone(&store),
            lifetime: HOUR,
            everywhere: false,
            revoker: Arc::clone(&revoker),
            background: TaskTracker::new(),
        });
        let revalidation = Revalidation { after: None, within: HOUR, silent_login: false, reauthorize_after: None };
        let refresher = Arc::new(Refresher::new(
            world.clone(),
            Arc::clone(&store),
            Arc::clone(&metrics),
            revalidation,
            Arc::clone(&revoker),
        ));
        let logins = Arc::new(Logins::new(LoginParts {
            world: world.clone(),
            sealer: Sealer::new(b"secret"),
            store: Arc::clone(&store),
            refresher: Arc::clone(&refresher),
            lifetime: HOUR,
            idle_timeout: None,
            revalidation,
            revoker,
            background: TaskTracker::new(),
        }));
        let mut cookies = BTreeMap::new();
        let snapshot = catalog.load_full();
        for (mode, app) in [Mode::Single, Mode::Domain].into_iter().zip(snapshot.applications()) {
            for credential in CREDENTIALS {
                let cookie = cookie(credential, app, &other, store.as_ref(), &world).await;
                cookies.insert((mode, credential), cookie);
            }
        }
        let credentials = CredentialVerifier::new(world.clone());
        let outpost = Outpost::new(OutpostParts {
            credentials,
            catalog,
            logins,
            refresher,
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

    pub(super) async fn cell(
        &self,
        dialect: Dialect,
        mode: Mode,
        credential: Credential,
        path: &str,
        kind: usize,
    ) -> Cell {
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
                Some(b"") => " empty",
                Some(b"alice") => " alice",
                Some(_) => " another user",
            },
            cookies,
        }
    }
}

/// What was answered, as far as the table tells.
pub(super) struct Cell {
    pub(super) status: u16,
    location: &'static str,
    identity: &'static str,
    pub(super) cookies: usize,
}

impl Cell {
    pub(super) fn text(&self) -> String {
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
