use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use serde_json::{Map, Value};

use super::header_block::{HeaderTemplate, IDENTITY_VALUES, render};
use super::{Identity, Kept};
use crate::world::UnixTime;

/// Indexes into the values, in the order of the header fields.
const USERNAME: usize = 0;
const GROUPS: usize = 1;
const ENTITLEMENTS: usize = 2;
const EMAIL: usize = 3;
const NAME: usize = 4;
const UID: usize = 5;
const ID_TOKEN: usize = 6;

const LIST_SEPARATOR: u8 = b'|';

/// An identity as rendered header values, which are slices of one allocation.
///
/// A check reads little but these values, and there may be a million of these identities. So the values are the record, and the
/// original identity is kept beside them only if it cannot be read from them exactly.
#[derive(Clone)]
pub struct PackedIdentity {
    values: [HeaderValue; IDENTITY_VALUES],
    /// When forepost stops to send the ID token to the application; the epoch if it does not send it at all.
    sent_until: UnixTime,
    untold: Option<Box<Identity>>,
    claims: Option<Box<Map<String, Value>>>,
    kept: Arc<Kept>,
}

impl PackedIdentity {
    /// Packs `identity`. Forepost sends its ID token to the application until `sent_until`, the expiry of the token; with `None` it
    /// only keeps it.
    #[must_use]
    pub fn new(identity: Identity, id_token: &str, sent_until: Option<UnixTime>) -> Self {
        let [username, groups, entitlements, email, name, uid] = render(&identity);
        let mut values = slices(&[&username, &groups, &entitlements, &email, &name, &uid, id_token]);
        // HTTP/2 then leaves the value out of its table (RFC 7541 §7.1.3), and `Debug` does not print it.
        values[ID_TOKEN].set_sensitive(true);
        let sent_until = sent_until.unwrap_or_default();
        let mut packed = Self { values, sent_until, untold: None, claims: None, kept: Arc::default() };
        if packed.told() != identity {
            packed.untold = Some(Box::new(identity));
        }
        packed
    }

    /// Adds `claims`, for rules that look at them.
    #[must_use]
    pub(crate) fn with_claims(mut self, claims: Map<String, Value>) -> Self {
        self.claims = (!claims.is_empty()).then(|| Box::new(claims));
        self
    }

    /// Records which claims forepost looked for. The user does not have those of them that are missing.
    #[must_use]
    pub fn keeping(mut self, kept: Arc<Kept>) -> Self {
        self.kept = kept;
        self
    }

    /// Records that forepost did not ask every source of claims. The user may have a claim that is missing.
    #[must_use]
    pub(crate) fn incomplete(mut self) -> Self {
        self.kept = Arc::new(self.kept.as_incomplete());
        self
    }

    /// The claims that forepost looked for. It knows nothing of all others.
    #[must_use]
    pub(crate) const fn kept(&self) -> &Arc<Kept> {
        &self.kept
    }

    /// The kept claims: those of `WantedClaims`, as they were at the login or at the last refresh.
    #[must_use]
    pub(crate) fn claims(&self) -> &Map<String, Value> {
        static NONE: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        self.claims.as_deref().unwrap_or(&NONE)
    }

    /// Who this is.
    #[must_use]
    pub(crate) fn identity(&self) -> Cow<'_, Identity> {
        self.untold.as_deref().map_or_else(|| Cow::Owned(self.told()), Cow::Borrowed)
    }

    /// The name of the user for pages and logs.
    #[must_use]
    pub(crate) fn label(&self) -> &str {
        match &self.untold {
            Some(identity) => identity.label(),
            // If the values say everything, the subject is the uid.
            None => [USERNAME, EMAIL, UID].into_iter().map(|at| self.text(at)).find(|it| !it.is_empty()).unwrap_or(""),
        }
    }
    #[must_use]
    pub(crate) fn subject(&self) -> &str {
        self.untold.as_ref().map_or_else(|| self.text(UID), |identity| &identity.subject)
    }

    /// The user name as applications see it; empty if unknown.
    #[must_use]
    pub(crate) fn username(&self) -> &str {
        self.untold.as_ref().map_or_else(|| self.text(USERNAME), |identity| &identity.username)
    }

    /// The e-mail address; empty if unknown.
    #[must_use]
    pub(crate) fn email(&self) -> &str {
        self.untold.as_ref().map_or_else(|| self.text(EMAIL), |identity| &identity.email)
    }

    /// Whether this user is in one of `groups`.
    #[must_use]
    pub(crate) fn is_in_any(&self, groups: &[String]) -> bool {
        if let Some(identity) = &self.untold {
            return identity.groups.iter().any(|it| groups.contains(it));
        }
        let mut own = self.values[GROUPS].as_bytes().split(|byte| *byte == LIST_SEPARATOR);
        own.any(|it| !it.is_empty() && groups.iter().any(|group| group.as_bytes() == it))
    }
    #[must_use]
    pub(crate) fn id_token(&self) -> &str {
        self.text(ID_TOKEN)
    }

    /// When forepost stops to send the ID token to the application; `None` if it does not send it.
    #[must_use]
    pub(crate) fn sent_until(&self) -> Option<UnixTime> {
        Some(self.sent_until).filter(|until| *until > UnixTime::default())
    }

    /// Whether the application would get the ID token if it had not expired by `now`.
    #[must_use]
    pub(crate) fn lacks_token(&self, now: UnixTime) -> bool {
        self.sent_until <= now && self.sent_until > UnixTime::default()
    }

    /// All identity headers of this user at `now`; `jwks` is the URL of the provider's keys.
    ///
    /// The header of an expired ID token (`exp`, RFC 7519 §4.1.4) is empty; with `None` in place of the time it is empty in any case.
    #[must_use]
    pub fn headers(&self, template: &HeaderTemplate, jwks: &HeaderValue, now: Option<UnixTime>) -> HeaderMap {
        let sends_token = now.is_some_and(|now| now < self.sent_until);
        let sent = if sends_token { self.values.len() } else { ID_TOKEN };
        template.fill(&self.values[..sent], jwks)
    }

    /// The identity in the values alone.
    fn told(&self) -> Identity {
        let one = |at| self.text(at).to_owned();
        let many = |at| list(self.text(at)).map(str::to_owned).collect();
        Identity {
            subject: one(UID),
            username: one(USERNAME),
            email: one(EMAIL),
            name: one(NAME),
            uid: one(UID),
            groups: many(GROUPS),
            entitlements: many(ENTITLEMENTS),
        }
    }

    fn text(&self, at: usize) -> &str {
        std::str::from_utf8(self.values[at].as_bytes()).unwrap_or_default()
    }
}

