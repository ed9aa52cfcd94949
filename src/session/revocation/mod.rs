//! Revocation: which sessions end before their time, without looking for them.
//!
//! A revocation is an entry in a list: a tag, and a time. A session that has the tag, and whose login began at that time
//! or before, has ended, wherever its record lies and whether or not its login was completed yet. So an order to end
//! all sessions of a user costs the same whatever their number is, and none is missed.

#[cfg(test)]
mod tests;
pub(super) mod vouched;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use aws_lc_rs::hmac;

use super::Session;
use crate::world::UnixTime;

const LABEL: &[u8] = b"session revocation 1";

pub(super) const TAG_LENGTH: usize = 16;

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
    /// Those that were made in the same session of the provider as another one, which its browser ended.
    ///
    /// Where the provider names no session, those of the same user of which it says the same time of login or none, and where
    /// it says no time either, all of that user that have no name: who cannot be told apart may be at this browser.
    SameOrigin {
        /// The provider.
        issuer: &'w str,
        /// What that one knows.
        origin: &'w Origin,
    },
    /// Those for an application.
    Application(&'w str),
    /// All.
    Everybody,
}

/// In which sessions of the provider a session was made and renewed, as far as the provider says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `sub`.
    pub(super) subject: String,
    /// `sid`, now and before; `None`: there was none.
    pub(super) session_ids: Vec<Option<String>>,
    /// `auth_time`, in seconds.
    pub(super) auth_times: Vec<u64>,
}

impl Origin {
    /// Whether the provider says of both that they belong to one session of its own. Where it says nothing, that is not known.
    #[must_use]
    pub fn is_surely(&self, other: &Self) -> bool {
        let is_named =
            self.session_ids.iter().flatten().any(|it| other.session_ids.iter().flatten().any(|id| id == it));
        let are_unnamed = self.session_ids.contains(&None) && other.session_ids.contains(&None);
        let is_timed = are_unnamed && self.auth_times.iter().any(|time| other.auth_times.contains(time));
        self.subject == other.subject && (is_named || is_timed)
    }
}

/// An order to end sessions: those whose login began before it, whatever the clock showed then.
///
/// It has no time of its own. The store that keeps the records gives it one that is later than all of theirs.
#[derive(Clone, Copy, Debug)]
pub struct Revocation<'r> {
    /// Whose.
    pub whom: Whom<'r>,
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

    fn login(&self, issuer: &str, subject: &str, auth_time: u64) -> Tag {
        self.tag(&["login", issuer, subject, &auth_time.to_string()])
    }

    /// Of sessions that have neither the name of a session nor the time of a login.
    fn without_origin(&self, issuer: &str, subject: &str) -> Tag {
        self.tag(&["without origin", issuer, subject])
    }

    /// What a session without a `sid` has in common with others of its browser's.
    fn unnamed<'t>(
        &'t self,
        issuer: &'t str,
        subject: &'t str,
        auth_times: &'t [u64],
    ) -> impl Iterator<Item = Tag> + 't {
        let no_time = auth_times.is_empty().then(|| self.without_origin(issuer, subject));
        auth_times.iter().map(|time| self.login(issuer, subject, *time)).chain(no_time)
    }

    /// All tags by which sessions of the same origin are known.
    fn of_origin(&self, issuer: &str, Origin { subject, session_ids, auth_times }: &Origin) -> Vec<Tag> {
        let mut tags: Vec<Tag> = session_ids.iter().flatten().map(|name| self.session(issuer, name)).collect();
        match (session_ids.contains(&None), &auth_times[..]) {
            (false, _) => {}
            (true, []) => tags.push(self.without_session(issuer, subject)),
            (true, times) => {
                tags.extend(self.unnamed(issuer, subject, times));
                // What says nothing at all of its login may be of this one.
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
    /// Where there is no name.
    pub(super) auth_times: &'s [u64],
    pub(super) began_at: UnixTime,
}

impl Revocations {
    /// A list on which nothing is yet; tags are made with `secret`.
    pub(super) fn new(secret: &[u8], issuers: HashMap<String, String>) -> Self {
        Self { key: TagKey::new(secret), issuers, added: AtomicU64::new(0), list: RwLock::default() }
    }

    /// What `revocation` is, for sessions whose login began at the moment `at` or before, written down until `until`.
    pub(super) fn entries(&self, revocation: &Revocation<'_>, at: UnixTime, until: UnixTime) -> Entries {
        self.key.entries(revocation, at, until)
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
        if session.session_id.is_none() || session.earlier_session_ids.contains(&None) {
            tags.extend(self.key.unnamed(issuer, session.subject, session.auth_times));
        }
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        tags.iter().any(|tag| list.get(tag).is_some_and(|entry| session.began_at <= entry.at))
    }

    /// What can still mean somebody `now`.
    pub(super) fn counting(&self, now: UnixTime) -> Vec<Entry> {
        let list = self.list.read().unwrap_or_else(PoisonError::into_inner);
        list.values().filter(|entry| now < entry.until).copied().collect()
    }

    /// Takes off what can no longer mean anybody.
    pub(super) fn reclaim(&self, now: UnixTime) {
        self.list.write().unwrap_or_else(PoisonError::into_inner).retain(|_, entry| now < entry.until);
    }
}
