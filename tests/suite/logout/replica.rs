//! A logout token that comes to two foreposts, as a provider's second try behind a proxy of both may.

use super::*;
use crate::provider::{Config, Provider};
use crate::support::redis::{Redis, until};
use crate::support::{client, start_daemon};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_one_obeyed_ends_nothing_at_the_other() {
    let redis = Redis::start(&[]).await;
    let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
    let provider = Provider::start(Config { clients, ..Config::default() }).await.unwrap();
    let toml = format!(
        "[session]\nstore = \"redis\"\nsecret = \"a-secret-of-some-length-for-both-of-them\"\nredis.url = \"redis://{}\"\n\
         [identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"proxy\"\nclient_secret = \"proxy-secret\"\n\
         [[application]]\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n",
        redis.address,
        provider.issuer()
    );
    let first = Stage { daemon: start_daemon(&toml).await, provider };
    let second = start_daemon(&toml).await;
    first.daemon.ready().await;
    second.ready().await;
    let at_second = |browser: &Browser| browser.clone().route("*", second.http_address().unwrap());
    let sees = async |browser: &Browser| {
        let reply = crate::support::ask("traefik", &mut at_second(browser), Method::GET, APP, &[]).await;
        reply.status.as_u16()
    };

    let alice = visitor(&first, APP, "alice").await;
    assert_eq!(sees(&alice).await, 200);
    let token = made(&first, &of_user("alice"));
    send(&first, &token).await.is(200);
    until("the other hears of it", async || sees(&alice).await == 302).await;

    let again = visitor(&first, APP, "alice").await;
    let form = format!("logout_token={token}");
    at_second(&again).post(BACK_CHANNEL, &form).await.is(200);
    assert!(is_in(&first, &again, APP).await && sees(&again).await == 200);
    let mut operator = Browser::new().route("*", second.metrics_address().unwrap());
    let metrics = operator.get("http://metrics/metrics").await.body;
    let repeated = "forepost_logout_tokens_total{identity_provider=\"idp\",result=\"repeated\"} 1\n";
    assert!(metrics.contains(repeated), "{metrics}");
}
