//! Revocation: which sessions end before their time, without looking for them.
//!
//! A revocation is an entry in a list: a tag, and a time. A session that has the tag, and whose login began at that time
//! or before, has ended, wherever its record lies and whether or not its login was completed yet. So an order to end
//! all sessions of a user costs the same whatever their number is, and none is missed.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;

use super::Session;
use crate::world::UnixTime;

const LABEL: &[u8] = b"session revocation 1";

const TAG_LENGTH: usize = 16;

/// A login that is under way when it is revoked may be completed so much later, by clocks that differ; so much longer than a
/// session lives an entry counts.
pub(super) const LATE: Duration = Duration::from_hours(1);

/// Whose sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom<'w> {
    /// Those of a user, in all applications of the provider.
    Subject {
        /// The provider.
        issuer: &'w str,
        /// `sub`.
        subject: &'w str,
    },
    /// Those that were made in one session of the provider; where `subject` is known, also those of that user of which
    /// the provider never said in which session they were made.
    ProviderSession {
        /// The provider.
        issuer: &'w str,
        /// `sid`.
        session_id: &'w str,
        /// `sub`.
        subject: Option<&'w str>,
    },
    /// Those for an application.
    Application(&'w str),
    /// All.
    Everybody,
}

/// An order to end sessions.
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'r> {
    /// Whose.
    pub whom: Whom<'r>,
    /// Those whose login began at that moment or before ([`crate::world::World::moment`]); a later one is a new login.
    pub at: UnixTime,
    /// Makes sure that the order is followed once, however often it is given.
    pub once: Option<Once<'r>>,
}

/// The name of an order that may be given again.
#[derive(Clone, Copy, Debug)]
pub struct Once<'r> {
    /// Who gave it.
    pub issuer: &'r str,
    /// The name, unique for the issuer (`jti`).
    pub id: &'r str,
    /// From then on it is refused for its age.
    pub until: UnixTime,
}

/// Stands for what sessions have in common, and tells nothing to whom the daemon's secret is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag(pub(super) [u8; TAG_LENGTH]);

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) tag: Tag,
    /// Sessions that began later are not meant; 0 for the name of an order.
    pub(super) at: UnixTime,
    /// When the last session that could be meant has ended of itself.
    pub(super) until: UnixTime,
}

impl Entry {
    /// An entry that others read, who know themselves how long sessions live.
    pub(super) fn bytes(self) -> [u8; TAG_LENGTH + 8] {
        let mut bytes = [0; TAG_LENGTH + 8];
        bytes[..TAG_LENGTH].copy_from_slice(&self.tag.0);
        bytes[TAG_LENGTH..].copy_from_slice(&self.at.as_millis().to_be_bytes());
        bytes
    }

    /// Reads [`Entry::bytes`].
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let (tag, at) = bytes.split_first_chunk()?;
        let at = UnixTime::from_millis(u64::from_be_bytes(at.try_into().ok()?));
        Some(Self { tag: Tag(*tag), at, until: UnixTime::from_millis(u64::MAX) })
    }
}

/// An order as it is written down.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    pub(super) revoked: Vec<Entry>,
    /// Where it is in the list already, the order was followed before.
    pub(super) once: Option<Entry>,
}

/// Makes tags.
pub(super) struct TagKey(hmac::Key);

impl TagKey {
    /// Derives the key from the daemon's secret (HKDF-SHA256, RFC 5869).
    pub(super) fn new(secret: &[u8]) -> Self {
        let key = Salt::new(HKDF_SHA256, b"forepost").extract(secret);
        let key = key.expand(&[LABEL], hmac::HMAC_SHA256);
        Self(key.expect("a key of 32 bytes is within what HKDF-SHA256 can give").into())
    }

    fn tag(&self, parts: &[&str]) -> Tag {
        let mut hash = hmac::Context::with_key(&self.0);
        for part in parts {
            // With its length, so that no other parts read the same.
            hash.update(&(part.len() as u64).to_be_bytes());
            hash.update(part.as_bytes());
        }
        let hash = hash.sign();
        let mut tag = [0; TAG_LENGTH];
        tag.copy_from_slice(&hash.as_ref()[..TAG_LENGTH]);
        Tag(tag)
    }

    fn everybody(&self) -> Tag {
        self.tag(&["everybody"])
    }

    fn application(&self, slug: &str) -> Tag {
        self.tag(&["application", slug])
    }

