//! Revocation: it ends sessions before their time without a search for them.
//!
//! A revocation is an entry of a list: a tag and a moment. A session with the tag whose login began at that moment or earlier
//! has ended, wherever its record is and whether or not its login was completed. So an order against all sessions of a user
//! costs the same for any number of them, and misses none.

#[cfg(test)]
mod tests;
pub(super) mod vouched;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;
use parking_lot::RwLock;

use super::Session;
use crate::world::UnixTime;

const LABEL: &[u8] = b"session revocation 1";

pub(super) const TAG_LENGTH: usize = 16;

/// A login that is under way when it is revoked may be completed this much later, by clocks that differ. An entry counts for
/// this time longer than a session lives.
pub(super) const LATE_LOGIN: Duration = Duration::from_hours(1);

/// Which sessions end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whom<'w> {
    /// The sessions of a user, in all applications of the provider.
    Subject {
        /// The issuer.
        issuer: &'w str,
        /// `sub`.
        subject: &'w str,
    },
    /// The sessions that were made in one session of the provider; where `subject` is known, also that user's sessions for
    /// which the provider named no session.
    ProviderSession {
        /// The issuer.
        issuer: &'w str,
        /// `sid`.
        session_id: &'w str,
        /// `sub`.
        subject: Option<&'w str>,
    },
    /// The sessions of the same origin as one that its browser ended.
    ///
    /// Where the provider names no session, these are the user's sessions with the same time of login or none; where it says no
    /// time either, all of the user's sessions without a name, because they may be of the same browser.
    SameOrigin {
        /// The issuer.
        issuer: &'w str,
        /// The origin of the session that ended.
        origin: &'w Origin,
    },
    /// The sessions for an application, by its slug.
    Application(&'w str),
    /// All sessions.
    Everybody,
}

/// The provider's sessions in which a session was made and renewed, as far as the provider names them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `sub`.
    pub(super) subject: String,
    /// `sid`, now and earlier; `None`: there was none.
    pub(super) session_ids: Vec<Option<String>>,
    /// `auth_time`, in seconds.
    pub(super) auth_times: Vec<u64>,
}

impl Origin {
    /// Whether the provider says that both belong to one session of its own; `false` where it does not say.
    pub(crate) fn is_surely(&self, other: &Self) -> bool {
        let is_named =
            self.session_ids.iter().flatten().any(|it| other.session_ids.iter().flatten().any(|id| id == it));
        let are_unnamed = self.session_ids.contains(&None) && other.session_ids.contains(&None);
        let is_timed = are_unnamed && self.auth_times.iter().any(|time| other.auth_times.contains(time));
        self.subject == other.subject && (is_named || is_timed)
    }
}

/// An order to end sessions: those whose login began before it, whatever the clock showed then.
///
/// The order has no time. The store gives it a moment that is later than those of all its logins.
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'r> {
    /// Which sessions.
    pub whom: Whom<'r>,
    /// Where it is set, the order takes effect once, however often it is given.
    pub once: Option<Once<'r>>,
}

/// The name of an order that may be repeated.
#[derive(Clone, Copy, Debug)]
pub struct Once<'r> {
    /// Who gives the order.
    pub issuer: &'r str,
    /// The name, unique for the issuer (`jti`).
    pub id: &'r str,
    /// From then on the order is refused for its age.
    pub until: UnixTime,
}

/// Stands for a property that sessions share. Without the daemon's secret it reveals nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tag(pub(super) [u8; TAG_LENGTH]);

/// An entry of the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) tag: Tag,
    /// Sessions that began later are not meant; 0 for the name of an order.
    pub(super) at: UnixTime,
    /// When the last session that the entry could mean has ended.
    pub(super) until: UnixTime,
}

/// An order as entries of the list.
#[derive(Clone, Debug)]
pub(super) struct Entries {
    pub(super) revoked: Vec<Entry>,
    /// Where it is on the list already, the order was carried out before.
    pub(super) once: Option<Entry>,
}

