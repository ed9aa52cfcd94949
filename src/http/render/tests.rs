//! Each outcome in each dialect.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE, LOCATION, SET_COOKIE, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt as _;

use super::*;
use crate::access::{Because, Decision, Forbidden, Permit, decide};
use crate::app::Application;
use crate::app::samples::single;
use crate::catalog::Catalog;
use crate::credentials::Scheme;
use crate::forwarded::{ClientHints, OriginalRequest, Target, TrustedProxies};
use crate::host::{Authority, Scheme as UrlScheme};
use crate::http::outcome::{BadCredentials, Cause, CredentialError, Denial, Forbid, ToLogin, Unavailable};
use crate::http::request::Received;
use crate::identity::Assurance;
use crate::login::{ReturnTarget, StartError};
use crate::oidc::OidcError;
use crate::pages::BadRequest;
use crate::serve::Peer;
use crate::session::Session;
use crate::session::samples::alice;
use crate::telemetry::RequestIds;
use crate::world::{UnixTime, World};

const NOW: UnixTime = UnixTime::from_secs(1_000_000);

/// A navigation to an application.
struct Scene {
    app: Application,
    headers: HeaderMap,
    proxies: TrustedProxies,
    head: http::request::Parts,
}

impl Scene {
    fn new() -> Self {
        Self {
            app: single("https://app.example.com"),
            headers: HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("text/html"))]),
            proxies: TrustedProxies::new(Vec::new()),
            head: Request::new(()).into_parts().0,
        }
    }

    fn original(&self) -> OriginalRequest<'_> {
        OriginalRequest {
            scheme: Some(UrlScheme::Https),
            authority: Authority::parse("app.example.com").unwrap(),
            asked_at: None,
            target: Target::parse("/page").unwrap(),
            method: Some(Method::GET),
            client: ClientHints::new(&self.headers, false),
        }
    }

    fn render(&self, dialect: Dialect, original: &OriginalRequest<'_>, outcome: Outcome<'_>) -> Answer {
        let id = RequestIds::new(&World::system()).next();
        let catalog = Catalog::default();
        let received = Received::new(&self.head, &catalog, Peer::UnixSocket { uid: None }, &self.proxies, id);
        render(dialect, outcome, &Context { received: &received, original: Some(original), app: Some(&self.app) })
    }
}

/// Makes a denial.
type Make = for<'c> fn(&'c Application, &'c OriginalRequest<'c>) -> Denial<'c>;

/// Every denial, by the name of its variant.
const DENIALS: [(&str, Make); 24] = [
    ("to login", |_, _| to_login(false)),
    ("to login", |_, _| to_login(true)),
    ("challenge", |_, _| Denial::Challenge { login_url: "https://login".into(), origin: None }),
    ("challenge", |_, _| Denial::Challenge { login_url: "https://login".into(), origin: Some("https://spa") }),
    ("bad credentials", |app, _| bad(app, CredentialError::Invalid, Scheme::Bearer)),
    ("bad credentials", |app, _| bad(app, CredentialError::Invalid, Scheme::Basic)),
    ("bad credentials", |app, _| bad(app, CredentialError::Scope(&[]), Scheme::Bearer)),
    ("bad credentials", |app, _| bad(app, CredentialError::Limited, Scheme::Bearer)),
    ("forbid", |app, original| forbid(app, original, None)),
    ("forbid", |app, original| forbid(app, original, Some("https://resource".into()))),
    ("refuse", |_, _| Denial::Refuse(BadRequest::UntrustedProxy)),
    ("refuse", |_, _| Denial::Refuse(BadRequest::Malformed)),
    ("refuse", |_, _| Denial::Refuse(BadRequest::UnknownHost)),
    ("refuse", |_, _| Denial::Refuse(BadRequest::TwoHosts)),
    ("own path", |_, _| own_path(StatusCode::OK)),
    ("own path", |_, _| own_path(StatusCode::NO_CONTENT)),
    ("own path", |_, _| own_path(StatusCode::FOUND)),
    ("own path", |_, _| own_path(StatusCode::SERVICE_UNAVAILABLE)),
    ("own path, not relayed", |_, _| Denial::OwnPathNotRelayed),
    ("unavailable", |app, _| unavailable(app, Cause::Store)),
    ("unavailable", |app, _| unavailable(app, Cause::Provider)),
    ("unavailable", |app, _| unavailable(app, Cause::Unconfirmed(ReturnTarget::home(app)))),
    ("unavailable", |app, _| unavailable(app, no_login(app, OidcError::NotReady))),
    ("unavailable", |app, _| unavailable(app, no_login(app, OidcError::Configuration("no".into())))),
];

