//! The authorisation endpoint and its login form (OIDC Core §3.1.2).

use aws_lc_rs::error::Unspecified;
use http::HeaderValue;
use http::header::SET_COOKIE;
use serde_json::{Map, Value, json};
use url::Url;

use super::state::{CODE_LIFETIME, Grant, SignOn};
use super::web::{self, Answer, Parameters};
use super::{Asked, Client, keys, pages};

/// The provider's own session.
pub(super) const COOKIE: &str = "demo_idp_session";

/// A request whose client and redirect URI are right, so that errors may be sent there.
struct Request {
    client: Client,
    redirect_uri: String,
    parameters: Parameters,
}

impl Request {
    fn get(&self, name: &str) -> Option<&str> {
        self.parameters.get(name)
    }

    fn prompts(&self, wanted: &str) -> bool {
        let prompt = self.get("prompt").unwrap_or_default();
        prompt.split(' ').any(|prompt| prompt == wanted)
    }
}

impl Asked<'_> {
    pub(super) fn authorize(&self) -> Result<Answer, Unspecified> {
        let request = match self.request(self.seen.parameters().clone()) {
            Ok(request) => request,
            Err(mistake) => return Ok(pages::bad_request(mistake)),
        };
        if let Err(error) = self.check(&request) {
            return Ok(self.send_error(&request, error));
        }
        let session = web::cookie(&self.seen.headers, COOKIE).unwrap_or_default();
        let sign_on = self.shared.state().signed_on(session);
        let sign_on = sign_on.filter(|sign_on| self.is_fresh(&request, sign_on));
        match sign_on {
            Some(sign_on) => self.send_code(&request, sign_on, session),
            None if request.prompts("none") => Ok(self.send_error(&request, "login_required")),
            None => Ok(self.login_page(&request, &self.raw, "")),
        }
    }

    /// What the login form sends: the original request, a login name, and a password that is not looked at.
    pub(super) fn login(&self) -> Result<Answer, Unspecified> {
        let headers = &self.seen.headers;
        // No user is signed in by another site's form.
        if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return Ok(pages::bad_request("This form was sent by another site."));
        }
        let raw = self.seen.form.get("request").unwrap_or_default();
        let request = match self.request(Parameters::parse(raw.as_bytes())) {
            Ok(request) => request,
            Err(mistake) => return Ok(pages::bad_request(mistake)),
        };
        if let Err(error) = self.check(&request) {
            return Ok(self.send_error(&request, error));
        }
        let login = self.seen.form.get("login").unwrap_or_default().trim();
        if !self.shared.state().knows(login) {
            return Ok(self.login_page(&request, raw, "No user has that name here."));
        }
        let sign_on = SignOn { login: login.to_owned(), since: self.shared.now() };
        let session = keys::token::<24>()?;
        self.shared.state().sign_on(session.clone(), sign_on.clone());
        let mut answer = self.send_code(&request, sign_on, &session)?;
        let secure = if self.shared.issuer.starts_with("https:") { "; Secure" } else { "" };
        let cookie = format!("{COOKIE}={session}; Path=/; HttpOnly; SameSite=Lax{secure}");
        if let Ok(cookie) = HeaderValue::try_from(cookie) {
            answer.headers_mut().append(SET_COOKIE, cookie);
        }
        Ok(answer)
    }

    /// Who asks, and where the answer goes; when that is wrong, nothing may be sent there (RFC 6749 §4.1.2.1).
    fn request(&self, parameters: Parameters) -> Result<Request, &'static str> {
        let client = parameters.get("client_id").unwrap_or_default();
        let Some(client) = self.shared.state().client(client) else {
            return Err("The application is not registered here (client_id).");
        };
        let redirect_uri = parameters.get("redirect_uri").unwrap_or_default().to_owned();
        if !client.redirect_uris.contains(&redirect_uri) {
            return Err("The application did not register the address it wants the answer at (redirect_uri).");
        }
        Ok(Request { client, redirect_uri, parameters })
    }

    fn check(&self, request: &Request) -> Result<(), &'static str> {
        if let Some(error) = self.behaviour.refuse {
            return Err(error);
        }
        let challenge = request.get("code_challenge");
        let method = request.get("code_challenge_method");
        if request.parameters.repeated()
            || challenge.is_some() && method != Some("S256")
            || challenge.is_none() && (method.is_some() || request.client.secret.is_none())
            || request.prompts("none") && request.get("prompt") != Some("none")
            || request.get("response_mode").is_some_and(|mode| mode != "query")
        {
            return Err("invalid_request");
        }
        if request.get("response_type") != Some("code") {
            return Err("unsupported_response_type");
        }
        let scope = request.get("scope").unwrap_or_default();
        if !scope.split(' ').any(|scope| scope == "openid") {
            return Err("invalid_scope");
        }
        Ok(())
    }

    /// Whether an earlier login will do.
    fn is_fresh(&self, request: &Request, sign_on: &SignOn) -> bool {
        let age = self.shared.now().saturating_sub(sign_on.since);
        let max_age = request.get("max_age").and_then(|age| age.parse().ok());
        !request.prompts("login") && !request.prompts("select_account") && age <= max_age.unwrap_or(u64::MAX)
    }

    fn login_page(&self, request: &Request, raw: &str, mistake: &str) -> Answer {
        let host = Url::parse(&request.redirect_uri).ok().and_then(|uri| uri.host_str().map(ToOwned::to_owned));
        let logins = self.shared.state().logins();
        pages::login(&pages::Login {
            style: web::STYLE,
            action: self.shared.url(super::Endpoint::Login),
            application: host.unwrap_or_else(|| request.client.id.clone()),
            request: raw.to_owned(),
            hint: request.get("login_hint").unwrap_or_default().to_owned(),
            mistake: mistake.to_owned(),
            logins,
        })
    }

    /// All that is asked for, but for offline access where consent to it is wanted and missing.
    fn granted_scope(&self, request: &Request) -> String {
        let ignored = self.behaviour.refreshing.needs_consent && !request.prompts("consent");
        let asked = request.get("scope").unwrap_or_default().split(' ');
        asked.filter(|scope| !(ignored && *scope == "offline_access")).collect::<Vec<_>>().join(" ")
    }

    fn send_code(&self, request: &Request, sign_on: SignOn, session: &str) -> Result<Answer, Unspecified> {
        let code = keys::token::<24>()?;
        let owned = |name| request.get(name).map(ToOwned::to_owned);
        let grant = Grant {
            client: request.client.id.clone(),
            redirect_uri: request.redirect_uri.clone(),
            scope: self.granted_scope(request),
            nonce: owned("nonce"),
            challenge: owned("code_challenge"),
            sign_on,
            acr: request.get("acr_values").and_then(|values| values.split(' ').next()).map(ToOwned::to_owned),
            // Must not tell the cookie.
            session: keys::s256(session),
            family: code.clone(),
            until: self.shared.now() + CODE_LIFETIME,
        };
        self.shared.state().add_code(code.clone(), grant);
        let parameters = [("code", json!(code))];
        Ok(self.send_back(request, parameters))
    }

    fn send_error(&self, request: &Request, error: &'static str) -> Answer {
        let description = "The identity provider refused the login.";
        if self.behaviour.malformed_errors {
            let state = request.get("state").unwrap_or_default();
            let description = description.replace(' ', "%20");
            return web::redirect(&format!(
                "{}?error={error}&error_description={description}&state={state}",
                request.redirect_uri
            ));
        }
        let parameters = [("error", json!(error)), ("error_description", json!(description))];
        self.send_back(request, parameters)
    }

    fn send_back<const N: usize>(&self, request: &Request, parameters: [(&str, Value); N]) -> Answer {
        let Ok(mut target) = Url::parse(&request.redirect_uri) else {
            return pages::bad_request("The registered address is not a URL.");
        };
        let parameters = parameters.map(|(name, value)| (name.to_owned(), value));
        let mut parameters: Map<String, Value> = parameters.into_iter().collect();
        parameters.insert("iss".to_owned(), json!(self.shared.issuer));
        if let Some(state) = request.get("state") {
            parameters.insert("state".to_owned(), json!(state));
        }
        self.behaviour.callback.apply(&mut parameters);
        let texts = parameters.iter().filter_map(|(name, value)| Some((name, value.as_str()?)));
        target.query_pairs_mut().extend_pairs(texts);
        web::redirect(&format!("{target}{}", self.behaviour.callback_suffix))
    }
}
