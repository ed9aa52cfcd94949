//! Two foreposts under load, and what has to hold whatever breaks beneath them.

use std::time::Duration;

use http::Method;
use tokio::time::Instant;

use super::ends::{End, Orders, is_refusal};
use super::load::{Door, Load, Standing, Tally, Visitor};
use super::scene::{STALENESS, Scene, user};
use crate::support::ask;
use crate::support::redis::until;

/// How long a replica that hears the others may let in what they ended.
pub(super) const SOON: Duration = Duration::from_secs(1);

/// The part of [`STALENESS`] for which people are served for certain when the store goes away, one in so many.
///
/// A proof is for the moment before a question that waits for a sixth of it, and the next one comes as much later. So two thirds
/// are left at least, and a little less where the machine has other things to do.
const CERTAIN: u32 = 2;

pub(super) struct Trial {
    pub(super) scene: Scene,
    pub(super) load: Load,
    /// The name of what is broken, since when, and which replicas may hear nothing.
    chapter: &'static str,
    broken: Instant,
    cut_off: &'static [usize],
    /// What the chapter brought so far.
    sum: Tally,
    total: u64,
}

impl Trial {
    /// Signs so many people in, each of whom has to be ended in another of the four ways than the one before.
    pub(super) async fn start(scene: Scene, sessions: usize) -> Self {
        let mut browsers = Vec::new();
        for number in 0..sessions {
            browsers.push(scene.sign_in(&user(number)).await);
        }
        let list = scene.sessions();
        let mut visitors = Vec::new();
        for (number, browser) in browsers.into_iter().enumerate() {
            for replica in 0..2 {
                scene.check(&browser, replica).await.is(200);
            }
            let end = End::ALL[number % End::ALL.len()];
            let orders = Orders::new(end, user(number), list[&user(number)].clone());
            visitors.push(Visitor::new(browser, &scene.url("/"), orders));
        }
        let load = Load::start(&scene, visitors);
        println!(
            "| What happens | Requests | 200 | 302 | 503 | No answer | First 503 | Last 200 after its end | All 200 again |"
        );
        println!("|---|--:|--:|--:|--:|--:|--:|--:|--:|");
        let (broken, cut_off) = (Instant::now(), &[][..]);
        Self { scene, load, chapter: "", broken, cut_off, sum: Tally::default(), total: 0 }
    }

    /// Begins a chapter, in which these replicas may hear nothing.
    pub(super) fn begin(&mut self, name: &'static str, cut_off: &'static [usize]) {
        (self.chapter, self.broken, self.cut_off) = (name, Instant::now(), cut_off);
        for number in cut_off {
            self.load.allow(*number, STALENESS);
        }
    }

    /// Orders at a replica that sessions end, one in each way, all at once; how many were acknowledged.
    pub(super) async fn end_some(&self, number: usize) -> usize {
        let visitors = self.load.valid().take(End::ALL.len()).collect::<Vec<_>>();
        let [first, second, third, fourth] = visitors[..] else { panic!("too few visitors are left") };
        for visitor in &visitors {
            visitor.set(Standing::Unknown);
        }
        let (first, second, third, fourth) = tokio::join!(
            self.order(first, number),
            self.order(second, number),
            self.order(third, number),
            self.order(fourth, number)
        );
        [first, second, third, fourth].into_iter().filter(|acknowledged| *acknowledged).count()
    }

    /// Orders the end of a session at a replica; whether that was acknowledged.
    async fn order(&self, visitor: &Visitor, number: usize) -> bool {
        let acknowledged = visitor.orders.give(&self.scene, &visitor.browser, number).await;
        visitor.set(acknowledged.map_or(Standing::Unknown, Standing::Ended));
        acknowledged.is_some()
    }

    /// Orders at a replica that sessions end whose end was not acknowledged yet, until all were.
    pub(super) async fn until_ended(&self, number: usize) {
        for visitor in self.load.visitors.iter().filter(|visitor| visitor.standing() == Standing::Unknown) {
            until("an acknowledgement", async || self.order(visitor, number).await).await;
        }
    }

    /// Waits until a replica that hears nothing knows nothing any more.
    pub(super) async fn until_refusing(&self, number: usize) {
        let visitor = self.load.valid().next().unwrap();
        until("the end of patience", async || self.scene.check(&visitor.browser, number).await.status == 503).await;
        assert_eq!(self.scene.health(number).await, (503, false), "{}", self.chapter);
        // No login begins that could not be ended.
        let mut stranger = self.scene.at_replica(&self.scene.browser(), number);
        for (dialect, target) in [("traefik", "/"), ("envoy", "/page")] {
            is_refusal(&ask(dialect, &mut stranger, Method::GET, &self.scene.url(target), &[]).await);
        }
    }

    /// Waits until everybody whose session was not to end is let in everywhere.
    pub(super) async fn until_all_are_in(&self) {
        for visitor in self.load.valid() {
            for number in 0..2 {
                self.scene.until_let_in(&visitor.browser, number).await;
            }
        }
    }

    /// Adds up what came since the last time, and gives it by door.
    pub(super) fn count(&mut self) -> [(Door, Tally); Door::ALL.len()] {
        let tallies = self.load.take();
        for (_, tally) in &tallies {
            self.sum.add(tally);
        }
        tallies
    }

    /// Waits until everybody is let in who was before the outage, and ends the chapter.
    pub(super) async fn recover(&mut self, mended: Instant) {
        self.until_all_are_in().await;
        self.end(mended.elapsed()).await;
    }

    /// Tells of the chapter, once all is as it was before.
    pub(super) async fn end(&mut self, recovery: Duration) {
        for number in 0..2 {
            until("readiness", async || self.scene.health(number).await == (200, true)).await;
        }
        for visitor in self.load.visitors.iter().filter(|visitor| visitor.standing() == Standing::Unknown) {
            assert!(self.order(visitor, 0).await, "{}: {:?}: Redis is there again", self.chapter, visitor.orders.end);
        }
        for number in 0..2 {
            self.load.allow(number, SOON);
        }
        for visitor in self.load.visitors.iter() {
            let Standing::Ended(since) = visitor.standing() else { continue };
            for number in 0..2 {
                self.scene.until_denied(&visitor.browser, number, since).await;
            }
        }
        self.count();
        let sum = std::mem::take(&mut self.sum);
        let name = self.chapter;
        let Tally { requests, let_in, denied, refused, unanswered, latest_let_in, first_refusal, wrong, .. } = sum;
        let first = first_refusal.map(|at| at.saturating_duration_since(self.broken));
        println!(
            "| {name} | {requests} | {let_in} | {denied} | {refused} | {unanswered} | {} | {} ms | {} ms |",
            first.map_or("–".to_owned(), |first| format!("{} ms", first.as_millis())),
            latest_let_in.as_millis(),
            recovery.as_millis()
        );
        assert!(wrong.is_empty(), "{name}: {} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
        assert!(recovery < Duration::from_secs(10), "{name}: {recovery:?}");
        let too_early = !self.cut_off.is_empty() && first.is_some_and(|first| first < STALENESS / CERTAIN);
        assert!(!too_early, "{name}: a user was refused after {first:?}");
        self.total += requests;
    }

    /// How many requests there were in all chapters.
    pub(super) fn total(&self) -> u64 {
        self.total
    }
}
