mod conflicts;
mod fake;

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::watch;
use tokio::time::timeout;

use self::fake::{Fake, Mode, container};
use super::*;
use crate::app::samples::{declaration, provider_settings};
use crate::sources::contract::{self, Stage};

fn provider() -> Declaration {
    let registration = Box::new(provider_settings("https://id.example.com"));
    Declaration {
        origin: Arc::from("forepost.toml"),
        declared: Declared::Provider { name: "main".to_owned(), registration },
    }
}

/// Fast, for tests that wait for what follows.
const FAST: Pace = Pace {
    quiet: Duration::from_millis(5),
    burst: Duration::from_millis(50),
    interval: Duration::from_hours(1),
    pauses: (Duration::from_millis(1), Duration::from_millis(20)),
    good_visit: Duration::ZERO,
    answer: Duration::from_secs(30),
};

fn source(fake: &Fake, pace: Pace, grace: Duration) -> (Docker, watch::Sender<Vec<Declaration>>) {
    let (files, receiver) = watch::channel(vec![provider()]);
    let domains = vec![Host::parse("example.com").unwrap()];
    let settings = settings::Docker { endpoint: Endpoint::Unix(fake.path()), domains, grace };
    (Docker::at_pace(pace, settings, false, receiver), files)
}

/// A container for each application.
struct Service {
    fake: Fake,
    docker: Docker,
    _files: watch::Sender<Vec<Declaration>>,
    /// When the next container is made.
    now: i64,
}

impl Service {
    fn containers(&mut self, applications: &[(&str, &str)], extra: &[(&str, &str)]) -> Vec<Value> {
        self.now += 1;
        let one = |(host, group): &(&str, &str)| {
            let labels = [&[("forepost.host", *host), ("forepost.groups", *group)], extra].concat();
            container(&host.replace('.', "-"), self.now, "running", &labels)
        };
        applications.iter().map(one).collect()
    }
}

impl Stage for Service {
    type Source = Docker;

    async fn new(applications: &[(&str, &str)]) -> Self {
        let mut fake = Fake::new();
        fake.up();
        let (docker, files) = source(&fake, FAST, Duration::ZERO);
        let mut stage = Self { fake, docker, _files: files, now: 0 };
        let containers = stage.containers(applications, &[]);
        stage.fake.replace(&containers);
        stage
    }

    fn source(&mut self) -> &mut Docker {
        &mut self.docker
    }

    fn set(&mut self, applications: &[(&str, &str)]) {
        let containers = self.containers(applications, &[]);
        self.fake.set(&containers);
    }

    fn spoil(&mut self, host: &str, others: &[(&str, &str)]) {
        let mut containers = self.containers(others, &[]);
        containers.extend(self.containers(&[(host, "x")], &[("forepost.colour", "1")]));
        self.fake.set(&containers);
    }
}

#[tokio::test]
async fn labels_keep_the_promises_of_a_source() {
    contract::run::<Service>().await;
}

const APP: &[(&str, &str)] = &[("forepost.host", "app.example.com"), ("forepost.groups", "staff")];

async fn next(docker: &mut Docker) -> Reading {
    timeout(Duration::from_secs(30), docker.next()).await.expect("the source says something")
}

/// The slugs of a reading, each with whether it lets anybody in, and whether the reading is old.
fn told(reading: &Reading) -> (Vec<(String, bool)>, bool) {
    let app = |declaration: &Declaration| match &declaration.declared {
        Declared::Application(app) => (app.slug.clone(), app.rules.is_empty()),
        _ => panic!("neither providers nor hosts of the file"),
    };
    (reading.declarations.iter().map(app).collect(), reading.stale)
}

fn app(open: bool) -> Vec<(String, bool)> {
    vec![("app-example-com".to_owned(), open)]
}

