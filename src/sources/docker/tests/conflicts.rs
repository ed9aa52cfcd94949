//! Containers that claim the same.

use std::time::Duration;

use tokio::time::Instant;

use super::fake::container as value;
use crate::host::Host;
use crate::settings::LabelContext;
use crate::sources::docker::engine::Container;
use crate::sources::docker::known::{Bounds, Containers};

fn container(name: &str, created: i64, state: &str, labels: &[(&str, &str)]) -> Container {
    serde_json::from_value(value(name, created, state, labels)).unwrap()
}

/// These containers make the applications of these containers, by their slugs, and these mistakes.
#[track_caller]
fn check(containers: &[Container], applications: &[(&str, &str)], mistakes: &[&str]) {
    let mut known = Containers::default();
    let context = LabelContext { providers: vec!["main".to_owned()], names_proxies: false, ..LabelContext::default() };
    known.list(containers, &context, Instant::now());
    let domains = [Host::parse("test").unwrap()];
    let said = known.say(&Bounds { domains: &domains, file: &[] });
    let found: Vec<_> = said.declared.iter().map(|(origin, declared)| (&**origin, declared.slug())).collect();
    let expected: Vec<_> =
        applications.iter().map(|(name, slug)| (format!("docker container {name}"), *slug)).collect();
    let expected: Vec<_> = expected.iter().map(|(origin, slug)| (origin.as_str(), *slug)).collect();
    assert_eq!(found, expected);
    assert_eq!(said.mistakes, mistakes);
}

fn at(host: &str) -> [(&str, &str); 1] {
    [("forepost.host", host)]
}

#[test]
fn the_older_container_counts() {
    let one = container("one", 5, "running", &at("a.test"));
    let two = container("two", 6, "running", &[("forepost.host", "a.test"), ("forepost.groups", "x")]);
    let mistake = "docker container two: label forepost.host: host a.test is that of docker container one too; that one is older and \
                   counts; give each its own";
    check(&[two.clone(), one.clone()], &[("one", "a-test")], &[mistake]);
    let same = container("two", 5, "running", &[("forepost.host", "a.test"), ("forepost.groups", "x")]);
    let mistake = "docker container two: label forepost.host: host a.test is that of docker container one too; neither counts, \
                   because neither is older; give each its own";
    check(&[one.clone(), same.clone()], &[], &[mistake]);
    // A third one that is younger than both gains nothing.
    let third = container("third", 7, "running", &[("forepost.host", "a.test"), ("forepost.groups", "y")]);
    let younger = "docker container third: label forepost.host: host a.test is that of docker container one too; that one is older and \
                   counts; give each its own";
    check(&[third, one.clone(), same], &[], &[mistake, younger]);
    // One that runs comes before an older one that stopped.
    let stopped = container("one", 5, "exited", &at("a.test"));
    check(&[stopped, two], &[("two", "a-test")], &[]);
}

#[test]
fn slugs_and_cookie_domains_are_claimed_as_well() {
    let one = container("one", 5, "running", &[("forepost.host", "a.test"), ("forepost.slug", "x")]);
    let two = container("two", 6, "running", &[("forepost.host", "b.test"), ("forepost.slug", "x")]);
    let mistake = "docker container two: label forepost.slug: slug x is that of docker container one too; that one is older and counts; \
                   give each its own";
    check(&[one, two], &[("one", "x")], &[mistake]);
    let one = container("one", 5, "running", &[("forepost.host", "a.c.test"), ("forepost.cookie_domain", "c.test")]);
    let two = container("two", 6, "running", &[("forepost.host", "b.c.test"), ("forepost.cookie_domain", "c.test")]);
    let mistake = "docker container two: label forepost.cookie_domain: cookie domain c.test is that of docker container one too; that \
                   one is older and counts; give each its own";
    check(&[one.clone(), two], &[("one", "a-c-test")], &[mistake]);
    // A host below the domain of another container is its own.
    check(
        &[one, container("three", 6, "running", &at("b.c.test"))],
        &[("one", "a-c-test"), ("three", "b-c-test")],
        &[],
    );
    let twice = container("twice", 1, "running", &[("forepost.host", "a.test, b.test"), ("forepost.slug", "b-test")]);
    let mistake = "docker container twice: label forepost.slug: slug b-test is that of docker container twice too; the first host counts; \
                   give each its own";
    check(&[twice], &[("twice", "b-test")], &[mistake]);
}

#[test]
fn replicas_are_one_application() {
    let one = |number: i64, state| container(&format!("web-{number}"), number, state, &at("a.test"));
    check(&[one(1, "running"), one(2, "running"), one(3, "exited")], &[("web-1", "a-test")], &[]);
    // It runs as long as one of them does, and is as old as the oldest.
    let other = container("other", 2, "running", &[("forepost.host", "a.test"), ("forepost.groups", "x")]);
    let mistake = "docker container other: label forepost.host: host a.test is that of docker container web-3 too; that one is older and \
                   counts; give each its own";
    check(&[one(1, "exited"), other, one(3, "running")], &[("web-3", "a-test")], &[mistake]);
}

#[test]
fn memory_is_bounded() {
    let mut known = Containers::default();
    let context = LabelContext { providers: vec!["main".to_owned()], names_proxies: false, ..LabelContext::default() };
    let now = Instant::now();
    for round in 0..3_i64 {
        let containers: Vec<_> = (0..900)
            .map(|number| {
                container(&format!("c{round}-{number}"), round, "running", &at(&format!("c{round}-{number}.test")))
            })
            .collect();
        known.list(&containers, &context, now + Duration::from_secs(round.unsigned_abs()));
    }
    let domains = [Host::parse("test").unwrap()];
    let said = known.say(&Bounds { domains: &domains, file: &[] });
    // Those that run, and the thousand that went away last.
    assert_eq!(said.declared.len(), 1900);
    let end = known.expire(Duration::from_mins(5), now + Duration::from_mins(10));
    assert_eq!(end, None);
    assert_eq!(known.say(&Bounds { domains: &domains, file: &[] }).declared.len(), 900);
}
