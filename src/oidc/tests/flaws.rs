//! What is said of an ID token that is refused.

use super::*;
use crate::oidc::verify::VerificationError;

/// An ID token of this header and these claims, signed with the client secret, and what is said of it.
fn flaw(header: &str, change: impl FnOnce(&mut Value), settings: impl FnOnce(&mut IdentityProvider)) -> (Flaw, bool) {
    let recording = Recording::of(RELEASES[1]);
    let answer: Value = serde_json::from_slice(&recording.read(TOKENS)).unwrap();
    let kept = jws::Jws::parse(answer["id_token"].as_str().unwrap()).unwrap().claims;
    let mut claims = Value::Object(kept);
    change(&mut claims);
    let mut tokens = answer.clone();
    tokens["id_token"] = signed(&recording, header, &claims).into();
    let tokens: TokenResponse = serde_json::from_value(tokens).unwrap();
    let mut ours = recording.settings();
    settings(&mut ours);
    let nonce = ExpectedNonce::This(recording.text("nonce"));
    let verified = recording.single().verify(&ours, nonce, &tokens, UnixTime::from_secs(recording.issued_at()));
    let Err(failure) = verified else { panic!("accepted") };
    let stale = matches!(failure, VerificationError::Stale(_));
    (failure.into(), stale)
}

/// What is said names the claim or the algorithm, and only what the provider publishes is asked for again.
#[test]
fn each_flaw_has_its_remedy() {
    const HEADER: &str = r#"{"alg":"HS256"}"#;
    #[track_caller]
    fn check((flaw, stale): (Flaw, bool), what: &str, remedy: Remedy, may_be_stale: bool) {
        assert!(flaw.to_string().contains(what), "{flaw:?} does not say {what:?}");
        assert_eq!((flaw.remedy(), stale), (remedy, may_be_stale), "{flaw:?}");
        assert!(!flaw.to_string().contains("eyJ"), "{flaw}");
    }
    let claim = |name: &'static str, value: Value| flaw(HEADER, move |claims| claims[name] = value, |_| ());
    let without =
        |name: &'static str| flaw(HEADER, move |claims| drop(claims.as_object_mut().unwrap().remove(name)), |_| ());
    let header = |header: &str| flaw(header, |_| (), |_| ());
    for (name, remedy) in [
        ("sub", Remedy::Subject),
        ("iat", Remedy::IssuedAt),
        ("exp", Remedy::Expiry),
        ("iss", Remedy::Issuer),
        ("aud", Remedy::Audience),
        ("nonce", Remedy::Nonce),
    ] {
        check(without(name), &format!("`{name}` is missing"), remedy, false);
        check(claim(name, serde_json::json!({})), &format!("`{name}`"), remedy, false);
    }
    check(claim("nonce", "other".into()), "`nonce` is not that of this login", Remedy::Nonce, false);
    check(claim("aud", "other".into()), "`aud`", Remedy::Audience, false);
    check(claim("azp", "other".into()), "`azp`", Remedy::Party, false);
    check(claim("exp", 1000.into()), "expired (`exp`)", Remedy::Clock, false);
    check(claim("iat", 99_999_999_999_u64.into()), "`iat`", Remedy::Clock, false);
    check(claim("nbf", 99_999_999_999_u64.into()), "`nbf`", Remedy::Clock, false);
    check(claim("at_hash", "AAAA".into()), "`at_hash`", Remedy::AccessTokenHash, false);
    check(claim("iss", "https://other.test/".into()), "https://other.test/", Remedy::Issuer, false);
    let respelled = ISSUER.to_uppercase().replace("HTTPS", "https");
    check(claim("iss", respelled.into()), "`iss` is another issuer", Remedy::Issuer, true);
    check(claim("iss", ISSUER.trim_end_matches('/').into()), "`iss` is another issuer", Remedy::Issuer, true);

    check(header(r#"{"alg":"none"}"#), "not signed", Remedy::Unsigned, false);
    for name in ["ES256K", "ES512", "RSA1_5", "hs256", "\\u0000"] {
        check(header(&format!(r#"{{"alg":"{name}"}}"#)), "is not supported", Remedy::Algorithm, false);
    }
    check(header("{}"), "no `alg`", Remedy::Algorithm, false);
    check(header(r#"{"alg":"RS256"}"#), "announce HS256", Remedy::Announcement, true);
    check(header(r#"{"alg":"HS512"}"#), "announce HS256", Remedy::Announcement, true);
    check(header(r#"{"alg":"HS256","typ":"at+jwt"}"#), "`typ`", Remedy::Format, false);
    let other_secret = |ours: &mut IdentityProvider| ours.client_secret = Some("other".to_owned().into());
    check(flaw(HEADER, |_| (), other_secret), "not made with the client secret", Remedy::Secret, false);
    check(flaw(HEADER, |_| (), |ours| ours.client_secret = None), "there is none", Remedy::NoSecret, false);
    let registered = |ours: &mut IdentityProvider| ours.id_token_signed_response_alg = Some(SigningAlgorithm::Rs256);
    check(flaw(HEADER, |_| (), registered), "id_token_signed_response_alg is RS256", Remedy::Registration, false);
    let encrypted = jws::Jws::parse("eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d").err().unwrap();
    check((encrypted, false), "encrypted (JWE)", Remedy::Encryption, false);
    check((jws::Jws::parse("a.b").err().unwrap(), false), "three parts", Remedy::Format, false);
}
