//! Sessions, each from a real login: forepost, the provider, back to forepost, and a first check.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::Instant;
use url::{Position, Url};

use super::Fallible;
use super::provider::{self, Config, Provider, User};
use super::request::{self, TOKEN_LENGTH};

type Answer = Response<()>;

const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

/// Bytes of a user's name.
pub(crate) const USER_LENGTH: usize = 10;

/// Bytes at the end of an ID token, where its signature is.
pub(crate) const PROOF_LENGTH: usize = 16;

/// Different people; each has many sessions where there are more of those.
pub(crate) const USERS: usize = 1000;

/// Logins under way at once.
const AT_ONCE: usize = 32;

/// For the daemon to find its provider.
const READY_WITHIN: Duration = Duration::from_secs(20);

/// Our registration at the provider.
pub(crate) const CLIENT: (&str, &str) = ("forepost", "a secret that guards nothing");

/// A session as its browser knows it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// The cookie's value.
    pub(crate) token: [u8; TOKEN_LENGTH],
    /// `X-authentik-username`.
    pub(crate) user: [u8; USER_LENGTH],
    /// The end of `X-authentik-jwt`, which no other session has.
    pub(crate) proof: [u8; PROOF_LENGTH],
}

/// The provider that all sessions come from: a thousand users in six groups each, ID tokens of about a kilobyte.
pub(crate) async fn start_provider() -> Fallible<Provider> {
    let callback = format!("https://{}/outpost.goauthentik.io/callback?X-authentik-auth-callback=true", request::HOST);
    let client = provider::Client {
        id: CLIENT.0.to_owned(),
        secret: Some(CLIENT.1.to_owned()),
        redirect_uris: vec![callback],
        post_logout_redirect_uris: Vec::new(),
    };
    let users = (0..USERS).map(user).collect();
    Ok(Provider::start(Config { clients: vec![client], users, ..Config::default() }).await?)
}

fn login_name(number: usize) -> String {
    format!("user-{:05}", number % USERS)
}

fn user(number: usize) -> User {
    let groups = ["staff", "developers", "project-4711", "project-4712", "vpn-users", "wiki-editors"];
    let mut user = User::new(&login_name(number), &format!("Ursula Übermut {number:05}"), &groups);
    let more = [
        ("given_name", json!("Ursula")),
        ("family_name", json!(format!("Übermut {number:05}"))),
        ("picture", json!(format!("https://id.example.com/media/users/{number:05}.png"))),
        ("locale", json!("de-DE")),
        ("zoneinfo", json!("Europe/Berlin")),
        ("amr", json!(["pwd", "otp"])),
    ];
    user.claims.extend(more.map(|(name, value)| (name.to_owned(), value)));
    user
}

/// Logs people in, one session after another.
pub(crate) struct Logins {
    door: Arc<Door>,
    /// The provider's cookies, one for each user who has signed in there.
    signed_on: Vec<String>,
    /// What the daemon calls its session cookie.
    pub(crate) cookie_name: String,
    /// All sessions so far.
    pub(crate) known: Vec<Known>,
}

/// How to reach both sides.
struct Door {
    client: Client<HttpConnector, Full<Bytes>>,
    forepost: SocketAddr,
    provider: SocketAddr,
}

impl Logins {
    pub(crate) fn new(forepost: SocketAddr, provider: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let door = Arc::new(Door { client, forepost, provider });
        Self { door, signed_on: Vec::new(), cookie_name: String::new(), known: Vec::new() }
    }

