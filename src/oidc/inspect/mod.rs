//! Whether logins through a provider would work: looked at once, for an operator.

mod finding;

use http::{HeaderMap, Request, StatusCode, header};
use secrecy::ExposeSecret;

pub use self::finding::{Finding, Level};
use super::{HttpClient, Keys, Metadata, OidcError};
use super::{IdentityProvider, SigningAlgorithm, TokenEndpointAuthMethod};
use crate::telemetry::WithCauses;
use crate::world::World;

/// Seconds that clocks may differ before it is worth a warning; beyond the verifier's leeway, logins fail.
const NOTABLE_SKEW: u64 = 5;
const BREAKING_SKEW: u64 = 60;

/// What an operator can do where [`super::Metadata::introspection_endpoint`] is missing and needed.
pub(crate) const NO_INTROSPECTION: &str = "the provider names none in its metadata, so every token that it would be asked about is \
                                           refused: set application.tokens.bearer = \"jwt\", or have the provider announce it";

/// Asks the provider for its metadata and keys, and compares them with what is configured.
///
/// `introspects` says whether an application has the provider asked about tokens (RFC 7662).
pub async fn inspect(settings: &IdentityProvider, introspects: bool, world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    let http = match HttpClient::new(settings.ca_file.as_ref(), settings.timeout) {
        Ok(http) => http,
        Err(error) => return vec![Finding::new(Level::Failure, "ca_file", WithCauses(&error).to_string())],
    };
    let address = Metadata::address(&settings.issuer);
    let (headers, body) = match fetch(&http, &address).await {
        Ok(answer) => answer,
        Err(error) => {
            return vec![Finding::new(Level::Failure, "discovery", format!("{address}: {}", WithCauses(&error)))];
        }
    };
    findings.push(Finding::new(Level::Good, "discovery", address));
    findings.extend(clock_skew(&headers, world));
    let metadata = match Metadata::parse(&settings.issuer, &body) {
        Ok(metadata) => metadata,
        Err(error @ OidcError::IssuerMismatch { .. }) => {
            findings.push(Finding::new(Level::Failure, "issuer", WithCauses(&error).to_string()));
            return findings;
        }
        Err(error) => {
            findings.push(Finding::new(Level::Failure, "metadata", WithCauses(&error).to_string()));
            return findings;
        }
    };
    findings.push(Finding::new(Level::Good, "issuer", format!("{} (every character is equal)", settings.issuer)));
    findings.extend(endpoints(&metadata));
    let keys = match fetch(&http, metadata.jwks_uri()).await {
        Ok((headers, body)) => Keys::parse(&body, &headers),
        Err(error) => Err(error),
    };
    findings.extend(signing(settings, &metadata, keys));
    findings.push(client_authentication(settings, &metadata));
    findings.push(scopes(settings, &metadata));
    findings.extend(user_name(settings, &metadata));
    findings.push(refresh_tokens(settings, &metadata));
    findings.push(pkce(&metadata));
    if introspects {
        findings.push(introspection(&metadata));
    }
    if metadata.requires_pushed_requests() {
        let message = "the provider wants pushed authorization requests (RFC 9126), which are not supported";
        findings.push(Finding::new(Level::Failure, "pushed requests", message));
    }
    findings
}

fn introspection(metadata: &Metadata) -> Finding {
    let message = metadata.introspection_endpoint().map_or(NO_INTROSPECTION, |endpoint| endpoint.as_str());
    Finding::judged(metadata.introspection_endpoint().is_some(), Level::Failure, "introspection endpoint", message)
}

async fn fetch(http: &HttpClient, address: &str) -> Result<(HeaderMap, Vec<u8>), OidcError> {
    let request = Request::get(address)
        .header(header::ACCEPT, "application/json")
        .body(Vec::new())
        .map_err(|_| OidcError::Malformed("the address is not a URL".into()))?;
    let (parts, body) = http.send(request).await?.into_parts();
    if parts.status == StatusCode::OK {
        Ok((parts.headers, body))
    } else {
        Err(OidcError::Malformed(format!("answered {}", parts.status).into()))
    }
}

