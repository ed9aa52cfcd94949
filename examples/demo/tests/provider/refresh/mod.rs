//! Refresh, as forepost asks for it.

mod revocation;

use std::sync::Arc;
use std::time::Duration;

use forepost::identity::WantedClaims;
use forepost::oidc::{
    AuthorizationRequest, CodeExchange, KeyRefresh, Login, Observer, Operation, PreviousLogin, Prompt,
    Provider as Known, RefreshError, RefreshFailure, Refreshed, Revocation,
};
use forepost::settings::Settings;
use forepost::telemetry::WithCauses;
use forepost::world::{UnixTime, World};
use http::StatusCode;
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};

use super::{CALLBACK, Scene, VERIFIER, request};
use crate::provider::{Algorithm, Behaviour, Endpoint, Fault, SigningKey, User};

pub(super) struct Deaf;

impl Observer for Deaf {
    fn request(&self, _: &str, _: Operation, _: bool, _: Duration) {}
    fn keys_refreshed(&self, _: &str, _: KeyRefresh, _: bool) {}
    fn ready(&self, _: &str, _: bool) {}
}

/// The provider as forepost sees it.
pub(super) async fn known(scene: &Scene) -> Known {
    known_with(scene, "").await
}

async fn known_with(scene: &Scene, settings: &str) -> Known {
    let toml = format!(
        "[identity_provider.idp]\nissuer = \"{}\"\nclient_id = \"app\"\nclient_secret = \"se:cr+t%\"\n{settings}\n\
         [[application]]\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n",
        scene.provider.issuer()
    );
    let settings = Settings::from_toml(&toml).unwrap().identity_providers.remove("idp").unwrap();
    let known = Known::new("idp", settings, World::with_clock(scene.clock.clone()), Arc::new(Deaf)).unwrap();
    known.refresh().await.unwrap();
    known
}

/// A user who is signed in.
pub(super) struct Visit {
    pub(super) scene: Scene,
    pub(super) known: Known,
    pub(super) login: Login,
}

impl Visit {
    /// A user whose login asks for what the settings ask for.
    pub(super) async fn asked(settings: &str, change: impl FnOnce(&mut Behaviour)) -> Self {
        let mut scene = Scene::with(change).await;
        let known = known_with(&scene, settings).await;
        let url = known.authorization_url(&authorization(None)).unwrap();
        let back = scene.sign_in("alice", url.split_once('?').unwrap().1).await;
        let login = complete(&known, &back.parameter("code").unwrap()).await;
        Self { scene, known, login }
    }

    async fn begin(scope: &str, change: impl FnOnce(&mut Behaviour)) -> Self {
        let mut scene = Scene::with(change).await;
        let known = known(&scene).await;
        let back = scene.sign_in("alice", &request(&[("scope", Some(scope))])).await;
        let login = complete(&known, &back.parameter("code").unwrap()).await;
        Self { scene, known, login }
    }

    pub(super) async fn offline(change: impl FnOnce(&mut Behaviour)) -> Self {
        Self::begin("openid profile email groups offline_access", change).await
    }

    pub(super) fn token(&self) -> SecretString {
        self.login.refresh_token.clone().expect("there is a refresh token")
    }

    pub(super) async fn refresh(&self, refresh_token: &SecretString) -> Result<Refreshed, RefreshFailure> {
        let wanted = WantedClaims::of(&self.known.settings().claims);
        let previous = PreviousLogin { id_token: &self.login.id_token, userinfo_claims: &[], refresh_token };
        self.known.refresh_login(&previous, &wanted).await
    }

    /// The one token still serves.
    pub(super) async fn lives(&self, refresh_token: &SecretString) -> bool {
        self.refresh(refresh_token).await.is_ok()
    }
}

async fn complete(known: &Known, code: &str) -> Login {
    let exchange = CodeExchange { code, redirect_uri: CALLBACK, nonce: "n1", pkce_verifier: VERIFIER };
    known.complete(&exchange, &WantedClaims::of(&known.settings().claims)).await.unwrap()
}

pub(super) fn authorization(prompt: Option<Prompt>) -> AuthorizationRequest<'static> {
    AuthorizationRequest {
        redirect_uri: CALLBACK,
        state: "s1",
        nonce: "n1",
        pkce_verifier: VERIFIER,
        prompt,
        assurance: None,
    }
}

fn same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

