//! Access tokens that are JWTs (RFC 9068, and those that providers had before it), and what makes any token ours.

use serde_json::{Map, Value};

use super::jws::Jws;
use super::logout_token::date;
use super::verify::{tolerated, verify_not_before};
use super::{OidcError, Provider, Ready};
use crate::world::UnixTime;

/// Far more than any real one, and cheap to refuse.
const LARGEST: usize = 16 << 10;

/// Who may have got a token, for whom.
pub struct Recipient<'a> {
    /// Whether an audience means us.
    pub is_ours: &'a (dyn Fn(&str) -> bool + Sync),
    /// Other clients whose own tokens are accepted.
    pub accept_clients: &'a [String],
}

/// A token that was found good.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessToken {
    /// What it says, or what was said of it; always with `sub`.
    pub claims: Map<String, Value>,
    /// Its end.
    pub expires_at: Option<UnixTime>,
}

/// Why a token does not count.
#[derive(Debug, thiserror::Error)]
pub enum AccessTokenError {
    /// It proves nothing; the text is for the log and holds nothing of the token.
    #[error("{0}")]
    Invalid(String),
    /// Nobody can tell now.
    #[error(transparent)]
    Unknown(OidcError),
}

impl Provider {
    /// Whether this provider made `token`, for `recipient`.
    ///
    /// Keys are asked for again when no known one fits, as seldom as for logins. The provider is not asked whether it has
    /// revoked the token.
    ///
    /// # Errors
    ///
    /// When it did not, or nothing is known of the provider yet.
    pub async fn verify_access_token(
        &self,
        token: &str,
        recipient: &Recipient<'_>,
    ) -> Result<AccessToken, AccessTokenError> {
        let invalid = |error: OidcError| AccessTokenError::Invalid(reason(error));
        if token.len() > LARGEST {
            return Err(AccessTokenError::Invalid("it is too long".to_owned()));
        }
        let jws = Jws::parse(token).map_err(invalid)?;
        let ready = self.ready().ok_or(AccessTokenError::Unknown(OidcError::NotReady))?;
        // What costs nothing comes first, so that junk costs nothing.
        let read = read(&jws, self, recipient, self.now()).map_err(invalid)?;
        let verify = |ready: &Ready| ready.verify_signature(self.settings(), &jws);
        match self.with_keys(&ready, verify).await {
            Ok(()) => Ok(read),
            Err(unfit) => Err(invalid(unfit.token)),
        }
    }
}

/// The issuer that a token names, unverified: it tells whom to ask.
#[must_use]
pub fn claimed_issuer(token: &str) -> Option<String> {
    if token.len() > LARGEST {
        return None;
    }
    Jws::parse(token).ok()?.claims.get("iss")?.as_str().map(str::to_owned)
}

/// Everything but the signature.
fn read(
    jws: &Jws<'_>,
    provider: &Provider,
    recipient: &Recipient<'_>,
    now: UnixTime,
) -> Result<AccessToken, OidcError> {
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

/// An access token, and one that whoever has it may use.
///
/// An ID token is told to applications, so it must open nothing. Where a provider also signs people in, a token has to look
/// like an access token: its type is `at+jwt` (RFC 9068 §2.1) or Keycloak's `Bearer`, or it names a scope or a client.
fn verify_kind(kind: Option<&str>, claims: &Map<String, Value>, signs_people_in: bool) -> Result<(), OidcError> {
    verify_bearer(claims)?;
    match kind {
        Some("at+jwt") => return Ok(()),
        None | Some("jwt") => {}
        Some(_) => return Err(unfit("its `typ` is that of no access token")),
    }
    let has = |names: &[&str]| names.iter().any(|name| claims.contains_key(*name));
    let is_access_token = has(&["scope", "scp", "client_id"]) || claims.contains_key("typ");
    if has(&["at_hash", "c_hash", "s_hash"]) || (!is_access_token && (signs_people_in || has(&["nonce"]))) {
        return Err(unfit("it is an ID token, or looks like one: no typ at+jwt, no scope, no client_id"));
    }
    Ok(())
}

/// What must hold of each token, whoever speaks of it.
pub(super) fn verify_bearer(claims: &Map<String, Value>) -> Result<(), OidcError> {
    // Bound to a key that nobody here checks (RFC 7800 §3).
    if claims.contains_key("cnf") {
        return Err(unfit("it is bound to a key (`cnf`), and is no bearer token"));
    }
    if claims.contains_key("events") {
        return Err(unfit("it reports an event"));
    }
    for name in ["typ", "token_type"] {
        match claims.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => {}
            Some(Value::String(kind)) if name == "token_type" && kind.eq_ignore_ascii_case("access_token") => {}
            Some(_) => return Err(unfit(&format!("its `{name}` is not Bearer"))),
        }
    }
    Ok(())
}

