//! Logout tokens: the recorded one, and those that differ from it.

use super::*;

/// Sends back what it is given, so that a table can say what differs from the recorded logout token.
fn logout_token(change: impl FnOnce(&mut Value), header: &str, later: u64) -> Result<LogoutToken, String> {
    let recording = Recording::of(RELEASES[1]);
    let text = String::from_utf8(recorded("2026.5.0-rc1/backchannel-logout-token.txt")).unwrap();
    let text = text.trim();
    let mut claims: Value =
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text.split('.').nth(1).unwrap()).unwrap()).unwrap();
    let issued_at = claims["iat"].as_u64().unwrap();
    change(&mut claims);
    let token = if header.is_empty() { text.to_owned() } else { signed(&recording, header, &claims) };
    logout_token::verify(&recording.single(), &recording.settings(), &token, UnixTime::from_secs(issued_at + later))
}

const LOGOUT: &str = r#"{"alg":"HS256","typ":"logout+jwt"}"#;

#[test]
fn the_recorded_logout_token_is_accepted() {
    let logout = logout_token(|_| (), "", 0).unwrap();
    assert_eq!(logout, logout_token(|_| (), LOGOUT, 0).unwrap());
    assert_eq!(logout.jti, "bf3f653d-05f1-4e64-89e1-13fc20a2c89b");
    assert!(logout.subject.unwrap().starts_with("9038afa6") && logout.session_id.unwrap().starts_with("f3ab5f9a"));
    assert_eq!(logout.expires_at.as_secs() - logout.issued_at.as_secs(), 3600 + 60);
}

#[track_caller]
fn logout(change: impl FnOnce(&mut Value), header: &str, later: u64, expected: &str) {
    let got = logout_token(change, header, later).map_or_else(|error| error, |_| "accepted".to_owned());
    assert!(got.contains(expected), "{got:?} does not say {expected:?}");
}

#[track_caller]
fn logout_with(name: &str, value: impl Into<Value>, expected: &str) {
    logout(|claims| claims[name] = value.into(), LOGOUT, 0, expected);
}

#[track_caller]
fn logout_without(names: &[&str], expected: &str) {
    let remove = |claims: &mut Value| names.iter().for_each(|name| drop(claims.as_object_mut().unwrap().remove(*name)));
    logout(remove, LOGOUT, 0, expected);
}

#[test]
fn logout_tokens_say_what_they_must() {
    let event = "http://schemas.openid.net/event/backchannel-logout";
    logout_with("iss", "https://evil.test/", "another issuer");
    logout_with("aud", "other", "another client");
    logout_with("aud", serde_json::json!(["other"]), "another client");
    logout_with("aud", serde_json::json!(["other", Recording::of(RELEASES[1]).text("client_id")]), "accepted");
    logout_with("aud", serde_json::json!({}), "another client");
    logout_with("events", serde_json::json!({ event: {} , "other": 1 }), "accepted");
    logout_with("events", serde_json::json!({ event: true }), "events");
    logout_with("events", serde_json::json!({ event: null }), "events");
    logout_with("events", serde_json::json!([event]), "events");
    logout_with("events", event, "events");
    logout_with("nonce", "x", "nonce");
    logout_with("nonce", Value::Null, "nonce");
    logout_with("sub", 7, "`sub` is not a string");
    logout_with("sid", serde_json::json!(["x"]), "`sid` is not a string");
    logout_with("sid", "", "accepted");
    logout_with("jti", 7, "`jti` is not a string");
    logout_with("jti", "", "`jti` is missing");
    logout_with("iat", -1, "`iat` is not a date");
    logout_with("iat", 1e300, "`iat` is not a date");
    logout_with("iat", "now", "`iat` is not a date");
    logout_with("exp", 1e300, "`exp` is not a date");
    logout_with("exp", -1, "`exp` is not a date");
    logout_with("exp", "1795303425", "`exp` is not a date");
    logout_with("exp", 1000, "expired");
    logout_with("nbf", 99_999_999_999_u64, "nbf");
    logout_without(&["sub"], "accepted");
    logout_without(&["sid"], "accepted");
    logout_without(&["sub", "sid"], "neither a user nor a session");
    for (name, why) in
        [("iss", "another issuer"), ("aud", "another"), ("iat", "iat"), ("jti", "jti"), ("events", "events")]
    {
        logout_without(&[name], why);
    }
    logout(|claims| drop(claims["sid"].take()), LOGOUT, 0, "`sid` is not a string");
}

