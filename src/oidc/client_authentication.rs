//! How our client authenticates at the provider's endpoints (RFC 6749 §2.3.1, OIDC Core §9).

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Request, header};
use openidconnect::AuthType;
use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{IdentityProvider, Metadata, TokenEndpointAuthMethod};

/// A client, and where its requests carry its id and secret.
#[derive(Clone, Copy)]
pub struct ClientAuthentication<'c> {
    id: &'c str,
    secret: Option<&'c str>,
    /// In the body; else in `Authorization`.
    in_body: bool,
}

impl<'c> ClientAuthentication<'c> {
    /// The client of a program without settings: it authenticates as the provider's metadata allow.
    #[must_use]
    pub fn of_metadata(id: &'c str, secret: Option<&'c SecretString>, metadata: &Metadata) -> Self {
        Self::new(id, secret, TokenEndpointAuthMethod::Auto, metadata)
    }

    pub(super) fn of(settings: &'c IdentityProvider, metadata: &Metadata) -> Self {
        let method = settings.token_endpoint_auth_method;
        Self::new(&settings.client_id, settings.client_secret.as_ref(), method, metadata)
    }

    /// Basic before post, as RFC 6749 §2.3.1 prefers. But several servers do not decode Basic's form encoding, so an id or a
    /// secret that the encoding would change goes into the body where that is supported.
    fn new(
        id: &'c str,
        secret: Option<&'c SecretString>,
        method: TokenEndpointAuthMethod,
        metadata: &Metadata,
    ) -> Self {
        let secret = secret.map(ExposeSecret::expose_secret);
        let in_body = match method {
            TokenEndpointAuthMethod::ClientSecretBasic => false,
            TokenEndpointAuthMethod::ClientSecretPost | TokenEndpointAuthMethod::None => true,
            TokenEndpointAuthMethod::Auto => {
                let is_plain = is_plain(id) && secret.is_none_or(is_plain);
                metadata.offers_auth_method("client_secret_post")
                    && !(metadata.offers_auth_method("client_secret_basic") && is_plain)
            }
        };
        Self { id, secret, in_body }
    }

    /// The same for the library.
    pub(super) const fn auth_type(&self) -> AuthType {
        if self.in_body { AuthType::RequestBody } else { AuthType::BasicAuth }
    }

    /// A request of the client that carries `form`.
    ///
    /// # Errors
    ///
    /// When `endpoint` is not a URL.
    pub fn request(&self, endpoint: &str, mut form: Serializer<'_, String>) -> Result<Request<Vec<u8>>, http::Error> {
        let Some(secret) = self.secret.filter(|_| !self.in_body) else {
            form.append_pair("client_id", self.id);
            if let Some(secret) = self.secret {
                form.append_pair("client_secret", secret);
            }
            return form_request(endpoint, form);
        };
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        let pair = format!("{}:{}", encoded(self.id), encoded(secret));
        let mut basic = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(pair)))?;
        basic.set_sensitive(true);
        let mut request = form_request(endpoint, form)?;
        request.headers_mut().insert(header::AUTHORIZATION, basic);
        Ok(request)
    }
}

/// Whether form encoding leaves a text as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// A request that carries `form`, and nothing else about the client.
pub(super) fn form_request(endpoint: &str, mut form: Serializer<'_, String>) -> Result<Request<Vec<u8>>, http::Error> {
    Request::post(endpoint)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(form.finish().into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::provider_settings;

    const ISSUER: &str = "https://idp.test";

    #[track_caller]
    fn check(method: TokenEndpointAuthMethod, offered: &[&str], secret: Option<&str>, expected: (Option<&str>, &str)) {
        let settings = IdentityProvider {
            client_id: "the cli".to_owned(),
            client_secret: secret.map(SecretString::from),
            token_endpoint_auth_method: method,
            ..provider_settings(ISSUER)
        };
        let document = serde_json::json!({
            "issuer": ISSUER, "authorization_endpoint": "https://idp.test/a", "token_endpoint": "https://idp.test/t",
            "jwks_uri": "https://idp.test/j", "response_types_supported": ["code"], "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"], "token_endpoint_auth_methods_supported": offered,
        });
        let metadata = Metadata::parse(ISSUER, document.to_string().as_bytes()).unwrap();
        let mut form = Serializer::new(String::new());
        form.append_pair("token", "a+b&c=%20");
        let request = ClientAuthentication::of(&settings, &metadata).request("https://idp.test/t", form).unwrap();
        let basic = request.headers().get("authorization").map(|it| it.to_str().unwrap().trim_start_matches("Basic "));
        let basic = basic.map(|it| String::from_utf8(STANDARD.decode(it).unwrap()).unwrap());
        let body = str::from_utf8(request.body()).unwrap();
        assert_eq!((basic.as_deref(), body), expected, "{method:?} {offered:?}");
    }

    #[test]
    fn clients_authenticate_as_settings_and_metadata_say() {
        use TokenEndpointAuthMethod::{Auto, ClientSecretBasic, ClientSecretPost, None as Public};
        const FORM: &str = "token=a%2Bb%26c%3D%2520";
        const BASIC: &str = "client_secret_basic";
        const POST: &str = "client_secret_post";
        let public = format!("{FORM}&client_id=the+cli");
        let in_body = format!("{public}&client_secret=x%26");
        let (public, in_body) = ((None, public.as_str()), (None, in_body.as_str()));
        let basic = (Some("the+cli:x%26"), FORM);
        check(Auto, &["none"], None, public);
        check(Auto, &[BASIC], None, public);
        check(Auto, &[BASIC], Some("x&"), basic);
        check(Auto, &[POST], Some("x&"), in_body);
        check(Auto, &[BASIC, POST], Some("x&"), in_body);
        check(Auto, &["none"], Some("x&"), basic);
        check(ClientSecretBasic, &[POST], Some("x&"), basic);
        check(ClientSecretPost, &[BASIC], Some("x&"), in_body);
        check(Public, &[BASIC], None, public);
    }
}