/// For us, or of a client whose tokens we accept, which it was also made for.
pub(super) fn verify_recipient(claims: &Map<String, Value>, recipient: &Recipient<'_>) -> Result<(), OidcError> {
    let audiences: Vec<&str> = match claims.get("aud") {
        None => Vec::new(),
        Some(Value::String(audience)) => vec![audience],
        Some(Value::Array(audiences)) => {
            let texts = audiences.iter().map(Value::as_str).collect::<Option<Vec<_>>>();
            texts.ok_or_else(|| unfit("`aud` is no list of texts"))?
        }
        Some(_) => return Err(unfit("`aud` is no text")),
    };
    if audiences.iter().any(|audience| (recipient.is_ours)(audience)) {
        return Ok(());
    }
    let client = client(claims)?;
    let accepted = client.filter(|client| recipient.accept_clients.iter().any(|it| it == client));
    match accepted {
        Some(client) if audiences.is_empty() || audiences.contains(&client) => Ok(()),
        Some(_) => Err(unfit("`aud` is neither us nor the client that it was given to")),
        // Without any audience the client is all there is to go by; ours is among ours.
        None if audiences.is_empty() && client.is_some_and(|client| (recipient.is_ours)(client)) => Ok(()),
        None => Err(unfit("it is for somebody else (`aud`), of a client that is not accepted (`azp`, `client_id`)")),
    }
}

/// The client that got the token; two names of two clients are none.
fn client(claims: &Map<String, Value>) -> Result<Option<&str>, OidcError> {
    match (text(claims, "azp"), text(claims, "client_id")) {
        (Some(one), Some(other)) if one != other => Err(unfit("`azp` and `client_id` are two clients")),
        (one, other) => Ok(one.or(other)),
    }
}

