//! Freeing runs beside all other work, and in order.

use super::*;

/// Logins are answered between the transactions that free sessions and revocations.
#[tokio::test]
async fn who_signs_in_does_not_wait_for_what_is_freed() {
    let folder = folder();
    let store = Arc::new(store(&folder));
    let now = World::system().now();
    let short = Arc::new(bob(app(), now, Duration::from_secs(10)));
    let mut saves = tokio::task::JoinSet::new();
    for _ in 0..20_000 {
        let (store, session) = (Arc::clone(&store), Arc::clone(&short));
        saves.spawn(async move { store.save(&token(), session).await.unwrap() });
    }
    saves.join_all().await;
    let subject = |number: u32| format!("subject-{number}");
    let revoke = |subject: String| {
        let store = Arc::clone(&store);
        async move {
            let whom = Whom::Subject { issuer: ISSUER, subject: &subject };
            store.revoke(&Revocation { whom, once: None }).await.unwrap();
        }
    };
    let revocations: tokio::task::JoinSet<_> = (0..5_000).map(|number| revoke(subject(number))).collect();
    revocations.join_all().await;
    let long = Arc::new(alice(app(), now, Duration::from_hours(1000), None));
    let reclaiming = tokio::spawn({
        let (store, later) = (Arc::clone(&store), now + Duration::from_hours(100));
        async move { SessionStore::reclaim(&*store, later).await.unwrap() }
    });
    let mut answered = 0;
    while !reclaiming.is_finished() {
        store.save(&token(), Arc::clone(&long)).await.unwrap();
        answered += 1;
    }
    reclaiming.await.unwrap();
    assert!(answered > 20, "{answered}");
    assert_eq!(store.count(), answered);
}

/// A transaction frees a part of what has ended; the list counts until the last one, in case the clock is put right meanwhile.
#[tokio::test]
async fn revocations_outlast_the_records_that_they_are_about() {
    let folder = folder();
    let store = Arc::new(store(&folder));
    let now = World::system().now();
    let short = Arc::new(bob(app(), now, Duration::from_secs(10)));
    let mut saves = tokio::task::JoinSet::new();
    for _ in 0..300 {
        let (store, session) = (Arc::clone(&store), Arc::clone(&short));
        saves.spawn(async move { store.save(&token(), session).await.unwrap() });
    }
    saves.join_all().await;
    SessionStore::revoke(&*store, &Revocation { whom: Whom::Everybody, once: None }).await.unwrap();
    let later = now + Duration::from_hours(100);
    for (freed, left) in [(256, 1), (44, 0)] {
        let outcome = store.backend.write(Change::Reclaim(later)).await.unwrap();
        assert!(matches!(outcome, Reply::Count(count) if count == freed), "{freed}");
        let known = store.backend.shared.database.read_list(&store.backend.shared.list, 0).unwrap().unwrap();
        assert_eq!(known.len(), left, "after {freed}");
    }
}
