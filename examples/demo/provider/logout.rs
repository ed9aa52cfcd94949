//! Logout: RP-initiated (OpenID Connect RP-Initiated Logout 1.0), and back-channel logout.

use std::time::Duration;

use aws_lc_rs::error::Unspecified;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, SET_COOKIE};
use http::{HeaderValue, Request};
use http_body_util::Full;
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::rt::TokioExecutor;
use serde_json::{Map, Value, json};
use url::Url;
use url::form_urlencoded::Serializer;

use super::authorize::COOKIE;
use super::behaviour::Patch;
use super::web::{self, Answer};
use super::{Asked, Client, LogoutToken, Rewrite, Shared, keys, lock, pages, token};

/// So long a client is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Seconds that a logout token is valid.
const LOGOUT_TOKEN_LIFETIME: u64 = 120;

impl Asked<'_> {
    /// Signs off, then sends the browser to a registered address, or shows that it is done.
    pub(super) fn end_session(&self) -> Answer {
        let parameters = self.seen.parameters();
        let mut state = self.shared.state();
        let hinted = match parameters.get("id_token_hint") {
            None => None,
            Some(hint) => match state.id_token_client(hint) {
                Some(client) => Some(client),
                None => return pages::bad_request("The hint is not a token of ours (id_token_hint)."),
            },
        };
        let named = parameters.get("client_id").map(ToOwned::to_owned);
        let client = match (hinted, named) {
            (Some(hinted), Some(named)) if hinted != named => {
                return pages::bad_request("The hint belongs to another application (client_id).");
            }
            (hinted, named) => hinted.or(named).and_then(|id| state.client(&id)),
        };
        let ended = web::cookie(&self.seen.headers, COOKIE).and_then(|session| state.sign_off(session));
        if let Some((sign_on, session, clients)) = ended {
            let subject = state.claims(&sign_on.login, "openid").get("sub").and_then(Value::as_str).map(str::to_owned);
            let token = LogoutToken { subject, session: Some(session), ..LogoutToken::default() };
            lock(&self.shared.ended).extend(clients.into_iter().map(|client| (client, token.clone())));
        }
        drop(state);

        let wanted = parameters.get("post_logout_redirect_uri");
        let registered = wanted.filter(|wanted| {
            let known = client.map(|client| client.post_logout_redirect_uris);
            known.is_some_and(|known| known.iter().any(|uri| uri == wanted))
        });
        let mut answer = match registered.map(Url::parse) {
            Some(Ok(mut target)) => {
                if let Some(state) = parameters.get("state") {
                    target.query_pairs_mut().append_pair("state", state);
                }
                web::redirect(target.as_str())
            }
            Some(Err(_)) | None => pages::signed_out(),
        };
        let expired = format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0");
        if let Ok(expired) = HeaderValue::try_from(expired) {
            answer.headers_mut().append(SET_COOKIE, expired);
        }
        answer
    }
}

/// Tells clients of the logouts that they have a part in, where they registered an address for it, and waits for their answers.
pub(super) async fn tell(shared: &Shared) {
    let ended = std::mem::take(&mut *lock(&shared.ended));
    for (client, token) in ended {
        let Some(uri) = &client.backchannel_logout_uri else { continue };
        let Ok(token) = logout_token(shared, &client, &token) else { continue };
        let form = Serializer::new(String::new()).append_pair("logout_token", &token).finish();
        let request = Request::post(uri.as_str()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let Ok(request) = request.body(Full::new(Bytes::from(form))) else { continue };
        let http = HttpClient::builder(TokioExecutor::new()).build_http();
        // A client that does not answer is not waited for any longer.
        let _ = tokio::time::timeout(ANSWER_WITHIN, http.request(request)).await;
    }
}

/// A logout token for `client`.
///
/// # Errors
///
/// When no key can be made.
pub(super) fn logout_token(shared: &Shared, client: &Client, wanted: &LogoutToken) -> Result<String, Unspecified> {
    let now = shared.now();
    let own = [
        ("iss", json!(shared.issuer)),
        ("aud", json!(client.id)),
        ("iat", json!(now)),
        ("exp", json!(now + LOGOUT_TOKEN_LIFETIME)),
        ("jti", json!(keys::token::<12>()?)),
        ("events", json!({"http://schemas.openid.net/event/backchannel-logout": {}})),
    ];
    let mut claims: Map<String, Value> = own.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    let named = [("sub", &wanted.subject), ("sid", &wanted.session)];
    claims.extend(named.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?)))));
    wanted.claims.apply(&mut claims);

    let mut behaviour = (*shared.behaviour()).clone();
    let mut header = Patch::default();
    header.set("typ", "logout+jwt").extend(&wanted.header);
    behaviour.id_token_header = header;
    behaviour.rewrite = Rewrite::default();
    behaviour.signing_key = wanted.signing_key;
    behaviour.algorithm = wanted.algorithm.unwrap_or(behaviour.algorithm);
    token::sign(shared, &behaviour, client, &claims)
}
