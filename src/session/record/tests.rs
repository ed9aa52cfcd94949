use std::sync::LazyLock;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::session::{Names, NewSession};

const SECRET: &[u8] = b"a secret of some length, for tests";

fn keys(secret: &[u8]) -> RecordKeys {
    RecordKeys::new(secret, Duration::MAX, None)
}

static KEYS: LazyLock<RecordKeys> = LazyLock::new(|| keys(SECRET));

const ISSUER: &str = "https://id.example.com";

fn token() -> SessionToken {
    SessionToken::generate(&World::system()).unwrap()
}

fn session(identity: Identity, id_token: &str, idle_timeout: Option<Duration>) -> Session {
    let new = NewSession {
        realm: Realm::new("app", ISSUER),
        identity: PackedIdentity::new(identity, id_token, Some(UnixTime::from_secs(1_700_000_000))),
        began_at: UnixTime::from_millis(1_699_999_990_000),
        lifetime: Duration::from_hours(24),
        idle_timeout,
        provider: ProviderSide::default(),
    };
    Session::new(new, UnixTime::from_millis(1_700_000_000_123))
}

fn sealed(session: &Session, token: &SessionToken) -> Vec<u8> {
    KEYS.seal(&World::system(), token, session).unwrap()
}

fn opened(token: &SessionToken, record: &[u8]) -> Option<Session> {
    KEYS.open(token, record)
}

fn of_alice() -> (SessionToken, Session) {
    let identity = Identity { subject: "alice-subject".into(), username: "alice".into(), ..Identity::default() };
    (token(), session(identity, "id.to.ken", Some(Duration::from_hours(8))))
}

#[track_caller]
fn same(one: &Session, other: &Session) {
    assert_eq!(one.identity().identity(), other.identity().identity());
    assert_eq!(one.identity().id_token(), other.identity().id_token());
    assert_eq!(one.identity().sent_until().is_some(), other.identity().sent_until().is_some());
    assert_eq!(one.identity().claims(), other.identity().claims());
    assert_eq!(one.identity().kept(), other.identity().kept());
    assert_eq!((&one.realm, one.created_at), (&other.realm, other.created_at));
    assert_eq!((one.expires_at, one.idle_timeout), (other.expires_at, other.idle_timeout));
    assert_eq!((one.last_use(), one.was_checked()), (other.last_use(), other.was_checked()));
    assert_eq!((one.began_at, one.session_id()), (other.began_at, other.session_id()));
    assert_eq!(one.earlier_session_ids(), other.earlier_session_ids());
    assert_eq!(one.auth_times(), other.auth_times());
    assert_eq!(one.userinfo_claims(), other.userinfo_claims());
    let refresh = |session: &Session| session.refreshable().map(Refresh::of).map(|refresh| json(&refresh));
    assert_eq!(refresh(one), refresh(other));
    let silent = |session: &Session| session.silent_login().map(Times::of).map(|times| json(&times));
    assert_eq!(silent(one), silent(other));
}

#[test]
fn the_end_of_the_id_token_is_kept() {
    let (token, session) = of_alice();
    let opened = opened(&token, &sealed(&session, &token)).unwrap();
    assert_eq!(opened.identity().sent_until(), Some(UnixTime::from_secs(1_700_000_000)));
    assert!(opened.identity().lacks_token(UnixTime::from_secs(1_700_000_000)));
}

#[test]
fn what_was_kept_obeys_shorter_settings() {
    let (hours, minutes) = (Duration::from_hours, Duration::from_mins);
    let (token, session) = of_alice();
    let record = sealed(&session, &token);
    let began = session.created_at();
    for (lifetime, idle, lives_for) in [
        (hours(48), None, minutes(528)),
        (hours(48), Some(hours(9)), minutes(528)),
        (hours(24), Some(hours(2)), minutes(132)),
        (hours(3), None, hours(3)),
        (hours(3), Some(hours(2)), minutes(132)),
    ] {
        let keys = RecordKeys::new(SECRET, lifetime, idle);
        let opened = keys.open(&token, &record).unwrap();
        let end = began + lives_for;
        let last = UnixTime::from_millis(end.as_millis() - 1);
        assert!(opened.lives(last) && !opened.lives(end), "{lifetime:?} {idle:?}");
        let revocations = Revocations::new(SECRET);
        let shown = |now| keys.shown(token.key(), &record, None, &revocations, now);
        let latest = began + lifetime.min(hours(24));
        assert_eq!(shown(began).unwrap().expires_at, latest.as_millis(), "{lifetime:?}");
        assert!(shown(latest).is_none());
    }
}

