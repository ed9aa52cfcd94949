//! The form of a session in a store: an outline for operators under the daemon's secret, the rest under the session token.
//!
//! ```text
//! version  ends at  length of the outline  outline     rest
//! 1 byte   8 bytes  4 bytes                sealed      sealed
//! ```
//!
//! Each sealed part is a nonce, a ciphertext and its tag (AES-256-GCM). The outline's key is derived from the secret for this
//! record alone; the bytes before it are authenticated with it. The key of the rest is derived from the token, which only the
//! browser has. Both parts are bound to the version and to the record's key.

mod outline;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf::{HKDF_SHA256, Prk, Salt};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

pub(super) use self::outline::Outline;
use super::revocation::Revocations;
use super::{
    MOST_AHEAD, ProviderSide, Realm, Refreshable, Schedule, Session, SessionKey, SessionOutline, SessionToken,
};
use crate::identity::{Assurance, Identity, Kept, PackedIdentity};
use crate::world::{EntropyError, UnixTime, World};

/// The first byte of a record; a record of another version counts as absent.
const VERSION: u8 = 1;

const OUTLINE_LABEL: &[u8] = b"session outline 1";

const HEAD_LENGTH: usize = 1 + 8 + 4;

/// What a store needs to know of a record. It is not secret, and not authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The version of the format.
    version: u8,
    /// The first whole second, after the epoch, at which the session has ended unless a later use than the one in the record
    /// is written down.
    pub(super) ends_at: u64,
}

/// The part of a record that only the token opens.
#[derive(Serialize, Deserialize)]
struct Rest<'s> {
    username: Cow<'s, str>,
    email: Cow<'s, str>,
    name: Cow<'s, str>,
    uid: Cow<'s, str>,
    groups: Cow<'s, [String]>,
    entitlements: Cow<'s, [String]>,
    id_token: Cow<'s, str>,
    /// Until when the ID token is sent; `None`: it is only kept.
    sent_until: Option<u64>,
    /// In milliseconds.
    idle_timeout: Option<u64>,
    refresh: Option<Refresh<'s>>,
    silent_login: Option<Times>,
    claims: Cow<'s, Map<String, Value>>,
    #[serde(default)]
    kept: Cow<'s, Kept>,
    #[serde(default)]
    asked: Cow<'s, Assurance>,
    /// A record of an earlier release has none: its ID token then stands for all that it says.
    #[serde(default, skip_serializing_if = "<[String]>::is_empty")]
    userinfo_claims: Cow<'s, [String]>,
}

/// The times of a schedule, in milliseconds after the epoch.
#[derive(Serialize, Deserialize)]
struct Times {
    due: u64,
    confirm_by: u64,
}

/// What a session is refreshed with.
#[derive(Serialize, Deserialize)]
struct Refresh<'s> {
    token: Cow<'s, str>,
    rotates: Option<bool>,
    times: Times,
}

/// Seals and opens records, with keys that are derived from the daemon's secret.
pub(super) struct RecordKeys {
    secret: Prk,
    /// The longest lifetime by the present settings, which may be shorter than those of the login.
    lifetime: Duration,
    /// In milliseconds.
    idle_timeout: u64,
}

impl Head {
    /// The head of `record`; `None` when it has another version, or is not a record.
    pub(super) fn read(record: &[u8]) -> Option<Self> {
        Parts::of(record).map(|parts| parts.head)
    }

    fn bytes(self, outline_length: u32) -> [u8; HEAD_LENGTH] {
        let mut bytes = [self.version; HEAD_LENGTH];
        bytes[1..9].copy_from_slice(&self.ends_at.to_be_bytes());
        bytes[9..].copy_from_slice(&outline_length.to_be_bytes());
        bytes
    }
}

struct Parts<'r> {
    head: Head,
    head_bytes: &'r [u8],
    outline: &'r [u8],
    rest: &'r [u8],
}

impl<'r> Parts<'r> {
    fn of(record: &'r [u8]) -> Option<Self> {
        let (head_bytes, sealed) = record.split_at_checked(HEAD_LENGTH)?;
        let (version, fields) = head_bytes.split_first()?;
        let (ends_at, length) = fields.split_first_chunk()?;
        let length = u32::from_be_bytes(length.try_into().ok()?);
        let (outline, rest) = sealed.split_at_checked(usize::try_from(length).ok()?)?;
        let head = Head { version: *version, ends_at: u64::from_be_bytes(*ends_at) };
        (*version == VERSION).then_some(Self { head, head_bytes, outline, rest })
    }
}

impl RecordKeys {
    /// Derives the keys from `secret` (HKDF-SHA256, RFC 5869).
    ///
    /// Sessions open with a lifetime of `lifetime` at most, and an idle time-out of `idle_timeout` at most.
    pub(super) fn new(secret: &[u8], lifetime: Duration, idle_timeout: Option<Duration>) -> Self {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Self {
            secret: Salt::new(HKDF_SHA256, b"forepost").extract(secret),
            lifetime,
            idle_timeout: idle_timeout.map_or(u64::MAX, millis),
        }
    }

