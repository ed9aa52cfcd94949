use openidconnect::core::{
    CoreAuthDisplay, CoreClaimName, CoreClaimType, CoreClientAuthMethod, CoreGrantType, CoreJsonWebKey,
    CoreJweContentEncryptionAlgorithm, CoreJweKeyManagementAlgorithm, CoreJwsSigningAlgorithm, CoreResponseMode,
    CoreResponseType, CoreSubjectIdentifierType,
};
use openidconnect::{AdditionalProviderMetadata, ProviderMetadata};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use url::Url;

use super::{Malformed, OidcError, SigningAlgorithm};

/// In errors.
const DOCUMENT: &str = "the metadata document";

/// The scope that brings refresh tokens (OIDC Core §11).
pub(super) const OFFLINE_ACCESS: &str = "offline_access";

#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub(super) struct Additional {
    #[serde(default)]
    end_session_endpoint: Option<String>,
    #[serde(default)]
    revocation_endpoint: Option<Value>,
    #[serde(default)]
    introspection_endpoint: Option<Value>,
    device_authorization_endpoint: Option<Value>,
    #[serde(default)]
    backchannel_logout_supported: Option<Value>,
    #[serde(default)]
    frontchannel_logout_supported: Option<Value>,
    #[serde(default)]
    frontchannel_logout_session_supported: Option<Value>,
    #[serde(default)]
    code_challenge_methods_supported: Option<Vec<String>>,
    #[serde(default)]
    authorization_response_iss_parameter_supported: Option<bool>,
    #[serde(default)]
    require_pushed_authorization_requests: Option<bool>,
}

impl AdditionalProviderMetadata for Additional {}

pub(super) type Document = ProviderMetadata<
    Additional,
    CoreAuthDisplay,
    CoreClientAuthMethod,
    CoreClaimName,
    CoreClaimType,
    CoreGrantType,
    CoreJweContentEncryptionAlgorithm,
    CoreJweKeyManagementAlgorithm,
    CoreJsonWebKey,
    CoreResponseMode,
    CoreResponseType,
    CoreSubjectIdentifierType,
>;

/// The metadata of a provider (OIDC Discovery §3), with the configured issuer.
#[derive(Clone, Debug)]
pub struct Metadata {
    pub(super) document: Document,
    end_session_endpoint: Option<Url>,
    revocation_endpoint: Option<Url>,
    introspection_endpoint: Option<Url>,
    device_authorization_endpoint: Option<Url>,
}

impl Metadata {
    /// The address of the metadata of `issuer` (OIDC Discovery §4.1).
    #[must_use]
    pub fn address(issuer: &str) -> String {
        format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'))
    }

    /// Parses the metadata of `issuer`.
    ///
    /// # Errors
    ///
    /// When it is not a metadata document, has another issuer, or lacks an endpoint that a login needs.
    pub fn parse(issuer: &str, document: &[u8]) -> Result<Self, OidcError> {
        let document: Document = serde_json::from_slice(document)
            .map_err(|error| OidcError::Malformed(Malformed::caused(DOCUMENT, error)))?;
        let found = document.issuer().as_str();
        if found != issuer {
            return Err(OidcError::IssuerMismatch { configured: issuer.to_owned(), found: super::error::clean(found) });
        }
        if document.token_endpoint().is_none() {
            let missing = "the metadata document: token_endpoint is missing";
            return Err(OidcError::Malformed(missing.into()));
        }
        if let Some((name, _)) = addresses(&document).into_iter().find(|(_, url)| !is_web(url)) {
            return Err(OidcError::Malformed(format!("{DOCUMENT}: {name} is not a web address").into()));
        }
        let more = document.additional_metadata();
        let end_session_endpoint = more.end_session_endpoint.as_deref().and_then(web_address);
        let revocation_endpoint = more.revocation_endpoint.as_ref().and_then(Value::as_str).and_then(web_address);
        let introspection_endpoint = more.introspection_endpoint.as_ref().and_then(Value::as_str).and_then(web_address);
        let device_authorization_endpoint =
            more.device_authorization_endpoint.as_ref().and_then(Value::as_str).and_then(web_address);
        Ok(Self {
            document,
            end_session_endpoint,
            revocation_endpoint,
            introspection_endpoint,
            device_authorization_endpoint,
        })
    }

