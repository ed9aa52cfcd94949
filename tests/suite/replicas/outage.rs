//! What breaks while people work: nobody who was signed out gets in, and nobody else has to sign in again.

use std::time::Duration;

use http::Method;
use tokio::time::{Instant, sleep};

use super::load::{Door, Load, Standing, Tally, Visitor};
use super::scene::{STALENESS, Scene, user};
use crate::proxies::proxy::Proxy;
use crate::support::redis::{Redis, until};
use crate::support::relay::{Network, Relay};
use crate::support::{Reply, ask};

const SESSIONS: usize = 20;

/// How long a replica that hears the others may let in what they ended.
const SOON: Duration = Duration::from_secs(1);

struct Trial {
    scene: Scene,
    redis: Redis,
    relays: [Relay; 2],
    load: Load,
    /// The name of what is broken.
    chapter: &'static str,
    /// What the chapter brought so far.
    sum: Tally,
    total: u64,
}

impl Trial {
    async fn start() -> Self {
        let redis = Redis::durable().await;
        let relays = [Relay::to(redis.address).await, Relay::to(redis.address).await];
        let scene = Scene::at(Proxy::Nginx, relays.each_ref().map(|relay| relay.address)).await;
        let mut visitors = Vec::new();
        for number in 0..SESSIONS {
            visitors.push(Visitor::new(scene.sign_in(&user(number)).await, &scene.url("/")));
        }
        for visitor in &visitors {
            for replica in 0..2 {
                scene.check(&visitor.browser, replica).await.is(200);
            }
        }
        let load = Load::start(&scene, visitors);
        println!("| What happens | Requests | 200 | 302 | 503 | No answer | Last 200 after its end | All 200 again |");
        println!("|---|--:|--:|--:|--:|--:|--:|--:|");
        Self { scene, redis, relays, load, chapter: "", sum: Tally::default(), total: 0 }
    }

    /// Begins a chapter, in which these replicas may hear nothing.
    fn begin(&mut self, name: &'static str, cut_off: &[usize]) {
        self.chapter = name;
        for number in cut_off {
            self.load.allow(*number, STALENESS);
        }
    }

    /// Signs the next one out at a replica; whether it was acknowledged.
    async fn sign_out(&self, number: usize) -> Option<&Visitor> {
        let visitor = self.load.valid().next().unwrap();
        visitor.set(Standing::Unknown);
        self.sign_out_again(visitor, number).await.then_some(visitor)
    }

    async fn sign_out_again(&self, visitor: &Visitor, number: usize) -> bool {
        let mut browser = self.scene.at_replica(&visitor.browser, number);
        let here = [("sec-fetch-site", "same-origin")];
        let url = self.scene.url("/outpost.goauthentik.io/sign_out");
        let reply = browser.send(Method::GET, &url, &here, None).await;
        // 200: an earlier order took place, and its answer was lost.
        if matches!(reply.status.as_u16(), 200 | 302) {
            visitor.set(Standing::Ended(Instant::now()));
            return true;
        }
        is_refusal(&reply);
        false
    }

    /// Waits until a replica that hears nothing knows nothing any more.
    async fn until_refusing(&self, number: usize) {
        let visitor = self.load.valid().next().unwrap();
        until("the end of patience", async || self.scene.check(&visitor.browser, number).await.status == 503).await;
        // No login begins that could not be ended.
        let mut stranger = self.scene.at_replica(&self.scene.browser(), number);
        for (dialect, target) in [("traefik", "/"), ("envoy", "/page")] {
            is_refusal(&ask(dialect, &mut stranger, Method::GET, &self.scene.url(target), &[]).await);
        }
    }

    /// Adds up what came since the last time, and gives it by door.
    fn count(&mut self) -> [(Door, Tally); Door::ALL.len()] {
        let tallies = self.load.take();
        for (_, tally) in &tallies {
            self.sum.add(tally);
        }
        tallies
    }