/// What each of them is to Traefik and Caddy, to nginx, and to Envoy.
const EXPECTED: [[&str; 3]; 24] = [
    ["302 location cookie", "401 location redirect Cookie realm=\"forepost\"", "302 location cookie"],
    ["303 location cookie", "401 location redirect Cookie realm=\"forepost\"", "303 location cookie"],
    [
        "401 Cookie realm=\"forepost\" json",
        "401 location challenge Cookie realm=\"forepost\"",
        "401 Cookie realm=\"forepost\" json",
    ],
    [
        "401 Cookie realm=\"forepost\" cors json",
        "401 location challenge Cookie realm=\"forepost\" cors",
        "401 Cookie realm=\"forepost\" cors json",
    ],
    [
        "401 challenge Bearer error=\"invalid_token\" json",
        "401 challenge Bearer error=\"invalid_token\"",
        "401 challenge Bearer error=\"invalid_token\" json",
    ],
    [
        "401 challenge Basic realm=\"app-example-com\", charset=\"UTF-8\" json",
        "401 challenge Basic realm=\"app-example-com\", charset=\"UTF-8\"",
        "401 challenge Basic realm=\"app-example-com\", charset=\"UTF-8\" json",
    ],
    [
        "403 challenge Bearer error=\"insufficient_scope\", scope=\"\" json",
        "403 challenge Bearer error=\"insufficient_scope\", scope=\"\"",
        "403 challenge Bearer error=\"insufficient_scope\", scope=\"\" json",
    ],
    ["429 challenge json", "401 challenge Bearer error=\"invalid_token\"", "429 challenge json"],
    ["403 page", "403", "403 page"],
    [
        "403 Bearer error=\"insufficient_scope\" page",
        "403 Bearer error=\"insufficient_scope\"",
        "403 Bearer error=\"insufficient_scope\" page",
    ],
    ["403 page", "403", "403 page"],
    ["400 page", "403", "400 page"],
    ["400 page", "403", "400 page"],
    ["400 page", "403", "400 page"],
    ["401", "403", "401"],
    ["401", "403", "401"],
    ["302", "403", "302"],
    ["503", "403", "403"],
    ["403", "403", "403"],
    ["503 page", "503 page", "403 page"],
    ["503 page", "503 page", "403 page"],
    ["503 page", "503 page", "403 page"],
    ["503 page", "503 page", "403 page"],
    ["500 page", "500 page", "403 page"],
];

fn to_login(after_post: bool) -> Denial<'static> {
    let cookies = vec![HeaderValue::from_static("a=b")];
    Denial::ToLogin(ToLogin { location: "https://login".into(), cookies, after_post, is_silent: false })
}

fn bad<'c>(app: &'c Application, error: CredentialError<'c>, scheme: Scheme) -> Denial<'c> {
    let resource = "https://resource".into();
    Denial::BadCredentials(BadCredentials { error, scheme, realm: &app.id, resource, origin: None })
}

fn forbid<'c>(
    app: &'c Application,
    original: &'c OriginalRequest<'c>,
    insufficient_scope: Option<String>,
) -> Denial<'c> {
    let because = Because::NotEntitled;
    let forbidden = Forbidden { session: None, because, assurance: Assurance::default(), groups: Vec::new() };
    Denial::Forbid(Forbid { app, original, forbidden, insufficient_scope })
}

/// An answer for a browser with any status.
fn own_path(status: StatusCode) -> Denial<'static> {
    let mut answer = Response::new(body::empty());
    *answer.status_mut() = status;
    Denial::OwnPath(answer)
}

fn unavailable(app: &Application, cause: Cause) -> Denial<'_> {
    Denial::Unavailable(Unavailable { app, cause })
}

fn no_login(app: &Application, error: OidcError) -> Cause {
    Cause::Login(ReturnTarget::home(app), StartError::Provider(error))
}

