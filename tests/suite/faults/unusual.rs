//! Tokens and answers that are unusual, but right: they log in.

use serde_json::{Value, json};

use super::{APP, PATIENT, side_by_side, stage};
use crate::provider::Behaviour;
use crate::support::{Browser, Reply, Stage};

/// Signs in where the provider is unusual, but right; the reply is the check that lets in.
async fn accepted(change: impl FnOnce(&mut Behaviour)) -> (Stage, Reply) {
    let stage = stage(|_| (), PATIENT).await;
    stage.provider.set(change);
    let entered = stage.sign_in(&mut stage.browser(), APP, "alice").await;
    entered.is(200);
    (stage, entered)
}

/// A claim of the ID token, and what the application then gets in a header.
type Named = (&'static str, Value, &'static str, &'static str);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_every_kind_reach_the_application_in_one_line() {
    let lines = json!(["a\r\nX-Authentik-Username: root", "b\u{0}c"]);
    let cases: [Named; 12] = [
        ("groups", json!(["a|b", "c", "%7C"]), "x-authentik-groups", "a%7Cb|c|%257C"),
        ("groups", lines, "x-authentik-groups", "a%0D%0AX-Authentik-Username: root|b%00c"),
        ("groups", json!("only one"), "x-authentik-groups", "only one"),
        ("groups", json!([1, true, null, {}]), "x-authentik-groups", "1|true"),
        ("name", json!("Alice\nAdmin"), "x-authentik-name", "Alice Admin"),
        ("name", json!("a\u{85}b\u{2028}c"), "x-authentik-name", "a b\u{2028}c"),
        ("preferred_username", json!("𝒶𝓁𝒾𝒸ℯ🦊"), "x-authentik-username", "𝒶𝓁𝒾𝒸ℯ🦊"),
        ("preferred_username", json!("4711"), "x-authentik-username", "4711"),
        ("email_verified", json!("true"), "x-authentik-email", "alice@example.test"),
        ("auth_time", json!(1_795_295_634.151_661), "x-authentik-username", "alice"),
        ("aud", json!(["proxy"]), "x-authentik-username", "alice"),
        ("azp", json!("proxy"), "x-authentik-username", "alice"),
    ];
    side_by_side(cases.into_iter().map(|(claim, value, header, expected)| {
        (claim, async move {
            let change = |b: &mut Behaviour| {
                b.id_token.set(claim, value);
            };
            let (_stage, entered) = accepted(change).await;
            assert_eq!(entered.header(header), expected, "{claim}");
            let username = entered.header("x-authentik-username");
            assert!(!username.contains("root") && !username.contains(" & "), "{entered:#?}");
        })
    }))
    .await;
}