#[test]
fn a_use_is_noted_without_the_token() {
    let (token, session) = of_alice();
    let record = sealed(&session, &token);
    let before = Head::read(&record).unwrap();
    let outline = KEYS.outline(&token.key(), &record).unwrap();
    assert_eq!((&*outline.label, &*outline.subject, outline.last_check), ("alice", "alice-subject", 0));
    session.touch(UnixTime::from_millis(1_700_000_600_123));
    let noted = KEYS.with_use(&World::system(), &token.key(), &record, &session).unwrap().unwrap();
    let opened = opened(&token, &noted).unwrap();
    same(&opened, &session);
    let after = Head::read(&noted).unwrap();
    assert_eq!(after.ends_at, before.ends_at + 600);
    // A process that knows an older use does not overwrite a newer one.
    let older = self::opened(&token, &record).unwrap();
    older.touch(UnixTime::from_millis(1_700_000_300_123));
    let again = KEYS.with_use(&World::system(), &token.key(), &noted, &older).unwrap().unwrap();
    assert_eq!(Head::read(&again).unwrap(), after);
    assert_eq!((older.last_use(), older.has_unsaved_use()), (session.last_use(), false));
    assert!(KEYS.with_use(&World::system(), &self::token().key(), &record, &session).unwrap().is_none());
}

#[test]
fn another_secret_token_name_or_version_opens_nothing() {
    let (token, session) = of_alice();
    let record = sealed(&session, &token);
    assert!(opened(&token, &record).is_some());
    assert!(keys(b"another secret").open(&token, &record).is_none());
    assert!(opened(&self::token(), &record).is_none());
    assert!(KEYS.outline(&self::token().key(), &record).is_none());
    let mut newer = record;
    newer[0] = 2;
    assert!(opened(&token, &newer).is_none() && Head::read(&newer).is_none());
}

#[test]
fn parts_of_two_records_do_not_mix() {
    let (token, session) = of_alice();
    let record = sealed(&session, &token);
    let outline = Parts::of(&record).unwrap().outline.len() + HEAD_LENGTH;
    let (other, bob) = of_alice();
    let others = sealed(&bob, &other);
    assert_eq!(record.len(), others.len());
    let mixed = [&record[..outline], &others[outline..]].concat();
    assert!(opened(&token, &mixed).is_none() && opened(&other, &mixed).is_none());
}

#[test]
fn a_member_that_a_later_release_added_is_passed_over() {
    let text = br#"{"application":"a","issuer":"i","subject":"s","label":"l","session_id":null,"began":0,"created":1,"expires":2,"last_check":0,"new":[1]}"#;
    assert_eq!(serde_json::from_slice::<Outline>(text).unwrap().application, "a");
}

#[test]
fn of_an_application_whose_provider_is_another_now_nothing_opens() {
    let (token, session) = of_alice();
    let record = sealed(&session, &token);
    let session = KEYS.open(&token, &record).unwrap();
    assert!(session.is_of(&Realm::new("app", ISSUER)));
    assert!(!session.is_of(&Realm::new("app", "https://other.example.com")));
    assert!(!session.is_of(&Realm::new("other", ISSUER)));
}