/// Derives tags.
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
            // The length is part of the input, so different parts never give the same input.
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

    fn login(&self, issuer: &str, subject: &str, auth_time: u64) -> Tag {
        self.tag(&["login", issuer, subject, &auth_time.to_string()])
    }

    /// The tag of sessions that have neither a `sid` nor a time of login.
    fn without_origin(&self, issuer: &str, subject: &str) -> Tag {
        self.tag(&["without origin", issuer, subject])
    }

    /// The tags that a session without a `sid` shares with others of the same browser.
    fn unnamed<'t>(
        &'t self,
        issuer: &'t str,
        subject: &'t str,
        auth_times: &'t [u64],
    ) -> impl Iterator<Item = Tag> + 't {
        let no_time = auth_times.is_empty().then(|| self.without_origin(issuer, subject));
        auth_times.iter().map(|time| self.login(issuer, subject, *time)).chain(no_time)
    }

    /// All tags of sessions with this origin.
    fn of_origin(&self, issuer: &str, Origin { subject, session_ids, auth_times }: &Origin) -> Vec<Tag> {
        let mut tags: Vec<Tag> = session_ids.iter().flatten().map(|name| self.session(issuer, name)).collect();
        match (session_ids.contains(&None), &auth_times[..]) {
            (false, _) => {}
            (true, []) => tags.push(self.without_session(issuer, subject)),
            (true, times) => {
                tags.extend(self.unnamed(issuer, subject, times));
                // A session without any of these may be of the same login.
                tags.push(self.without_origin(issuer, subject));
            }
        }
        tags
    }

    fn entries(&self, revocation: &Revocation<'_>, at: UnixTime, until: UnixTime) -> Entries {
        let tags = match revocation.whom {
            Whom::Subject { issuer, subject } => vec![self.subject(issuer, subject)],
            Whom::ProviderSession { issuer, session_id, subject } => {
                let mut tags = vec![self.session(issuer, session_id)];
                tags.extend(subject.map(|subject| self.without_session(issuer, subject)));
                tags
            }
            Whom::SameOrigin { issuer, origin } => self.of_origin(issuer, origin),
            Whom::Application(slug) => vec![self.application(slug)],
            Whom::Everybody => vec![self.everybody()],
        };
        Entries {
            revoked: tags.into_iter().map(|tag| Entry { tag, at, until }).collect(),
            once: revocation.once.map(|once| Entry {
                tag: self.tag(&["order", once.issuer, once.id]),
                at: UnixTime::default(),
                until: once.until,
            }),
        }
    }
}

/// The list in memory.
///
/// A session remembers the length of the list when it was last looked up, so a check costs one comparison.
pub(super) struct Revocations {
    key: TagKey,
    /// The number of entries that were ever added.
    added: AtomicU64,
    list: RwLock<HashMap<Tag, Entry>>,
}

/// The properties by which a session may be revoked.
#[derive(Clone, Copy)]
pub(super) struct Revocable<'s> {
    pub(super) application: &'s str,
    pub(super) issuer: &'s str,
    pub(super) subject: &'s str,
    pub(super) session_id: Option<&'s str>,
    /// The ones before a refresh.
    pub(super) earlier_session_ids: &'s [Option<String>],
    /// Where there is no `sid`.
    pub(super) auth_times: &'s [u64],
    pub(super) began_at: UnixTime,
}

impl Revocations {
    /// An empty list, with tags under `secret`.
    pub(super) fn new(secret: &[u8]) -> Self {
        Self { key: TagKey::new(secret), added: AtomicU64::new(0), list: RwLock::default() }
    }

    /// The entries of `revocation`: for sessions whose login began at the moment `at` or earlier, kept until `until`.
    pub(super) fn entries(&self, revocation: &Revocation<'_>, at: UnixTime, until: UnixTime) -> Entries {
        self.key.entries(revocation, at, until)
    }

    /// Adds `entry`; sessions that it means are denied from now on.
    pub(super) fn add(&self, entry: Entry) {
        let mut list = self.list.write();
        let known = list.entry(entry.tag).or_insert(entry);
        known.at = known.at.max(entry.at);
        known.until = known.until.max(entry.until);
        self.added.fetch_add(1, Ordering::Release);
    }

    /// Adds the entries of an order, unless it was carried out before.
    pub(super) fn add_order(&self, entries: &Entries) -> bool {
        if let Some(once) = entries.once {
            let mut list = self.list.write();
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
    pub(super) fn covers(&self, session: &Session) -> bool {
        let added = self.added.load(Ordering::Acquire);
        if session.looked_up.load(Ordering::Relaxed) == added {
            return false;
        }
        let covered = self.lists(&session.revocable());
        if !covered {
            session.looked_up.store(added, Ordering::Relaxed);
        }
        covered
    }

    /// Whether a session with these properties was revoked.
    pub(super) fn lists(&self, session: &Revocable<'_>) -> bool {
        let issuer = session.issuer;
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
        if session.session_id.is_none() || session.earlier_session_ids.contains(&None) {
            tags.extend(self.key.unnamed(issuer, session.subject, session.auth_times));
        }
        let list = self.list.read();
        tags.iter().any(|tag| list.get(tag).is_some_and(|entry| session.began_at <= entry.at))
    }

    /// The entries that can still mean a session at `now`.
    pub(super) fn effective(&self, now: UnixTime) -> Vec<Entry> {
        let list = self.list.read();
        list.values().filter(|entry| now < entry.until).copied().collect()
    }

    /// Removes the entries that cannot mean a session any more.
    pub(super) fn reclaim(&self, now: UnixTime) {
        self.list.write().retain(|_, entry| now < entry.until);
    }
}