/// As in the table; a new variant has to be written down there.
fn name(denial: &Denial<'_>) -> &'static str {
    match denial {
        Denial::ToLogin(_) => "to login",
        Denial::Challenge { .. } => "challenge",
        Denial::BadCredentials(_) => "bad credentials",
        Denial::Forbid(_) => "forbid",
        Denial::Refuse(_) => "refuse",
        Denial::OwnPath(_) => "own path",
        Denial::OwnPathNotRelayed => "own path, not relayed",
        Denial::Unavailable(_) => "unavailable",
    }
}

/// The status, and what a proxy or a client goes by.
fn told(answer: &Answer) -> String {
    let headers = answer.headers();
    let text = |name| headers.get(name).map(|value: &HeaderValue| value.to_str().unwrap());
    let has = |name, told: &'static str| headers.contains_key(name).then_some(told);
    let scheme = text(WWW_AUTHENTICATE).map(|it| it.split(", resource_metadata").next().unwrap());
    let body = text(CONTENT_TYPE).map(|it| if it == "application/json" { "json" } else { "page" });
    let status = answer.status();
    let parts = [
        Some(status.as_str()),
        has(LOCATION, "location"),
        text(reply::ACTION),
        scheme,
        has(SET_COOKIE, "cookie"),
        has(ACCESS_CONTROL_ALLOW_ORIGIN, "cors"),
        body,
    ];
    parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[test]
fn denials_in_each_dialect() {
    let scene = Scene::new();
    let original = scene.original();
    for ((expected_name, make), [page, nginx, envoy]) in DENIALS.into_iter().zip(EXPECTED) {
        for (dialect, expected) in
            [(Dialect::Traefik, page), (Dialect::Caddy, page), (Dialect::Nginx, nginx), (Dialect::Envoy, envoy)]
        {
            let denial = make(&scene.app, &original);
            assert_eq!(name(&denial), expected_name);
            let answer = scene.render(dialect, &original, denial.into());
            assert_eq!(told(&answer), expected, "{expected_name} {dialect:?}");
        }
    }
}

#[test]
fn no_outcome_without_a_permit_becomes_a_2xx() {
    let scene = Scene::new();
    let original = scene.original();
    for dialect in Dialect::ALL {
        for (name, make) in DENIALS {
            let status = scene.render(dialect, &original, make(&scene.app, &original).into()).status();
            assert!(!status.is_success(), "{name} {dialect:?}: {status}");
            assert!(dialect != Dialect::Envoy || !status.is_server_error(), "{name}: failure_mode_allow");
        }
        for status in (100..600).filter_map(|status| StatusCode::from_u16(status).ok()) {
            let got = scene.render(dialect, &original, own_path(status).into()).status();
            assert!(!got.is_success(), "{dialect:?}: {status} became {got}");
        }
    }
    for path in ["/outpost.goauthentik.io/auth/envoy/x", "/outpost.goauthentik.io/auth/envoy*", "/ping", "/"] {
        let status = failed(path).status();
        let is_envoy = path.contains("envoy");
        assert_eq!(status, if is_envoy { StatusCode::FORBIDDEN } else { StatusCode::SERVICE_UNAVAILABLE }, "{path}");
    }
}

fn permit(app: &Application, original: &OriginalRequest<'_>) -> Permit {
    let session: Arc<Session> = Arc::new(alice(app, NOW, Duration::from_hours(1), None));
    match decide(&app.policy, &app.access_request(original, None), Some(&session), NOW) {
        Decision::Allow(permit) => permit,
        other => panic!("{}", other.as_str()),
    }
}

#[tokio::test]
async fn a_grant_is_200_with_its_headers_and_no_body_in_each_dialect() {
    let scene = Scene::new();
    let original = scene.original();
    let headers = HeaderMap::from_iter([(reply::ACTION, HeaderValue::from_static("x"))]);
    for dialect in Dialect::ALL {
        for outcome in [Outcome::Allow, Outcome::Pass] {
            let grant = Grant::new(permit(&scene.app, &original), headers.clone());
            let answer = scene.render(dialect, &original, outcome(grant));
            assert_eq!((answer.status(), answer.headers()), (StatusCode::OK, &headers), "{dialect:?}");
            assert!(answer.into_body().collect().await.unwrap().to_bytes().is_empty());
        }
    }
}