    /// When a session that was made at `created` ends at the latest, in milliseconds after the epoch.
    fn end_of(&self, created: u64, expires: u64) -> u64 {
        (UnixTime::from_millis(created) + self.lifetime).as_millis().min(expires)
    }

    /// Seals `session` under `token`.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub(super) fn seal(&self, world: &World, token: &SessionToken, session: &Session) -> Result<Vec<u8>, EntropyError> {
        let key = token.key();
        let identity = session.identity.identity();
        let rest = Rest {
            username: Cow::Borrowed(&identity.username),
            email: Cow::Borrowed(&identity.email),
            name: Cow::Borrowed(&identity.name),
            uid: Cow::Borrowed(&identity.uid),
            groups: Cow::Borrowed(&identity.groups),
            entitlements: Cow::Borrowed(&identity.entitlements),
            id_token: Cow::Borrowed(session.identity.id_token()),
            sent_until: session.identity.sent_until().map(UnixTime::as_millis),
            idle_timeout: (session.idle_timeout != u64::MAX).then_some(session.idle_timeout),
            refresh: session.refreshable().map(Refresh::of),
            silent_login: session.silent_login().map(Times::of),
            claims: Cow::Borrowed(session.identity.claims()),
            kept: Cow::Borrowed(session.identity.kept()),
            asked: session.asked().map_or_else(Cow::default, Cow::Borrowed),
            userinfo_claims: Cow::Borrowed(session.userinfo_claims()),
        };
        let head = Head { version: VERSION, ends_at: end(session) };
        let mut record = self.head_and_outline(world, &key, &Outline::of(session), head)?;
        seal(world, &token.record_key(), &bound_to(head.version, &key), &json(&rest), &mut record)?;
        Ok(record)
    }

    /// Opens what [`RecordKeys::seal`] made. Returns `None` for everything else.
    pub(super) fn open(&self, token: &SessionToken, record: &[u8]) -> Option<Session> {
        let key = token.key();
        let parts = Parts::of(record)?;
        let outline = self.outline_of(&key, &parts)?;
        let rest = open(&token.record_key(), &bound_to(parts.head.version, &key), parts.rest)?;
        let rest: Rest<'_> = serde_json::from_slice(&rest).ok()?;
        let identity = Identity {
            subject: outline.subject,
            username: rest.username.into_owned(),
            email: rest.email.into_owned(),
            name: rest.name.into_owned(),
            uid: rest.uid.into_owned(),
            groups: rest.groups.into_owned(),
            entitlements: rest.entitlements.into_owned(),
        };
        let sent_until = rest.sent_until.map(UnixTime::from_millis);
        Some(Session {
            realm: Realm::new(outline.application, &outline.issuer),
            identity: PackedIdentity::new(identity, &rest.id_token, sent_until)
                .with_claims(rest.claims.into_owned())
                .keeping(Arc::new(rest.kept.into_owned())),
            expires_at: UnixTime::from_millis(self.end_of(outline.created, outline.expires)),
            idle_timeout: rest.idle_timeout.unwrap_or(u64::MAX).min(self.idle_timeout),
            last_check: outline.last_check.into(),
            saved_check: outline.last_check.into(),
            created_at: UnixTime::from_millis(outline.created),
            began_at: UnixTime::from_millis(outline.began),
            looked_up: AtomicU64::new(0),
            knows_all_of: AtomicU64::new(0),
            provider: ProviderSide {
                session_id: outline.session_id,
                earlier_session_ids: outline.earlier_session_ids,
                auth_times: outline.auth_times,
                refreshable: rest.refresh.map(Refreshable::from),
                silent_login: rest.silent_login.map(Schedule::from),
                asked: rest.asked.into_owned(),
                userinfo_claims: rest.userinfo_claims.into_owned().into(),
            }
            .boxed(),
        })
    }

    /// The outline in the record under `key`.
    pub(super) fn outline(&self, key: &SessionKey, record: &[u8]) -> Option<Outline> {
        self.outline_of(key, &Parts::of(record)?)
    }

    /// What an operator sees of the record under `key`, where its session counts `now`; `cached` may know of later uses.
    pub(super) fn shown(
        &self,
        key: SessionKey,
        record: &[u8],
        cached: Option<&Session>,
        revocations: &Revocations,
        now: UnixTime,
    ) -> Option<SessionOutline> {
        let mut shown = self.outline(&key, record)?.shown(key);
        shown.expires_at = self.end_of(shown.created_at, shown.expires_at);
        let ends_at = Head::read(record)?.ends_at;
        let has_begun = UnixTime::from_millis(shown.created_at) <= now + MOST_AHEAD;
        let is_over = ends_at <= now.as_secs() || shown.expires_at <= now.as_millis();
        let ended = cached.map_or(is_over || !has_begun, |session| !session.lives(now));
        if ended || revocations.lists(&shown.revocable()) {
            return None;
        }
        if let Some(session) = cached.filter(|session| session.was_checked()) {
            shown.last_use = Some(session.last_use().as_millis());
        }
        Some(shown)
    }

    /// The record under `key` with the last use of `session`; `None` when it does not open.
    ///
    /// # Errors
    ///
    /// When the system gives no randomness.
    pub(super) fn with_use(
        &self,
        world: &World,
        key: &SessionKey,
        record: &[u8],
        session: &Session,
    ) -> Result<Option<Vec<u8>>, EntropyError> {
        let Some(parts) = Parts::of(record) else { return Ok(None) };
        let Some(outline) = self.outline_of(key, &parts) else { return Ok(None) };
        // Another process may have written a later use.
        session.note_saved_use(outline.last_check);
        let outline = Outline { last_check: session.last_check(), ..outline };
        // The rest is bound to the version under which it was written.
        let head = Head { version: parts.head.version, ends_at: end(session) };
        let mut record = self.head_and_outline(world, key, &outline, head)?;
        record.extend_from_slice(parts.rest);
        Ok(Some(record))
    }

    fn head_and_outline(
        &self,
        world: &World,
        key: &SessionKey,
        outline: &Outline,
        head: Head,
    ) -> Result<Vec<u8>, EntropyError> {
        let outline = json(outline);
        let length = NONCE_LEN + outline.len() + AES_256_GCM.tag_len();
        let head = head.bytes(u32::try_from(length).unwrap_or(u32::MAX));
        let mut record = head.to_vec();
        seal(world, &self.outline_key(key), &[&head, key.as_bytes().as_slice()].concat(), &outline, &mut record)?;
        Ok(record)
    }

    fn outline_of(&self, key: &SessionKey, parts: &Parts<'_>) -> Option<Outline> {
        let bound_to = [parts.head_bytes, key.as_bytes()].concat();
        serde_json::from_slice(&open(&self.outline_key(key), &bound_to, parts.outline)?).ok()
    }

    /// Each record has a key of its own, so random nonces do not run out however often a use is written.
    fn outline_key(&self, key: &SessionKey) -> LessSafeKey {
        aead_key(&self.secret, &[OUTLINE_LABEL, key.as_bytes()])
    }
}

