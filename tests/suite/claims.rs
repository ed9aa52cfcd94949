//! Where claims come from, and that no rule is asked before it is known what they say.

use std::path::Path;

use http::Method;
use serde_json::{Value, json};

use crate::provider::{Behaviour, Endpoint, Provider, SigningKey};
use crate::support::process::{Running, borrowed, provider, quick_start};
use crate::support::{Browser, Reply, Stage, ask, fill_in};

const APP: &str = "https://app.example.com/page";

type Change = Box<dyn FnOnce(&mut Behaviour)>;

const HEAD: &str = "[[application]]\nslug = \"app\"\nexternal_host = \"https://app.example.com\"\n";

/// Signs alice in where the provider behaves like this; with what the first check then says.
async fn entered(provider_keys: &str, application: &str, change: impl FnOnce(&mut Behaviour)) -> (Stage, Reply) {
    let stage = Stage::with(provider_keys, &format!("{HEAD}{application}")).await;
    stage.provider.set(change);
    let entered = stage.sign_in(&mut stage.browser(), APP, "alice").await;
    (stage, entered)
}

/// The ID token has name, e-mail and groups, so that nothing of the identity is missing; the claim is at userinfo alone.
async fn only_at_userinfo(claim: &str, value: Value, application: &str) -> Reply {
    let change = |b: &mut Behaviour| {
        b.id_token.set("entitlements", json!([]));
        b.id_token.remove(claim);
        b.userinfo.set(claim, value);
    };
    entered("", application, change).await.1
}

