use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc;

use http::Request;
use http_body_util::BodyExt as _;

use super::*;
use crate::app::samples::{at_provider, provider, single, with_host};
use crate::catalog::samples::catalog;
use crate::session::contract::parts;
use crate::session::samples::{alice, bob};
use crate::session::{
    Finished, Lease, LeaseAnswer, MemoryStore, Page, Revocation, Session, SessionOutline, SessionToken, StoreFuture,
};
use crate::world::{UnixTime, World};

const ISSUER: &str = "https://id.example.com";

const SLUG: &str = "app-example-com";

const ROOT: Peer = Peer::UnixSocket { uid: Some(0) };

fn admin(store: Arc<dyn SessionStore>) -> Admin {
    Admin {
        store,
        metrics: Arc::new(Metrics::new("test", &["traefik"], &["allow"])),
        catalog: catalog(vec![at_provider("https://app.example.com", None, provider("main", ISSUER), |_| ())]),
        reloads: mpsc::channel(1).0,
        count_timeout: COUNT_TIMEOUT,
    }
}

/// Two sessions of alice and one of bob, in a store with three pages; and the token of alice's first session.
async fn with_sessions() -> (Admin, SessionToken) {
    let store = MemoryStore::new(parts(1000));
    let (app, now) = (single("https://app.example.com"), World::system().now());
    let hour = Duration::from_hours(1);
    let tokens: [_; 3] = std::array::from_fn(|_| SessionToken::generate(&World::system()).unwrap());
    let sessions = [alice(&app, now, hour, None), alice(&app, now, hour, None), bob(&app, now, hour)];
    for (token, session) in tokens.iter().zip(sessions) {
        store.save(token, Arc::new(session)).await.unwrap();
    }
    let [first, ..] = tokens;
    (admin(Arc::new(store)), first)
}