/// Claims that OIDC Core §5.1 gives a type, of another one; what they are to the application.
fn odd_claims() -> Vec<Named> {
    const USERNAME: &str = "x-authentik-username";
    vec![
        ("locale", json!({"language": "de"}), USERNAME, "alice"),
        ("address", json!("Main Street 1"), USERNAME, "alice"),
        ("address", json!(["Main Street 1", "Anytown"]), USERNAME, "alice"),
        ("address", json!({"formatted": 7}), USERNAME, "alice"),
        ("phone_number", json!(123), USERNAME, "alice"),
        ("phone_number_verified", json!("yes"), USERNAME, "alice"),
        ("amr", json!("pwd"), USERNAME, "alice"),
        ("acr", json!(1), USERNAME, "alice"),
        ("updated_at", json!("yesterday"), USERNAME, "alice"),
        ("auth_time", json!("1700000000"), USERNAME, "alice"),
        ("birthdate", json!([1990, 1, 2]), USERNAME, "alice"),
        ("picture", json!({"small": 1, "large": 2}), USERNAME, "alice"),
        ("website", json!(false), USERNAME, "alice"),
        ("gender", json!([]), USERNAME, "alice"),
        ("zoneinfo", json!(3600), USERNAME, "alice"),
        ("c_hash", json!(7), USERNAME, "alice"),
        ("jti", json!({}), USERNAME, "alice"),
        ("name", json!({"given": "Alice"}), "x-authentik-name", ""),
        ("name#de", json!(7), "x-authentik-name", "Alice Ärger"),
        ("email", json!(["a@example.test"]), "x-authentik-email", ""),
        ("email_verified", json!("perhaps"), "x-authentik-email", "alice@example.test"),
        ("preferred_username", json!(7), USERNAME, "7"),
        ("preferred_username", json!(true), USERNAME, "true"),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unneeded_claims_of_an_odd_type_break_no_login() {
    let places = odd_claims().into_iter().flat_map(|case| [("ID token", case.clone()), ("userinfo", case)]);
    side_by_side(places.map(|(place, (claim, value, header, expected))| {
        (claim, async move {
            let change = move |b: &mut Behaviour| {
                b.user_claims_only_in_userinfo = place == "userinfo";
                let patch = if place == "userinfo" { &mut b.userinfo } else { &mut b.id_token };
                patch.set(claim, value);
            };
            let (_stage, entered) = accepted(change).await;
            assert_eq!(entered.header(header), expected, "{claim} in the {place}");
        })
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_may_be_elsewhere_or_nowhere() {
    let (_stage, entered) = accepted(|b| b.user_claims_only_in_userinfo = true).await;
    assert_eq!(entered.header("x-authentik-groups"), "admins|staff");
    let nowhere = |b: &mut Behaviour| {
        b.id_token.remove("groups");
        b.userinfo.set("groups", json!(null));
    };
    assert_eq!(accepted(nowhere).await.1.header("x-authentik-groups"), "");
    let several = |b: &mut Behaviour| {
        b.id_token.set("aud", json!(["other", "proxy"])).set("azp", "proxy");
    };
    accepted(several).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn token_answers_are_read_tolerantly() {
    type Case = (&'static str, fn(&mut Behaviour));
    let cases: [Case; 9] = [
        ("a type in odd case", |b| {
            b.token.set("token_type", "bEARer");
        }),
        ("a lifetime that is a text", |b| {
            b.token.set("expires_in", "3600");
        }),
        ("a lifetime with a fraction", |b| {
            b.token.set("expires_in", 3599.5);
        }),
        ("a negative lifetime", |b| {
            b.token.set("expires_in", -1);
        }),
        ("a lifetime that is null", |b| {
            b.token.set("expires_in", json!(null));
        }),
        ("no lifetime and no scope", |b| {
            b.token.remove("expires_in").remove("scope");
        }),
        ("a refresh token that is null", |b| {
            b.token.set("refresh_token", json!(null));
        }),
        ("unknown members", |b| {
            b.token.set("session_state", "x").set("not-before-policy", 0).set("nested", json!({"a": [1]}));
        }),
        ("a lifetime that no number type holds", |b| {
            b.rewrite.token =
                Some(|text| text.replacen("\"expires_in\":3600", "\"expires_in\":99999999999999999999", 1));
        }),
    ];
    side_by_side(cases.into_iter().map(|(name, change)| {
        (name, async move {
            accepted(change).await;
        })
    }))
    .await;
}

#[tokio::test]
async fn two_thousand_groups_are_warned_of_and_let_in() {
    let (stage, entered) = accepted(|b| {
        let groups: Vec<_> = (0..2000).map(|at| format!("cn=group-{at},ou=groups")).collect();
        b.id_token.set("groups", json!(groups));
    })
    .await;
    let groups = entered.header("x-authentik-groups");
    assert_eq!((groups.split('|').count(), groups.len() < 64 << 10), (2000, true));
    let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
    let metrics = operator.get("http://x/metrics").await;
    let line = metrics.body.lines().find(|line| line.contains("too_large") && line.contains("=\"app\""));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{line:?}");
}