impl fmt::Debug for PackedIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PackedIdentity").field("user", &self.label()).finish_non_exhaustive()
    }
}

/// The elements of a joined list that has no escapes.
fn list(joined: &str) -> impl Iterator<Item = &str> {
    joined.split(char::from(LIST_SEPARATOR)).filter(|it| !it.is_empty())
}

/// Makes header values of `texts` that share one allocation. Stores equal texts once.
fn slices<const N: usize>(texts: &[&str; N]) -> [HeaderValue; N] {
    let mut bytes = Vec::with_capacity(texts.iter().map(|text| text.len()).sum());
    let mut ranges: [Range<usize>; N] = std::array::from_fn(|_| 0..0);
    for (at, text) in texts.iter().enumerate() {
        ranges[at] = if let Some(earlier) = texts[..at].iter().position(|earlier| earlier == text) {
            ranges[earlier].clone()
        } else {
            bytes.extend_from_slice(text.as_bytes());
            bytes.len() - text.len()..bytes.len()
        };
    }
    let bytes = Bytes::from(bytes.into_boxed_slice());
    ranges.map(|range| {
        let empty = const { HeaderValue::from_static("") };
        if range.is_empty() { empty } else { HeaderValue::from_maybe_shared(bytes.slice(range)).unwrap_or(empty) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity(username: &str, groups: &[&str], uid: &str) -> Identity {
        Identity {
            subject: "subject".into(),
            username: username.into(),
            uid: uid.into(),
            groups: groups.iter().map(ToString::to_string).collect(),
            ..Identity::default()
        }
    }

    #[track_caller]
    fn check(identity: Identity, untold: bool) {
        let packed = PackedIdentity::new(identity.clone(), "id.to.ken", None);
        assert_eq!(*packed.identity(), identity);
        assert_eq!(packed.untold.is_some(), untold, "{identity:?}");
        assert_eq!((packed.label(), packed.subject()), (identity.label(), "subject"));
        assert_eq!(packed.id_token(), "id.to.ken");
        for group in &identity.groups {
            assert!(packed.is_in_any(&["other".into(), group.clone()]), "{group}");
        }
        for stranger in ["", "|", "admi", "admins|staff", "%7C", "ADMINS"] {
            assert!(!packed.is_in_any(&[stranger.into()]), "{stranger:?}");
        }
    }

    #[test]
    fn what_goes_in_comes_out() {
        check(identity("alice", &["admins", "staff"], "subject"), false);
        check(identity("", &[], "subject"), false);
        check(identity("Alice Ärger", &["50%"], "subject"), false);
        check(identity("alice", &[], "other uid"), true);
        check(identity(" alice", &[], "subject"), true);
        check(identity("alice\0", &[], "subject"), true);
        check(identity("alice", &["a|b"], "subject"), true);
        check(identity("alice", &["admins "], "subject"), true);
        check(identity("alice", &["50%25"], "subject"), true);
    }

    #[test]
    fn a_token_is_sent_until_it_ends_or_only_kept() {
        let template = HeaderTemplate::samples();
        let jwks = HeaderValue::from_static("https://idp.test/jwks");
        let at = UnixTime::from_millis;
        let sent = |until: Option<u64>, now| {
            let packed = PackedIdentity::new(identity("alice", &[], "subject"), "id.to.ken", until.map(at));
            assert_eq!(packed.lacks_token(at(now)), until.is_some_and(|until| until <= now));
            packed.headers(&template, &jwks, Some(at(now)))
        };
        for (until, now, token) in [
            (Some(1000), 999, "id.to.ken"),
            (Some(1000), 1000, ""),
            (Some(1000), 1001, ""),
            (Some(u64::MAX), 1001, "id.to.ken"),
            (None, 999, ""),
            (None, 0, ""),
        ] {
            let headers = sent(until, now);
            assert_eq!(headers["x-authentik-jwt"], token, "{until:?} {now}");
            assert_eq!(headers["x-authentik-username"], "alice");
            assert_eq!(headers["x-authentik-meta-jwks"], "https://idp.test/jwks");
            assert_eq!(headers.len(), 12);
        }
    }
}