/// The first whole second at which `session` has ended unless a later use is written down.
fn end(session: &Session) -> u64 {
    session.end_after_use(session.last_use()).as_millis().div_ceil(1000)
}

impl<'s> Refresh<'s> {
    fn of(refreshable: &'s Refreshable) -> Self {
        Self {
            token: Cow::Borrowed(refreshable.token.expose_secret()),
            rotates: refreshable.rotates,
            times: Times::of(&refreshable.schedule),
        }
    }
}

impl From<Refresh<'_>> for Refreshable {
    fn from(refresh: Refresh<'_>) -> Self {
        Self {
            token: SecretString::from(refresh.token.into_owned()),
            rotates: refresh.rotates,
            schedule: refresh.times.into(),
        }
    }
}

impl Times {
    fn of(schedule: &Schedule) -> Self {
        Self { due: schedule.due_at().as_millis(), confirm_by: schedule.confirm_by().as_millis() }
    }
}

impl From<Times> for Schedule {
    fn from(times: Times) -> Self {
        Self::new(UnixTime::from_millis(times.due), UnixTime::from_millis(times.confirm_by))
    }
}

/// The associated data of a record's rest.
fn bound_to(version: u8, key: &SessionKey) -> Vec<u8> {
    [&[version], key.as_bytes().as_slice()].concat()
}

fn json(part: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(part).expect("texts, numbers and lists of them are written without fail")
}

/// An AES-256-GCM key, derived from `secret` for `labels`.
pub(super) fn aead_key(secret: &Prk, labels: &[&[u8]]) -> LessSafeKey {
    let okm = secret.expand(labels, &AES_256_GCM).expect("a key of 32 bytes is within what HKDF-SHA256 can give");
    LessSafeKey::new(UnboundKey::from(okm))
}

/// Appends nonce, ciphertext and tag to `to`.
fn seal(world: &World, key: &LessSafeKey, bound_to: &[u8], plain: &[u8], to: &mut Vec<u8>) -> Result<(), EntropyError> {
    let nonce: [u8; NONCE_LEN] = world.random()?;
    let mut sealed = plain.to_vec();
    key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(bound_to), &mut sealed)
        .map_err(|_| EntropyError)?;
    to.extend_from_slice(&nonce);
    to.extend_from_slice(&sealed);
    Ok(())
}

fn open(key: &LessSafeKey, bound_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
    let (nonce, sealed) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut plain = sealed.to_vec();
    let length = key.open_in_place(nonce, Aad::from(bound_to), &mut plain).ok()?.len();
    plain.truncate(length);
    Some(plain)
}