#[tokio::test]
async fn an_engine_that_goes_away_takes_no_application_down() {
    let mut fake = Fake::new();
    fake.replace(&[container("app", 1, "running", APP)]);
    let (mut docker, _files) = source(&fake, FAST, Duration::from_mins(5));
    let reading = next(&mut docker).await;
    assert_eq!(told(&reading), (vec![], true));
    assert!(reading.mistakes[0].contains("is the engine running"), "{:?}", reading.mistakes);
    fake.up();
    let reading = next(&mut docker).await;
    assert_eq!((told(&reading), &reading.mistakes), ((app(true), false), &vec![]));
    assert_eq!(&*reading.declarations[0].origin, "docker container app");
    for mode in [Mode::Honest, Mode::LateHeads] {
        fake.answer(mode);
        fake.down();
        assert_eq!(told(&next(&mut docker).await), (app(true), true));
        fake.up();
        assert_eq!(told(&next(&mut docker).await), (app(true), false));
        fake.set(&[container("app", 1, "exited", APP)]);
        assert_eq!(told(&next(&mut docker).await), (app(false), false));
        fake.set(&[container("app", 1, "running", APP)]);
        assert_eq!(told(&next(&mut docker).await), (app(true), false));
    }
    // Events of the time without a connection are lost, so there is a list.
    fake.down();
    assert!(next(&mut docker).await.stale);
    fake.replace(&[]);
    fake.up();
    assert_eq!(told(&next(&mut docker).await), (app(false), false));
    let requests = fake.requests();
    assert!(requests.iter().any(|it| it == "/v1.51/containers/json?all=true"), "{requests:?}");
    let events = "/v1.51/events?filters=%7B%22type%22%3A%5B%22container%22%5D%7D&since=1796098926";
    assert!(requests.iter().any(|it| it == events), "{requests:?}");
}

#[tokio::test]
async fn a_stopped_container_is_denied() {
    let mut fake = Fake::new();
    fake.up();
    fake.replace(&[container("app", 1, "running", APP)]);
    let (mut docker, _files) = source(&fake, FAST, Duration::from_hours(1));
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
    for state in ["exited", "dead", "stopped", "removing", "stopping"] {
        fake.set(&[container("app", 1, state, APP)]);
        let reading = next(&mut docker).await;
        assert_eq!(told(&reading), (app(false), false), "{state}");
        let Declared::Application(denied) = &reading.declarations[0].declared else { panic!("an application") };
        assert_eq!(denied.name, "app.example.com (stopped)");
        fake.set(&[container("app", 1, "running", APP)]);
        assert_eq!(told(&next(&mut docker).await), (app(true), false));
    }
    // Removed, and made anew by another definition.
    fake.set(&[]);
    assert_eq!(told(&next(&mut docker).await), (app(false), false));
    let other = [("forepost.host", "app.example.com"), ("forepost.groups", "other")];
    fake.set(&[container("app", 2, "created", &other)]);
    let reading = next(&mut docker).await;
    assert_eq!((told(&reading), reading.mistakes), ((app(true), false), vec![]));
}

#[tokio::test]
async fn after_its_grace_the_application_of_a_stopped_container_is_gone() {
    let grace = Duration::from_millis(300);
    let mut fake = Fake::new();
    fake.up();
    fake.replace(&[container("app", 1, "running", APP)]);
    let (mut docker, _files) = source(&fake, FAST, grace);
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
    for (containers, stays) in [(vec![container("app", 1, "exited", APP)], true), (vec![], false)] {
        let stopped = Instant::now();
        fake.set(&containers);
        assert_eq!(told(&next(&mut docker).await), (app(false), false));
        assert_eq!(told(&next(&mut docker).await), (vec![], false));
        assert!(stopped.elapsed() >= grace);
        if stays {
            // It is still in the list, and its time does not begin anew.
            fake.set(&containers);
            assert!(timeout(grace, docker.next()).await.is_err());
        }
        fake.set(&[container("app", 1, "running", APP)]);
        assert_eq!(told(&next(&mut docker).await), (app(true), false));
    }
}

