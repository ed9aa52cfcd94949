//! Access tokens that are JWTs (RFC 9068, and older forms), and whether a token is for us.

use serde_json::{Map, Value};

use super::flaw::Flaw;
use super::jws::{Jws, Kind};
use super::logout_token::date;
use super::verify::{tolerated, verify_not_before};
use super::{OidcError, Provider, Ready};
use crate::world::UnixTime;

/// Far more than any real one, and cheap to refuse.
const LARGEST: usize = 16 << 10;

/// The audiences and clients whose tokens are accepted.
pub struct Recipient<'a> {
    /// Whether an audience is ours.
    pub is_ours: &'a (dyn Fn(&str) -> bool + Sync),
    /// Other clients whose own tokens are accepted.
    pub accept_clients: &'a [String],
}

/// A verified token.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessToken {
    /// The claims in it, or in the provider's answer about it; always with `sub`.
    pub claims: Map<String, Value>,
    /// Its expiry.
    pub expires_at: Option<UnixTime>,
}

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// It is not valid; the text is for the log and holds nothing of the token.
    #[error(transparent)]
    Invalid(#[from] Flaw),
    /// The provider calls it inactive (RFC 7662 §2.2).
    #[error("the provider says that it is not active")]
    Inactive,
    /// It could not be verified now.
    #[error(transparent)]
    Unknown(OidcError),
}

impl Provider {
    /// Verifies that this provider issued `token`, for `recipient`.
    ///
    /// Fetches keys again when none fits, as rarely as for logins. Does not ask the provider whether it has revoked the token.
    ///
    /// # Errors
    ///
    /// When it did not, or when the provider was not discovered yet.
    pub async fn verify_access_token(
        &self,
        token: &str,
        recipient: &Recipient<'_>,
    ) -> Result<AccessToken, AccessTokenError> {
        let invalid = AccessTokenError::Invalid;
        if token.len() > LARGEST {
            return Err(invalid("it is too long".into()));
        }
        let jws = Jws::parse(token).map_err(invalid)?;
        let ready = self.ready().ok_or(AccessTokenError::Unknown(OidcError::NotReady))?;
        // Cheap verification comes first, so that junk costs little.
        let read = read(&jws, self, recipient, self.now()).map_err(invalid)?;
        let verify = |ready: &Ready| ready.verify_signature(self.settings(), &jws, Kind::Access);
        match self.with_newest(&ready, verify).await {
            Ok(_) => Ok(read),
            Err(unfit) => Err(invalid(unfit.token)),
        }
    }
}

/// The issuer that a token names, not verified.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    if token.len() > LARGEST {
        return None;
    }
    Jws::parse(token).ok()?.claims.get("iss")?.as_str().map(str::to_owned)
}

/// Verifies all but the signature.
fn read(jws: &Jws<'_>, provider: &Provider, recipient: &Recipient<'_>, now: UnixTime) -> Result<AccessToken, Flaw> {
    let claims = &jws.claims;
    if text(claims, "iss") != Some(&provider.settings().issuer) {
        return Err(unfit("`iss` is another issuer"));
    }
    verify_kind(jws.kind()?.as_deref(), claims, provider.is_login_provider())?;
    if !claims.contains_key("aud") {
        return Err(unfit("`aud` is missing"));
    }
    verify_recipient(claims, recipient)?;
    let expires_at = verify_times(claims, now)?;
    if expires_at.is_none() {
        return Err(unfit("`exp` is missing"));
    }
    Ok(AccessToken { claims: with_subject(claims.clone())?, expires_at })
}

/// Verifies that it is an access token, and a bearer token.
///
/// Applications get the ID tokens of users, so these must not count as access tokens. When users sign in through the provider, a
/// token has to look like an access token: its type is `at+jwt` (RFC 9068 §2.1) or Keycloak's `Bearer`, or it names a scope or a client.
fn verify_kind(kind: Option<&str>, claims: &Map<String, Value>, signs_people_in: bool) -> Result<(), Flaw> {
    verify_no_other_kind(kind, claims)?;
    let has = |names: &[&str]| names.iter().any(|name| claims.contains_key(*name));
    if kind == Some("at+jwt") || names_scope(claims) || has(&["client_id", "typ"]) || !signs_people_in {
        return Ok(());
    }
    Err(unfit("it looks like an ID token: no typ at+jwt, no `scope`, no `client_id`"))
}

