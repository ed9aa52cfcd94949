//! What every source promises.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::timeout;

use super::{Reading, Source};
use crate::catalog::Declared;

/// Long enough for any source; a test that waits for it has failed.
const LONG: Duration = Duration::from_secs(30);

/// Something that a source reads.
pub(super) trait Stage {
    type Source: Source;

    /// The source, and what it reads: applications by their hosts, each with one required group.
    fn new(applications: &[(&str, &str)]) -> impl Future<Output = Self>;

    fn source(&mut self) -> &mut Self::Source;

    /// Replaces all applications.
    fn set(&mut self, applications: &[(&str, &str)]);

    /// Makes a mistake in one application and gives the other ones these groups.
    fn spoil(&mut self, host: &str, others: &[(&str, &str)]);
}

/// The groups that the declared applications require, by their slugs.
fn groups(reading: &Reading) -> BTreeMap<String, String> {
    let group = |declared: &Declared| match declared {
        Declared::Application(app) => Some((app.slug.clone(), app.required_groups.join(","))),
        Declared::Provider { .. } | Declared::Host { .. } => None,
    };
    reading.declarations.iter().filter_map(|it| group(&it.declared)).collect()
}

#[track_caller]
fn check(reading: &Reading, expected: &[(&str, &str)]) {
    let expected = expected.iter().map(|(slug, group)| ((*slug).to_owned(), (*group).to_owned())).collect();
    assert_eq!(groups(reading), expected, "{:?}", reading.mistakes);
}

async fn next<S: Stage>(stage: &mut S) -> Reading {
    timeout(LONG, stage.source().next()).await.expect("the source says nothing")
}

/// The next reading that is not like the one before.
async fn changed<S: Stage>(stage: &mut S, before: &Reading) -> Reading {
    loop {
        let reading = next(stage).await;
        if groups(&reading) != groups(before) || reading.mistakes != before.mistakes {
            return reading;
        }
    }
}

pub(super) async fn run<S: Stage>() {
    let mut stage = S::new(&[("one.example.com", "a"), ("two.example.com", "b")]).await;
    let first = next(&mut stage).await;
    check(&first, &[("one-example-com", "a"), ("two-example-com", "b")]);
    assert!(first.mistakes.is_empty() && !first.stale, "{:?}", first.mistakes);
    assert!(first.declarations.iter().all(|it| !it.origin.is_empty()));

    // A change, an addition and a removal. A wait that was broken off misses none of them.
    stage.set(&[("two.example.com", "c"), ("three.example.com", "d")]);
    let second = match timeout(Duration::from_millis(10), stage.source().next()).await {
        Ok(reading) if groups(&reading) != groups(&first) => reading,
        _ => changed(&mut stage, &first).await,
    };
    check(&second, &[("two-example-com", "c"), ("three-example-com", "d")]);

    // A mistake in one application: it stays as it was, and the others change.
    stage.spoil("two.example.com", &[("three.example.com", "e")]);
    let third = changed(&mut stage, &second).await;
    check(&third, &[("two-example-com", "c"), ("three-example-com", "e")]);
    assert!(!third.mistakes.is_empty(), "the mistake is named");

    stage.set(&[("two.example.com", "f")]);
    let fourth = changed(&mut stage, &third).await;
    check(&fourth, &[("two-example-com", "f")]);
    assert!(fourth.mistakes.is_empty(), "{:?}", fourth.mistakes);
}