/// An engine that begins to answer like this changes nothing, is told with this text, and is not asked without a pause.
async fn ill(mode: Mode, says: &str) {
    let mut fake = Fake::new();
    fake.up();
    fake.replace(&[container("app", 1, "running", APP)]);
    let (first, longest) = (Duration::from_millis(1), Duration::from_hours(1));
    let answer = Duration::from_millis(if mode == Mode::Silent { 100 } else { 30_000 });
    let pace = Pace { pauses: (first, longest), good_visit: longest, answer, ..FAST };
    let (mut docker, _files) = source(&fake, pace, Duration::from_hours(1));
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
    let (began, before) = (Instant::now(), fake.requests().len());
    fake.answer(mode);
    fake.down();
    fake.up();
    loop {
        let reading = next(&mut docker).await;
        assert_eq!(told(&reading).0, app(true), "{mode:?}");
        if reading.mistakes.iter().any(|it| it.contains(says)) {
            assert!(reading.stale, "{mode:?}");
            break;
        }
    }
    while fake.requests().len() - before < 8 {
        tokio::task::yield_now().await;
    }
    // Each pause is twice as long as the one before, and a visit has three requests at most.
    let (requests, passed) = (fake.requests().len() - before, began.elapsed().as_millis());
    let most = 3 * (2 + passed.max(1).ilog2() as usize);
    assert!(requests <= most, "{mode:?}: {requests} requests in {passed} ms");
    fake.answer(Mode::Honest);
    let mut reading = next(&mut docker).await;
    while reading.stale {
        reading = next(&mut docker).await;
    }
    assert_eq!(told(&reading).0, app(true), "{mode:?}");
}

#[tokio::test]
async fn what_is_no_engine_changes_nothing() {
    ill(Mode::Forbidden, "CONTAINERS=1").await;
    ill(Mode::Silent, "no answer within 0.1 s").await;
    ill(Mode::Junk, "HTTP").await;
    ill(Mode::NotJson, "the list of containers: the answer cannot be read").await;
    ill(Mode::Endless, "the list of containers: the answer is too large").await;
    ill(Mode::ShortEvents, "the stream of events ended").await;
}

#[tokio::test]
async fn many_events_cause_few_lists() {
    let mut fake = Fake::new();
    fake.up();
    let pace = Pace { quiet: Duration::from_millis(100), burst: Duration::from_millis(200), ..FAST };
    let (mut docker, _files) = source(&fake, pace, Duration::ZERO);
    assert_eq!(told(&next(&mut docker).await), (vec![], false));
    let before = fake.lists();
    for _ in 0..20 {
        fake.event("create");
        fake.event("exec_create: true");
    }
    fake.set(&[container("app", 1, "running", APP)]);
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
    assert!(fake.lists() - before <= 2, "{} lists", fake.lists() - before);
    // Events that never stop hold up no list, and each list waits for a moment.
    let (began, before) = (Instant::now(), fake.lists());
    fake.replace(&[]);
    let mut events = tokio::time::interval(Duration::from_millis(10));
    let reading = {
        let flood = async {
            loop {
                events.tick().await;
                fake.event("die");
            }
        };
        tokio::select! {
            () = flood => panic!("it does not end"),
            reading = next(&mut docker) => reading,
        }
    };
    assert_eq!(told(&reading), (vec![], false));
    assert!(began.elapsed() >= Duration::from_millis(100) && fake.lists() - before <= 2);
}

#[tokio::test]
async fn without_events_there_are_lists_all_the_same() {
    let mut fake = Fake::new();
    fake.up();
    let pace = Pace { interval: Duration::from_millis(20), ..FAST };
    let (mut docker, _files) = source(&fake, pace, Duration::ZERO);
    assert_eq!(told(&next(&mut docker).await), (vec![], false));
    fake.replace(&[container("app", 1, "running", APP)]);
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
}