async fn ask(admin: &Admin, request: &str) -> (u16, Value) {
    let (method, target) = request.split_once(' ').unwrap();
    let (head, ()) = Request::builder().method(method).uri(target).body(()).unwrap().into_parts();
    let answer = admin.answer(&head, ROOT).await;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

async fn lists(admin: &Admin, query: &str, expected: usize) {
    let (mut target, mut pages, mut count) = (format!("GET /sessions{query}"), 0, 0);
    loop {
        let (status, body) = ask(admin, &target).await;
        assert_eq!(status, 200, "{target}: {body}");
        (pages, count) = (pages + 1, count + body["sessions"].as_array().unwrap().len());
        let Some(next) = body["next"].as_str() else { break };
        target =
            format!("GET /sessions{}at={next}", if query.is_empty() { "?".to_owned() } else { format!("{query}&") });
    }
    assert_eq!((pages, count), (3, expected), "{query}");
}

async fn refuses(admin: &Admin, request: &str, status: u16, says: &str) {
    let (got, body) = ask(admin, request).await;
    let message = body["message"].as_str().unwrap_or_default();
    assert!(got == status && message.contains(says), "{request}: {got} {body}");
}

#[tokio::test]
async fn lists_are_filtered() {
    let (admin, _) = with_sessions().await;
    lists(&admin, "", 3).await;
    lists(&admin, "?user=alice", 2).await;
    lists(&admin, "?user=alice-subject", 2).await;
    lists(&admin, "?subject=alice", 0).await;
    lists(&admin, "?subject=bob-subject&application=app-example-com", 1).await;
    lists(&admin, "?application=other", 0).await;
    lists(&admin, &format!("?issuer={ISSUER}&user=bob"), 1).await;
    lists(&admin, "?issuer=https://other", 0).await;
}

#[tokio::test]
async fn what_is_wrong_is_named() {
    let (admin, _) = with_sessions().await;
    let id = "A".repeat(43);
    refuses(&admin, "GET /sessions?at=garbage", 400, "at:").await;
    refuses(&admin, "GET /sessions?name=x", 400, "name:").await;
    refuses(&admin, "GET /sessions/garbage", 400, "garbage").await;
    refuses(&admin, &format!("GET /sessions/{id}"), 404, &id).await;
    refuses(&admin, &format!("DELETE /sessions/{id}"), 404, &id).await;
    refuses(&admin, "DELETE /sessions/", 400, "not an id").await;
    refuses(&admin, "DELETE /sessions", 400, "exactly one").await;
    refuses(&admin, "DELETE /sessions?all=1", 400, "all:").await;
    refuses(&admin, "DELETE /sessions?user=unknown", 404, "unknown").await;
    refuses(&admin, "DELETE /sessions?user=x&issuer=https://other", 400, ISSUER).await;
    refuses(&admin, "DELETE /sessions?application=other", 404, "app-example-com").await;
    refuses(&admin, "POST /sessions?all=true", 405, "DELETE").await;
    refuses(&admin, "GET /other", 404, "/sessions").await;
    lists(&admin, "", 3).await;
    assert_eq!(ask(&admin, "GET /outpost.goauthentik.io/ping").await.0, 204);
}

#[tokio::test]
async fn orders_end_what_they_name() {
    let (admin, token) = with_sessions().await;
    let id = token.key();
    let (status, shown) = ask(&admin, &format!("GET /sessions/{id}")).await;
    assert_eq!((status, &shown["user"], &shown["issuer"]), (200, &json!("alice"), &json!(ISSUER)));
    assert!(shown.get("began_at").is_none() && shown["created_at"].is_u64(), "{shown}");
    let (status, ended) = ask(&admin, &format!("DELETE /sessions/{id}")).await;
    assert_eq!((status, &ended["ended"], &ended["session"]["id"]), (200, &json!(1), &shown["id"]));
    assert!(admin.store.cached(&token).is_none());
    lists(&admin, "", 2).await;

    let users = json!([{"issuer": ISSUER, "subject": "alice-subject"}]);
    let expected = json!({"ended": 1, "users": users});
    assert_eq!(ask(&admin, "DELETE /sessions?user=alice").await, (200, expected));
    lists(&admin, "?user=bob", 1).await;
    lists(&admin, "", 1).await;
    let unseen = ask(&admin, &format!("DELETE /sessions?user=alice-subject&issuer={ISSUER}")).await;
    assert_eq!(unseen, (200, json!({"ended": 0, "users": users})));
    let (status, ended) = ask(&admin, "DELETE /sessions?application=app-example-com").await;
    assert_eq!((status, ended), (200, json!({"ended": 1, "application": SLUG})));
    lists(&admin, "", 0).await;
    assert_eq!(ask(&admin, "DELETE /sessions?application=app-example-com").await.1["ended"], 0);
    let (admin, _) = with_sessions().await;
    assert_eq!(ask(&admin, "DELETE /sessions?all=true").await, (200, json!({"ended": 3, "all": true})));
    lists(&admin, "", 0).await;
    assert_eq!(admin.store.count(), 3, "their records are still there");
    assert_eq!(ask(&admin, "DELETE /sessions?all=true").await, (200, json!({"ended": 0, "all": true})));
    assert!(admin.metrics.encode(0).contains("forepost_revocations_total{reason=\"operator\"} 2\n"));
}

#[tokio::test]
async fn other_users_get_no_answer() {
    let (admin, _) = with_sessions().await;
    let (head, ()) = Request::builder().method("DELETE").uri("/sessions?all=true").body(()).unwrap().into_parts();
    let answer = admin.answer(&head, Peer::Ip(([127, 0, 0, 1], 1).into())).await;
    assert_eq!(answer.status(), StatusCode::NOT_FOUND);
    lists(&admin, "", 3).await;
}

/// A store that does not answer. With a list it records revocations in it, and its pages do not come.
#[derive(Default)]
struct Away(Option<Mutex<Vec<String>>>);

fn away<'s, T: Send + 's>() -> StoreFuture<'s, T> {
    Box::pin(std::future::ready(Err(StoreError("gone".to_owned()))))
}

impl SessionStore for Away {
    fn cached(&self, _: &SessionToken) -> Option<Arc<Session>> {
        None
    }

    fn load<'s>(&'s self, _: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        away()
    }

    fn save<'s>(&'s self, _: &'s SessionToken, _: Arc<Session>) -> StoreFuture<'s, ()> {
        away()
    }

    fn remove<'s>(&'s self, _: &'s SessionToken) -> StoreFuture<'s, Option<Arc<Session>>> {
        away()
    }

    fn begin_refresh<'s>(&'s self, _: &'s SessionToken) -> StoreFuture<'s, LeaseAnswer> {
        away()
    }

    fn finish_refresh<'s>(&'s self, _: &'s SessionToken, _: &'s Lease, _: Finished) -> StoreFuture<'s, bool> {
        away()
    }

    fn revoke<'s>(&'s self, revocation: &'s Revocation<'s>) -> StoreFuture<'s, bool> {
        let Some(noted) = &self.0 else { return away() };
        noted.lock().unwrap().push(format!("{:?}", revocation.whom));
        Box::pin(std::future::ready(Ok(true)))
    }

    fn end(&self, _: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        away()
    }

    fn outline(&self, _: SessionKey) -> StoreFuture<'_, Option<SessionOutline>> {
        away()
    }

    fn page(&self, _: Option<String>) -> StoreFuture<'_, Option<Page>> {
        if self.0.is_some() { Box::pin(std::future::pending()) } else { away() }
    }

    fn reclaim(&self, _: UnixTime) -> StoreFuture<'_, ()> {
        away()
    }

    fn count(&self) -> u64 {
        0
    }

    fn is_up(&self) -> bool {
        false
    }
}