fn rule(rule: &str) -> String {
    format!("[[application.rule]]\n{rule}\n")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_only_userinfo_says_counts_from_the_first_check() {
    let denies = rule("when = \"identity != null && 'suspended' in identity.claims\"\ndeny = true");
    only_at_userinfo("suspended", json!(true), &denies).await.is(403);
    only_at_userinfo("other", json!(true), &denies).await.is(200);
    let inner =
        rule("when = \"identity != null && has(identity.claims.org) && identity.claims.org.left\"\ndeny = true");
    only_at_userinfo("org", json!({"left": true}), &inner).await.is(403);
    let requires = rule("require = { claims = { \"org.role\" = [\"ops\"] } }");
    only_at_userinfo("org", json!({"role": "ops"}), &requires).await.is(200);
    only_at_userinfo("org", json!({"role": "dev"}), &requires).await.is(403);
    let email = rule("require = { email_domains = [\"example.test\"] }");
    only_at_userinfo("email_verified", json!(true), &email).await.is(200);
    only_at_userinfo("email_verified", json!(false), &email).await.is(403);
    let header = "[[application.header]]\nname = \"X-Team\"\nclaim = \"team\"\n";
    assert_eq!(only_at_userinfo("team", json!("blue"), header).await.is(200).header("x-team"), "blue");
    let basic = "basic_auth = { username = \"login\", password = \"login\" }\n";
    let credentials = only_at_userinfo("login", json!("a"), basic).await.is(200).header("authorization");
    assert_eq!(credentials, "Basic YTph");
    let attributes = json!({"user_attributes": {"additionalHeaders": {"X-Team": "red"}}});
    let additional = "headers = { additional = [\"X-Team\"] }\n";
    assert_eq!(only_at_userinfo("ak_proxy", attributes, additional).await.is(200).header("x-team"), "red");
}

#[tokio::test]
async fn entitlements_are_looked_for_at_userinfo() {
    let change = |b: &mut Behaviour| {
        b.userinfo.set("entitlements", json!(["print"]));
    };
    let (_stage, entered) = entered("", "", change).await;
    assert_eq!(entered.is(200).header("x-authentik-entitlements"), "print");
}

/// Where the ID token has all that anybody looks at, userinfo is left alone.
#[tokio::test]
async fn userinfo_is_not_asked_in_vain() {
    let complete = |b: &mut Behaviour| {
        b.id_token.set("entitlements", json!([]));
    };
    let (stage, reply) = entered("", "", complete).await;
    reply.is(200);
    assert_eq!(stage.provider.requests(Endpoint::Userinfo), 0);
    let whole = rule("when = \"identity != null && 'x' in identity.claims\"\ndeny = true");
    let (stage, reply) = entered("", &whole, complete).await;
    reply.is(200);
    assert_eq!(stage.provider.requests(Endpoint::Userinfo), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn groups_are_found_wherever_a_provider_has_them() {
    const CLIENT: &str = "resource_access.app.example.com.roles";
    let zitadel = json!({"admin": {"2069": "example.com"}, "user": {"2069": "example.com"}});
    let keycloak = json!({"app": {"roles": ["short"]}, "app.example.com": {"roles": ["long"]}});
    for (path, claim, value, expected) in [
        ("\"urn:zitadel:iam:org:project:roles\"", "urn:zitadel:iam:org:project:roles", zitadel.clone(), "admin|user"),
        ("\"groups\"", "groups", zitadel, "admin|user"),
        (&format!("{CLIENT:?}"), "resource_access", keycloak.clone(), "long"),
        ("[[\"resource_access\", \"app.example.com\", \"roles\"]]", "resource_access", keycloak.clone(), "long"),
        ("[[\"missing\"], [\"resource_access\", \"app\", \"roles\"]]", "resource_access", keycloak, "short"),
    ] {
        let keys = format!("[identity_provider.idp.claims]\ngroups = {path}\n");
        let change = |b: &mut Behaviour| {
            b.id_token.set(claim, value);
        };
        let (_stage, entered) = entered(&keys, "", change).await;
        assert_eq!(entered.is(200).header("x-authentik-groups"), expected, "{path}");
    }
}

#[tokio::test]
async fn a_user_name_is_the_first_claim_that_is_there_and_never_the_address_by_itself() {
    let nameless = |b: &mut Behaviour| {
        b.id_token.remove("preferred_username");
        b.userinfo.remove("preferred_username");
    };
    let (_stage, reply) = entered("", "", nameless).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "");
    let several = "[identity_provider.idp.claims]\nusername = [\"preferred_username\", \"email\"]\n";
    let (_stage, reply) = entered(several, "", nameless).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice@example.test");
    let (_stage, reply) = entered(several, "", |_| ()).await;
    assert_eq!(reply.is(200).header("x-authentik-username"), "alice");
}

/// Keycloak's defaults: roles are in the access token alone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_of_an_access_token_count_when_it_is_proven() {
    const ROLES: &str = "[identity_provider.idp.claims]\ngroups = \"realm_access.roles\"\n";
    fn claim(name: &'static str, value: Value) -> Change {
        Box::new(move |b| {
            b.access_token.claims.set(name, value);
        })
    }
    fn without(name: &'static str) -> Change {
        Box::new(move |b| {
            b.access_token.claims.remove(name);
        })
    }
    fn header(name: &'static str, value: &'static str) -> Change {
        Box::new(move |b| {
            b.access_token.header.set(name, value);
        })
    }
    fn key(key: SigningKey) -> Change {
        Box::new(move |b| b.access_token.signing_key = key)
    }
    let cases = [
        ("as it is", key(SigningKey::Published), "ops|dev"),
        ("another audience", claim("aud", json!(["x", "y"])), "ops|dev"),
        ("no client named", without("azp"), "ops|dev"),
        ("of RFC 9068", header("typ", "at+jwt"), "ops|dev"),
        ("a claim of another type", claim("address", json!(7)), "ops|dev"),
        ("another client", claim("azp", json!("other")), ""),
        ("another client id", claim("client_id", json!(["proxy"])), ""),
        ("another subject", claim("sub", json!("id-bob")), ""),
        ("no subject", without("sub"), ""),
        ("another issuer", claim("iss", json!("https://evil.test")), ""),
        ("expired", claim("exp", json!(1000)), ""),
        ("without an end", without("exp"), ""),
        ("a foreign key", key(SigningKey::Stray), ""),
        ("a foreign key under a known name", key(SigningKey::StrayWithPublishedId), ""),
        ("no algorithm", header("alg", "none"), ""),
        ("a logout token", header("typ", "logout+jwt"), ""),
    ];
    for (what, change, expected) in cases {
        let (stage, reply) = entered(ROLES, "", |b| {
            b.access_token.signed = true;
            b.access_token.claims.set("realm_access", json!({"roles": ["ops", "dev"]}));
            change(b);
        })
        .await;
        assert_eq!(reply.is(200).header("x-authentik-groups"), expected, "{what}");
        assert_eq!(stage.provider.requests(Endpoint::Jwks), 1, "{what}: no login asks for keys by that");
    }
}

/// What ID token or userinfo say stands before what the access token says, and of the login only the ID token speaks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_replaces_nothing() {
    let signed = |name: &'static str, value: Value| {
        move |b: &mut Behaviour| {
            b.access_token.signed = true;
            b.access_token.claims.set(name, value);
        }
    };
    let (_stage, reply) = entered("", "", signed("groups", json!(["root"]))).await;
    assert_eq!(reply.is(200).header("x-authentik-groups"), "admins|staff");
    let none = |b: &mut Behaviour| {
        b.id_token.set("groups", json!([]));
        signed("groups", json!(["root"]))(b);
    };
    assert_eq!(entered("", "", none).await.1.is(200).header("x-authentik-groups"), "");
    let scope = rule("require = { scopes = [\"openid\"] }");
    entered("", &scope, signed("scope", json!("openid"))).await.1.is(403);
    let acr = rule("require = { acr = [\"gold\"] }");
    let without_acr = |b: &mut Behaviour| {
        b.id_token.remove("acr");
        signed("acr", json!("gold"))(b);
    };
    entered("", &acr, without_acr).await.1.is(403);
    let denies = rule("when = \"identity != null && 'suspended' in identity.claims\"\ndeny = true");
    entered("", &denies, signed("suspended", json!(1))).await.1.is(403);
}

