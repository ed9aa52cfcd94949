//! A daemon that ends, and comes back, beneath a browser.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use http::StatusCode;
use serde_json::json;

use super::run;
use crate::proxies::proxy::Proxy;
use crate::replicas::Scene;
use crate::support::redis::Redis;
use crate::web::{self, HangUp, Server};

/// Browses while one of the daemons after the other is killed and started again.
async fn goes_on(mut scene: Scene) {
    let (listener, address) = web::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await.unwrap();
    let port = scene.address.port();
    let daemons = Arc::new(Mutex::new((scene.take_replicas(), 0)));
    let control = Server::run(listener, None, move |_, _| {
        let daemons = Arc::clone(&daemons);
        let restart = tokio::task::spawn_blocking(move || {
            let (daemons, next) = &mut *daemons.lock().unwrap();
            let at = *next % daemons.len();
            daemons[at].kill();
            daemons[at].run();
            *next += 1;
        });
        async move {
            let status = if restart.await.is_ok() { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
            Ok::<_, HangUp>(web::text(status, "started again"))
        }
    });
    run("restart", json!({"port": port, "kills": 4, "control": format!("http://{address}/")})).await;
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_not_noticed_where_sessions_are_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap().to_owned();
    let environment = vec![("FOREPOST_SESSION__STORE", "file".to_owned()), ("FOREPOST_SESSION__DIRECTORY", directory)];
    goes_on(Scene::start(Proxy::Caddy, vec![environment]).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_is_not_noticed_where_two_share_a_redis() {
    let redis = Redis::start(&[]).await;
    goes_on(Scene::at(Proxy::Nginx, [redis.address; 2]).await).await;
}