/// Refuses ID tokens, refresh tokens and tokens of other kinds that show what they are.
///
/// An access token may have a `nonce` (authentik's has that of the login), but then it names a scope. ID tokens name none,
/// although some name a client.
fn verify_no_other_kind(kind: Option<&str>, claims: &Map<String, Value>) -> Result<(), Flaw> {
    verify_bearer(claims)?;
    if ["at_hash", "c_hash", "s_hash"].iter().any(|name| claims.contains_key(*name)) {
        return Err(unfit("it is an ID token (`at_hash`, `c_hash`, `s_hash`)"));
    }
    match kind {
        Some("at+jwt") => return Ok(()),
        None | Some("jwt") => {}
        Some(_) => return Err(unfit("its `typ` is not that of an access token")),
    }
    if claims.contains_key("nonce") && !names_scope(claims) && !claims.contains_key("typ") {
        return Err(unfit("it looks like an ID token: a `nonce`, and no `scope`"));
    }
    Ok(())
}

/// Whether a token names a scope; an empty text does not.
fn names_scope(claims: &Map<String, Value>) -> bool {
    scopes(claims).any(|scope| !scope.is_empty())
}

/// Verifies that a token is an access token that the provider calls active in `answer` (RFC 7662 §2.2): some providers call ID
/// tokens and refresh tokens active, too.
///
/// A JWT has to show, by itself or in the answer, that it is an access token. For an opaque token only the answer tells.
pub(super) fn verify_active(token: &str, answer: &Map<String, Value>) -> Result<(), Flaw> {
    verify_bearer(answer)?;
    let Ok(jws) = Jws::parse(token) else { return Ok(()) };
    let kind = jws.kind()?;
    let mut claims = jws.claims.clone();
    for name in ["scope", "scp"] {
        if let (false, Some(value)) = (names_scope(&claims), answer.get(name)) {
            claims.insert(name.to_owned(), value.clone());
        }
    }
    verify_no_other_kind(kind.as_deref(), &claims)?;
    if kind.as_deref() == Some("at+jwt") || names_scope(&claims) || claims.contains_key("typ") {
        return Ok(());
    }
    Err(unfit("it looks like an ID token: no typ at+jwt, and no `scope` in it or in what the provider says of it"))
}

/// Verifies what must hold for each token.
pub(super) fn verify_bearer(claims: &Map<String, Value>) -> Result<(), Flaw> {
    // Bound to a key that forepost does not check (RFC 7800 §3).
    if claims.contains_key("cnf") {
        return Err(unfit("it is bound to a key (`cnf`), and is not a bearer token"));
    }
    if claims.contains_key("events") {
        return Err(unfit("it reports an event"));
    }
    // `token_use` is Hydra's, Dex's and Cognito's; `tokenType` is Casdoor's.
    for name in ["typ", "token_type", "token_use", "tokenType"] {
        match claims.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if is_access_token_kind(name, kind) => {}
            Some(_) => return Err(unfit(format!("its `{name}` is not that of a bearer access token"))),
        }
    }
    Ok(())
}

fn is_access_token_kind(name: &str, kind: &str) -> bool {
    let kind = kind.to_ascii_lowercase().replace('-', "_");
    match name {
        "typ" => kind == "bearer",
        "token_use" => kind == "access_token" || kind == "access",
        _ => kind == "bearer" || kind == "access_token",
    }
}

