//! Times the parts of a check, each beside what could take its place.
//!
//! `cargo bench --bench micro`, or `… -- NAME` for some. A shared machine's figures are good for proportions within one run;
//! what must not change is guarded by the bench `counts`. One call takes less than the timer can tell, so each sample is
//! made of many.

mod caches;
#[path = "../stage/mod.rs"]
mod stage;

use std::cell::Cell;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use cookie::Cookie;
use divan::{Bencher, black_box};
use forepost::access::{Decision, decide};
use forepost::access::{PathPattern, PublicPathRule};
use forepost::app::Application;
use forepost::cookie::cookies;
use forepost::daemon::catalog;
use forepost::forwarded::{Dialect, Question};
use forepost::session::{MemoryStore, Session, SessionStore, SessionToken, StoreParts};
use forepost::settings::Settings;
use forepost::world::{UnixTime, World};
use http::HeaderValue;
use http::header::COOKIE;
use http::request::Parts;

use self::stage::{Browser, PROXY, Stage, question, ready};

const TARGET: &str = "/dashboards/17/panels?from=now-6h&to=now";

/// One hot session, those of a company, and more than the processor's caches hold.
const SESSIONS: [usize; 3] = [1, 1_000, 100_000];

fn main() {
    divan::main();
}

static STAGE: LazyLock<Stage> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be had");
    runtime.block_on(Stage::new("level = \"info,forepost::access=off\"")).expect("the settings are right")
});

/// Sessions in the order in which they are asked for; their tokens are random, so each is somewhere else in a store.
static KEPT: LazyLock<Vec<(SessionToken, Arc<Session>)>> = LazyLock::new(|| {
    let token = || STAGE.token().expect("the system gives randomness");
    (0..SESSIONS[2]).map(|number| (token(), Arc::new(STAGE.session(number)))).collect()
});

/// Whom to ask for next of `count`, which is only known when `last` was looked at.
///
/// A processor would otherwise look for several at once, as it never can between two requests. Far from the last one, so
/// that nothing is fetched ahead.
fn next(count: usize, last: Option<&Session>) -> usize {
    /// A prime, so that all are met.
    const STRIDE: usize = 61_987;
    thread_local! {
        static AT: Cell<usize> = const { Cell::new(0) };
    }
    let was_checked = usize::from(last.is_some_and(Session::was_checked));
    let at = (AT.get() + STRIDE + was_checked) % count;
    AT.set(at);
    at
}

fn asked(dialect: Dialect, browser: Browser) -> Parts {
    question(dialect, browser, TARGET, Some(&STAGE.cookie(&KEPT[0].0))).expect("the request is well formed")
}

fn as_question(parts: &Parts) -> Question<'_> {
    Question { method: &parts.method, uri: &parts.uri, headers: &parts.headers, trusted: true }
}

#[divan::bench(args = Dialect::ALL, sample_size = 200)]
fn parse(bencher: Bencher, dialect: Dialect) {
    let parts = asked(dialect, Browser::Navigates);
    bencher.bench(|| dialect.parse(&as_question(black_box(&parts))).is_ok());
}

#[divan::bench(sample_size = 500)]
fn cookie_scan(bencher: Bencher) {
    let (parts, name) = (asked(Dialect::Traefik, Browser::Fetches), STAGE.app.cookies.session().as_str());
    bencher.bench(|| cookies(black_box(&parts.headers)).any(|(it, _)| it == name));
}

#[divan::bench(sample_size = 500)]
fn cookie_scan_and_token(bencher: Bencher) {
    let (parts, name) = (asked(Dialect::Traefik, Browser::Fetches), STAGE.app.cookies.session());
    bencher.bench(|| SessionToken::every(name, black_box(&parts.headers)).next().is_some());
}

#[divan::bench(sample_size = 500)]
fn cookie_scan_by_the_crate(bencher: Bencher) {
    let (parts, name) = (asked(Dialect::Traefik, Browser::Fetches), STAGE.app.cookies.session().as_str());
    let line = parts.headers[COOKIE].to_str().expect("the cookies are ASCII");
    bencher.bench(|| Cookie::split_parse(black_box(line)).flatten().any(|it| it.name() == name));
}