    /// The same for an issuer whose tokens are only verified: what a login needs may be missing.
    ///
    /// # Errors
    ///
    /// As [`Metadata::parse`]; the address of the keys and the algorithms must be there.
    pub fn parse_issuer(issuer: &str, document: &[u8]) -> Result<Self, OidcError> {
        let mut members: Map<String, Value> = serde_json::from_slice(document)
            .map_err(|error| OidcError::Malformed(Malformed::caused(DOCUMENT, error)))?;
        for endpoint in ["authorization_endpoint", "token_endpoint"] {
            members.insert(endpoint.to_owned(), Value::String(issuer.to_owned()));
        }
        for (name, usual) in [("response_types_supported", "id_token"), ("subject_types_supported", "public")] {
            members.insert(name.to_owned(), serde_json::json!([usual]));
        }
        Self::parse(issuer, Value::Object(members).to_string().as_bytes())
    }

    /// The address of the keys.
    #[must_use]
    pub fn jwks_uri(&self) -> &str {
        self.document.jwks_uri().as_str()
    }

    /// The end session endpoint, if there is one (RP-Initiated Logout §2).
    #[must_use]
    pub const fn end_session_endpoint(&self) -> Option<&Url> {
        self.end_session_endpoint.as_ref()
    }

    /// The revocation endpoint, if there is one (RFC 7009 §2, RFC 8414 §2).
    #[must_use]
    pub const fn revocation_endpoint(&self) -> Option<&Url> {
        self.revocation_endpoint.as_ref()
    }

    /// The introspection endpoint, if there is one (RFC 7662 §2, RFC 8414 §2).
    #[must_use]
    pub const fn introspection_endpoint(&self) -> Option<&Url> {
        self.introspection_endpoint.as_ref()
    }

    /// The device authorization endpoint, if there is one (RFC 8628 §3.1, §4).
    #[must_use]
    pub const fn device_authorization_endpoint(&self) -> Option<&Url> {
        self.device_authorization_endpoint.as_ref()
    }

    /// Whether the provider announces back-channel logout (OpenID Connect Back-Channel Logout 1.0 §2.1).
    ///
    /// Several providers support it and do not announce it.
    #[must_use]
    pub fn backchannel_logout_supported(&self) -> bool {
        is_announced(self.document.additional_metadata().backchannel_logout_supported.as_ref())
    }

    /// Whether the provider announces front-channel logout (OpenID Connect Front-Channel Logout 1.0 §3).
    #[must_use]
    pub fn frontchannel_logout_supported(&self) -> bool {
        is_announced(self.document.additional_metadata().frontchannel_logout_supported.as_ref())
    }

    /// Whether its logout requests have `iss` and `sid` (§3).
    #[must_use]
    pub fn frontchannel_logout_session_supported(&self) -> bool {
        is_announced(self.document.additional_metadata().frontchannel_logout_session_supported.as_ref())
    }

    /// Whether the scope `offline_access` is announced (OIDC Core §11) and refresh tokens are not ruled out.
    #[must_use]
    pub fn offers_offline_access(&self) -> bool {
        let scopes = self.document.scopes_supported();
        let grants = self.document.grant_types_supported();
        scopes.is_some_and(|scopes| scopes.iter().any(|scope| scope.as_str() == OFFLINE_ACCESS))
            && grants.is_none_or(|grants| grants.contains(&CoreGrantType::RefreshToken))
    }

    /// Whether the provider is known to give each client a refresh token that ends with its own session, without being asked.
    ///
    /// That is Keycloak, known by the end of its endpoints' addresses. With `offline_access` the token would outlive the user's
    /// sign-out, and forepost would learn of that late or never.
    #[must_use]
    pub fn binds_refresh_tokens_to_sessions(&self) -> bool {
        self.token_endpoint().ends_with("/protocol/openid-connect/token")
    }