/// Verifies that the token is for us, or for an accepted client that got it.
pub(super) fn verify_recipient(claims: &Map<String, Value>, recipient: &Recipient<'_>) -> Result<(), Flaw> {
    let audiences: Vec<&str> = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(audiences)) => {
            let texts = audiences.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
            texts.ok_or_else(|| unfit("`aud` is not a list of strings"))?
        }
        Some(_) => return Err(unfit("`aud` is not a string")),
    };
    if audiences.iter().any(|audience| (recipient.is_ours)(audience)) {
        return Ok(());
    }
    let client = client(claims)?;
    let accepted = client.filter(|client| recipient.accept_clients.iter().any(|it| it == client));
    match accepted {
        Some(client) if audiences.is_empty() || audiences.contains(&client) => Ok(()),
        Some(_) => Err(unfit("`aud` is neither us nor the client that it was given to")),
        // Without an audience only the client tells; `is_ours` knows our own.
        None if audiences.is_empty() && client.is_some_and(|client| (recipient.is_ours)(client)) => Ok(()),
        None => {
            Err(unfit("it is for another recipient (`aud`), and of a client that is not accepted (`azp`, `client_id`)"))
        }
    }
}

/// Whether a client in `accept_clients` got the token.
pub(super) fn is_of_accepted_client(claims: &Map<String, Value>, recipient: &Recipient<'_>) -> bool {
    let client = client(claims).ok().flatten();
    client.is_some_and(|client| recipient.accept_clients.iter().any(|it| it == client))
}

/// The client, when the token is its own, without a user: then its subject is the client (RFC 9068 §2.2).
#[must_use]
pub fn own_client(claims: &Map<String, Value>) -> Option<&str> {
    let client = client(claims).ok().flatten()?;
    let subject = text(claims, "sub")?;
    (subject == client || subject.strip_prefix("client:") == Some(client)).then_some(client)
}

/// The scopes of a token: a text with blanks (RFC 8693 §4.2), or a list.
pub fn scopes(claims: &Map<String, Value>) -> impl Iterator<Item = &str> {
    ["scope", "scp"].into_iter().filter_map(|name| claims.get(name)).flat_map(|value| match value {
        Value::Array(items) => items.iter().filter_map(Value::as_str).collect(),
        Value::String(text) => text.split(' ').collect(),
        _ => Vec::new(),
    })
}

/// The client that got the token.
fn client(claims: &Map<String, Value>) -> Result<Option<&str>, Flaw> {
    match (text(claims, "azp"), text(claims, "client_id")) {
        (Some(one), Some(other)) if one != other => Err(unfit("`azp` and `client_id` are two clients")),
        (one, other) => Ok(one.or(other)),
    }
}

/// Verifies that the token has begun and has not ended. Returns its expiry, if there is one.
pub(super) fn verify_times(claims: &Map<String, Value>, now: UnixTime) -> Result<Option<UnixTime>, Flaw> {
    let (_, later) = tolerated(now)?;
    verify_not_before(claims, later)?;
    let latest = UnixTime::from_secs(u64::try_from(later.timestamp()).unwrap_or_default());
    if date(claims, "iat")?.is_some_and(|issued_at| issued_at > latest) {
        return Err(unfit("issued in the future (`iat`)"));
    }
    let end = date(claims, "exp")?;
    if end.is_some_and(|end| end <= now) {
        return Err(unfit("expired (`exp`)"));
    }
    Ok(end)
}

/// Adds the subject to a token that a client got for itself and that has none: the client, under a name that no user has.
pub(super) fn with_subject(mut claims: Map<String, Value>) -> Result<Map<String, Value>, Flaw> {
    if claims.get("sub").is_none_or(Value::is_null) {
        let client = client(&claims)?.filter(|client| !client.is_empty());
        let client = client.ok_or_else(|| unfit("it names neither a user (`sub`) nor a client (`client_id`)"))?;
        let subject = format!("client:{client}");
        claims.insert("sub".to_owned(), Value::String(subject));
    }
    Ok(claims)
}

fn text<'c>(claims: &'c Map<String, Value>, name: &str) -> Option<&'c str> {
    claims.get(name).and_then(Value::as_str)
}

fn unfit(why: impl Into<Flaw>) -> Flaw {
    why.into()
}

#[cfg(test)]
mod tests;
