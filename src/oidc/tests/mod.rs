//! Recorded answers of real providers, read and verified.

mod flaws;
mod logout_tokens;

use std::path::PathBuf;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::HeaderMap;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::exchange::refusal;
use super::jws::Kind;
use super::token_response::TokenResponse;
use super::verify::{ExpectedNonce, Verified};
use super::*;
use super::{IdentityProvider, SigningAlgorithm};
use crate::app::samples::provider_settings;
use crate::identity::Identity;
use crate::telemetry::WithCauses;
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
        let tokens: TokenResponse = serde_json::from_slice(&self.read(tokens)).unwrap();
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
    let got = parsed.err().map_or_else(|| "accepted".to_owned(), |error| WithCauses(&error).to_string());
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
            &format!("{name} is not a web address"),
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
        let tokens: TokenResponse = serde_json::from_value(body).unwrap();
        let nonce = ExpectedNonce::This(recording.text("nonce"));
        let now = UnixTime::from_secs(recording.issued_at());
        let verified = recording.single().verify(&recording.settings(), nonce, &tokens, now);
        refused(verified.map_err(|failure| Flaw::from(failure).to_string()), "client secret");
    }
}

/// The claims of a recorded answer to a refresh, as old as it is there.
fn refreshed(recording: &Recording, file: &str) -> Verified {
    let body = recording.read(file);
    let tokens: TokenResponse = serde_json::from_slice(&body).unwrap();
    assert!(token_response::Extras::parse(&body).refresh_token.is_some_and(|token| !token.expose_secret().is_empty()));
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
        let details = endpoint_client::AnswerDetails {
            status: Some(http::StatusCode::BAD_REQUEST),
            ..endpoint_client::AnswerDetails::default()
        };
        assert!(matches!(RefreshError::of_answer(refused, &details), RefreshError::Ended { .. }));
    }
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
