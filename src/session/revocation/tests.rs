use super::*;
use crate::session::samples::{alice, app, in_session, tied};
use crate::session::{ProviderSide, Renewal};

const ISSUER: &str = "https://id.example.com";

fn revocations() -> Revocations {
    Revocations::new(b"a secret of some length, for tests")
}

fn at(seconds: u64) -> UnixTime {
    UnixTime::from_secs(seconds)
}

fn session(session_id: Option<&str>) -> Session {
    let session = alice(app(), at(100), Duration::from_hours(1), None);
    match session_id {
        Some(session_id) => in_session(session, session_id),
        None => session,
    }
}

#[track_caller]
fn check(session_id: Option<&str>, whom: Whom<'_>, second: u64, expected: bool) {
    let (revocations, session) = (revocations(), session(session_id));
    assert!(!revocations.covers(&session));
    let order = Revocation { whom, once: None };
    assert!(revocations.add_order(&revocations.entries(&order, at(second), at(10_000))));
    assert_eq!(revocations.covers(&session), expected, "{whom:?} at {second}");
    assert_eq!(revocations.covers(&session), expected, "asked again");
    revocations.reclaim(at(9_999));
    assert_eq!(revocations.lists(&session.revocable()), expected);
    revocations.reclaim(at(10_000));
    assert!(!revocations.lists(&session.revocable()), "no session can be covered any more");
}

#[test]
fn sessions_are_meant_by_what_they_have() {
    let subject = |issuer, subject| Whom::Subject { issuer, subject };
    let of = |issuer, session_id, subject| Whom::ProviderSession { issuer, session_id, subject };
    let alice = "alice-subject";
    for sid in [None, Some("sid")] {
        check(sid, Whom::Everybody, 100, true);
        check(sid, Whom::Everybody, 99, false);
        check(sid, Whom::Application("app-example-com"), 100, true);
        check(sid, Whom::Application("other"), 100, false);
        check(sid, subject(ISSUER, alice), 100, true);
        check(sid, subject(ISSUER, alice), 99, false);
        check(sid, subject(ISSUER, "alice"), 100, false);
        check(sid, subject("https://other.example.com", alice), 100, false);
        check(sid, of(ISSUER, "sid", None), 100, sid.is_some());
        check(sid, of(ISSUER, "sid", Some(alice)), 100, true);
        check(sid, of(ISSUER, "sid", Some(alice)), 99, false);
        check(sid, of(ISSUER, "other", Some(alice)), 100, sid.is_none());
        check(sid, of("https://other.example.com", "sid", Some(alice)), 100, false);
    }
}

/// A session that was in each of these sessions of the provider, one after the other.
fn refreshed(session_ids: &[Option<&str>]) -> Session {
    let in_it = |session_id: Option<&str>| ProviderSide {
        session_id: session_id.map(str::to_owned),
        ..ProviderSide::default()
    };
    let (first, later) = session_ids.split_first().unwrap();
    later.iter().fold(tied(session(None), in_it(*first)), |before, session_id| {
        before.renewed(Renewal { identity: before.identity().clone(), provider: in_it(*session_id) })
    })
}

#[track_caller]
fn check_refreshed(session_ids: &[Option<&str>], session_id: &str, expected: bool) {
    let (revocations, session) = (revocations(), refreshed(session_ids));
    let whom = Whom::ProviderSession { issuer: ISSUER, session_id, subject: Some("alice-subject") };
    revocations.add_order(&revocations.entries(&Revocation { whom, once: None }, at(100), at(10_000)));
    assert_eq!(revocations.covers(&session), expected, "{session_ids:?} {session_id}");
}

#[test]
fn a_session_is_meant_by_all_that_it_was_made_in() {
    check_refreshed(&[Some("one"), Some("other")], "one", true);
    check_refreshed(&[Some("one"), Some("other")], "other", true);
    check_refreshed(&[Some("one"), Some("other")], "another", false);
    check_refreshed(&[Some("one"), Some("one")], "another", false);
    check_refreshed(&[Some("one"), Some("other"), Some("one")], "other", true);
    check_refreshed(&[None, Some("one")], "another", true);
    check_refreshed(&[None, None], "another", true);
    check_refreshed(&[Some("one"), None], "one", true);
    let names: Vec<String> = (0..100).map(|number| number.to_string()).collect();
    let many: Vec<Option<&str>> = names.iter().map(|name| Some(&**name)).collect();
    for (session_id, expected) in [("0", true), ("1", false), ("91", false), ("92", true), ("99", true)] {
        check_refreshed(&many, session_id, expected);
    }
    assert_eq!(refreshed(&many).earlier_session_ids().len(), 8);
}

/// A session with these names, one after the other, and these times of login.
fn with_origin(session_ids: &[Option<&str>], auth_times: &[u64]) -> Session {
    let mut session = refreshed(session_ids);
    if let Some(provider) = &mut session.provider {
        provider.auth_times = auth_times.to_vec();
    } else {
        session.provider = ProviderSide { auth_times: auth_times.to_vec(), ..ProviderSide::default() }.boxed();
    }
    session
}

