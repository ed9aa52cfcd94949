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
    // An issuer with which no user signs in makes only such tokens.
    kind(None, json!({}), false, true);
    kind(Some("jwt"), json!({"nonce": "n"}), false, false);
    kind(Some("jwt"), json!({"at_hash": "x"}), false, false);
    // An ID token of the implicit flow names a client at some providers.
    kind(Some("jwt"), json!({"nonce": "n", "client_id": "proxy"}), true, false);
    kind(Some("jwt"), json!({"nonce": "n", "azp": "proxy", "client_id": "proxy"}), true, false);
    kind(Some("jwt"), json!({"nonce": "n", "typ": "Bearer"}), true, true);
    // Casdoor's refresh token.
    kind(Some("jwt"), json!({"tokenType": "refresh-token", "scope": "openid"}), true, false);
    kind(Some("jwt"), json!({"tokenType": "access-token", "scope": "openid"}), true, true);
    kind(Some("jwt"), json!({"token_use": "id", "client_id": "proxy"}), true, false);
    kind(Some("at+jwt"), json!({"token_use": "refresh_token"}), true, false);
    kind(Some("at+jwt"), json!({"at_hash": "x"}), true, false);
    for no_scope in [json!(""), json!(" "), json!(5), json!(null), json!([]), json!([""])] {
        kind(Some("jwt"), json!({"nonce": "n", "scope": no_scope.clone()}), true, false);
        kind(Some("jwt"), json!({"scope": no_scope.clone()}), true, false);
        kind(None, json!({"nonce": "n", "scp": no_scope}), true, false);
    }
}

fn jwt(header: &Value, claims: &Value) -> String {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}.c2ln", part(header), part(claims))
}

#[track_caller]
fn active(token: &str, answer: Value, expected: bool) {
    let found = verify_active(token, &members(answer.clone()));
    assert_eq!(found.is_ok(), expected, "{token} {answer}: {found:?}");
}

#[test]
fn what_shows_that_it_is_another_kind_of_token_is_not_active() {
    let plain = json!({"alg": "RS256"});
    active("opaque", json!({"active": true}), true);
    active("opaque", json!({"active": true, "token_use": "access_token", "token_type": "Bearer"}), true);
    active("opaque", json!({"active": true, "token_use": "refresh_token"}), false);
    active("opaque", json!({"active": true, "tokenType": "refresh-token"}), false);
    active("opaque", json!({"active": true, "typ": "Refresh"}), false);
    active("opaque", json!({"active": true, "typ": "ID"}), false);
    active(&jwt(&json!({"alg": "RS256", "typ": "at+jwt"}), &json!({})), json!({}), true);
    active(&jwt(&json!({"alg": "RS256", "typ": "refresh+jwt"}), &json!({"scope": "openid"})), json!({}), false);
    active(&jwt(&plain, &json!({"scope": "openid"})), json!({}), true);
    active(&jwt(&plain, &json!({"sub": "a"})), json!({"scope": "openid"}), true);
    active(&jwt(&plain, &json!({"sub": "a"})), json!({"client_id": "proxy"}), false);
    active(&jwt(&plain, &json!({"sub": "a", "scope": ""})), json!({"scope": ""}), false);
    active(&jwt(&plain, &json!({"sub": "a", "scope": ""})), json!({"scope": "openid"}), true);
    active(&jwt(&plain, &json!({"nonce": "n", "azp": "proxy"})), json!({"client_id": "proxy"}), false);
    active(&jwt(&plain, &json!({"at_hash": "x", "scope": "openid"})), json!({"scope": "openid"}), false);
    active(&jwt(&plain, &json!({"typ": "ID", "scope": "openid"})), json!({}), false);
    active(&jwt(&plain, &json!({"typ": "Bearer"})), json!({}), true);
    active(&jwt(&plain, &json!({"tokenType": "refresh-token", "scope": "openid"})), json!({}), false);
}

/// Decoders of base64 differ, so its issuer may read a token in a text that is not the one it made.
#[test]
fn a_token_that_only_others_can_read_is_not_opaque() {
    let token = jwt(&json!({"alg": "RS256"}), &json!({"sub": "a", "scope": "openid"}));
    active(&token, json!({"scope": "openid"}), true);
    let [header, claims, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    // The last character has two or four bits that decode to nothing.
    let odd = |part: &str| match part.split_at(part.len() - 1) {
        (rest, "g") => format!("{rest}h"),
        (rest, "Q" | "0") => format!("{rest}R"),
        (rest, "c") => format!("{rest}d"),
        (_, last) => panic!("{last}"),
    };
    let odd_header = jwt(&json!({"alg": "RS256", "k": 12}), &json!({}));
    let odd_header = odd(odd_header.split('.').next().unwrap());
    for spelling in [
        format!("{header}.{claims}.{signature}="),
        format!("{header}=.{claims}.{signature}"),
        format!("{header}.{claims}.{signature}A"),
        format!("{header}.{claims}.c2lnbh"),
        format!("{header}.{claims}"),
        format!("{header}.{claims}.{signature}."),
        format!("{header}.{claims}.{signature}.x"),
        format!("{header}.{claims}.{signature}.x.y"),
        format!("{odd_header}.{claims}.{signature}"),
        format!("{}.{claims}.{signature}", header.replace("ey", "e+y")),
        // A space before the object.
        format!("IHsieCI6MX0=.{claims}.{signature}"),
    ] {
        assert!(Jws::is_misshapen(&spelling), "{spelling}");
    }
    for opaque in
        ["opaque", "ory_at_abc.def", "00Dxx!AR8AQ.39AsX.LVpxezPwuX5V", "a.b.c", "..", "ya29.a0AfH6", "e30", "."]
    {
        assert!(!Jws::is_misshapen(opaque), "{opaque}");
    }
    // Its issuer alone can read it, and says what it is.
    let encrypted = jwt(&json!({"alg": "dir", "enc": "A256GCM"}), &json!({}));
    assert!(!Jws::is_misshapen(&format!("{}..iv.text.tag", encrypted.split('.').next().unwrap())));
}

#[track_caller]
fn recipient(claims: Value, expected: bool) {
    let is_ours = |audience: &str| ["proxy", "https://app.example.com"].contains(&audience);
    let recipient = Recipient { is_ours: &is_ours, accept_clients: &["friend".to_owned()] };
    let found = verify_recipient(&members(claims.clone()), &recipient);
    assert_eq!(found.is_ok(), expected, "{claims}: {found:?}");
}

/// SECURITY: 17, 74, 89
#[test]
fn only_what_is_for_us() {
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
fn a_client_without_a_user_has_no_users_name() {
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
    let found =
        crate::oidc::introspect::read("opaque", members(answer.clone()), "https://idp.example.com", &recipient, NOW);
    assert_eq!(found.is_ok(), expected, "{answer}: {found:?}");
}

/// SECURITY: 17
#[test]
fn what_the_provider_says_of_a_token() {
    said(json!({"active": true, "client_id": "proxy", "sub": "alice"}), true);
    said(json!({"active": true, "aud": ["proxy"], "client_id": "other", "sub": "alice"}), true);
    said(json!({"active": true, "client_id": "proxy", "token_type": "Bearer", "iss": "https://idp.example.com"}), true);
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