/// An application of one provider that knows a newer rule after each start.
struct Restarts {
    provider: Provider,
    folder: tempfile::TempDir,
    offline_access: &'static str,
}

impl Restarts {
    async fn new(offline_access: &'static str) -> Self {
        Self { provider: provider().await, folder: tempfile::tempdir().unwrap(), offline_access }
    }

    fn start(&self, browser: &mut Browser, application: &str, claims: &str) -> Running {
        let mut environment = quick_start(self.provider.issuer());
        environment.retain(|(name, _)| *name != "FOREPOST_EXTERNAL_HOST");
        let application = format!("[{{ external_host = \"https://app.example.com\", slug = \"app\", {application} }}]");
        let directory: &Path = self.folder.path();
        environment.extend([
            ("FOREPOST_APPLICATION", application),
            ("FOREPOST_SESSION__DIRECTORY", directory.to_str().unwrap().to_owned()),
            ("FOREPOST_IDENTITY_PROVIDER__DEFAULT__OFFLINE_ACCESS", self.offline_access.to_owned()),
            ("FOREPOST_IDENTITY_PROVIDER__DEFAULT__CLAIMS__GROUPS", claims.to_owned()),
        ]);
        for (quick, whole) in [
            ("FOREPOST_ISSUER", "FOREPOST_IDENTITY_PROVIDER__DEFAULT__ISSUER"),
            ("FOREPOST_CLIENT_ID", "FOREPOST_IDENTITY_PROVIDER__DEFAULT__CLIENT_ID"),
            ("FOREPOST_CLIENT_SECRET", "FOREPOST_IDENTITY_PROVIDER__DEFAULT__CLIENT_SECRET"),
        ] {
            for (name, _) in environment.iter_mut().filter(|(name, _)| *name == quick) {
                *name = whole;
            }
        }
        let mut daemon = Running::start(&borrowed(&environment));
        let http = daemon.address("http");
        daemon.until(|line| line["message"].as_str().filter(|text| text.contains("ready for logins")).map(|_| ()));
        *browser = browser.clone().route("idp.localhost", self.provider.address()).route("*", http);
        daemon
    }
}

async fn check(browser: &mut Browser) -> Reply {
    ask("traefik", browser, Method::GET, APP, &[]).await
}

async fn sign_in(browser: &mut Browser) {
    let page = check(browser).await.is(302).location();
    let page = browser.get(page.as_str()).await;
    let back = if page.status.is_redirection() { page } else { fill_in(browser, &page, "alice").await };
    browser.get(back.location().as_str()).await.is(302);
}

fn stop(daemon: Running) {
    daemon.signal("TERM");
    daemon.end();
}

/// A browser that signed in before any rule was there, and no daemon any more; `offline_access` is as in the settings.
async fn signed_in_before(offline_access: &'static str) -> (Restarts, Browser) {
    let scene = Restarts::new(offline_access).await;
    let mut browser = Browser::new();
    scene.provider.set(|b| {
        b.userinfo.set("suspended", true).set("team", "blue");
    });
    let daemon = scene.start(&mut browser, "required_groups = []", "groups");
    sign_in(&mut browser).await;
    check(&mut browser).await.is(200);
    stop(daemon);
    (scene, browser)
}

