//! Recorded answers of real providers, read and verified.

use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::exchange::refusal;
use super::jws::Kind;
use super::tokens::Tokens;
use super::verify::{ExpectedNonce, Failure, Verified};
use super::*;
use crate::app::samples::provider_settings;
use crate::identity::Identity;
use crate::settings::{IdentityProvider, SigningAlgorithm};
use crate::world::UnixTime;

const RELEASES: [&str; 2] = ["2024.8.3", "2026.5.0-rc1"];
const ISSUER: &str = "https://idp.example.test/application/o/app-single/";
const OTHER_ISSUER: &str = "https://idp.example.test/application/o/other/";

fn recorded(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/authentik").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// One release's registration, and what a login there is verified with.
struct Recording {
    release: &'static str,
    client: Value,
}

impl Recording {
    fn of(release: &'static str) -> Self {
        let clients: Value = serde_json::from_slice(&recorded("clients.json")).unwrap();
        Self { release, client: clients[release].clone() }
    }

    fn text(&self, key: &str) -> &str {
        self.client[key].as_str().unwrap()
    }

    fn read(&self, file: &str) -> Vec<u8> {
        recorded(&format!("{}/{file}.json", self.release))
    }

    fn settings(&self) -> IdentityProvider {
        let mut settings = provider_settings(ISSUER);
        settings.client_id = self.text("client_id").into();
        settings.client_secret = Some(self.text("client_secret").to_owned().into());
        settings
    }

    fn ready(&self, issuer: &str, discovery: &str, jwks: &str) -> Ready {
        let metadata = Metadata::parse(issuer, &self.read(discovery)).unwrap();
        let keys = Keys::parse(&self.read(jwks), &HeaderMap::new()).unwrap();
        Ready { jwks_header: crate::identity::header_value(metadata.jwks_uri()), metadata, keys }
    }

    fn single(&self) -> Ready {
        self.ready(ISSUER, "discovery-app-single", "jwks-app-single")
    }

    fn issued_at(&self) -> u64 {
        self.client["issued_at"].as_u64().unwrap()
    }

    fn verify(
        &self,
        ready: &Ready,
        settings: &IdentityProvider,
        nonce: &str,
        tokens: &str,
        at: u64,
    ) -> Result<Verified, String> {
        let tokens: Tokens = serde_json::from_slice(&self.read(tokens)).unwrap();
        ready
            .verify(settings, ExpectedNonce::This(nonce), &tokens, UnixTime::from_secs(at))
            .map_err(|failure| Flaw::from(failure).to_string())
    }
}

const TOKENS: &str = "token-code-pkce-nonce";

#[test]
fn authentik_logins_are_accepted() {
    for recording in RELEASES.map(Recording::of) {
        let (ready, settings) = (recording.single(), recording.settings());
        assert!(ready.keys.is_empty(), "a key set of {{}} is an empty one");
        let nonce = recording.text("nonce");
        let login = recording.verify(&ready, &settings, nonce, TOKENS, recording.issued_at()).unwrap();
        let identity = Identity::from_claims(&login.claims, &settings.claims).unwrap();
        assert_eq!(identity.username, "alice");
        assert_eq!(identity.name, "Alice Müller");
        assert_eq!(identity.groups, ["engineering", "Ops & Café"]);
        assert_eq!(login.claims["aud"], recording.client["client_id"]);
    }
}

#[track_caller]
fn refused(result: Result<Verified, String>, why: &str) {
    let Err(error) = result else { panic!("accepted, but should be refused for {why:?}") };
    assert!(error.contains(why), "{error:?} does not say {why:?}");
}

#[test]
fn and_everything_that_differs_is_refused() {
    for recording in RELEASES.map(Recording::of) {
        let (ready, settings) = (recording.single(), recording.settings());
        let (nonce, now) = (recording.text("nonce"), recording.issued_at());
        let check =
            |settings: &IdentityProvider, nonce, tokens, at| recording.verify(&ready, settings, nonce, tokens, at);

        refused(check(&settings, "other-nonce", TOKENS, now), "nonce");
        check(&settings, nonce, TOKENS, now + 3600 + 59).map(|_| ()).unwrap();
        refused(check(&settings, nonce, TOKENS, now + 3600 + 60), "expired");
        check(&settings, nonce, TOKENS, now - 60).map(|_| ()).unwrap();
        refused(check(&settings, nonce, TOKENS, now - 61), "future");
        refused(check(&settings, nonce, "token-request-via-internal-host", now), "issuer");
        refused(check(&settings, nonce, "other-rs256-token-code-offline", now), "");

        let mut other = settings.clone();
        other.client_secret = Some(SecretString::from("another secret of the same length, or so"));
        refused(check(&other, nonce, TOKENS, now), "");
        let mut public = settings.clone();
        public.client_secret = None;
        refused(check(&public, nonce, TOKENS, now), "");
        let mut stranger = settings.clone();
        stranger.client_id = "stranger".into();
        refused(check(&stranger, nonce, TOKENS, now), "audience");
    }
}

#[test]
fn an_hs256_token_needs_a_provider_that_says_so() {
    for recording in RELEASES.map(Recording::of) {
        let mut document: Value = serde_json::from_slice(&recording.read("discovery-app-single")).unwrap();
        document["id_token_signing_alg_values_supported"] = serde_json::json!(["RS256", "none"]);
        let mut ready = recording.single();
        ready.metadata = Metadata::parse(ISSUER, document.to_string().as_bytes()).unwrap();
        assert_eq!(ready.metadata.id_token_algorithms(), [SigningAlgorithm::Rs256], "`none` does not exist");
        let nonce = recording.text("nonce");
        refused(recording.verify(&ready, &recording.settings(), nonce, TOKENS, recording.issued_at()), "");
    }
}

#[test]
fn rs256_tokens_verify_with_the_recorded_keys() {
    for recording in RELEASES.map(Recording::of) {
        let ready = recording.ready(OTHER_ISSUER, "discovery-other-rs256", "jwks-other-rs256");
        let mut settings = recording.settings();
        settings.issuer = OTHER_ISSUER.into();
        settings.client_id = recording.text("other_client_id").into();
        settings.client_secret = None;
        let verify = |ready: &Ready| {
            recording.verify(ready, &settings, "any", "other-rs256-token-code-offline", recording.issued_at() + 75)
        };
        // That login was recorded without a nonce: all else is verified before it is missed.
        refused(verify(&ready), "nonce");
        let with_keys = |keys: Value| Ready {
            metadata: ready.metadata.clone(),
            keys: Keys::parse(serde_json::json!({ "keys": keys }).to_string().as_bytes(), &HeaderMap::new()).unwrap(),
            jwks_header: ready.jwks_header.clone(),
        };
        refused(verify(&with_keys(serde_json::json!([]))), "holds no key that is usable");

        let published: Value = serde_json::from_slice(&recording.read("jwks-other-rs256")).unwrap();
        let right = &published["keys"][0];
        let wrong = |position: usize| {
            let mut key = right.clone();
            let mut modulus = key["n"].as_str().unwrap().to_owned();
            modulus.replace_range(position..=position, if modulus.as_bytes()[position] == b'x' { "y" } else { "x" });
            key["n"] = modulus.into();
            key
        };
        refused(verify(&with_keys(serde_json::json!([wrong(20)]))), "does not fit the key of its `kid`");
        // Several keys of one name: whichever fits.
        refused(verify(&with_keys(serde_json::json!([wrong(20), right]))), "nonce");
        refused(verify(&with_keys(serde_json::json!([right, wrong(20)]))), "nonce");
        refused(verify(&with_keys(serde_json::json!([wrong(20), wrong(21)]))), "does not fit the key of its `kid`");
    }
}

#[track_caller]
fn discovery(issuer: &str, change: impl FnOnce(&mut Value), expected: &str) {
    let mut document: Value = serde_json::from_slice(&Recording::of(RELEASES[1]).read("discovery-app-single")).unwrap();
    change(&mut document);
    let parsed = Metadata::parse(issuer, document.to_string().as_bytes());
    let got = parsed.err().map_or_else(|| "accepted".to_owned(), |error| error.to_string());
    assert!(got.contains(expected), "{got:?} does not say {expected:?}");
}

#[test]
fn metadata_must_fit() {
    discovery(ISSUER, |_| (), "accepted");
    discovery(ISSUER.trim_end_matches('/'), |_| (), "only the trailing slash differs");
    discovery("https://idp.example.test/application/o/other/", |_| (), "issuer mismatch");
    discovery(ISSUER, |document| document["issuer"] = "https://evil.test/".into(), "https://evil.test/");
    discovery(ISSUER, |document| document["token_endpoint"] = Value::Null, "token_endpoint");
    discovery(ISSUER, |document| document["jwks_uri"] = Value::Null, "metadata document");
    discovery(ISSUER, |document| document["authorization_endpoint"] = "no url".into(), "metadata document");
    for name in ["authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri"] {
        discovery(
            ISSUER,
            |document| document[name] = "javascript:alert(1)".into(),
            &format!("{name} is no web address"),
        );
    }
    discovery(ISSUER, |document| document["end_session_endpoint"] = "javascript:x".into(), "accepted");
    assert!(Metadata::parse(ISSUER, b"<html>").is_err());
    assert!(Metadata::parse(ISSUER, b"[]").is_err());
}

/// authentik's metadata is the registration's own: the scope is there once its mapping is.
#[test]
fn authentik_offers_what_its_administrator_mapped() {
    for recording in RELEASES.map(Recording::of) {
        let mut document: Value = serde_json::from_slice(&recording.read("discovery-app-single")).unwrap();
        let parse = |document: &Value| Metadata::parse(ISSUER, document.to_string().as_bytes()).unwrap();
        let metadata = parse(&document);
        let newer = recording.release == RELEASES[1];
        assert!(!metadata.offers_offline_access() && !metadata.binds_refresh_tokens_to_sessions());
        assert_eq!(metadata.frontchannel_logout_supported(), newer);
        assert_eq!(metadata.frontchannel_logout_session_supported(), newer);
        document["scopes_supported"].as_array_mut().unwrap().push("offline_access".into());
        assert!(parse(&document).offers_offline_access());
        document["token_endpoint"] = "https://kc.test/realms/main/protocol/openid-connect/token".into();
        assert!(parse(&document).binds_refresh_tokens_to_sessions());
    }
}

#[track_caller]
fn keys(document: &str, expected: Option<usize>) {
    let got = Keys::parse(document.as_bytes(), &HeaderMap::new());
    assert_eq!(got.as_ref().map(Keys::len).ok(), expected, "{document}");
}

#[test]
fn key_sets_are_read_tolerantly() {
    keys("{}", Some(0));
    keys(r#"{"keys": null}"#, Some(0));
    keys(r#"{"keys": []}"#, Some(0));
    keys(r#"{"keys": [{"kty": "unheard-of"}, 7, {"kty": "RSA"}]}"#, Some(0));
    keys(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "use": "enc"}]}"#, Some(0));
    keys(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "use": "sig"}]}"#, Some(1));
    keys(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "use": null, "alg": null}]}"#, Some(1));
    keys(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "key_ops": ["verify"]}]}"#, Some(1));
    keys(r#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "AAAA", "key_ops": ["encrypt"]}]}"#, Some(0));
    for key in [
        r#""kty": "OKP", "crv": "X25519", "x": "AAAA""#,
        r#""kty": "OKP", "crv": "Ed448", "x": "AAAA""#,
        r#""kty": "EC", "crv": "secp256k1", "x": "AAAA", "y": "AAAA", "alg": "ES256K""#,
        r#""kty": "EC", "crv": "P-521", "x": "AAAA", "y": "AAAA""#,
        r#""kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA", "alg": "ES384""#,
        r#""kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "RSA-OAEP""#,
        r#""kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "RSA1_5""#,
        r#""kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "HS256""#,
        r#""kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "none""#,
        r#""kty": "oct", "k": "AAAA", "alg": "HS256""#,
    ] {
        keys(&format!(r#"{{"keys": [{{{key}}}]}}"#), Some(0));
    }
    keys(&String::from_utf8(Recording::of(RELEASES[0]).read("jwks-other-rs256")).unwrap(), Some(1));
    keys(r#"{"keys": {}}"#, None);
    keys("[]", None);
    keys("<html>", None);
}

#[test]
fn keys_are_counted_for_what_they_are_for() {
    let document = r#"{"keys": [
        {"kty": "RSA", "n": "AAAA", "e": "AQAB"}, {"kty": "RSA", "n": "AAAA", "e": "AQAB", "alg": "PS256"},
        {"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}
    ]}"#;
    let keys = Keys::parse(document.as_bytes(), &HeaderMap::new()).unwrap();
    let usable = |names: &[&str]| {
        keys.usable_with(&names.iter().filter_map(|name| SigningAlgorithm::named(name)).collect::<Vec<_>>())
    };
    assert_eq!((usable(&["RS256"]), usable(&["PS256"]), usable(&["ES256"])), (1, 2, 1));
    assert_eq!((usable(&["RS256", "PS256", "ES256"]), usable(&["ES384", "EdDSA", "HS256"]), usable(&[])), (3, 0, 0));
}

#[track_caller]
fn freshness(cache_control: &str, expected_seconds: u64) {
    let mut headers = HeaderMap::new();
    headers.insert("cache-control", cache_control.parse().unwrap());
    assert_eq!(Keys::parse(b"{}", &headers).unwrap().fresh_for.as_secs(), expected_seconds, "{cache_control}");
}

#[test]
fn keys_are_fresh_within_bounds() {
    freshness("max-age=900", 900);
    freshness("public, max-age=7200", 7200);
    freshness("max-age=0", 300);
    freshness("no-store", 3600);
    freshness("max-age=99999999", 86400);
    freshness("max-age=nonsense", 3600);
}

#[test]
fn token_errors_are_told_without_their_bodies() {
    let reused = Recording::of(RELEASES[1]).read("token-code-reused");
    let told = refusal(&reused).unwrap().to_string();
    assert!(told.starts_with("the provider refused: invalid_grant ("), "{told}");
}

/// A token of `claims` in the way that authentik signs: with the client secret.
fn signed(recording: &Recording, header: &str, claims: &Value) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let input = format!("{}.{}", encode(header), encode(&claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, recording.text("client_secret").as_bytes());
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(hmac::sign(&key, input.as_bytes())))
}

#[test]
fn a_code_of_hmac_with_the_wrong_length_is_refused() {
    let recording = Recording::of(RELEASES[1]);
    let body: Value = serde_json::from_slice(&recording.read(TOKENS)).unwrap();
    let token = body["id_token"].as_str().unwrap();
    for wrong in [format!("{token}AAAA"), format!("{}.", token.rsplit_once('.').unwrap().0)] {
        let mut body = body.clone();
        body["id_token"] = wrong.into();
        let tokens: Tokens = serde_json::from_value(body).unwrap();
        let nonce = ExpectedNonce::This(recording.text("nonce"));
        let now = UnixTime::from_secs(recording.issued_at());
        let verified = recording.single().verify(&recording.settings(), nonce, &tokens, now);
        refused(verified.map_err(|failure| Flaw::from(failure).to_string()), "client secret");
    }
}

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
    logout_with("sub", 7, "`sub` is no text");
    logout_with("sid", serde_json::json!(["x"]), "`sid` is no text");
    logout_with("sid", "", "accepted");
    logout_with("jti", 7, "`jti` is no text");
    logout_with("jti", "", "`jti` is missing");
    logout_with("iat", -1, "`iat` is no date");
    logout_with("iat", 1e300, "`iat` is no date");
    logout_with("iat", "now", "`iat` is no date");
    logout_with("exp", 1e300, "`exp` is no date");
    logout_with("exp", -1, "`exp` is no date");
    logout_with("exp", "1795303425", "`exp` is no date");
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
    logout(|claims| drop(claims["sid"].take()), LOGOUT, 0, "`sid` is no text");
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
    logout(|_| (), r#"{"alg":["HS256"]}"#, 0, "`alg` is no text");
    logout(|_| (), "{}", 0, "no `alg`");
    logout(|_| (), r#"{"alg":"HS256","crit":["b64"],"b64":false}"#, 0, "crit");
    logout(|_| (), r#"{"alg":"HS256","cty":"JWT"}"#, 0, "cty");
    logout(|_| (), "[]", 0, "header");
}

/// Judged in this order: whether it is for us, what it says, who signed it.
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

/// The claims of a recorded answer to a refresh, as old as it is there.
fn refreshed(recording: &Recording, file: &str) -> Verified {
    let body = recording.read(file);
    let tokens: Tokens = serde_json::from_slice(&body).unwrap();
    assert!(tokens::Extras::parse(&body).refresh_token.is_some_and(|token| !token.expose_secret().is_empty()));
    let answer: Value = serde_json::from_slice(&body).unwrap();
    let claims = jws::Jws::parse(answer["id_token"].as_str().unwrap()).unwrap().claims;
    let now = UnixTime::from_secs(claims["iat"].as_u64().unwrap());
    let nonce = ExpectedNonce::NoneOr(Some(recording.text("nonce")));
    recording
        .single()
        .verify(&recording.settings(), nonce, &tokens, now)
        .map_err(|failure| Flaw::from(failure).to_string())
        .unwrap()
}

#[test]
fn authentik_refreshes_are_understood() {
    for recording in RELEASES.map(Recording::of) {
        let claims = refreshed(&recording, "refresh-ok-no-scope").claims;
        assert_eq!((exchange::session_id(&claims).is_some(), claims.get("nonce")), (true, None));
        // It refreshes after a logout, too; only the newer release tells so.
        let claims = refreshed(&recording, "refresh-after-session-logout").claims;
        assert_eq!(exchange::session_id(&claims).is_some(), recording.release == RELEASES[0]);
        let refused = refusal(&recording.read("refresh-old-token-again")).unwrap();
        let heard = asker::Heard { status: Some(http::StatusCode::BAD_REQUEST), ..asker::Heard::default() };
        assert!(matches!(RefreshError::of_answer(refused, &heard), RefreshError::Ended { .. }));
    }
}

/// An ID token of this header and these claims, signed with the client secret, and what is said of it.
fn flaw(header: &str, change: impl FnOnce(&mut Value), settings: impl FnOnce(&mut IdentityProvider)) -> (Flaw, bool) {
    let recording = Recording::of(RELEASES[1]);
    let answer: Value = serde_json::from_slice(&recording.read(TOKENS)).unwrap();
    let kept = jws::Jws::parse(answer["id_token"].as_str().unwrap()).unwrap().claims;
    let mut claims = Value::Object(kept);
    change(&mut claims);
    let mut tokens = answer.clone();
    tokens["id_token"] = signed(&recording, header, &claims).into();
    let tokens: Tokens = serde_json::from_value(tokens).unwrap();
    let mut ours = recording.settings();
    settings(&mut ours);
    let nonce = ExpectedNonce::This(recording.text("nonce"));
    let verified = recording.single().verify(&ours, nonce, &tokens, UnixTime::from_secs(recording.issued_at()));
    let Err(failure) = verified else { panic!("accepted") };
    let stale = matches!(failure, Failure::Stale(_));
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

#[test]
fn the_registered_algorithm_is_the_only_one_for_id_tokens_and_logout_tokens() {
    use SigningAlgorithm::{Es256, Hs256};
    let recording = Recording::of(RELEASES[1]);
    let (ready, mut settings) = (recording.single(), recording.settings());
    let kinds = [Kind::IdToken, Kind::Logout, Kind::Access, Kind::Userinfo];
    assert!(kinds.iter().all(|kind| ready.algorithms(&settings, *kind) == [Hs256]));
    settings.id_token_signed_response_alg = Some(Es256);
    for kind in [Kind::IdToken, Kind::Logout] {
        assert_eq!(ready.algorithms(&settings, kind), [Es256], "{kind:?}");
    }
    for kind in [Kind::Access, Kind::Userinfo] {
        assert_eq!(ready.algorithms(&settings, kind), [Hs256, Es256], "{kind:?}");
    }
}
