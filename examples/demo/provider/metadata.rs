//! The metadata document (OIDC Discovery §3) and the key set.

use aws_lc_rs::error::Unspecified;
use http::StatusCode;
use serde_json::{Map, Value, json};

use super::device::GRANT_TYPE;
use super::web::{self, Answer};
use super::{Algorithm, Asked, Endpoint, Jwks};

impl Asked<'_> {
    pub(super) fn discovery(&self) -> Result<Answer, Unspecified> {
        let shared = self.shared;
        let mut scopes = vec!["openid", "profile", "email", "groups"];
        if !self.behaviour.refreshing.unannounced {
            scopes.push("offline_access");
        }
        let members = [
            ("issuer", json!(shared.issuer)),
            ("authorization_endpoint", json!(shared.url(Endpoint::Authorize))),
            ("token_endpoint", json!(shared.url(Endpoint::Token))),
            ("userinfo_endpoint", json!(shared.url(Endpoint::Userinfo))),
            ("jwks_uri", json!(shared.url(Endpoint::Jwks))),
            ("end_session_endpoint", json!(shared.url(Endpoint::EndSession))),
            ("revocation_endpoint", json!(shared.url(Endpoint::Revocation))),
            ("introspection_endpoint", json!(shared.url(Endpoint::Introspection))),
            ("device_authorization_endpoint", json!(shared.url(Endpoint::DeviceAuthorization))),
            ("backchannel_logout_supported", json!(true)),
            ("backchannel_logout_session_supported", json!(true)),
            ("response_types_supported", json!(["code"])),
            ("response_modes_supported", json!(["query"])),
            ("grant_types_supported", json!(["authorization_code", "refresh_token", GRANT_TYPE])),
            ("subject_types_supported", json!(["public"])),
            ("scopes_supported", json!(scopes)),
            ("claims_supported", json!(["sub", "name", "preferred_username", "email", "email_verified", "groups"])),
            ("id_token_signing_alg_values_supported", json!(self.algorithms()?)),
            ("token_endpoint_auth_methods_supported", json!(["client_secret_basic", "client_secret_post", "none"])),
            ("code_challenge_methods_supported", json!(["S256"])),
            ("authorization_response_iss_parameter_supported", json!(true)),
        ];
        let members = members.map(|(name, value)| (name.to_owned(), value));
        let mut document: Map<String, Value> = members.into_iter().collect();
        self.behaviour.metadata.apply(&mut document);
        Ok(web::json(StatusCode::OK, &Value::Object(document)))
    }

    fn algorithms(&self) -> Result<Vec<&'static str>, Unspecified> {
        let algorithm = self.behaviour.algorithm;
        let mut keys = self.shared.keys();
        match algorithm {
            Algorithm::Hs256 => return Ok(vec![algorithm.name()]),
            // Unsigned tokens are an attack, so no metadata announces them.
            Algorithm::None => {}
            // Makes the key, where it is not there yet.
            _ => drop(keys.key(algorithm)?),
        }
        Ok(keys.algorithms())
    }

    pub(super) fn jwks(&self) -> Result<Answer, Unspecified> {
        let document = match self.behaviour.jwks {
            Jwks::Keys => {
                self.algorithms()?;
                self.shared.keys().jwks()
            }
            Jwks::NoKeys => json!({"keys": []}),
            Jwks::EmptyObject => json!({}),
        };
        Ok(web::json(StatusCode::OK, &document))
    }
}
