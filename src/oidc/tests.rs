//! Recorded answers of real providers, read and verified.

use std::path::PathBuf;

use http::HeaderMap;
use secrecy::SecretString;
use serde_json::Value;

use super::exchange::Redeemed;
use super::verify::Failure;
use super::*;
use crate::app::samples::provider_settings;
use crate::identity::Identity;
use crate::settings::IdentityProvider;
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
    ) -> Result<Login, String> {
        let exchange =
            CodeExchange { code: "x", redirect_uri: "https://app.example.test/callback", nonce, pkce_verifier: "x" };
        let redeemed = Redeemed::parse(&self.read(tokens)).unwrap();
        ready
            .verify(settings, &exchange, &redeemed, UnixTime::from_secs(at))
            .map_err(|(Failure::Keys(error) | Failure::Final(error))| error.to_string())
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
        assert_eq!(login.claims["aud"][0], recording.client["client_id"]);
    }
}

#[track_caller]
fn refused(result: Result<Login, String>, why: &str) {
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
        assert_eq!(ready.metadata.signing_algorithms(), ["RS256"], "`none` does not exist");
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
        refused(verify(&with_keys(serde_json::json!([]))), "Signature verification failed: No matching key found");

        let published: Value = serde_json::from_slice(&recording.read("jwks-other-rs256")).unwrap();
        let right = &published["keys"][0];
        let wrong = |position: usize| {
            let mut key = right.clone();
            let mut modulus = key["n"].as_str().unwrap().to_owned();
            modulus.replace_range(position..=position, if modulus.as_bytes()[position] == b'x' { "y" } else { "x" });
            key["n"] = modulus.into();
            key
        };
        refused(verify(&with_keys(serde_json::json!([wrong(20)]))), "Signature verification failed: Crypto error");
        // Several keys of one name: whichever fits.
        refused(verify(&with_keys(serde_json::json!([wrong(20), right]))), "nonce");
        refused(verify(&with_keys(serde_json::json!([right, wrong(20)]))), "nonce");
        refused(verify(&with_keys(serde_json::json!([wrong(20), wrong(21)]))), "none of them its signature");
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
    keys(&String::from_utf8(Recording::of(RELEASES[0]).read("jwks-other-rs256")).unwrap(), Some(1));
    keys(r#"{"keys": {}}"#, None);
    keys("[]", None);
    keys("<html>", None);
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
    let told = Redeemed::refusal(&reused).unwrap().to_string();
    assert!(told.starts_with("the provider refused: invalid_grant ("), "{told}");
}