#[track_caller]
fn check_origin(one: (&[Option<&str>], &[u64]), other: (&[Option<&str>], &[u64]), expected: bool) {
    let (revocations, other_session) = (revocations(), with_origin(other.0, other.1));
    let left = with_origin(one.0, one.1);
    for session in [&left, &other_session] {
        assert!(!revocations.covers(session));
    }
    let origin = left.origin();
    for (issuer, ends) in [("https://other.example.com", false), (ISSUER, true)] {
        let order = Revocation { whom: Whom::SameOrigin { issuer, origin: &origin }, once: None };
        revocations.add_order(&revocations.entries(&order, at(100), at(10_000)));
        assert_eq!(revocations.covers(&left), ends, "{one:?} itself");
        assert_eq!(revocations.covers(&other_session), ends && expected, "{one:?} {other:?}");
    }
    let stranger = Origin { subject: "bob-subject".to_owned(), ..origin };
    let revocations = self::revocations();
    let order = Revocation { whom: Whom::SameOrigin { issuer: ISSUER, origin: &stranger }, once: None };
    revocations.add_order(&revocations.entries(&order, at(100), at(10_000)));
    let shares_a_name = one.0.iter().flatten().any(|name| other.0.contains(&Some(name)));
    assert_eq!(revocations.lists(&other_session.revocable()), shares_a_name, "of another user");
}

#[test]
fn sessions_of_one_origin_end_together() {
    const A: Option<&str> = Some("a");
    const B: Option<&str> = Some("b");
    // By name, where there is one.
    check_origin((&[A], &[]), (&[A], &[]), true);
    check_origin((&[A], &[]), (&[B], &[]), false);
    check_origin((&[A], &[]), (&[None], &[]), false);
    check_origin((&[A, B], &[]), (&[A], &[]), true);
    check_origin((&[A], &[]), (&[A, B], &[]), true);
    check_origin((&[A, None], &[]), (&[A], &[]), true);
    // By the time of login otherwise.
    check_origin((&[None], &[7]), (&[None], &[7]), true);
    check_origin((&[None], &[7]), (&[None], &[8]), false);
    check_origin((&[None], &[7, 8]), (&[None], &[7]), true);
    check_origin((&[None], &[7]), (&[None], &[7, 8]), true);
    check_origin((&[None, None], &[7]), (&[None], &[7]), true);
    check_origin((&[None], &[7]), (&[A], &[]), false);
    // A session without both may be of this browser.
    check_origin((&[None], &[]), (&[None], &[]), true);
    check_origin((&[None], &[7]), (&[None], &[]), true);
    check_origin((&[None], &[]), (&[None], &[7]), true);
    check_origin((&[None], &[]), (&[A], &[]), false);
    // A provider that begins to name its sessions.
    check_origin((&[None, A], &[7]), (&[None], &[7]), true);
    check_origin((&[None, A], &[]), (&[None], &[]), true);
    check_origin((&[None, A], &[7]), (&[None], &[8]), false);
}

#[test]
fn a_refresh_changes_no_time_of_login() {
    let before = with_origin(&[None], &[7, 8]);
    let provider = ProviderSide { session_id: Some("a".into()), auth_times: vec![9], ..ProviderSide::default() };
    let after = before.renewed(Renewal { identity: before.identity().clone(), provider });
    assert_eq!(after.auth_times(), [7, 8]);
    assert_eq!(after.origin().session_ids, [None, Some("a".to_owned())]);
}

#[test]
fn entries_that_can_still_end_a_session_are_counted() {
    let revocations = revocations();
    let order = Revocation { whom: Whom::Everybody, once: None };
    revocations.add_order(&revocations.entries(&order, at(100), at(10_000)));
    assert_eq!(revocations.effective(at(9_999)).len(), 1);
    assert_eq!(revocations.effective(at(10_000)).len(), 0);
}

#[test]
fn an_order_is_followed_once() {
    let revocations = revocations();
    let order = |id| {
        let once = Once { issuer: ISSUER, id, until: at(500) };
        revocations.entries(&Revocation { whom: Whom::Everybody, once: Some(once) }, at(100), at(10_000))
    };
    assert!(revocations.add_order(&order("one")));
    assert!(!revocations.add_order(&order("one")));
    assert!(revocations.add_order(&order("other")));
    revocations.reclaim(at(500));
    assert!(revocations.add_order(&order("one")), "too old to be given again, and forgotten");
    assert!(revocations.covers(&session(None)));
}

#[test]
fn a_later_revocation_counts_beside_an_earlier_one() {
    let revocations = revocations();
    for second in [50, 100, 60] {
        let order = Revocation { whom: Whom::Everybody, once: None };
        revocations.add_order(&revocations.entries(&order, at(second), at(10_000)));
        assert_eq!(revocations.covers(&session(None)), second >= 60);
    }
}

/// Lists outlive the release that wrote them.
#[test]
fn tags_are_those_of_the_first_release() {
    let keys = TagKey::new(b"a secret of some length, for tests");
    assert_eq!(keys.everybody().0, [173, 80, 100, 10, 64, 20, 174, 184, 82, 7, 26, 183, 11, 71, 77, 127]);
    assert_eq!(
        keys.subject(ISSUER, "alice-subject").0,
        [118, 80, 48, 187, 139, 68, 90, 21, 55, 10, 206, 62, 20, 87, 244, 233]
    );
}