fn clock_skew(headers: &HeaderMap, world: &World) -> Option<Finding> {
    let date = headers.get(header::DATE)?.to_str().ok()?;
    let date = chrono::DateTime::parse_from_rfc2822(date).ok()?;
    let theirs = u64::try_from(date.timestamp()).ok()?;
    let skew = theirs.abs_diff(world.now().as_secs());
    let (level, what) = match skew {
        0..NOTABLE_SKEW => (Level::Good, "the clocks agree"),
        NOTABLE_SKEW..BREAKING_SKEW => (Level::Warning, "the clocks differ"),
        _ => (Level::Failure, "the clocks differ too much for tokens to be valid: use NTP on both sides"),
    };
    Some(Finding::new(level, "clock", format!("{what} ({skew} s)")))
}

fn endpoints(metadata: &Metadata) -> Vec<Finding> {
    let optional = |name, endpoint: Option<&str>, without| match endpoint {
        Some(endpoint) => Finding::new(Level::Good, name, endpoint),
        None => Finding::new(Level::Note, name, without),
    };
    vec![
        Finding::new(Level::Good, "authorization endpoint", metadata.authorization_endpoint()),
        Finding::new(Level::Good, "token endpoint", metadata.token_endpoint()),
        optional("userinfo endpoint", metadata.userinfo_endpoint(), "none: all claims must be in the ID token"),
        optional(
            "end session endpoint",
            metadata.end_session_endpoint().map(url::Url::as_str),
            "none: sign-out ends on our own page, and the provider's session lives on",
        ),
    ]
}

/// Only what is used is named: algorithms that are supported, with a secret where they need one, and keys for these.
fn signing(settings: &IdentityProvider, metadata: &Metadata, keys: Result<Keys, OidcError>) -> Vec<Finding> {
    const CHECK: &str = "signing keys";
    let has_secret = settings.client_secret.as_ref().is_some_and(|secret| !secret.expose_secret().is_empty());
    let announced = metadata.id_token_algorithms();
    let registered = settings.id_token_signed_response_alg;
    let mut algorithms = registered.map_or_else(|| announced.clone(), |registered| vec![registered]);
    algorithms.retain(|algorithm| has_secret || !algorithm.uses_client_secret());
    let names = SigningAlgorithm::list(&algorithms);
    let by_secret = algorithms.iter().any(|algorithm| algorithm.uses_client_secret());
    let by_key = algorithms.iter().any(|algorithm| !algorithm.uses_client_secret());
    let usable = keys.as_ref().map(|keys| keys.usable_with(&algorithms));
    let address = metadata.jwks_uri();
    let finding = match usable {
        _ if algorithms.is_empty() && announced.iter().any(|algorithm| algorithm.uses_client_secret()) => {
            let message = "tokens are signed with a client secret, and without one they cannot be verified";
            Finding::new(Level::Failure, CHECK, message)
        }
        _ if algorithms.is_empty() => {
            let all = SigningAlgorithm::list(&SigningAlgorithm::ALL);
            Finding::new(
                Level::Failure,
                CHECK,
                format!("the metadata announce none of the algorithms that work: {all}"),
            )
        }
        Err(error) => Finding::new(Level::Failure, CHECK, format!("{address}: {}", WithCauses(error))),
        Ok(0) if !by_secret => Finding::new(Level::Failure, CHECK, format!("none at {address} is usable for {names}")),
        Ok(0) if by_key => Finding::new(
            Level::Warning,
            CHECK,
            format!(
                "none at {address} is usable; tokens verify only where they are signed with the client secret ({names})"
            ),
        ),
        Ok(0) => {
            Finding::new(Level::Good, CHECK, format!("none needed: tokens are signed with the client secret ({names})"))
        }
        Ok(usable) => Finding::new(Level::Good, CHECK, format!("{usable} usable; algorithms {names}")),
    };
    std::iter::once(finding).chain(registration(registered, &announced, metadata)).collect()
}

/// Whether the configured algorithm can be that of the registration.
fn registration(
    registered: Option<SigningAlgorithm>,
    announced: &[SigningAlgorithm],
    metadata: &Metadata,
) -> Option<Finding> {
    const CHECK: &str = "id_token_signed_response_alg";
    let registered = registered?;
    let name = registered.as_str();
    // Keycloak alone is known by this.
    if registered.uses_client_secret() && metadata.binds_refresh_tokens_to_sessions() {
        let message =
            format!("Keycloak signs {name} with a key of its own that no client has: choose RS256 or ES256 there");
        return Some(Finding::new(Level::Failure, CHECK, message));
    }
    if announced.contains(&registered) {
        return Some(Finding::new(Level::Good, CHECK, format!("{name}, which the provider announces")));
    }
    let announced = SigningAlgorithm::list(announced);
    let message =
        format!("{name}, which the provider does not announce ({announced}); each login fails that has another");
    Some(Finding::new(Level::Warning, CHECK, message))
}

