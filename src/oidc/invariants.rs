//! What holds for every document that a provider may answer.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use openidconnect::JsonWebKey;
use openidconnect::core::CoreJsonWebKeyType;
use url::Url;

use super::{Keys, Metadata, OidcError, clean};

const ISSUER: &str = "https://idp.example.com";

/// Takes the first line of `bytes` for `Cache-Control`, and what follows for metadata and for a key set.
pub(crate) fn hold(bytes: &[u8]) {
    let line = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(0);
    let (cache_control, document) = bytes.split_at(line);
    clean_holds(&String::from_utf8_lossy(bytes));
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

/// It is the issuer's own, every address in it is one of the web, and `none` is no algorithm.
fn metadata_holds(metadata: &Metadata) {
    assert_eq!(metadata.document.issuer().as_str(), ISSUER);
    let addresses = [metadata.authorization_endpoint(), metadata.token_endpoint(), metadata.jwks_uri()];
    let optional = [metadata.userinfo_endpoint(), metadata.end_session_endpoint().map(Url::as_str)];
    for address in addresses.into_iter().chain(optional.into_iter().flatten()) {
        let url = Url::parse(address).expect("an address is a URL");
        assert!(matches!(url.scheme(), "http" | "https") && url.has_host(), "{address}");
    }
    assert!(metadata.signing_algorithms().iter().all(|name| !name.eq_ignore_ascii_case("none")));
    let _ = (metadata.token_endpoint_auth_methods(), metadata.scopes(), metadata.supports_pkce_s256());
}

/// No secret key is among public ones, and their time is bounded.
fn keys_hold(keys: &Keys) {
    assert_eq!(keys.len(), keys.set.keys().len());
    for key in keys.set.keys() {
        assert_ne!(*key.key_type(), CoreJsonWebKeyType::Symmetric);
    }
    assert!((Duration::from_mins(5)..=Duration::from_hours(24)).contains(&keys.fresh_for), "{:?}", keys.fresh_for);
}

/// What an operator reads is one line, and never long.
fn error_holds(error: &OidcError) {
    let text = error.to_string();
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
    }
}
