//! Redis servers that take each other's place, under two foreposts at work.
//!
//! Replication is asynchronous, so what a master acknowledged may be lost with it. Here it is not: before a master is killed its replica
//! has everything that was acknowledged. What is ordered from then on is ordered until it is acknowledged, by a server that stays.

use tokio::time::Instant;

use super::scene::{Scene, user};
use super::trial::{SOON, Trial};
use crate::proxies::proxy::Proxy;
use crate::support::redis::{Redis, Sentinels, cluster, until};

/// How a master is lost.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It is killed, and comes back empty when another one has its place.
    Killed,
    /// It stops, and goes on as the master that it takes itself for.
    Stopped,
}

async fn start(urls: Vec<String>, sessions: usize) -> Trial {
    let environment = vec![("FOREPOST_SESSION__REDIS__URLS", urls.join(","))];
    Trial::start(Scene::start(Proxy::Nginx, vec![environment.clone(), environment]).await, sessions).await
}

/// Eight sessions end with the master: four before, four as soon as there is another one, which is told by a replica that may know of it
/// before the other does.
async fn take_over(
    trial: &mut Trial,
    name: &'static str,
    loss: Loss,
    master: &mut Redis,
    replica: &Redis,
    number: usize,
) {
    assert_eq!(trial.end_some(number).await, 4, "{name}");
    replica.until_it_has_all_of(master).await;
    trial.begin(name, &[0, 1]);
    let lost = Instant::now();
    match loss {
        Loss::Killed => master.kill(),
        Loss::Stopped => master.signal("STOP"),
    }
    trial.end_some(number).await;
    // What is served from memory is not a proof.
    until("the failover", async || replica.is_master().await).await;
    trial.until_ended(number).await;
    trial.until_all_are_in().await;
    let recovery = lost.elapsed();
    match loss {
        Loss::Killed => master.run().await,
        Loss::Stopped => master.signal("CONT"),
    }
    until("a copy", async || master.is_copy().await).await;
    trial.until_all_are_in().await;
    trial.end(recovery).await;
    // Logins and their ends are as before.
    let browser = trial.scene.sign_in(&user(59)).await;
    for replica in 0..2 {
        trial.scene.check(&browser, replica).await.is(200);
    }
    let since = trial.scene.sign_out(&browser, number).await;
    let denied = trial.scene.until_denied(&browser, 1 - number, since).await;
    assert!(denied < SOON, "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_another_master() {
    let Sentinels { mut master, mut replica, judges } = Sentinels::start().await;
    let urls = judges.iter().map(|sentinel| format!("redis+sentinel://{}/main", sentinel.address));
    let mut trial = start(urls.collect(), 20).await;
    let name = "Sentinel: `kill -9` of the master";
    take_over(&mut trial, name, Loss::Killed, &mut master, &replica, 0).await;
    let name = "Sentinel: the master stops, and goes on";
    take_over(&mut trial, name, Loss::Stopped, &mut replica, &master, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_cluster_take_over() {
    let mut servers = cluster().await;
    let urls = servers[..3].iter().map(|server| format!("redis+cluster://{}", server.address));
    let mut trial = start(urls.collect(), 44).await;
    let (masters, replicas) = servers.split_at_mut(3);
    for (number, name) in [
        "Cluster: `kill -9` of the first master",
        "Cluster: `kill -9` of the second master",
        "Cluster: `kill -9` of the third master",
    ]
    .into_iter()
    .enumerate()
    {
        // A majority of the masters has to be there for the next one.
        take_over(&mut trial, name, Loss::Killed, &mut masters[number], &replicas[number], number % 2).await;
    }
    let [.., third] = replicas else { panic!("no replica") };
    let name = "Cluster: a master stops, and goes on";
    take_over(&mut trial, name, Loss::Stopped, third, &masters[2], 1).await;
}
