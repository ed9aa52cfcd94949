//! What has ended stays so, whatever happens to the server.

use super::*;

fn order() -> Revocation<'static> {
    let once = Once { issuer: ISSUER, id: "jti", until: World::system().now() + LONG };
    Revocation { whom: Whom::Subject { issuer: ISSUER, subject: "alice-subject" }, once: Some(once) }
}

fn name(token: &SessionToken) -> String {
    format!("test:s:{{{}}}", token.key())
}

async fn is_there(server: &Server, token: &SessionToken) -> bool {
    server.ask(&["EXISTS", &name(token)]).await == ::redis::Value::Int(1)
}

/// The server accepts writes, but whether it is the one that all follow is not known.
#[tokio::test]
async fn what_may_be_lost_is_not_acknowledged() {
    let (server, store, _) = scene().await;
    let tokens = [(); 3].map(|()| token());
    for token in &tokens {
        store.save(token, of_alice(ProviderSide::default())).await.unwrap();
    }
    server.ask(&["ACL", "SETUSER", "default", "-xread"]).await;
    until("nothing is heard", async || !store.is_up()).await;
    let order = order();
    assert!(store.revoke(&order).await.is_err());
    assert!(store.remove(&tokens[0]).await.is_err());
    assert!(store.end(tokens[1].key()).await.is_err());
    // All of it was done, where possible.
    assert!(!is_there(&server, &tokens[0]).await && !is_there(&server, &tokens[1]).await);
    server.ask(&["ACL", "SETUSER", "default", "+xread"]).await;
    until("it is followed again", async || store.is_up()).await;
    assert!(!store.revoke(&order).await.unwrap(), "followed before");
    for token in &tokens {
        assert!(store.load(token).await.unwrap().is_none());
    }
}

/// The server starts empty, as one that got nothing from its predecessor.
#[tokio::test]
async fn an_order_that_the_server_lost_is_told_again() {
    let (mut server, one, other) = scene().await;
    let (token, session) = (token(), of_alice(ProviderSide::default()));
    one.save(&token, Arc::clone(&session)).await.unwrap();
    assert!(other.load(&token).await.unwrap().is_some());
    assert!(one.revoke(&order()).await.unwrap());
    until("the order is heard of", async || other.cached(&token).is_none()).await;
    drop(one);
    server.kill();
    server.run();
    server.until_ready().await;
    until("the list is as it was", async || server.ask(&["XLEN", &list("")]).await == ::redis::Value::Int(1)).await;
    let late = store(&settings(server.address));
    late.save(&token, session).await.unwrap();
    assert!(late.load(&token).await.unwrap().is_none());
}

/// The server goes on from a copy from before the sign-out.
#[tokio::test]
async fn a_removal_that_the_server_lost_is_made_again() {
    let (mut server, one, other) = scene().await;
    let token = saved(&one, of_alice(ProviderSide::default())).await;
    assert!(other.load(&token).await.unwrap().is_some());
    server.ask(&["SAVE"]).await;
    assert!(one.remove(&token).await.unwrap().is_some());
    until("the sign-out is heard of", async || other.cached(&token).is_none()).await;
    drop(one);
    server.kill();
    server.run();
    server.until_ready().await;
    until("it is gone", async || other.is_up() && !is_there(&server, &token).await).await;
    assert!(store(&settings(server.address)).load(&token).await.unwrap().is_none());
}

/// As after one server of a Cluster lost its place, which the others do not notice.
#[tokio::test]
async fn a_record_that_comes_back_opens_nothing() {
    let (server, one, other) = scene().await;
    let token = saved(&one, of_alice(ProviderSide::default())).await;
    let record = one.backend.shared.redis.get(token.key().as_bytes()).await.unwrap().unwrap();
    assert!(other.load(&token).await.unwrap().is_some());
    assert!(one.end(token.key()).await.unwrap().is_some());
    until("the end is heard of", async || other.cached(&token).is_none()).await;
    for _ in 0..2 {
        one.backend.shared.redis.put(token.key().as_bytes(), &record, LONG, 0).await.unwrap();
        assert!(other.load(&token).await.unwrap().is_none());
        until("it is gone", async || !is_there(&server, &token).await).await;
        one.backend.shared.redis.put(token.key().as_bytes(), &record, LONG, 0).await.unwrap();
        assert!(matches!(other.begin_refresh(&token).await.unwrap(), LeaseAnswer::Gone));
        until("it is gone", async || !is_there(&server, &token).await).await;
        one.backend.shared.redis.put(token.key().as_bytes(), &record, LONG, 0).await.unwrap();
        assert!(one.outline(token.key()).await.unwrap().is_none());
        until("it is gone", async || !is_there(&server, &token).await).await;
        one.backend.shared.redis.put(token.key().as_bytes(), &record, LONG, 0).await.unwrap();
        assert!(other.page(None).await.unwrap().unwrap().sessions.is_empty());
        until("it is gone", async || !is_there(&server, &token).await).await;
    }
}

/// Its refresh token is the one to revoke.
#[tokio::test]
async fn a_sign_out_gives_back_what_another_process_refreshed() {
    let (_server, one, other) = scene().await;
    let token = saved(&one, refreshable("first", Some(true), Duration::ZERO)).await;
    assert!(other.load(&token).await.unwrap().is_some());
    let LeaseAnswer::Lease(lease, _) = one.begin_refresh(&token).await.unwrap() else { panic!("no lease is held") };
    let renewed = Finished::Renewed(refreshable("second", Some(true), LONG));
    assert!(one.finish_refresh(&token, &lease, renewed).await.unwrap());
    let removed = other.remove(&token).await.unwrap().unwrap();
    assert_eq!(removed.refreshable().unwrap().token.expose_secret(), "second");
}

/// The server with the record works, the one with the streams does not.
#[tokio::test]
async fn a_removal_that_was_not_published_is_published_later() {
    let servers = cluster("redis-server").await;
    let (one, other) = (store(&cluster_settings(&servers)), store(&cluster_settings(&servers)));
    let token = saved(&one, of_alice(ProviderSide::default())).await;
    assert!(other.load(&token).await.unwrap().is_some());
    let streams = &servers[owner(&servers, "test:{revocations}")];
    streams.ask(&["ACL", "SETUSER", "default", "-xadd"]).await;
    assert!(one.remove(&token).await.is_err());
    assert!(one.load(&token).await.unwrap().is_none());
    streams.ask(&["ACL", "SETUSER", "default", "+xadd"]).await;
    until("the sign-out is heard of", async || other.is_up() && other.cached(&token).is_none()).await;
    assert!(other.load(&token).await.unwrap().is_none());
}