#[tokio::test]
async fn a_store_that_is_away_is_told() {
    let admin = admin(Arc::new(Away::default()));
    let id = "A".repeat(43);
    for target in ["?user=a", "?application=app-example-com", "?all=true", &format!("/{id}")] {
        refuses(&admin, &format!("DELETE /sessions{target}"), 503, "gone").await;
    }
    refuses(&admin, "GET /sessions", 503, "gone").await;
    refuses(&admin, &format!("GET /sessions/{id}"), 503, "gone").await;
    assert!(!admin.metrics.encode(0).contains("forepost_revocations_total{reason=\"operator\"} 1\n"));
}

/// An order takes effect at once, although the search takes longer.
#[tokio::test]
async fn orders_take_effect_before_all_sessions_are_seen() {
    let store = Arc::new(Away(Some(Mutex::default())));
    let admin = Admin { count_timeout: Duration::from_millis(1), ..admin(Arc::clone(&store) as Arc<dyn SessionStore>) };
    let noted = || store.0.as_ref().unwrap().lock().unwrap().join(", ");
    let (status, told) = ask(&admin, &format!("DELETE /sessions?application={SLUG}")).await;
    assert_eq!((status, told), (200, json!({"ended": 0, "application": SLUG, "at_least": true})));
    let application = format!("Application(\"{SLUG}\")");
    assert_eq!(noted(), application);
    let told = ask(&admin, "DELETE /sessions?all=true").await;
    assert_eq!(told, (200, json!({"ended": 0, "all": true, "at_least": true})));
    assert_eq!(noted(), format!("{application}, Everybody"));
    let before = noted();

    // Namesakes are still looked for.
    let request = format!("DELETE /sessions?user=alice&issuer={ISSUER}");
    tokio::select! {
        answer = ask(&admin, &request) => panic!("{answer:?}"),
        () = async { while noted() == before { tokio::task::yield_now().await } } => {}
    }
    assert_eq!(noted(), format!("{before}, Subject {{ issuer: \"{ISSUER}\", subject: \"alice\" }}"));
}

#[test]
fn readiness_shows_that_the_store_is_away() {
    let metrics = Arc::new(Metrics::new("test", &["traefik"], &["allow"]));
    let shutdown = crate::lifecycle::Shutdown::new(Duration::ZERO);
    let status = |store| crate::http::Status {
        metrics: Arc::clone(&metrics),
        store,
        catalog: Arc::default(),
        shutdown: shutdown.clone(),
    };
    let up = status(Arc::new(MemoryStore::new(parts(1))));
    assert_eq!(up.answer("/ready", "").status(), StatusCode::OK);
    assert_eq!(up.answer("/metrics", "").status(), 200);
    assert!(metrics.encode(0).contains("forepost_store_up 1\n"));
    let down = status(Arc::new(Away::default()));
    assert_eq!(down.answer("/ready", "").status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(down.answer("/metrics", "").status(), 200);
    assert!(metrics.encode(0).contains("forepost_store_up 0\n"));
}

#[tokio::test]
async fn a_host_has_the_sessions_of_its_application() {
    let (home, wiki) = with_host("https://app.example.com", "example.com", "wiki.example.com");
    let (admin, _) = with_sessions().await;
    let admin = Admin { catalog: catalog(vec![home, wiki]), ..admin };
    let elsewhere = "wiki-example-com is a host of app-example-com, and shares its sessions: name app-example-com";
    refuses(&admin, "GET /sessions?application=wiki-example-com", 404, elsewhere).await;
    refuses(&admin, "DELETE /sessions?application=wiki-example-com", 404, elsewhere).await;
    refuses(&admin, "DELETE /sessions?application=x", 404, "there is no application x; there are app-example-com")
        .await;
    lists(&admin, "?application=app-example-com", 3).await;
    let (status, body) = ask(&admin, "DELETE /sessions?application=app-example-com").await;
    assert_eq!((status, &body["ended"]), (200, &json!(3)));
}
