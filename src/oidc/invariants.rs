//! What holds for every document that a provider may answer.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, HeaderValue, header};
use openidconnect::JsonWebKey;
use openidconnect::core::CoreJsonWebKeyType;
use secrecy::ExposeSecret;
use url::Url;

use super::SigningAlgorithm;
use super::jws::Jws;
use super::token_response::Extras;
use super::{Keys, Metadata, OidcError, clean, logout_token};
use crate::telemetry::WithCauses;
use crate::world::UnixTime;

const ISSUER: &str = "https://idp.example.com";

/// When logout tokens are judged.
const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// Takes the first line of `bytes` for `Cache-Control` and for a token's header, and what follows for metadata, for a key
/// set, for an answer with tokens and for a token's claims.
pub(crate) fn hold(bytes: &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (cache_control, document) = bytes.split_at(line);
    clean_holds(&String::from_utf8_lossy(bytes));
    let token = format!("{}.{}.AA", URL_SAFE_NO_PAD.encode(cache_control), URL_SAFE_NO_PAD.encode(document));
    token_holds(&token);
    token_holds(&String::from_utf8_lossy(bytes));
    extras_hold(&Extras::parse(document));
    match Metadata::parse(ISSUER, document) {
        Ok(metadata) => metadata_holds(&metadata),
        Err(error) => error_holds(&error),
    }
    let value = HeaderValue::from_bytes(cache_control).ok();
    let headers: HeaderMap = value.into_iter().map(|value| (header::CACHE_CONTROL, value)).collect();
    match Keys::parse(document, &headers) {
        Ok(keys) => keys_hold(&keys),
        Err(error) => error_holds(&error),
    }
}

/// It is the issuer's own, every address in it is one of the web, and `none` is not an algorithm.
fn metadata_holds(metadata: &Metadata) {
    assert_eq!(metadata.document.issuer().as_str(), ISSUER);
    let addresses = [metadata.authorization_endpoint(), metadata.token_endpoint(), metadata.jwks_uri()];
    let optional = [metadata.userinfo_endpoint(), metadata.end_session_endpoint().map(Url::as_str)];
    for address in addresses.into_iter().chain(optional.into_iter().flatten()) {
        let url = Url::parse(address).expect("an address is a URL");
        assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{address}");
    }
    let _ = (metadata.id_token_algorithms(), metadata.userinfo_algorithms());
    let _ = (metadata.token_endpoint_auth_methods(), metadata.scopes(), metadata.supports_pkce_s256());
    let _ = (metadata.frontchannel_logout_supported(), metadata.offers_offline_access());
}

/// No secret key is among public ones, and their time is bounded.
fn keys_hold(keys: &Keys) {
    assert_eq!(keys.usable_with(&SigningAlgorithm::ALL), keys.len(), "each is for something");
    for algorithm in SigningAlgorithm::ALL {
        for key in keys.fit(algorithm, None) {
            assert_ne!(*key.jwk().key_type(), CoreJsonWebKeyType::Symmetric);
            assert!(!algorithm.uses_client_secret());
        }
    }
    assert!((Duration::from_mins(5)..=Duration::from_hours(24)).contains(&keys.fresh_for), "{:?}", keys.fresh_for);
}

/// What is accepted names a user, has a name, is not an ID token, and is of now.
fn token_holds(token: &str) {
    match Jws::parse(token).and_then(|jws| Ok((logout_token::read(&jws, NOW)?, jws))) {
        Ok((logout, jws)) => {
            let names = [&logout.subject, &logout.session_id];
            assert!(names.iter().any(|name| name.is_some()) && !logout.jti.is_empty());
            assert!(names.into_iter().flatten().all(|name| !name.is_empty()));
            assert!(!jws.claims.contains_key("nonce") && jws.claims["events"].is_object());
            assert!(logout.issued_at <= NOW + Duration::from_mins(1) && NOW < logout.expires_at);
            assert!(logout.expires_at.since(NOW) <= Duration::from_hours(25));
        }
        Err(flaw) => error_holds(&flaw.into()),
    }
}

fn extras_hold(extras: &Extras) {
    assert!(extras.lifetime.is_none_or(|lifetime| !lifetime.is_zero()));
    assert!(extras.refresh_token.as_ref().is_none_or(|token| !token.expose_secret().is_empty()));
}

/// What an operator reads is one line, and never long.
fn error_holds(error: &OidcError) {
    let text = WithCauses(error).to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.len() < 2000, "{text:?}");
}

fn clean_holds(text: &str) {
    let cleaned = clean(text);
    assert!(!cleaned.contains(char::is_control) && cleaned.chars().count() <= 200, "{cleaned:?}");
    assert_eq!(clean(&cleaned), cleaned);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    proptest! {
        #[test]
        fn of_any_bytes(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            super::hold(&bytes);
        }

        #[test]
        fn of_documents(
            at in 0..5_usize,
            url in "(https?|javascript|data|file):(//)?[a-z:/.?#@]{0,12}",
            algorithms in prop::collection::vec("RS256|ES256|HS256|none", 0..3),
            cache_control in "(max-age=[0-9]{0,22}|no-cache|[ -~\u{e9}]{0,12})(, max-age=\"?[0-9]{1,6}\"?)?",
        ) {
            let names =
                ["authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint", "end_session_endpoint"];
            let mut document = json!({
                "issuer": super::ISSUER,
                "response_types_supported": ["code"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": algorithms,
            });
            for name in names {
                document[name] = format!("https://idp.example.com/{name}").into();
            }
            document[names[at]] = url.into();
            super::hold(format!("{cache_control}\n{document}").as_bytes());
        }

        #[test]
        fn of_key_sets(
            kinds in prop::collection::vec("RSA|EC|OKP|oct|X", 0..4),
            parts in prop::array::uniform3("[A-Za-z0-9_-]{0,12}|P-256|Ed25519|.{0,4}"),
            usage in "sig|enc|x",
        ) {
            let [first, second, third] = parts;
            let keys: Vec<_> = kinds
                .iter()
                .map(|kind| json!({
                    "kty": kind, "use": usage, "kid": first, "n": second, "e": third,
                    "crv": first, "x": second, "y": third, "k": second,
                }))
                .collect();
            super::hold(format!("\n{}", json!({ "keys": keys })).as_bytes());
        }

        #[test]
        fn of_logout_tokens(
            kind in r#"\{"typ":"(JWT|logout\+jwt|at\+jwt)"\}|\{\}"#,
            names in prop::array::uniform3(r"\PC{0,8}"),
            issued in prop_oneof![1_699_900_000.0..1_700_000_100.0, any::<f64>()],
            lasting in prop_oneof![-10.0..100_000.0, any::<f64>()],
            removed in prop::sample::subsequence(vec!["sub", "sid", "jti", "exp", "events"], 0..2),
            nonce in prop::option::weighted(0.1, "x"),
        ) {
            let [subject, session, jti] = names;
            let mut claims = json!({
                "sub": subject, "sid": session, "jti": jti, "iat": issued, "exp": issued + lasting, "nonce": nonce,
                "events": { "http://schemas.openid.net/event/backchannel-logout": {} },
            });
            let members = claims.as_object_mut().unwrap();
            members.retain(|name, value| !(removed.contains(&name.as_str()) || name == "nonce" && value.is_null()));
            super::hold(format!("{kind}\n{claims}").as_bytes());
        }
    }
}