    /// The userinfo endpoint, if there is one.
    #[must_use]
    pub fn userinfo_endpoint(&self) -> Option<&str> {
        self.document.userinfo_endpoint().map(|it| it.as_str())
    }

    /// The authorisation endpoint.
    #[must_use]
    pub fn authorization_endpoint(&self) -> &str {
        self.document.authorization_endpoint().as_str()
    }

    /// The token endpoint.
    #[must_use]
    pub fn token_endpoint(&self) -> &str {
        self.document.token_endpoint().map_or("", |it| it.as_str())
    }

    /// Whether each authorisation response has `iss` (RFC 9207 §3).
    #[must_use]
    pub fn promises_issuer_parameter(&self) -> bool {
        self.document.additional_metadata().authorization_response_iss_parameter_supported.unwrap_or(false)
    }

    /// Whether authorisation requests must be pushed first (RFC 9126 §5), which forepost does not support.
    #[must_use]
    pub fn requires_pushed_requests(&self) -> bool {
        self.document.additional_metadata().require_pushed_authorization_requests.unwrap_or(false)
    }

    /// Whether PKCE with S256 is announced; `None` when the metadata do not tell.
    #[must_use]
    pub fn supports_pkce_s256(&self) -> Option<bool> {
        self.document
            .additional_metadata()
            .code_challenge_methods_supported
            .as_ref()
            .map(|methods| methods.iter().any(|method| method == "S256"))
    }

    /// The announced scopes, if any.
    #[must_use]
    pub fn scopes(&self) -> Option<Vec<&str>> {
        self.document.scopes_supported().map(|scopes| scopes.iter().map(|scope| scope.as_str()).collect())
    }

    /// The announced claims, if any.
    #[must_use]
    pub fn claims(&self) -> Option<Vec<&str>> {
        self.document.claims_supported().map(|claims| claims.iter().map(|claim| claim.as_str()).collect())
    }

    /// The supported algorithms among those of ID tokens (`id_token_signing_alg_values_supported`).
    #[must_use]
    pub fn id_token_algorithms(&self) -> Vec<SigningAlgorithm> {
        supported(self.document.id_token_signing_alg_values_supported())
    }

    /// The same for signed answers of userinfo (`userinfo_signing_alg_values_supported`).
    #[must_use]
    pub fn userinfo_algorithms(&self) -> Vec<SigningAlgorithm> {
        self.document.userinfo_signing_alg_values_supported().map_or_else(Vec::new, |all| supported(all))
    }

    /// Whether clients may authenticate at the token endpoint by this method.
    #[must_use]
    pub fn offers_auth_method(&self, name: &str) -> bool {
        self.token_endpoint_auth_methods().iter().any(|method| method == name)
    }

    /// The authentication methods of the token endpoint; the default of the specification when none are announced.
    #[must_use]
    pub fn token_endpoint_auth_methods(&self) -> Vec<String> {
        match self.document.token_endpoint_auth_methods_supported() {
            Some(methods) => methods.iter().map(name_of).collect(),
            None => vec!["client_secret_basic".into()],
        }
    }
}

/// Some providers write booleans as texts.
fn is_announced(value: Option<&Value>) -> bool {
    value.is_some_and(|value| value.as_bool().unwrap_or_else(|| value.as_str() == Some("true")))
}

/// The addresses that browsers or forepost use.
fn addresses(document: &Document) -> Vec<(&'static str, &Url)> {
    let token = document.token_endpoint().map(|it| ("token_endpoint", it.url()));
    let userinfo = document.userinfo_endpoint().map(|it| ("userinfo_endpoint", it.url()));
    let always =
        [("authorization_endpoint", document.authorization_endpoint().url()), ("jwks_uri", document.jwks_uri().url())];
    always.into_iter().chain(token).chain(userinfo).collect()
}

fn web_address(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(is_web)
}

fn is_web(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
}

fn supported(algorithms: &[CoreJwsSigningAlgorithm]) -> Vec<SigningAlgorithm> {
    algorithms.iter().filter_map(|algorithm| SigningAlgorithm::named(&name_of(algorithm))).collect()
}

/// The protocol's name of a value.
fn name_of<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        Ok(_) | Err(_) => String::new(),
    }
}
