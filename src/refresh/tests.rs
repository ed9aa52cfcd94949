use super::*;
use crate::app::samples::single;
use crate::identity::{Identity, PackedIdentity};
use crate::session::contract::parts;
use crate::session::{MemoryStore, NewSession, ProviderSide, Schedule};

const HOUR: Duration = Duration::from_hours(1);

/// A session whose ID token ended in the past, and whose next refresh is due in an hour.
fn without_token(app: &Application, now: UnixTime) -> Arc<Session> {
    let identity = Identity { subject: "alice".to_owned(), username: "alice".to_owned(), ..Identity::default() };
    let schedule = Schedule::new(now + HOUR, now + 2 * HOUR);
    let refreshable = Refreshable { token: "token".to_owned().into(), rotates: None, schedule };
    let new = NewSession {
        realm: app.realm.clone(),
        identity: PackedIdentity::new(identity, "id.to.ken", Some(UnixTime::from_secs(1))),
        began_at: now,
        lifetime: HOUR,
        idle_timeout: None,
        provider: ProviderSide { refreshable: Some(refreshable), ..ProviderSide::default() },
    };
    Arc::new(Session::new(new, now))
}

#[tokio::test]
async fn a_session_that_a_refresh_has_replaced_awaits_the_new_token() {
    let world = World::system();
    let store: Arc<dyn SessionStore> = Arc::new(MemoryStore::new(parts(10)));
    let metrics = Arc::new(Metrics::new("test", &[], &[]));
    let revalidation = Revalidation { after: None, within: HOUR, silent_login: false, reauthorize_after: None };
    let revoker = Revoker::new(TaskTracker::new());
    let refresher = Refresher::new(world.clone(), Arc::clone(&store), metrics, revalidation, revoker);
    let (app, now) = (single("https://app.example.com"), world.now());
    let token = SessionToken::generate(&world).unwrap();
    let [old, newest] = [(); 2].map(|()| without_token(&app, now));
    store.save(&token, Arc::clone(&old)).await.unwrap();
    assert!(!refresher.awaits_id_token(&token, &old, now), "there is nothing to wait for");
    // As a refresh by another request does, after this one has taken the old session out of memory.
    store.save(&token, Arc::clone(&newest)).await.unwrap();
    assert!(refresher.awaits_id_token(&token, &old, now));
    assert!(!refresher.awaits_id_token(&token, &newest, now));
}
