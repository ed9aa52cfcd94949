//! Redis servers that take each other's place, under two foreposts.

use std::time::Duration;

use tokio::time::Instant;

use super::scene::{Scene, user};
use crate::proxies::proxy::Proxy;
use crate::support::Browser;
use crate::support::redis::{Sentinels, cluster, until};

/// Signs somebody in at each replica, and somebody out; gives both.
async fn visit(scene: &Scene, number: usize) -> [Browser; 2] {
    let stays = scene.sign_in(&user(number)).await;
    let leaves = scene.sign_in(&user(number + 1)).await;
    for replica in 0..2 {
        scene.check(&stays, replica).await.is(200);
        scene.check(&leaves, replica).await.is(200);
    }
    let since = scene.sign_out(&leaves, number % 2).await;
    let denied = scene.until_denied(&leaves, (number + 1) % 2, since).await;
    assert!(denied < Duration::from_secs(1), "{denied:?}");
    [stays, leaves]
}

/// Everybody is where he was; how long that took.
async fn all_is_well(scene: &Scene, since: Instant, visits: &[[Browser; 2]]) -> Duration {
    for [stays, leaves] in visits {
        for replica in 0..2 {
            // Until it is known, nobody is sent away.
            until("the new master", async || {
                let reply = scene.check(stays, replica).await;
                assert!(matches!(reply.status.as_u16(), 200 | 503), "{reply:#?}");
                reply.status == 200
            })
            .await;
            until("the new master", async || {
                let reply = scene.check(leaves, replica).await;
                assert!(matches!(reply.status.as_u16(), 302 | 503), "{reply:#?}");
                reply.status == 302
            })
            .await;
        }
    }
    since.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_name_another_master() {
    let mut group = Sentinels::start().await;
    let urls: Vec<_> =
        group.judges.iter().map(|sentinel| format!("redis+sentinel://{}/main", sentinel.address)).collect();
    let environment = vec![("FOREPOST_SESSION__REDIS__URLS", urls.join(","))];
    let scene = Scene::start(Proxy::Nginx, vec![environment.clone(), environment]).await;
    let mut visits = vec![visit(&scene, 0).await];
    group.master.until_copied().await;
    let killed = Instant::now();
    group.master.kill();
    // What is served from memory is no proof.
    until("the failover", async || group.replica.is_master().await).await;
    let took = all_is_well(&scene, killed, &visits).await;
    println!("Sentinel: all as before {:.1} s after the master was killed", took.as_secs_f64());
    visits.push(visit(&scene, 3).await);
    all_is_well(&scene, killed, &visits).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_of_a_cluster_take_over() {
    let mut servers = cluster().await;
    let urls: Vec<_> = servers[..3].iter().map(|server| format!("redis+cluster://{}", server.address)).collect();
    let environment = vec![("FOREPOST_SESSION__REDIS__URLS", urls.join(","))];
    let scene = Scene::start(Proxy::Nginx, vec![environment.clone(), environment]).await;
    let mut visits = Vec::new();
    for number in 0..4 {
        visits.push(visit(&scene, number * 2 + number % 2).await);
    }
    for number in 0..3 {
        servers[number].until_copied().await;
        let killed = Instant::now();
        servers[number].kill();
        until("the failover", async || servers[number + 3].is_master().await).await;
        let took = all_is_well(&scene, killed, &visits).await;
        println!("Cluster: all as before {:.1} s after a master was killed", took.as_secs_f64());
        visits.push(visit(&scene, 20 + number).await);
        // A majority of the masters has to be there for the next one.
        servers[number].run().await;
        until("a copy", async || servers[number].is_copy().await).await;
    }
}
