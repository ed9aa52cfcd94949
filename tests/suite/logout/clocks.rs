//! Orders to end sessions, given by another clock than the one by which people signed in.

use std::path::Path;

use forepost::daemon::Daemon;
use forepost::serve::Admin;
use forepost::settings::Settings;
use forepost::world::{Clock, UnixTime};
use tokio::task::spawn_blocking;

use super::*;
use crate::provider::{Config, Provider};
use crate::support::process::forepost;
use crate::support::redis::{Redis, until};
use crate::support::{client, start_tuned};

const EVERYWHERE: &str = "https://app.example.com/outpost.goauthentik.io/sign_out?everywhere=true";

/// The right time, and so many seconds.
struct Shifted(i64);

impl Clock for Shifted {
    fn now(&self) -> UnixTime {
        World::system().now().shifted(self.0 * 1000)
    }
}

#[derive(Clone, Copy, Debug)]
enum Order {
    ProviderSession,
    User,
    OperatorUser,
    OperatorAll,
    Everywhere,
}

const ORDERS: [Order; 5] =
    [Order::ProviderSession, Order::User, Order::OperatorUser, Order::OperatorAll, Order::Everywhere];

async fn provider() -> Provider {
    let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
    Provider::start(Config { clients, ..Config::default() }).await.unwrap()
}

/// A forepost whose clock is ahead by so many seconds, and which operators reach in `folder`.
async fn daemon(provider: &Provider, store: &str, ahead: i64, folder: &Path) -> Daemon {
    let toml = format!(
        "[session]\n{store}\nsecret = \"a-secret-of-some-length-for-both-of-them\"\nsign_out_everywhere = true\n\
         [identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
         [[application]]\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n",
        provider.issuer()
    );
    let socket = folder.join("admin.sock");
    let tune = |settings: &mut Settings| settings.server.admin = Admin::At(socket);
    let daemon = start_tuned(&toml, World::with_clock(Shifted(ahead)), tune).await;
    daemon.ready().await;
    daemon
}

/// Gives an order about `alice` to the forepost of `stage`, and wants it acknowledged.
async fn give(order: Order, stage: &Stage, alice: &Browser, folder: &Path) {
    let operator = async |words: &'static [&'static str]| {
        let socket = folder.join("admin.sock").display().to_string();
        let asked = move || forepost(&[words, &["--socket", &socket]].concat(), &[]).output().unwrap();
        let output = spawn_blocking(asked).await.unwrap();
        assert!(output.status.success(), "{output:?}");
    };
    match order {
        Order::ProviderSession => {
            let sessions = stage.provider.session_ids("alice");
            send(stage, &made(stage, &of_session(&sessions[0]))).await.is(200);
        }
        Order::User => drop(send(stage, &made(stage, &of_user("alice"))).await.is(200)),
        Order::OperatorUser => operator(&["sessions", "revoke", "--user", "alice"]).await,
        Order::OperatorAll => operator(&["sessions", "revoke", "--all", "--yes"]).await,
        Order::Everywhere => {
            let mut alice = alice.clone().route("*", stage.daemon.http_address().unwrap());
            alice.send(Method::POST, EVERYWHERE, &[("origin", "https://app.example.com")], None).await.is(303);
        }
    }
}

/// forepost ran fast, a user signed in, the clock was set right, and forepost was started again.
#[tokio::test(flavor = "multi_thread")]
async fn after_a_restart_with_the_right_time_every_order_counts() {
    for order in ORDERS {
        let (folder, provider) = (tempfile::tempdir().unwrap(), provider().await);
        let store = format!("store = \"file\"\ndirectory = \"{}\"", folder.path().join("state").display());
        let fast = daemon(&provider, &store, 40, folder.path()).await;
        let stage = Stage { daemon: fast, provider };
        let alice = visitor(&stage, APP, "alice").await;
        let Stage { daemon: fast, provider } = stage;
        fast.shutdown().await;
        let daemon = daemon(&provider, &store, 0, folder.path()).await;
        let stage = Stage { provider, daemon };
        let at_it = |browser: &Browser| browser.clone().route("*", stage.daemon.http_address().unwrap());
        assert!(is_in(&stage, &at_it(&alice), APP).await, "{order:?}");
        give(order, &stage, &alice, folder.path()).await;
        assert!(!is_in(&stage, &at_it(&alice), APP).await, "{order:?}");
        let again = visitor(&stage, APP, "alice").await;
        assert!(is_in(&stage, &again, APP).await, "{order:?}: a new login comes after it");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_whose_clocks_differ_follow_each_others_orders() {
    let redis = Redis::start(&[]).await;
    for (theirs, ours) in [(20, 0), (0, 20)] {
        for order in ORDERS {
            let provider = provider().await;
            let folders = [(); 2].map(|()| tempfile::tempdir().unwrap());
            let prefix = format!("{order:?}-{theirs}:");
            let store =
                format!("store = \"redis\"\nredis.prefix = \"{prefix}\"\nredis.url = \"redis://{}\"", redis.address);
            let first = daemon(&provider, &store, theirs, folders[0].path()).await;
            let second = daemon(&provider, &store, ours, folders[1].path()).await;
            let first_address = first.http_address().unwrap();
            let mut stage = Stage { daemon: first, provider };
            let alice = visitor(&stage, APP, "alice").await;
            let first = std::mem::replace(&mut stage.daemon, second);
            let here = |browser: &Browser| browser.clone().route("*", stage.daemon.http_address().unwrap());
            let there = |browser: &Browser| browser.clone().route("*", first_address);
            give(order, &stage, &alice, folders[1].path()).await;
            assert!(!is_in(&stage, &here(&alice), APP).await, "{order:?}, {theirs} s");
            until("the other hears of it", async || !is_in(&stage, &there(&alice), APP).await).await;
            let again = visitor(&stage, APP, "alice").await;
            assert!(is_in(&stage, &here(&again), APP).await, "{order:?}, {theirs} s");
            assert!(is_in(&stage, &there(&again), APP).await, "{order:?}, {theirs} s");
            first.shutdown().await;
        }
    }
}