    fn subject(&self, issuer: &str, subject: &str) -> Tag {
        self.tag(&["subject", issuer, subject])
    }

    fn session(&self, issuer: &str, session_id: &str) -> Tag {
        self.tag(&["session", issuer, session_id])
    }

    fn without_session(&self, issuer: &str, subject: &str) -> Tag {
        self.tag(&["without session", issuer, subject])
    }

    /// What `revocation` is, written down until `until`.
    pub(super) fn entries(&self, revocation: &Revocation<'_>, until: UnixTime) -> Entries {
        let tags = match revocation.whom {
            Whom::Subject { issuer, subject } => vec![self.subject(issuer, subject)],
            Whom::ProviderSession { issuer, session_id, subject } => {
                let mut tags = vec![self.session(issuer, session_id)];
                tags.extend(subject.map(|subject| self.without_session(issuer, subject)));
                tags
            }
            Whom::Application(slug) => vec![self.application(slug)],
            Whom::Everybody => vec![self.everybody()],
        };
        Entries {
            revoked: tags.into_iter().map(|tag| Entry { tag, at: revocation.at, until }).collect(),
            once: revocation.once.map(|once| Entry {
                tag: self.tag(&["order", once.issuer, once.id]),
                at: UnixTime::default(),
                until: once.until,
            }),
        }
    }
}

/// The list, in memory.
///
/// A session remembers how long the list was when it was last looked up in it, so a check costs one comparison.
pub(super) struct Revocations {
    key: TagKey,
    /// The issuer of each application by its slug.
    issuers: HashMap<String, String>,
    /// How many entries were ever added.
    added: AtomicU64,
    list: RwLock<HashMap<Tag, Entry>>,
}

/// Of what a session may be revoked by.
#[derive(Clone, Copy)]
pub(super) struct Revocable<'s> {
    pub(super) application: &'s str,
    pub(super) subject: &'s str,
    pub(super) session_id: Option<&'s str>,
    /// Before a refresh.
    pub(super) earlier_session_ids: &'s [Option<String>],
    pub(super) began_at: UnixTime,
}

impl Revocations {
    /// A list on which nothing is yet; tags are made with `secret`.
    pub(super) fn new(secret: &[u8], issuers: HashMap<String, String>) -> Self {
        Self { key: TagKey::new(secret), issuers, added: AtomicU64::new(0), list: RwLock::default() }
    }

    /// What `revocation` is, written down until `until`.
    pub(super) fn entries(&self, revocation: &Revocation<'_>, until: UnixTime) -> Entries {
        self.key.entries(revocation, until)
    }

    /// The provider that vouches for the users of an application.
    pub(super) fn issuer(&self, application: &str) -> &str {
        self.issuers.get(application).map_or("", String::as_str)
    }

    /// Puts `entry` on the list; sessions are denied from now on.
    pub(super) fn add(&self, entry: Entry) {
        let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
        let known = list.entry(entry.tag).or_insert(entry);
        known.at = known.at.max(entry.at);
        known.until = known.until.max(entry.until);
        self.added.fetch_add(1, Ordering::Release);
    }

    /// Puts an order on the list, unless it was followed before.
    pub(super) fn follow(&self, entries: &Entries) -> bool {
        if let Some(once) = entries.once {
            let mut list = self.list.write().unwrap_or_else(PoisonError::into_inner);
            if list.insert(once.tag, once).is_some() {
                return false;
            }
        }
        for entry in &entries.revoked {
            self.add(*entry);
        }
        true
    }

    /// Whether `session` was revoked.
    pub(super) fn cover(&self, session: &Session) -> bool {
        let added = self.added.load(Ordering::Acquire);
        if session.looked_up.load(Ordering::Relaxed) == added {
            return false;
        }
        let covered = self.name(&session.revocable());
        if !covered {
            session.looked_up.store(added, Ordering::Relaxed);
        }
        covered
    }

    /// The same, of what an operator sees of a session.
    pub(super) fn name(&self, session: &Revocable<'_>) -> bool {
        let issuer = self.issuer(session.application);
        let made_in = |session_id: Option<&str>| match session_id {
            Some(session_id) => self.key.session(issuer, session_id),
            None => self.key.without_session(issuer, session.subject),
        };
        let mut tags = vec![
            self.key.everybody(),
            self.key.application(session.application),
            self.key.subject(issuer, session.subject),
            made_in(session.session_id),
        ];
        tags.extend(session.earlier_session_ids.iter().map(|earlier| made_in(earlier.as_deref())));
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        tags.iter().any(|tag| list.get(tag).is_some_and(|entry| session.began_at <= entry.at))
    }