/// The end, if it is said; not over yet, and neither made nor valid in the future only.
pub(super) fn verify_times(claims: &Map<String, Value>, now: UnixTime) -> Result<Option<UnixTime>, OidcError> {
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

/// A token that a client got for itself may have no subject: it is the client then, by a name that no user has.
pub(super) fn with_subject(mut claims: Map<String, Value>) -> Result<Map<String, Value>, OidcError> {
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

pub(super) fn unfit(why: &str) -> OidcError {
    OidcError::InvalidToken(why.to_owned())
}

pub(super) fn reason(error: OidcError) -> String {
    match error {
        OidcError::InvalidToken(why) => why,
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_000_000);

    fn members(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(members) => members,
            _ => panic!("no object"),
        }
    }

    #[track_caller]
    fn kind(header: Option<&str>, claims: Value, login_provider: bool, expected: bool) {
        let found = verify_kind(header, &members(claims.clone()), login_provider);
        assert_eq!(found.is_ok(), expected, "{header:?} {claims} {login_provider}: {found:?}");
    }

    #[test]
    fn id_tokens_are_no_access_tokens() {
        kind(Some("at+jwt"), json!({}), true, true);
        kind(Some("jwt"), json!({"scope": "openid", "azp": "proxy", "nonce": "n"}), true, true);
        kind(None, json!({"scp": ["a"]}), true, true);
        kind(None, json!({"client_id": "ci"}), true, true);
        kind(Some("jwt"), json!({"typ": "Bearer"}), true, true);
        kind(Some("jwt"), json!({"typ": "ID", "scope": "openid"}), true, false);
        kind(Some("jwt"), json!({"typ": "Refresh", "scope": "openid"}), true, false);
        kind(Some("at+jwt"), json!({"typ": "DPoP"}), true, false);
        kind(Some("jwt"), json!({}), true, false);
        kind(Some("jwt"), json!({"azp": "proxy"}), true, false);
        kind(Some("jwt"), json!({"nonce": "n"}), true, false);
        kind(Some("jwt"), json!({"at_hash": "x", "scope": "openid"}), true, false);
        kind(Some("logout+jwt"), json!({"scope": "openid"}), true, false);
        kind(Some("dpop+jwt"), json!({"scope": "openid"}), true, false);
        kind(Some("jwt"), json!({"scope": "openid", "events": {}}), true, false);
        kind(Some("at+jwt"), json!({"cnf": {"jkt": "x"}}), true, false);
        // An issuer that signs nobody in makes only such tokens.
        kind(None, json!({}), false, true);
        kind(Some("jwt"), json!({"nonce": "n"}), false, false);
        kind(Some("jwt"), json!({"at_hash": "x"}), false, false);
    }

    #[track_caller]
    fn recipient(claims: Value, expected: bool) {
        let is_ours = |audience: &str| ["proxy", "https://app.example.com"].contains(&audience);
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &["friend".to_owned()] };
        let found = verify_recipient(&members(claims.clone()), &recipient);
        assert_eq!(found.is_ok(), expected, "{claims}: {found:?}");
    }

    #[test]
    fn case_017_074_089_only_what_is_for_us() {
        recipient(json!({"aud": "proxy"}), true);
        recipient(json!({"aud": ["other", "https://app.example.com"], "azp": "stranger"}), true);
        recipient(json!({"aud": "friend", "azp": "friend"}), true);
        recipient(json!({"aud": ["friend", "x"], "client_id": "friend"}), true);
        recipient(json!({"client_id": "friend"}), true);
        recipient(json!({"client_id": "proxy"}), true);
        recipient(json!({}), false);
        recipient(json!({"aud": []}), false);
        recipient(json!({"aud": "other"}), false);
        recipient(json!({"aud": "other", "client_id": "proxy"}), false);
        recipient(json!({"aud": "friend"}), false);
        recipient(json!({"aud": "friend", "azp": "stranger"}), false);
        recipient(json!({"aud": "other", "azp": "friend"}), false);
        recipient(json!({"aud": "friend", "azp": "friend", "client_id": "stranger"}), false);
        recipient(json!({"aud": "prox"}), false);
        recipient(json!({"aud": "PROXY"}), false);
        recipient(json!({"aud": ["proxy", 7]}), false);
        recipient(json!({"aud": {"proxy": 1}}), false);
        recipient(json!({"aud": null, "client_id": "proxy"}), false);
    }

    #[track_caller]
    fn times(claims: Value, expected: Result<Option<u64>, ()>) {
        let found = verify_times(&members(claims.clone()), NOW);
        let end = found.as_ref().map(|end| end.map(UnixTime::as_secs)).map_err(|_| ());
        assert_eq!(end, expected, "{claims}: {found:?}");
    }

    #[test]
    fn times_are_judged() {
        times(json!({}), Ok(None));
        times(json!({"exp": 1_000_001}), Ok(Some(1_000_001)));
        times(json!({"exp": 1_000_000}), Err(()));
        times(json!({"exp": 1}), Err(()));
        times(json!({"exp": "1000001"}), Err(()));
        times(json!({"exp": 1e300}), Err(()));
        times(json!({"exp": null}), Err(()));
        times(json!({"nbf": 1_000_060, "iat": 1_000_060}), Ok(None));
        times(json!({"nbf": 1_000_061}), Err(()));
        times(json!({"iat": 1_000_061}), Err(()));
        times(json!({"iat": -1}), Err(()));
    }

    #[test]
    fn a_client_without_a_user_is_nobodys_namesake() {
        let subject =
            |claims| with_subject(members(claims)).ok().and_then(|claims| claims["sub"].as_str().map(str::to_owned));
        assert_eq!(subject(json!({"sub": "alice", "client_id": "ci"})).as_deref(), Some("alice"));
        assert_eq!(subject(json!({"client_id": "ci"})).as_deref(), Some("client:ci"));
        assert_eq!(subject(json!({"azp": "ci", "sub": null})).as_deref(), Some("client:ci"));
        assert_eq!(subject(json!({})), None);
        assert_eq!(subject(json!({"client_id": ""})), None);
        assert_eq!(subject(json!({"azp": "a", "client_id": "b"})), None);
    }

    #[track_caller]
    fn said(answer: Value, expected: bool) {
        let is_ours = |audience: &str| audience == "proxy";
        let recipient = Recipient { is_ours: &is_ours, accept_clients: &[] };
        let found = super::super::introspect::read(members(answer.clone()), "https://idp.example.com", &recipient, NOW);
        assert_eq!(found.is_ok(), expected, "{answer}: {found:?}");
    }

    #[test]
    fn case_017_what_the_provider_says_of_a_token() {
        said(json!({"active": true, "client_id": "proxy", "sub": "alice"}), true);
        said(json!({"active": true, "aud": ["proxy"], "client_id": "other", "sub": "alice"}), true);
        said(
            json!({"active": true, "client_id": "proxy", "token_type": "Bearer", "iss": "https://idp.example.com"}),
            true,
        );
        said(json!({"active": false, "client_id": "proxy", "sub": "alice"}), false);
        said(json!({"active": "true", "client_id": "proxy", "sub": "alice"}), false);
        said(json!({"active": 1, "client_id": "proxy", "sub": "alice"}), false);
        said(json!({"client_id": "proxy", "sub": "alice"}), false);
        said(json!({"active": true, "sub": "alice"}), false);
        said(json!({"active": true, "client_id": "other", "sub": "alice"}), false);
        said(json!({"active": true, "client_id": "proxy", "aud": "other", "sub": "alice"}), false);
        said(json!({"active": true, "client_id": "proxy", "iss": "https://other.example.com"}), false);
        said(json!({"active": true, "client_id": "proxy", "exp": 1_000_000}), false);
        said(json!({"active": true, "client_id": "proxy", "nbf": 1_000_100}), false);
        said(json!({"active": true, "client_id": "proxy", "token_type": "refresh_token"}), false);
        said(json!({"active": true, "client_id": "proxy", "token_type": "DPoP"}), false);
        said(json!({"active": true, "client_id": "proxy", "cnf": {}}), false);
    }
}
