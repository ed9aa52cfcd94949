//! What breaks while people work: no user whose session ended gets in, and no other user has to sign in again.

use std::time::Duration;

use http::Method;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::load::{Door, Standing};
use super::scene::{STALENESS, Scene};
use super::trial::{SOON, Trial};
use crate::proxies::proxy::Proxy;
use crate::support::ask;
use crate::support::redis::{Redis, until};
use crate::support::relay::{Network, Relay};

/// In each chapter four end, and in the first one four at each replica.
const SESSIONS: usize = 48;

/// A replica that stood still has heard of nothing, and must not answer from what it knows.
async fn stands_still(trial: &mut Trial, number: usize) {
    trial.scene.replicas[number].signal("STOP");
    trial.load.allow(number, Duration::ZERO);
    let since = Instant::now();
    assert_eq!(trial.end_some(1 - number).await, 4);
    // They wait in its sockets, and are the first that it sees.
    let mut first = JoinSet::new();
    for visitor in trial.load.visitors.iter() {
        for dialect in ["traefik", "envoy"] {
            let (mut browser, url) = (trial.scene.at_replica(&visitor.browser, number), trial.scene.url("/page"));
            let standing = visitor.standing();
            first.spawn(async move { (standing, ask(dialect, &mut browser, Method::GET, &url, &[]).await) });
        }
    }
    until("longer than it may rely on what it knows", async || since.elapsed() > STALENESS + SOON / 2).await;
    assert!(first.try_join_next().is_none(), "it stands still");
    trial.scene.replicas[number].signal("CONT");
    while let Some(answer) = first.join_next().await {
        let (standing, reply) = answer.unwrap();
        let (is_in, is_out) = (reply.status == 200, matches!(reply.status.as_u16(), 302 | 401));
        assert!(!is_in || standing == Standing::Valid, "{standing:?}: {reply:#?}");
        assert!(!is_out || standing != Standing::Valid, "{standing:?}: {reply:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outages_disturb_only_users_whose_sessions_end() {
    let began = Instant::now();
    let mut redis = Redis::durable().await;
    let relays = [Relay::to(redis.address).await, Relay::to(redis.address).await];
    let scene = Scene::at(Proxy::Nginx, relays.each_ref().map(|relay| relay.address)).await;
    let mut trial = Trial::start(scene, SESSIONS).await;

    trial.begin("Eight sessions end", &[]);
    assert_eq!((trial.end_some(0).await, trial.end_some(1).await), (4, 4));
    sleep(SOON).await;
    for (door, tally) in trial.count() {
        assert_eq!(tally.refused + tally.unanswered, 0, "{door:?} {tally:#?}");
    }
    trial.recover(Instant::now()).await;

    trial.begin("`kill -9` of a replica", &[]);
    trial.scene.replicas[0].kill();
    assert_eq!(trial.end_some(1).await, 4);
    sleep(SOON).await;
    let mended = Instant::now();
    trial.scene.replicas[0].run();
    trial.recover(mended).await;

    trial.begin("A replica stops (`SIGSTOP`), and goes on", &[]);
    stands_still(&mut trial, 1).await;
    trial.recover(Instant::now()).await;

    trial.begin("`kill -9` of Redis, and its restart", &[0, 1]);
    redis.kill();
    assert_eq!(trial.end_some(0).await, 0);
    for number in 0..2 {
        trial.until_refusing(number).await;
    }
    let mended = Instant::now();
    redis.run().await;
    trial.recover(mended).await;

    trial.begin("Redis stops (`SIGSTOP`), and goes on", &[0, 1]);
    redis.signal("STOP");
    assert_eq!(trial.end_some(1).await, 0);
    for number in 0..2 {
        trial.until_refusing(number).await;
    }
    redis.signal("CONT");
    trial.recover(Instant::now()).await;

    for (name, network, cut_off) in [
        ("One replica's network is cut", Network::Cut, &[0][..]),
        ("One replica's network is silent", Network::Silent, &[1]),
        ("One replica hears no answers", Network::Deaf, &[0]),
        ("The network of both is cut", Network::Cut, &[0, 1]),
        ("The network of both is silent", Network::Silent, &[0, 1]),
    ] {
        trial.begin(name, cut_off);
        for number in cut_off {
            relays[*number].set(network);
        }
        let working = (0..2).find(|number| !cut_off.contains(number));
        let acknowledged = trial.end_some(working.unwrap_or(0)).await;
        assert_eq!(acknowledged, if working.is_some() { 4 } else { 0 }, "{name}");
        for number in cut_off {
            trial.until_refusing(*number).await;
        }
        if let Some(working) = working {
            assert_eq!(trial.scene.health(working).await, (200, true), "{name}");
            for (door, tally) in trial.count() {
                let is_there = matches!(door, Door::Traefik(number) | Door::Envoy(number) if number == working);
                assert!(!is_there || tally.refused + tally.unanswered == 0, "{name}: {door:?} {tally:?}");
                assert!(tally.wrong.is_empty(), "{name}: {tally:#?}");
            }
        }
        for number in cut_off {
            relays[*number].set(Network::Whole);
        }
        trial.recover(Instant::now()).await;
    }
    println!("{} requests, {:.0} s in all", trial.total(), began.elapsed().as_secs_f64());
}