fn client_authentication(settings: &IdentityProvider, metadata: &Metadata) -> Finding {
    const CHECK: &str = "client authentication";
    let offers = |name| metadata.offers_auth_method(name);
    let list = metadata.token_endpoint_auth_methods().join(", ");
    let confidential = settings.client_secret.as_ref().is_some_and(|secret| !secret.expose_secret().is_empty());
    let wanted = match settings.token_endpoint_auth_method {
        TokenEndpointAuthMethod::ClientSecretBasic => "client_secret_basic",
        TokenEndpointAuthMethod::ClientSecretPost => "client_secret_post",
        TokenEndpointAuthMethod::None => "none",
        TokenEndpointAuthMethod::Auto if !confidential => "none",
        TokenEndpointAuthMethod::Auto => {
            let good = offers("client_secret_basic") || offers("client_secret_post");
            return Finding::judged(good, Level::Failure, CHECK, format!("auto; the provider offers {list}"));
        }
    };
    // Public clients work at many providers that do not announce them.
    let otherwise = if wanted == "none" { Level::Warning } else { Level::Failure };
    Finding::judged(offers(wanted), otherwise, CHECK, format!("{wanted}; the provider offers {list}"))
}

fn scopes(settings: &IdentityProvider, metadata: &Metadata) -> Finding {
    const CHECK: &str = "scopes";
    let wanted = settings.scopes.join(", ");
    let Some(offered) = metadata.scopes() else {
        return Finding::new(Level::Note, CHECK, format!("{wanted}; the provider does not list what it supports"));
    };
    let missing: Vec<_> = settings.scopes.iter().filter(|scope| !offered.contains(&scope.as_str())).cloned().collect();
    if missing.is_empty() {
        return Finding::new(Level::Good, CHECK, wanted);
    }
    let level = if missing.iter().any(|scope| scope == "openid") { Level::Failure } else { Level::Warning };
    Finding::new(level, CHECK, format!("the provider does not list {}", missing.join(", ")))
}

/// Whether users will have a name, where the provider says what it tells of them.
fn user_name(settings: &IdentityProvider, metadata: &Metadata) -> Option<Finding> {
    const CHECK: &str = "user name";
    let (path, announced) = (&settings.claims.username, metadata.claims()?);
    if path.first_names().any(|name| announced.contains(&name)) {
        return Some(Finding::new(Level::Good, CHECK, path.to_string()));
    }
    let message = format!(
        "the provider does not list {path} among its claims: applications may get an empty user name; claims.username names \
         another claim, or several of which the first counts that is there"
    );
    Some(Finding::new(Level::Warning, CHECK, message))
}

fn refresh_tokens(settings: &IdentityProvider, metadata: &Metadata) -> Finding {
    const CHECK: &str = "refresh tokens";
    if metadata.asks_for_offline_access(settings) {
        if metadata.binds_refresh_tokens_to_sessions() {
            let message = "offline_access is asked for: Keycloak's refresh tokens then outlive its sign-out, and would come without";
            return Finding::new(Level::Warning, CHECK, message);
        }
        let message = "offline_access is asked for; if logins end in invalid_scope, allow it in the registration";
        return Finding::new(Level::Good, CHECK, message);
    }
    if metadata.binds_refresh_tokens_to_sessions() {
        return Finding::new(
            Level::Good,
            CHECK,
            "offline_access is not asked for: they come without, and end with Keycloak's session",
        );
    }
    Finding::new(
        Level::Note,
        CHECK,
        "offline_access is not asked for; without refresh tokens an identity is as old as its login",
    )
}