#[divan::bench(sample_size = 500)]
fn token_to_key(bencher: Bencher) {
    bencher.bench(|| black_box(&KEPT[0].0).key());
}

#[divan::bench(args = SESSIONS, sample_size = 1000)]
fn lookup(bencher: Bencher, count: usize) {
    let store = MemoryStore::new(StoreParts {
        secret: b"of the bench",
        max_sessions: 1_000_000,
        lifetime: Duration::from_hours(24),
        idle_timeout: None,
        world: World::system(),
    });
    for (token, session) in &KEPT[..count] {
        ready(store.save(token, Arc::clone(session))).expect("memory does not fail");
    }
    let mut at = 0;
    bencher.bench_local(|| {
        let session = store.cached(&KEPT[at].0);
        at = next(count, session.as_deref());
    });
}

/// Numbers of public paths that an application has.
const RULES: [usize; 3] = [0, 3, 30];

#[divan::bench(args = RULES, sample_size = 500)]
fn decide_allow(bencher: Bencher, rules: usize) {
    decide_with(bencher, rules, Some(&KEPT[0].1));
}

#[divan::bench(args = RULES, sample_size = 500)]
fn decide_challenge(bencher: Bencher, rules: usize) {
    decide_with(bencher, rules, None);
}

fn decide_with(bencher: Bencher, rules: usize, session: Option<&Arc<Session>>) {
    let app = application(rules);
    let parts = asked(Dialect::Traefik, Browser::Fetches);
    let original = Dialect::Traefik.parse(&as_question(&parts)).expect("the question is right");
    let now = World::system().now();
    let decided = |original| decide(&app.policy, &app.access_request(original, None), session, now);
    assert_eq!(session.is_some(), matches!(decided(&original), Decision::Allow(_)));
    bencher.bench(|| decided(black_box(&original)));
}

/// The application of the stage, with other rules, of which none fits.
fn application(rules: usize) -> Arc<Application> {
    let text =
        "issuer = \"https://id.example.com\"\nclient_id = \"proxy\"\nexternal_host = \"https://app.example.com\"";
    let mut settings = Settings::from_toml(text).expect("the settings are right");
    let mut app = settings.applications.remove(0);
    app.slug = STAGE.app.id.to_string();
    let rule = |number| PublicPathRule {
        path: PathPattern::Prefix(format!("/public/{number}")),
        host: None,
        methods: Vec::new(),
    };
    app.public_paths = (0..rules).map(rule).collect();
    settings.applications = vec![app];
    let (catalog, _) = catalog(&settings, World::system());
    Arc::clone(&catalog.applications()[0])
}

#[divan::bench(sample_size = 200)]
fn header_block(bencher: Bencher) {
    let (template, jwks) = (&STAGE.app.header_template, HeaderValue::from_static("https://id.example.com/jwks/"));
    bencher.bench(|| black_box(&KEPT[0].1).identity().headers(template, &jwks, Some(UnixTime::from_secs(1))));
}

// As many requests at once as stay in the processor's cache: a real one has just been read.
#[divan::bench(args = SESSIONS, sample_size = 16, sample_count = 1000)]
fn whole_check(bencher: Bencher, count: usize) {
    for (token, session) in &KEPT[..count] {
        ready(STAGE.store.save(token, Arc::clone(session))).expect("memory does not fail");
    }
    let ask = || {
        let cookie = STAGE.cookie(&KEPT[next(count, None)].0);
        question(Dialect::Traefik, Browser::Fetches, TARGET, Some(&cookie)).expect("the request is well formed")
    };
    bencher.with_inputs(ask).bench_refs(|parts| {
        let answer = ready(STAGE.outpost.answer(parts, PROXY));
        assert_eq!(answer.status(), 200);
        answer
    });
}