    /// Waits until everybody who was not signed out is let in everywhere, and tells of the chapter.
    async fn end(&mut self) {
        let mended = Instant::now();
        for visitor in self.load.valid() {
            for number in 0..2 {
                self.scene.until_let_in(&visitor.browser, number).await;
            }
        }
        let recovery = mended.elapsed();
        for visitor in self.load.visitors.iter() {
            if visitor.standing() == Standing::Unknown {
                assert!(self.sign_out_again(visitor, 0).await, "Redis is there again");
            }
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
        let Tally { requests, let_in, denied, refused, unanswered, latest_let_in, wrong, .. } = sum;
        println!(
            "| {name} | {requests} | {let_in} | {denied} | {refused} | {unanswered} | {} ms | {} ms |",
            latest_let_in.as_millis(),
            recovery.as_millis()
        );
        assert!(wrong.is_empty(), "{name}: {} are wrong: {:#?}", wrong.len(), &wrong[..wrong.len().min(5)]);
        assert!(recovery < Duration::from_secs(5), "{name}: {recovery:?}");
        self.total += requests;
    }
}

#[track_caller]
fn is_refusal(reply: &Reply) {
    assert!(matches!(reply.status.as_u16(), 503 | 403), "{reply:#?}");
    assert!(!reply.header("retry-after").is_empty() && reply.header("set-cookie").is_empty(), "{reply:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_notices_who_need_not() {
    let began = Instant::now();
    let mut trial = Trial::start().await;

    trial.begin("Two sign-outs", &[]);
    assert!(trial.sign_out(0).await.is_some() && trial.sign_out(1).await.is_some());
    sleep(SOON).await;
    trial.end().await;

    trial.begin("`kill -9` of a replica", &[]);
    trial.scene.replicas[0].kill();
    assert!(trial.sign_out(1).await.is_some());
    sleep(SOON).await;
    trial.scene.replicas[0].run();
    trial.end().await;

    trial.begin("`kill -9` of Redis, and its restart", &[0, 1]);
    trial.redis.kill();
    assert!(trial.sign_out(0).await.is_none());
    for number in 0..2 {
        trial.until_refusing(number).await;
    }
    trial.redis.run().await;
    trial.end().await;

    trial.begin("Redis stops (`SIGSTOP`), and goes on", &[0, 1]);
    trial.redis.signal("STOP");
    assert!(trial.sign_out(1).await.is_none());
    for number in 0..2 {
        trial.until_refusing(number).await;
    }
    trial.redis.signal("CONT");
    trial.end().await;

    for (name, network, cut_off) in [
        ("One replica's network is cut", Network::Cut, &[0][..]),
        ("One replica's network is silent", Network::Silent, &[1]),
        ("One replica hears no answers", Network::Deaf, &[0]),
        ("The network of both is cut", Network::Cut, &[0, 1]),
        ("The network of both is silent", Network::Silent, &[0, 1]),
    ] {
        trial.begin(name, cut_off);
        for number in cut_off {
            trial.relays[*number].set(network);
        }
        let working = (0..2).find(|number| !cut_off.contains(number));
        assert_eq!(trial.sign_out(working.unwrap_or(0)).await.is_some(), working.is_some());
        for number in cut_off {
            trial.until_refusing(*number).await;
        }
        if let Some(working) = working {
            for (door, tally) in trial.count() {
                let is_there = matches!(door, Door::Traefik(number) | Door::Envoy(number) if number == working);
                assert!(!is_there || tally.refused + tally.unanswered == 0, "{name}: {door:?} {tally:?}");
                assert!(tally.wrong.is_empty(), "{name}: {tally:#?}");
            }
        }
        for number in cut_off {
            trial.relays[*number].set(Network::Whole);
        }
        trial.end().await;
    }
    println!("{} requests, {:.0} s in all", trial.total, began.elapsed().as_secs_f64());
}