#[test]
fn logout_tokens_have_their_time() {
    logout(|_| (), LOGOUT, 3600 + 59, "accepted");
    logout(|_| (), LOGOUT, 3600 + 60, "expired");
    let endless = |claims: &mut Value| drop(claims.as_object_mut().unwrap().remove("exp"));
    logout(endless, LOGOUT, 120 + 59, "accepted");
    logout(endless, LOGOUT, 120 + 60, "expired");
    let ages = |claims: &mut Value| claims["exp"] = 99_999_999_999_u64.into();
    logout(ages, LOGOUT, 24 * 3600 + 59, "accepted");
    logout(ages, LOGOUT, 24 * 3600 + 60, "expired");
    let ahead = |by: u64| move |claims: &mut Value| claims["iat"] = (claims["iat"].as_u64().unwrap() + by).into();
    logout(ahead(60), LOGOUT, 0, "accepted");
    logout(ahead(61), LOGOUT, 0, "issued in the future");
}

#[test]
fn logout_tokens_are_of_their_kind_and_signed() {
    for kind in ["JWT", "jwt", "application/jwt", "logout+jwt", "Logout+JWT", "application/logout+jwt"] {
        logout(|_| (), &format!(r#"{{"alg":"HS256","typ":"{kind}"}}"#), 0, "accepted");
    }
    logout(|_| (), r#"{"alg":"HS256"}"#, 0, "accepted");
    logout(|_| (), r#"{"alg":"HS256","kid":"anything"}"#, 0, "accepted");
    for kind in [r#""at+jwt""#, r#""id_token""#, r#""""#, r#""application/application/jwt""#, "null", "7"] {
        logout(|_| (), &format!(r#"{{"alg":"HS256","typ":{kind}}}"#), 0, "typ");
    }
    logout(|_| (), r#"{"alg":"none"}"#, 0, "not signed");
    logout(|_| (), r#"{"alg":"None"}"#, 0, "not signed");
    logout(|_| (), r#"{"alg":"RS256"}"#, 0, "signed with RS256, and the provider's metadata announce HS256");
    logout(|_| (), r#"{"alg":"HS384"}"#, 0, "signed with HS384");
    logout(|_| (), r#"{"alg":"ES256K"}"#, 0, "not supported");
    logout(|_| (), r#"{"alg":["HS256"]}"#, 0, "`alg` is not a string");
    logout(|_| (), "{}", 0, "no `alg`");
    logout(|_| (), r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, 0, "crit");
    logout(|_| (), r#"{"alg":"HS256","cty":"JWT"}"#, 0, "cty");
    logout(|_| (), "[]", 0, "header");
}

/// Verified in this order: whether it is for us, what it says, who signed it.
#[test]
fn a_logout_token_with_another_signature_is_refused() {
    let recording = Recording::of(RELEASES[1]);
    let text = String::from_utf8(recorded("2026.5.0-rc1/backchannel-logout-token.txt")).unwrap();
    let now = UnixTime::from_secs(recording.issued_at() + 386);
    let check = |settings: &IdentityProvider, token: &str, why: &str| {
        let got = logout_token::verify(&recording.single(), settings, token, now);
        let got = got.map_or_else(|error| error, |_| "accepted".to_owned());
        assert!(got.contains(why), "{got:?} does not say {why:?}");
    };
    let (settings, text) = (recording.settings(), text.trim());
    let input = text.rsplit_once('.').unwrap().0;
    check(&settings, text, "accepted");
    check(&settings, &format!("{input}."), "client secret");
    check(&settings, &format!("{input}.AAAA"), "client secret");
    check(&settings, &format!("{text}AAAA"), "client secret");
    check(&settings, &format!("{text}="), "base64url");
    check(&settings, &format!("{text}.AAAA"), "three parts");
    check(&settings, input, "three parts");
    check(&settings, "", "three parts");
    check(&settings, &"a.".repeat(9000), "too long");
    for secret in [None, Some(String::new().into())] {
        let public = IdentityProvider { client_secret: secret, ..settings.clone() };
        check(&public, text, "there is none");
    }
    let other = IdentityProvider { client_secret: Some("other".to_owned().into()), ..settings.clone() };
    check(&other, text, "client secret");
    // An ID token is none, although all of it is right.
    let tokens: Value = serde_json::from_slice(&recording.read(TOKENS)).unwrap();
    check(&settings, tokens["id_token"].as_str().unwrap(), "events");
}