fn pkce(metadata: &Metadata) -> Finding {
    match metadata.supports_pkce_s256() {
        Some(true) => Finding::new(Level::Good, "PKCE", "S256"),
        Some(false) => {
            Finding::new(Level::Warning, "PKCE", "the provider announces PKCE without S256, which is what is sent")
        }
        None => Finding::new(Level::Note, "PKCE", "the provider does not announce it; S256 is sent all the same"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::app::samples::provider_settings;

    const ISSUER: &str = "https://id.example.com";
    const RSA: &str = r#"{"kty": "RSA", "n": "AAAA", "e": "AQAB"}"#;
    const EC: &str = r#"{"kty": "EC", "crv": "P-256", "x": "AAAA", "y": "AAAA"}"#;
    const ENCRYPTION: &str = r#"{"kty": "RSA", "n": "AAAA", "e": "AQAB", "use": "enc", "alg": "RSA-OAEP"}"#;

    fn settings(secret: &str, registered: &str) -> IdentityProvider {
        IdentityProvider {
            client_secret: (!secret.is_empty()).then(|| secret.to_owned().into()),
            id_token_signed_response_alg: SigningAlgorithm::named(registered),
            ..provider_settings(ISSUER)
        }
    }

    fn metadata(algorithms: &[&str], token_endpoint: &str) -> Metadata {
        let document = json!({
            "issuer": ISSUER,
            "authorization_endpoint": format!("{ISSUER}/authorize"),
            "token_endpoint": format!("{ISSUER}{token_endpoint}"),
            "jwks_uri": format!("{ISSUER}/jwks"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        });
        Metadata::parse(ISSUER, document.to_string().as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(settings: &IdentityProvider, algorithms: &[&str], keys: &[&str], expected: &[(Level, &str)]) {
        let found = {
            let keys = format!(r#"{{"keys": [{}]}}"#, keys.join(", "));
            let keys = Keys::parse(keys.as_bytes(), &HeaderMap::new());
            signing(settings, &metadata(algorithms, "/token"), keys)
        };
        assert_eq!(found.len(), expected.len(), "{found:#?}");
        for (finding, (level, text)) in found.iter().zip(expected) {
            assert!(finding.level == *level && finding.message.contains(text), "{finding:?} is not {level:?} {text:?}");
            for refused in ["none,", "ES256K", "ES512", "RSA1_5"] {
                assert!(!finding.message.contains(refused), "{finding:?}");
            }
        }
    }

    /// No key is counted that is never used, and no algorithm named that is refused.
    #[test]
    fn keys_and_algorithms_are_told_as_they_are_used() {
        use Level::{Failure, Good, Warning};
        let secret = settings("secret", "");
        let announced = ["none", "ES256K", "RS256", "ES512", "HS256", "RSA1_5"];
        check(&secret, &announced, &[RSA, EC, ENCRYPTION], &[(Good, "1 usable; algorithms RS256, HS256")]);
        check(&settings("", ""), &announced, &[RSA, EC, ENCRYPTION], &[(Good, "1 usable; algorithms RS256")]);
        check(&secret, &["RS256", "ES256"], &[RSA, EC], &[(Good, "2 usable; algorithms RS256, ES256")]);
        check(&secret, &["RS256"], &[EC, ENCRYPTION], &[(Failure, "is usable for RS256")]);
        check(&secret, &["HS256"], &[], &[(Good, "signed with the client secret (HS256)")]);
        check(&settings("", ""), &["HS256"], &[RSA], &[(Failure, "without one they cannot be verified")]);
        check(&secret, &["RS256", "HS256"], &[], &[(Warning, "only where they are signed with the client secret")]);
        check(&secret, &["none", "ES256K"], &[RSA], &[(Failure, "none of the algorithms that work: RS256, ")]);
        let registered = settings("secret", "ES256");
        let two = |text| [(Good, "1 usable; algorithms ES256"), text];
        check(&registered, &["RS256", "ES256"], &[RSA, EC], &two((Good, "ES256, which the provider announces")));
        check(&registered, &["RS256"], &[RSA, EC], &two((Warning, "does not announce (RS256)")));
    }

    #[test]
    fn keycloak_signs_with_no_secret_of_a_client() {
        let metadata = metadata(&["RS256", "HS256"], "/protocol/openid-connect/token");
        let keys = Keys::parse(format!(r#"{{"keys": [{RSA}]}}"#).as_bytes(), &HeaderMap::new());
        let found = signing(&settings("secret", "HS256"), &metadata, keys);
        assert!(found.iter().any(|it| it.level == Level::Failure && it.message.contains("Keycloak")), "{found:#?}");
    }
}
