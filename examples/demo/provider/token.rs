//! The token endpoint (OIDC Core §3.1.3, §12), userinfo (§5.3), revocation (RFC 7009) and introspection (RFC 7662).

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::error::Unspecified;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};

use super::behaviour::Patch;
use super::device::GRANT_TYPE;
use super::state::{Access, Grant, SignOn, TOKEN_LIFETIME};
use super::web::{self, Answer, Parameters};
use super::{Algorithm, Asked, Behaviour, Client, Rewrite, Shared, Signer, SigningKey, keys};

/// Why there is no token (RFC 6749 §5.2).
pub(super) type Refusal = &'static str;

/// What tokens are given for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Occasion {
    Login,
    Refresh,
}

impl Asked<'_> {
    pub(super) fn token(&self) -> Result<Answer, Unspecified> {
        match self.granted() {
            Ok((client, grant, occasion)) => self.tokens(&client, &grant, occasion),
            Err(error) => Ok(refuse(error)),
        }
    }

    fn granted(&self) -> Result<(Client, Grant, Occasion), Refusal> {
        let form = &self.seen.form;
        if form.get("grant_type") == Some("client_credentials") {
            let (client, grant) = self.app_password()?;
            return Ok((client, grant, Occasion::Login));
        }
        let client = self.client()?;
        let grant_type = form.get("grant_type");
        if !matches!(grant_type, Some("authorization_code" | "refresh_token" | GRANT_TYPE)) {
            return Err("unsupported_grant_type");
        }
        if form.repeated() {
            return Err("invalid_request");
        }
        if grant_type == Some("refresh_token") {
            let grant = self.refresh(&client)?;
            return Ok((client, grant, Occasion::Refresh));
        }
        let grant = if grant_type == Some(GRANT_TYPE) { self.confirmed(&client) } else { self.redeem(&client) }?;
        Ok((client, grant, Occasion::Login))
    }

    fn redeem(&self, client: &Client) -> Result<Grant, Refusal> {
        let form = &self.seen.form;
        let code = form.get("code").ok_or("invalid_request")?;
        let grant = self.shared.state().spend(code).ok_or("invalid_grant")?;
        let challenge = form.get("code_verifier").map(keys::s256);
        if grant.client != client.id
            || form.get("redirect_uri") != Some(&grant.redirect_uri)
            || grant.challenge != challenge
            || self.shared.now() >= grant.until
        {
            return Err("invalid_grant");
        }
        Ok(grant)
    }

    /// RFC 6749 §6; the scope cannot be narrowed here.
    fn refresh(&self, client: &Client) -> Result<Grant, Refusal> {
        let refreshing = &self.behaviour.refreshing;
        if let Some(error) = refreshing.refuse {
            return Err(error);
        }
        let token = self.seen.form.get("refresh_token").ok_or("invalid_request")?;
        self.shared.state().refresh(token, &client.id, refreshing).ok_or("invalid_grant")
    }

    /// authentik's form of the client-credentials grant: an app password in place of the client's secret.
    fn app_password(&self) -> Result<(Client, Grant), Refusal> {
        let form = &self.seen.form;
        let client = form.get("client_id").and_then(|id| self.shared.state().client(id)).ok_or("invalid_client")?;
        let user = form.get("username").filter(|user| self.shared.state().knows(user)).ok_or("invalid_grant")?;
        if self.behaviour.app_password.is_none() || form.get("password") != self.behaviour.app_password {
            return Err("invalid_grant");
        }
        let now = self.shared.now();
        let grant = Grant {
            client: client.id.clone(),
            redirect_uri: String::new(),
            scope: form.get("scope").unwrap_or_default().to_owned(),
            nonce: None,
            challenge: None,
            sign_on: SignOn { login: user.to_owned(), since: now },
            session: String::new(),
            family: String::new(),
            until: now,
            acr: None,
        };
        Ok((client, grant))
    }

    /// RFC 7662 §2; a client learns of its own tokens only, unless it is set otherwise.
    pub(super) fn introspection(&self) -> Answer {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return refuse(error),
        };
        let state = self.shared.state();
        let now = self.shared.now();
        let token = self.seen.form.get("token").unwrap_or_default();
        if self.behaviour.introspection_of_id_tokens
            && let Some(mut claims) = claims_of_jwt(token)
        {
            claims.insert("active".to_owned(), json!(true));
            self.behaviour.introspection.apply(&mut claims);
            return web::json(StatusCode::OK, &Value::Object(claims));
        }
        let access = state.access(token, now);
        let Some(access) = access.filter(|access| self.behaviour.introspection_of_all || access.client == client.id)
        else {
            return web::json(StatusCode::OK, &json!({"active": false}));
        };
        let mut answer = state.claims(&access.login, &access.scope);
        let own = [
            ("active", json!(true)),
            ("iss", json!(self.shared.issuer)),
            ("client_id", json!(access.client)),
            ("scope", json!(access.scope)),
            ("exp", json!(access.until)),
        ];
        answer.extend(own.map(|(name, value)| (name.to_owned(), value)));
        self.behaviour.introspection.apply(&mut answer);
        web::json(StatusCode::OK, &Value::Object(answer))
    }

    /// RFC 7009 §2; it makes no difference whether there was such a token.
    pub(super) fn revocation(&self) -> Answer {
        let token = self.seen.form.get("token").ok_or("invalid_request");
        match self.client().and_then(|client| Ok((client, token?))) {
            Ok((client, token)) => {
                self.shared.state().revoke(token, &client.id, &self.behaviour.refreshing);
                web::text(StatusCode::OK, "")
            }
            Err(error) => refuse(error),
        }
    }

    /// Who asks: by Basic, in the form, or as a public client by name only (RFC 6749 §2.3.1).
    pub(super) fn client(&self) -> Result<Client, Refusal> {
        let form = &self.seen.form;
        let basic = self.seen.headers.get(AUTHORIZATION);
        let (id, secret) = match basic {
            Some(_) if form.get("client_secret").is_some() => return Err("invalid_request"),
            Some(value) => {
                let (id, secret) = self.basic(value).ok_or("invalid_client")?;
                if form.get("client_id").is_some_and(|named| named != id) {
                    return Err("invalid_client");
                }
                (id, Some(secret))
            }
            None => {
                (form.get("client_id").unwrap_or_default().to_owned(), form.get("client_secret").map(ToOwned::to_owned))
            }
        };
        let client = self.shared.state().client(&id).ok_or("invalid_client")?;
        let proven = match (&client.secret, &secret) {
            (None, None) => true,
            (Some(known), Some(given)) => verify_slices_are_equal(known.as_bytes(), given.as_bytes()).is_ok(),
            (None, Some(_)) | (Some(_), None) => false,
        };
        if proven { Ok(client) } else { Err("invalid_client") }
    }

    fn basic(&self, value: &HeaderValue) -> Option<(String, String)> {
        let (scheme, encoded) = value.to_str().ok()?.split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let decoded = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
        let (id, secret) = decoded.split_once(':')?;
        if self.behaviour.raw_basic {
            return Some((id.to_owned(), secret.to_owned()));
        }
        Some((form_decode(id), form_decode(secret)))
    }

    fn tokens(&self, client: &Client, grant: &Grant, occasion: Occasion) -> Result<Answer, Unspecified> {
        let behaviour = self.behaviour;
        let refreshed = occasion == Occasion::Refresh;
        let now = self.shared.now();
        let access_token = self.access_token(client, grant, now)?;
        let mut claims = self.shared.state().claims(&grant.sign_on.login, &grant.scope);
        if behaviour.user_claims_only_in_userinfo {
            claims.retain(|name, _| name == "sub");
        }
        let own = [
            ("iss", json!(self.shared.issuer)),
            ("aud", json!(client.id)),
            ("iat", json!(now)),
            ("exp", json!(now + TOKEN_LIFETIME)),
            ("auth_time", json!(grant.sign_on.since)),
            ("sid", json!(grant.session)),
            ("at_hash", json!(behaviour.algorithm.at_hash(&access_token))),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        claims.extend(grant.acr.iter().map(|acr| ("acr".to_owned(), json!(acr))));
        match &grant.nonce {
            Some(nonce) if !refreshed => drop(claims.insert("nonce".to_owned(), json!(nonce))),
            Some(_) | None => {}
        }
        behaviour.id_token.apply(&mut claims);
        if refreshed {
            behaviour.refreshing.id_token.apply(&mut claims);
        }
        let id_token = match &behaviour.id_token_text {
            Some(text) => text.clone(),
            None => sign(self.shared, behaviour, client, &claims)?,
        };
        let mut answer = Map::new();
        answer.insert("access_token".to_owned(), json!(access_token));
        answer.insert("token_type".to_owned(), json!("Bearer"));
        answer.insert("expires_in".to_owned(), json!(TOKEN_LIFETIME));
        answer.insert("scope".to_owned(), json!(grant.scope));
        if !(refreshed && behaviour.refreshing.no_id_token) {
            answer.insert("id_token".to_owned(), json!(id_token));
        }
        let given = grant.is_offline() || behaviour.refreshing.unasked;
        if given && !(refreshed && behaviour.refreshing.keep_token) {
            let token = keys::token::<24>()?;
            answer.insert("refresh_token".to_owned(), json!(token));
            self.shared.state().add_refresh_token(token, grant.clone());
        }
        behaviour.token.apply(&mut answer);
        if refreshed {
            behaviour.refreshing.token.apply(&mut answer);
        }
        let access = Access {
            client: client.id.clone(),
            login: grant.sign_on.login.clone(),
            scope: grant.scope.clone(),
            family: grant.family.clone(),
            until: now + TOKEN_LIFETIME,
        };
        let id_token = (id_token, client.id.clone());
        self.shared.state().add_tokens(access_token, access, id_token);
        let answer = Rewrite::text(behaviour.rewrite.token, &Value::Object(answer));
        Ok(web::answer(StatusCode::OK, "application/json", answer.into()))
    }

    fn access_token(&self, client: &Client, grant: &Grant, now: u64) -> Result<String, Unspecified> {
        let behaviour = self.behaviour;
        if !behaviour.access_token.signed {
            return keys::token::<24>();
        }
        let user = self.shared.state().claims(&grant.sign_on.login, "openid");
        let mut claims = Map::new();
        let own = [
            ("iss", json!(self.shared.issuer)),
            ("sub", json!(user.get("sub"))),
            ("aud", json!("account")),
            ("azp", json!(client.id)),
            ("typ", json!("Bearer")),
            ("jti", json!(keys::token::<12>()?)),
            ("iat", json!(now)),
            ("exp", json!(now + TOKEN_LIFETIME)),
            ("scope", json!(grant.scope)),
        ];
        claims.extend(own.map(|(name, value)| (name.to_owned(), value)));
        behaviour.access_token.claims.apply(&mut claims);
        let manner = Behaviour {
            algorithm: behaviour.algorithm,
            id_token_header: behaviour.access_token.header.clone(),
            signing_key: behaviour.access_token.signing_key,
            ..Behaviour::default()
        };
        sign(self.shared, &manner, client, &claims)
    }

    pub(super) fn userinfo(&self) -> Result<Answer, Unspecified> {
        let header = self.seen.headers.get(AUTHORIZATION);
        let token = header
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '))
            .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
            .map(|(_, token)| token);
        let state = self.shared.state();
        let access = token.and_then(|token| state.access(token, self.shared.now()));
        let Some(access) = access else {
            let mut answer = web::json(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_token"}));
            let challenge = HeaderValue::from_static("Bearer error=\"invalid_token\"");
            answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            return Ok(answer);
        };
        let mut claims = state.claims(&access.login, &access.scope);
        let client = state.client(&access.client);
        drop(state);
        if let (Some(signing), Some(client)) = (self.behaviour.userinfo_signing, client) {
            claims.insert("iss".to_owned(), json!(self.shared.issuer));
            claims.insert("aud".to_owned(), json!(client.id));
            self.behaviour.userinfo.apply(&mut claims);
            let (algorithm, signing_key) = signing;
            let (id_token_header, rewrite) = (Patch::default(), Rewrite::default());
            let behaviour = Behaviour { id_token_header, algorithm, signing_key, rewrite, ..self.behaviour.clone() };
            let token = sign(self.shared, &behaviour, &client, &claims)?;
            return Ok(web::answer(StatusCode::OK, "application/jwt", token.into()));
        }
        self.behaviour.userinfo.apply(&mut claims);
        let claims = Rewrite::text(self.behaviour.rewrite.userinfo, &Value::Object(claims));
        Ok(web::answer(StatusCode::OK, "application/json", claims.into()))
    }
}

/// A token of these claims in the manner of `behaviour`.
///
/// # Errors
///
/// When no key can be made.
pub(super) fn sign(
    shared: &Shared,
    behaviour: &Behaviour,
    client: &Client,
    claims: &Map<String, Value>,
) -> Result<String, Unspecified> {
    let algorithm = behaviour.algorithm;
    let mut header = Map::new();
    header.insert("alg".to_owned(), json!(algorithm.name()));
    header.insert("typ".to_owned(), json!("JWT"));
    let mut keys = shared.keys();
    let public_key;
    let signer = match algorithm {
        Algorithm::None => Signer::None,
        Algorithm::Hs256 => Signer::Secret(client.secret.as_deref().unwrap_or_default().as_bytes()),
        _ => {
            let published = keys.key(algorithm)?;
            let published_id = published.id.clone();
            let (id, signer) = match behaviour.signing_key {
                SigningKey::Published => (published_id, Signer::Key(published)),
                SigningKey::Stray => {
                    let key = keys.stray(algorithm)?;
                    (key.id.clone(), Signer::Key(key))
                }
                SigningKey::StrayWithPublishedId => (published_id, Signer::Key(keys.stray(algorithm)?)),
                SigningKey::PublicKeyAsSecret(form) => {
                    header.insert("alg".to_owned(), json!(Algorithm::Hs256.name()));
                    public_key = published.public_bytes(form)?;
                    (published_id, Signer::Secret(&public_key))
                }
            };
            header.insert("kid".to_owned(), json!(id));
            signer
        }
    };
    behaviour.id_token_header.apply(&mut header);
    let header = Rewrite::text(behaviour.rewrite.id_token_header, &json!(header));
    signer.sign(&header, &Rewrite::text(behaviour.rewrite.id_token, &json!(claims)))
}

pub(super) fn refuse(error: Refusal) -> Answer {
    if error != "invalid_client" {
        return web::json(StatusCode::BAD_REQUEST, &json!({"error": error}));
    }
    let mut answer = web::json(StatusCode::UNAUTHORIZED, &json!({"error": error}));
    let challenge = HeaderValue::from_static("Basic realm=\"token\"");
    answer.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    answer
}

/// Undoes the encoding of RFC 6749 appendix B for a value that stands alone.
fn form_decode(text: &str) -> String {
    let pair = format!("v={}", text.replace('&', "%26"));
    let pair = Parameters::parse(pair.as_bytes());
    pair.get("v").unwrap_or_default().to_owned()
}

/// The claims of a JWT, whatever its signature.
fn claims_of_jwt(token: &str) -> Option<Map<String, Value>> {
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    serde_json::from_slice(&claims).ok()
}