const DENIES: &str = "rule = [{ when = \"identity != null && 'suspended' in identity.claims\", deny = true }]";
const REQUIRES: &str = "rule = [{ require = { claims = { team = ['blue'] } } }]";

/// A rule is newer than the login: with a refresh token, the provider is asked before anybody is let in or refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_asked_about_before_a_newer_rule_decides() {
    let (scene, mut browser) = signed_in_before("always").await;
    let asked = scene.provider.requests(Endpoint::Token);
    let daemon = scene.start(&mut browser, REQUIRES, "groups");
    check(&mut browser).await.is(200);
    check(&mut browser).await.is(200);
    assert_eq!(scene.provider.requests(Endpoint::Token), asked + 1, "once");
    stop(daemon);
    let daemon = scene.start(&mut browser, DENIES, "groups");
    check(&mut browser).await.is(403);
    check(&mut browser).await.is(403);
    assert_eq!(scene.provider.requests(Endpoint::Token), asked + 2, "once");
    stop(daemon);
    // Every claim is known now.
    let daemon = scene.start(&mut browser, REQUIRES, "groups");
    check(&mut browser).await.is(200);
    assert_eq!(scene.provider.requests(Endpoint::Token), asked + 2);
    stop(daemon);
    // No user is let in while the provider does not say.
    let daemon = scene.start(&mut browser, "required_groups = []", "roles");
    scene.provider.set(|b| b.down = true);
    check(&mut browser).await.is(503);
    scene.provider.set(|b| b.down = false);
    stop(daemon);
}

/// Without one, the user is sent to log in, not refused, and not let in.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_refresh_token_a_newer_rule_asks_for_a_login() {
    for (rule, status) in [(DENIES, 403), (REQUIRES, 200)] {
        let (scene, mut browser) = signed_in_before("never").await;
        let daemon = scene.start(&mut browser, rule, "groups");
        let script = [("accept", "application/json"), ("sec-fetch-mode", "cors")];
        ask("traefik", &mut browser, Method::GET, APP, &script).await.is(401);
        sign_in(&mut browser).await;
        check(&mut browser).await.is(status);
        stop(daemon);
        // Groups of another claim are others.
        let daemon = scene.start(&mut browser, rule, "roles");
        check(&mut browser).await.is(302);
        stop(daemon);
    }
}

/// The authorization request passes through the browser: who takes a scope out of it is missing the groups that a rule denies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scope_that_a_user_takes_out_is_missed() {
    let denies = rule("when = \"identity != null && 'staff' in identity.groups\"\ndeny = true");
    let (stage, entered) = entered("", &denies, |_| ()).await;
    entered.is(403);
    let mut browser = stage.browser();
    let mut begun = stage.check("traefik", &mut browser, APP).await;
    let changed = begun.is(302).location().as_str().replace("scope=openid+profile+email+groups", "scope=openid+email");
    assert_ne!(changed, begun.location().as_str());
    begun.headers.insert("location", changed.parse().unwrap());
    let refused = stage.come_back(&mut browser, begun, "alice").await;
    assert_eq!(refused.status, 502, "{refused:#?}");
    assert!(refused.body.contains("agree to all that the application asks for"), "{}", refused.body);
    assert!(!refused.body.contains("groups"), "{}", refused.body);
    stage.check("traefik", &mut browser, APP).await.is(302);
    stage.sign_in(&mut browser, APP, "alice").await.is(403);
}

/// A user attribute may have any name; how a user signed in, the ID token alone says.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn userinfo_does_not_speak_of_the_login() {
    for claim in ["acr", "amr", "auth_time", "sid"] {
        let header = format!("[[application.header]]\nname = \"X-Claim\"\nclaim = \"{claim}\"\n");
        assert_eq!(only_at_userinfo(claim, json!("1"), &header).await.is(200).header("x-claim"), "", "{claim}");
    }
    let assured = only_at_userinfo("acr", json!("mfa"), &rule("require = { acr = [\"mfa\"] }")).await;
    assert_ne!(assured.status, 200, "{assured:#?}");
}