#[tokio::test]
async fn a_login_gives_back_what_refreshes_it() {
    let visit = Visit::offline(|_| ()).await;
    assert_eq!(visit.login.access_token_lifetime, Some(Duration::from_hours(1)));
    assert_eq!(visit.login.session_id(), visit.scene.provider.session_ids("alice").first().map(String::as_str));
    assert!(visit.login.refresh_token.is_some());
    let visit = Visit::begin("openid profile", |b| {
        b.token.set("expires_in", "soon");
    })
    .await;
    assert!(visit.login.refresh_token.is_none() && visit.login.access_token_lifetime.is_none());
    let ready = visit.known.ready().unwrap();
    assert!(ready.metadata.backchannel_logout_supported());
    assert!(ready.metadata.revocation_endpoint().is_some());
}

#[tokio::test]
async fn a_refresh_brings_the_claims_of_now() {
    let visit = Visit::offline(|_| ()).await;
    visit.scene.provider.add_user(User::new("alice", "Alice Adams", &["staff"]));
    let refreshed = visit.refresh(&visit.token()).await.unwrap();
    assert_eq!((&refreshed.claims["name"], &refreshed.claims["groups"]), (&json!("Alice Adams"), &json!(["staff"])));
    assert!(refreshed.rotated && !refreshed.lost_sid && !same(&refreshed.refresh_token, &visit.token()));
    assert!(refreshed.id_token.as_ref().is_some_and(|token| *token != visit.login.id_token));
    assert_eq!(refreshed.access_token_lifetime, Some(Duration::from_hours(1)));
    assert_eq!(visit.login.id_token_expires_at(), Some(UnixTime::from_secs(1_003_600)));
    assert_eq!(refreshed.id_token_expires_at(), visit.login.id_token_expires_at());
    assert!(visit.lives(&refreshed.refresh_token).await);
    let seen = visit.scene.provider.last_request(Endpoint::Token).unwrap();
    assert_eq!(seen.form.get("scope"), None);
}

#[tokio::test]
async fn without_rotation_the_token_stays() {
    let visit = Visit::offline(|b| b.refreshing.keep_token = true).await;
    let refreshed = visit.refresh(&visit.token()).await.unwrap();
    assert!(!refreshed.rotated && same(&refreshed.refresh_token, &visit.token()));
    assert!(visit.lives(&visit.token()).await);
}

#[tokio::test]
async fn a_token_used_twice_ends_the_grant_or_not() {
    for forgive in [false, true] {
        let visit = Visit::offline(|b| b.refreshing.forgive_reuse = forgive).await;
        let next = visit.refresh(&visit.token()).await.unwrap().refresh_token;
        let again = visit.refresh(&visit.token()).await.err().unwrap();
        assert!(matches!(again.error, RefreshError::Ended { .. }), "{again:?}");
        assert_eq!(visit.lives(&next).await, forgive);
    }
}

/// What userinfo says counts where no ID token comes, and claims that only it had are gone when it has them no longer.
#[tokio::test]
async fn userinfo_stands_in_for_an_id_token() {
    let only_there = |b: &mut Behaviour| {
        b.refreshing.no_id_token = true;
        b.user_claims_only_in_userinfo = true;
    };
    let visit = Visit::offline(only_there).await;
    assert_eq!(visit.login.claims["groups"], json!(["admins", "staff"]));
    let mut user = User::new("alice", "Alice Adams", &[]);
    user.claims.remove("groups");
    visit.scene.provider.add_user(user);
    visit.scene.provider.set(|b| {
        b.userinfo.set("sid", "other").set("iss", "http://other.test");
    });
    let refreshed = visit.refresh(&visit.token()).await.unwrap();
    assert_eq!((&refreshed.claims["name"], refreshed.claims.get("groups")), (&json!("Alice Adams"), None));
    assert_eq!((refreshed.id_token.as_deref(), refreshed.lost_sid), (None, false));
    assert_eq!(refreshed.id_token_expires_at(), None);
    assert_eq!(refreshed.session_id(), visit.login.session_id());
    assert_eq!(refreshed.claims["iss"], visit.scene.provider.issuer());
    // Where the ID token had them, it is still the provider's last word, unless userinfo says otherwise.
    let visit = Visit::offline(|b| b.refreshing.no_id_token = true).await;
    visit.scene.provider.set(|b| {
        b.userinfo.remove("name").set("groups", Value::Null);
    });
    let refreshed = visit.refresh(&visit.token()).await.unwrap();
    assert_eq!((&refreshed.claims["name"], refreshed.claims.get("groups")), (&json!("Alice Ärger"), None));
}