#[tokio::test]
async fn what_files_say_comes_first_and_may_change() {
    let mut fake = Fake::new();
    fake.up();
    fake.replace(&[container("app", 1, "running", APP)]);
    let (mut docker, files) = source(&fake, FAST, Duration::ZERO);
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
    let of_file = declaration("https://app.example.com", None, "main", |_| ());
    files.send_modify(|files| files.push(Declaration::application("forepost.toml".into(), of_file)));
    let reading = next(&mut docker).await;
    assert_eq!(told(&reading), (vec![], false));
    let mistake = "docker container app: label forepost.host: app.example.com belongs to the application app-example-com of the file; \
                   remove the label";
    assert_eq!(reading.mistakes, [mistake]);
    files.send_modify(|files| files.truncate(1));
    let reading = next(&mut docker).await;
    assert_eq!((told(&reading), reading.mistakes), ((app(true), false), vec![]));
    // Another provider, which the label does not name: what worked stays.
    files.send_modify(|files| {
        let Declaration { origin, declared } = provider();
        let Declared::Provider { registration, .. } = declared else { panic!("a provider") };
        files.push(Declaration { origin, declared: Declared::Provider { name: "other".to_owned(), registration } });
    });
    let reading = next(&mut docker).await;
    assert_eq!(told(&reading), (app(true), false));
    assert!(
        reading.mistakes[0].contains("label forepost.provider: is missing; configured: main, other"),
        "{:?}",
        reading.mistakes
    );
}

#[test]
fn the_labels_of_the_documentation_are_labels() {
    let document = include_str!("../../../../docs/DOCKER.md");
    let (_, block) = document.split_once("```yaml\n").unwrap();
    let (block, _) = block.split_once("```").unwrap();
    let is_label = |line: &&str| line.trim().starts_with("forepost.") || line.trim().starts_with("traefik.");
    let label = |line: &str| {
        let (name, value) = line.trim().split_once(": ").unwrap();
        (name.to_owned(), value.trim_matches('"').to_owned())
    };
    let labels = Some(block.lines().filter(is_label).map(label).collect());
    let container = engine::Container { labels, ..engine::Container::default() };
    let context = LabelContext { providers: vec!["main".to_owned()], names_proxies: false, ..LabelContext::default() };
    let found = labels::read(&container, &context).unwrap_or_else(|mistakes| panic!("{mistakes:#?}"));
    let OfLabels::Application(app) = &found[0].declared else { panic!("an application") };
    assert_eq!((app.name.as_str(), app.rules.len(), app.required_groups.len()), ("Sonarr", 2, 1));
    assert_eq!(app.external_host.url(), "https://sonarr.apps.example.com/");
}

#[tokio::test]
async fn a_host_under_a_domain_of_the_file_is_a_host_of_its_application() {
    let mut fake = Fake::new();
    fake.up();
    fake.replace(&[container("app", 1, "running", APP)]);
    let (mut docker, files) = source(&fake, FAST, Duration::from_hours(1));
    assert_eq!(told(&next(&mut docker).await), (app(true), false));
    let home = declaration("https://auth.example.com", Some("example.com"), "main", |_| ());
    files.send_modify(|files| files.push(Declaration::application("forepost.toml".into(), home)));
    let host = |reading: &Reading| match &reading.declarations[0].declared {
        Declared::Host { application, host } => {
            (application.clone(), host.slug.clone(), host.name.clone(), host.rules.len())
        }
        other => panic!("{other:?}"),
    };
    let expected =
        |name: &str, rules| ("auth-example-com".to_owned(), "app-example-com".to_owned(), name.to_owned(), rules);
    let reading = next(&mut docker).await;
    assert_eq!((host(&reading), &reading.mistakes), (expected("app.example.com", 0), &vec![]));
    fake.set(&[]);
    assert_eq!(host(&next(&mut docker).await), expected("app.example.com (stopped)", 1));
    files.send_modify(|files| files.truncate(1));
    assert_eq!(told(&next(&mut docker).await), (app(false), false));
}