    /// What is about sessions that began at that time or later.
    pub(super) fn since(&self, began_at: UnixTime) -> Vec<Entry> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.values().filter(|entry| began_at <= entry.at).copied().collect()
    }

    /// Takes off what is about sessions that began before `began_at` only: there are none any more.
    pub(super) fn forget_before(&self, began_at: UnixTime) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).retain(|_, entry| began_at <= entry.at);
    }

    /// Takes off what can no longer mean anybody.
    pub(super) fn reclaim(&self, now: UnixTime) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).retain(|_, entry| now < entry.until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::single;
    use crate::session::samples::{alice, in_session, tied};
    use crate::session::{ProviderSide, Renewal};

    const ISSUER: &str = "https://id.example.com";

    fn revocations() -> Revocations {
        let issuers = HashMap::from([("app-example-com".to_owned(), ISSUER.to_owned())]);
        Revocations::new(b"a secret of some length, for tests", issuers)
    }

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(seconds)
    }

    fn session(session_id: Option<&str>) -> Session {
        let app = single("https://app.example.com");
        let session = alice(&app, at(100), Duration::from_hours(1), None);
        match session_id {
            Some(session_id) => in_session(session, session_id),
            None => session,
        }
    }

    #[track_caller]
    fn check(session_id: Option<&str>, whom: Whom<'_>, second: u64, expected: bool) {
        let (revocations, session) = (revocations(), session(session_id));
        assert!(!revocations.cover(&session));
        let order = Revocation { whom, at: at(second), once: None };
        assert!(revocations.follow(&revocations.entries(&order, at(10_000))));
        assert_eq!(revocations.cover(&session), expected, "{whom:?} at {second}");
        assert_eq!(revocations.cover(&session), expected, "asked again");
        revocations.reclaim(at(9_999));
        assert_eq!(revocations.name(&session.revocable()), expected);
        revocations.reclaim(at(10_000));
        assert!(!revocations.name(&session.revocable()), "nobody can be meant any more");
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

    /// A session that was in each of these sessions of the provider, one after the other, and what it remembers.
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
        revocations.follow(&revocations.entries(&Revocation { whom, at: at(100), once: None }, at(10_000)));
        assert_eq!(revocations.cover(&session), expected, "{session_ids:?} {session_id}");
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

    #[test]
    fn entries_come_back() {
        let entry = Entry { tag: Tag([7; 16]), at: at(100), until: UnixTime::from_millis(u64::MAX) };
        assert_eq!(Entry::read(&entry.bytes()), Some(entry));
        for bytes in [&[][..], &[0; 16], &[0; 23], &[0; 25]] {
            assert_eq!(Entry::read(bytes), None);
        }
    }

    #[test]
    fn what_is_about_nobody_any_more_is_forgotten() {
        let (revocations, session) = (revocations(), session(None));
        let order = Revocation { whom: Whom::Everybody, at: at(100), once: None };
        revocations.follow(&revocations.entries(&order, at(10_000)));
        revocations.forget_before(at(100));
        assert!(revocations.name(&session.revocable()));
        revocations.forget_before(at(101));
        assert!(!revocations.name(&session.revocable()));
    }

    #[test]
    fn an_order_is_followed_once() {
        let revocations = revocations();
        let order = |id| {
            let once = Once { issuer: ISSUER, id, until: at(500) };
            revocations.entries(&Revocation { whom: Whom::Everybody, at: at(100), once: Some(once) }, at(10_000))
        };
        assert!(revocations.follow(&order("one")));
        assert!(!revocations.follow(&order("one")));
        assert!(revocations.follow(&order("other")));
        revocations.reclaim(at(500));
        assert!(revocations.follow(&order("one")), "too old to be given again, and forgotten");
        assert!(revocations.cover(&session(None)));
    }

    #[test]
    fn a_later_revocation_counts_beside_an_earlier_one() {
        let revocations = revocations();
        for second in [50, 100, 60] {
            let order = Revocation { whom: Whom::Everybody, at: at(second), once: None };
            revocations.follow(&revocations.entries(&order, at(10_000)));
            assert_eq!(revocations.cover(&session(None)), second >= 60);
        }
    }
}