fn identity() -> impl Strategy<Value = Identity> {
    let text = || "(.|\n){0,12}";
    let list = || prop::collection::vec("(.|\n){0,8}", 0..4);
    ((text(), text(), text(), text(), text()), list(), list()).prop_map(|(texts, groups, entitlements)| {
        let (subject, username, email, name, uid) = texts;
        Identity { subject, username, email, name, uid, groups, entitlements }
    })
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        identity in identity(),
        id_token in "[A-Za-z0-9._-]{0,60}",
        idle in prop::option::of(1..1_000_000_u64),
        checked in prop::option::of(1_700_000_000_123..1_700_100_000_000_u64),
        session_id in prop::option::of("(.|\n){1,20}"),
        earlier_session_ids in prop::collection::vec(prop::option::of(".{1,9}"), 0..3),
        auth_times in prop::collection::vec(any::<u64>(), 0..3),
        refresh in prop::option::of((".{1,20}", any::<Option<bool>>(), any::<u64>(), any::<u64>())),
        silent in any::<Option<(u64, u64)>>(),
        acr in prop::collection::vec(".{0,9}", 0..3),
        max_age in any::<Option<u64>>(),
        userinfo_claims in prop::collection::vec(".{0,9}", 0..3),
    ) {
        let asked = Assurance { acr, max_age };
        let schedule = |due, confirm_by| Schedule::from(Times { due, confirm_by });
        let refreshable = refresh.map(|(token, rotates, due, confirm_by)| {
            Refreshable { token: SecretString::from(token), rotates, schedule: schedule(due, confirm_by) }
        });
        let silent_login = silent.map(|(due, confirm_by)| schedule(due, confirm_by));
        let (token, mut session) = (token(), session(identity, &id_token, idle.map(Duration::from_secs)));
        let claims = Map::from_iter([("acr".to_owned(), Value::from(id_token.len()))]);
        session.identity = session.identity.with_claims(claims);
        let provider =
            ProviderSide { session_id, earlier_session_ids, auth_times, refreshable, silent_login, asked, userinfo_claims: userinfo_claims.into() };
        session.provider = provider.boxed();
        if let Some(at) = checked {
            session.touch(UnixTime::from_millis(at));
        }
        same(&opened(&token, &sealed(&session, &token)).unwrap(), &session);
    }

    #[test]
    fn any_flipped_bit_is_noticed(at: prop::sample::Index, bit in 0..8_u8) {
        let (token, session) = of_alice();
        let mut record = sealed(&session, &token);
        let at = at.index(record.len());
        record[at] ^= 1 << bit;
        prop_assert!(opened(&token, &record).is_none(), "byte {at}");
        record[at] ^= 1 << bit;
        record.truncate(at);
        prop_assert!(opened(&token, &record).is_none(), "cut at {at}");
    }

    #[test]
    fn any_bytes_are_no_record(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        crate::session::invariants::hold(&bytes);
    }
}

/// A record that the first release wrote, with all fields. Later releases open it: an update signs no user out.
#[test]
fn a_record_of_the_first_release_opens() {
    let token = SessionToken::parse("AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA").unwrap();
    let schedule = |due, confirm_by| Schedule::from(Times { due, confirm_by });
    let identity = Identity {
        subject: "alice-subject".into(),
        username: "alice".into(),
        email: "alice@example.com".into(),
        name: "Alice Bürger".into(),
        uid: "alice-subject".into(),
        groups: vec!["admins".into(), "staff".into()],
        entitlements: vec!["reports".into()],
    };
    let mut session = session(identity.clone(), "id.to.ken", Some(Duration::from_hours(8)));
    // It has neither the end of the ID token nor the kept claims: the provider is asked before it counts.
    session.identity = PackedIdentity::new(identity, "id.to.ken", None)
        .with_claims(Map::from_iter([("acr".to_owned(), "mfa".into()), ("auth_time".to_owned(), 1.into())]));
    session.provider = ProviderSide {
        session_id: Some("sid-2".into()),
        earlier_session_ids: vec![None, Some("sid-1".into())],
        auth_times: Vec::new(),
        refreshable: Some(Refreshable {
            token: "refresh token".into(),
            rotates: Some(true),
            schedule: schedule(1_700_000_300_000, 1_700_003_600_000),
        }),
        silent_login: Some(schedule(1_700_000_400_000, 1_700_003_700_000)),
        asked: Assurance { acr: vec!["mfa".into()], max_age: Some(3600) },
        userinfo_claims: Names::default(),
    }
    .boxed();
    session.touch(UnixTime::from_millis(1_700_000_100_000));
    let text: String = include_str!("record-1.txt").split_whitespace().collect();
    let record = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, text).unwrap();
    let opened = opened(&token, &record).expect("it opens");
    same(&opened, &session);
    assert_eq!(opened.asked(), session.asked());
    assert_eq!(opened.earlier_session_ids(), session.earlier_session_ids());
    assert_eq!(Head::read(&record), Head::read(&sealed(&session, &token)));
}