#[tokio::test]
async fn a_lost_session_is_told() {
    let claims: [fn(&mut Behaviour); 2] = [
        |b| {
            b.refreshing.id_token.remove("sid");
        },
        |b| {
            b.refreshing.id_token.set("sid", "");
        },
    ];
    for change in claims {
        let visit = Visit::offline(change).await;
        let refreshed = visit.refresh(&visit.token()).await.unwrap();
        assert!(refreshed.lost_sid && refreshed.session_id().is_none());
        // Userinfo cannot make up for it.
        let visit = Visit::offline(change).await;
        visit.scene.provider.set(|b| {
            b.user_claims_only_in_userinfo = true;
            b.userinfo.set("sid", "made-up");
        });
        assert!(visit.refresh(&visit.token()).await.unwrap().lost_sid);
    }
    let visit = Visit::offline(|b| {
        b.id_token.remove("sid");
    })
    .await;
    assert!(!visit.refresh(&visit.token()).await.unwrap().lost_sid);
}

/// What follows from a refresh that failed.
#[derive(Debug, PartialEq)]
enum Told {
    Fine,
    Ended,
    Refused(&'static str),
    Away,
    Unanswered,
    Unreadable,
    Changed,
    Unproven,
}

/// How it went, and whether a new refresh token came all the same, which must still serve.
async fn check(name: &str, expected: (Told, bool), change: impl FnOnce(&mut Behaviour)) {
    let visit = Visit::offline(|_| ()).await;
    visit.scene.provider.set(change);
    let (told, rotated) = match visit.refresh(&visit.token()).await {
        Ok(refreshed) => (Told::Fine, refreshed.rotated.then_some(refreshed.refresh_token)),
        Err(RefreshFailure { error, rotated }) => {
            let text = WithCauses(&error).to_string();
            assert!(!text.contains(visit.token().expose_secret()), "{name}: {text}");
            let told = match error {
                RefreshError::Ended { .. } => Told::Ended,
                RefreshError::ClientRefused { code, .. } | RefreshError::Refused { code, .. } => match expected.0 {
                    Told::Refused(expected) if code.contains(expected) => Told::Refused(expected),
                    _ => panic!("{name}: {code}"),
                },
                RefreshError::NotReady | RefreshError::Unreachable(_) => Told::Away,
                RefreshError::Unanswered(_) => Told::Unanswered,
                RefreshError::Unreadable(_) => Told::Unreadable,
                RefreshError::Changed => Told::Changed,
                RefreshError::Unproven(_) => Told::Unproven,
            };
            (told, rotated)
        }
    };
    assert_eq!((told, rotated.is_some()), expected, "{name}");
    if let Some(rotated) = rotated {
        visit.scene.provider.set(|b| *b = Behaviour::default());
        assert!(visit.lives(&rotated).await, "{name}");
    }
}

fn answers(endpoint: Endpoint, status: u16, body: &'static str) -> impl FnOnce(&mut Behaviour) {
    move |b| {
        let status = StatusCode::from_u16(status).ok();
        b.faults.insert(endpoint, Fault { status, body: Some(body.into()), ..Fault::default() });
    }
}

#[tokio::test]
async fn a_provider_that_says_no_is_understood() {
    let token = |status, body| answers(Endpoint::Token, status, body);
    check("nothing wrong", (Told::Fine, true), |_| ()).await;
    check("invalid_grant", (Told::Ended, false), |b| b.refreshing.refuse = Some("invalid_grant")).await;
    check("invalid_client", (Told::Refused("invalid_client"), false), |b| b.refreshing.refuse = Some("invalid_client"))
        .await;
    check("invalid_scope", (Told::Refused("invalid_scope"), false), |b| b.refreshing.refuse = Some("invalid_scope"))
        .await;
    check("a code of tomorrow", (Told::Away, false), |b| b.refreshing.refuse = Some("temporarily_unavailable")).await;
    check("no code", (Told::Refused("400"), false), token(400, "<html>")).await;
    check("no word", (Told::Ended, false), token(400, "")).await;
    check("no body", (Told::Refused("403"), false), token(403, "")).await;
    check("an error that is not a string", (Told::Refused("400"), false), token(400, r#"{"error": 7}"#)).await;
    check("ill", (Told::Away, false), token(500, "{}")).await;
    check("ill, with a code", (Told::Away, false), token(503, r#"{"error": "invalid_grant"}"#)).await;
    check("too many", (Told::Away, false), token(429, r#"{"error": "invalid_grant"}"#)).await;
    check("down", (Told::Away, false), |b| b.down = true).await;
    check("elsewhere", (Told::Away, false), token(302, "")).await;
    check("behind a gateway", (Told::Unanswered, false), token(504, "")).await;
    check("gone", (Told::Unanswered, false), |b| {
        b.faults.insert(Endpoint::Token, Fault { hang_up: true, ..Fault::default() });
    })
    .await;
    check("no JSON", (Told::Unreadable, false), token(200, "<html>")).await;
    check("cut off", (Told::Unreadable, false), token(200, r#"{"access_token": "x", "refre"#)).await;
    check("no access token", (Told::Unreadable, true), |b| {
        b.refreshing.token.remove("access_token");
    })
    .await;
    let visit = Visit::offline(|_| ()).await;
    visit.scene.provider.remove_user("alice");
    assert!(matches!(visit.refresh(&visit.token()).await.err().unwrap().error, RefreshError::Ended { .. }));
    let visit = Visit::offline(|_| ()).await;
    visit.scene.provider.end_grants();
    assert!(matches!(visit.refresh(&visit.token()).await.err().unwrap().error, RefreshError::Ended { .. }));
}

#[tokio::test]
async fn a_new_id_token_is_verified_like_the_first() {
    fn claim(name: &'static str, value: impl Into<Value>) -> impl FnOnce(&mut Behaviour) {
        let value = value.into();
        move |b| {
            b.refreshing.id_token.set(name, value);
        }
    }
    const UNPROVEN: (Told, bool) = (Told::Unproven, true);
    const FINE: (Told, bool) = (Told::Fine, true);
    check("another subject", (Told::Changed, true), claim("sub", "id-bob")).await;
    check("no subject", UNPROVEN, |b| {
        b.refreshing.id_token.remove("sub");
    })
    .await;
    check("another issuer", UNPROVEN, claim("iss", "http://evil.test")).await;
    check("another audience", UNPROVEN, claim("aud", "open")).await;
    check("expired", UNPROVEN, claim("exp", 1000)).await;
    check("issued in the future", UNPROVEN, claim("iat", 1_000_061)).await;
    check("issued before the first", UNPROVEN, claim("iat", 999_939)).await;
    check("issued a little before the first", FINE, claim("iat", 999_940)).await;
    check("the nonce of the login", FINE, claim("nonce", "n1")).await;
    check("another nonce", UNPROVEN, claim("nonce", "n2")).await;
    check("another session", FINE, claim("sid", "another")).await;
    check("a stray key", UNPROVEN, |b| b.signing_key = SigningKey::Stray).await;
    check("no signature", UNPROVEN, |b| b.algorithm = Algorithm::None).await;
    check("a secret that is not announced", UNPROVEN, |b| {
        b.metadata.set("id_token_signing_alg_values_supported", json!(["ES256", "EdDSA"]));
        b.algorithm = Algorithm::Hs256;
    })
    .await;
    check("no token", UNPROVEN, |b| b.id_token_text = Some("x".to_owned())).await;
    check("userinfo of another user", (Told::Changed, true), |b| {
        b.refreshing.no_id_token = true;
        b.userinfo.set("sub", "id-bob");
    })
    .await;
    check("userinfo is away", (Told::Away, true), |b| {
        b.refreshing.no_id_token = true;
        b.faults.insert(Endpoint::Userinfo, Fault::status(StatusCode::BAD_GATEWAY));
    })
    .await;
    check("userinfo refuses", (Told::Refused("401"), true), |b| {
        b.user_claims_only_in_userinfo = true;
        b.faults.insert(Endpoint::Userinfo, Fault::status(StatusCode::UNAUTHORIZED));
    })
    .await;
}

#[tokio::test]
async fn new_keys_are_looked_for_at_a_refresh() {
    let visit = Visit::offline(|_| ()).await;
    visit.scene.provider.rotate(false).unwrap();
    assert!(visit.lives(&visit.token()).await);
    assert_eq!(visit.scene.provider.requests(Endpoint::Jwks), 2);
}