    /// Waits until the daemon sends people to the provider.
    pub(crate) async fn possible(&self) -> Fallible<()> {
        let began = Instant::now();
        while !self.door.check("").await?.status().is_redirection() {
            if began.elapsed() > READY_WITHIN {
                return Err("forepost does not get ready for logins".into());
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    /// Goes on until there are `count` sessions.
    ///
    /// In batches of as many as there are users: then nobody logs in twice at once, and the provider, which forgets everything
    /// at ten thousand codes, does so between two batches.
    pub(crate) async fn up_to(&mut self, count: usize) -> Fallible<()> {
        while self.known.len() < count {
            let begin = self.known.len();
            let end = count.min((begin / USERS + 1) * USERS);
            self.batch(begin, end).await?;
        }
        Ok(())
    }

    async fn batch(&mut self, begin: usize, end: usize) -> Fallible<()> {
        let mut tasks = JoinSet::new();
        for first in begin..end.min(begin + AT_ONCE) {
            let numbers: Vec<_> = (first..end).step_by(AT_ONCE).collect();
            let cookies: Vec<_> = numbers.iter().map(|number| self.signed_on.get(number % USERS).cloned()).collect();
            let door = Arc::clone(&self.door);
            tasks.spawn(async move {
                let mut done = Vec::with_capacity(numbers.len());
                for (number, cookie) in numbers.into_iter().zip(cookies) {
                    done.push((number, door.login(number, cookie).await?));
                }
                Fallible::Ok(done)
            });
        }
        let mut done = Vec::with_capacity(end - begin);
        while let Some(part) = tasks.join_next().await {
            done.extend(part??);
        }
        done.sort_unstable_by_key(|(number, _)| *number);
        for (number, login) in done {
            if number == self.signed_on.len() {
                self.signed_on.push(login.signed_on);
            }
            self.cookie_name = login.cookie_name;
            self.known.push(login.known);
        }
        Ok(())
    }
}

struct Login {
    known: Known,
    cookie_name: String,
    signed_on: String,
}

impl Door {
    async fn login(&self, number: usize, signed_on: Option<String>) -> Fallible<Login> {
        let user = login_name(number);
        let start = self.check("").await?;
        let attempt = cookies(start.headers());
        let authorize = location(&start)?;
        let (signed_on, there) = if let Some(cookie) = signed_on {
            let there = self.provider(Method::GET, &authorize, &[(COOKIE, &cookie)], "").await?;
            (cookie, there)
        } else {
            let there = self.sign_in(&user, &authorize).await?;
            (cookies(there.headers()), there)
        };
        let back = location(&there)?;
        let headers = [(HOST, request::HOST), (COOKIE, &attempt), (FORWARDED_PROTO, "https")];
        let landed = self.send(self.forepost, Method::GET, &back, &headers, "").await?;
        let lines = cookies(landed.headers());
        let pair = lines.split("; ").find(|pair| pair.contains("authentik_proxy_") && !pair.contains("_login_"));
        let (name, token) = pair
            .and_then(|pair| pair.split_once('='))
            .ok_or_else(|| format!("the login of {user} ended with {} and without a session", landed.status()))?;
        let first = self.check(&format!("{name}={token}")).await?;
        let field = |name: &str| first.headers().get(name).map(HeaderValue::as_bytes).unwrap_or_default();
        let shown = field("x-authentik-username");
        if first.status() != StatusCode::OK || shown != user.as_bytes() {
            return Err(format!("{user} logged in and was answered {} as {shown:?}", first.status()).into());
        }
        let known = Known {
            token: token.as_bytes().try_into()?,
            user: shown.try_into()?,
            proof: *field("x-authentik-jwt").last_chunk().ok_or("there is no ID token in the answer")?,
        };
        Ok(Login { known, cookie_name: name.to_owned(), signed_on })
    }

    /// Fills in the provider's form; its page is not needed for that.
    async fn sign_in(&self, user: &str, authorize: &Url) -> Fallible<Answer> {
        let request = authorize.query().unwrap_or_default();
        let form = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs([("request", request), ("login", user), ("password", "x")])
            .finish();
        let form_type = (CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.provider(Method::POST, &authorize.join("/login")?, &[form_type], &form).await
    }

    /// What a Traefik asks about a navigation with this cookie.
    async fn check(&self, cookie: &str) -> Fallible<Answer> {
        let url = Url::parse(&format!("http://{}{}", request::HOST, request::PATH))?;
        let headers = [
            (HOST, request::HOST),
            (COOKIE, cookie),
            (FORWARDED_PROTO, "https"),
            (HeaderName::from_static("x-forwarded-host"), request::HOST),
            (HeaderName::from_static("x-forwarded-method"), "GET"),
            (HeaderName::from_static("x-forwarded-uri"), "/projects/4711"),
        ];
        self.send(self.forepost, Method::GET, &url, &headers, "").await
    }

    async fn provider(&self, method: Method, url: &Url, more: &[(HeaderName, &str)], form: &str) -> Fallible<Answer> {
        let authority = &url[Position::BeforeHost..Position::AfterPort];
        let headers: Vec<_> = [(HOST, authority)].into_iter().chain(more.iter().cloned()).collect();
        self.send(self.provider, method, url, &headers, form).await
    }

    /// One request to `address`, and its answer read to the end.
    async fn send(
        &self,
        address: SocketAddr,
        method: Method,
        url: &Url,
        headers: &[(HeaderName, &str)],
        body: &str,
    ) -> Fallible<Answer> {
        let target = &url[Position::BeforePath..Position::AfterQuery];
        let mut request = Request::new(Full::from(body.to_owned()));
        *request.method_mut() = method;
        *request.uri_mut() = format!("http://{address}{target}").parse()?;
        for (name, value) in headers.iter().filter(|(_, value)| !value.is_empty()) {
            request.headers_mut().insert(name, HeaderValue::from_str(value)?);
        }
        let (head, body) = self.client.request(request).await?.into_parts();
        drop(body.collect().await?);
        Ok(Response::from_parts(head, ()))
    }
}

fn location(answer: &Answer) -> Fallible<Url> {
    let location = answer.headers().get(LOCATION).ok_or_else(|| format!("{} in place of a redirect", answer.status()));
    Ok(Url::parse(location?.to_str()?)?)
}

/// The cookies that an answer sets, as a request carries them.
fn cookies(headers: &HeaderMap) -> String {
    let lines = headers.get_all(SET_COOKIE).iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.filter_map(|line| line.split(';').next()).filter(|pair| !pair.ends_with('='));
    pairs.collect::<Vec<_>>().join("; ")
}
