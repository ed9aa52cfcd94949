//! ID tokens that prove nothing, and those that are only unusual.

use serde_json::json;

use super::{Row, UNACCEPTED, play, row, side_by_side, stage, up_to_callback};
use crate::provider::{Algorithm, Behaviour, Jwks, PublicForm, SigningKey};
use crate::support::Reply;

const FAR: u64 = 99_999_999_999;

/// A token with another value of one claim.
fn claim(name: &'static str, claim: &'static str, value: impl Into<serde_json::Value>) -> Row {
    let value = value.into();
    row(
        name,
        move |b| {
            b.id_token.set(claim, value);
        },
        UNACCEPTED,
    )
}

fn without(name: &'static str, claim: &'static str) -> Row {
    row(
        name,
        move |b| {
            b.id_token.remove(claim);
        },
        UNACCEPTED,
    )
}

/// A token whose claims, as a text, begin with this.
fn beginning(name: &'static str, rewrite: fn(String) -> String) -> Row {
    row(name, move |b| b.rewrite.id_token = Some(rewrite), UNACCEPTED)
}

/// A token that somebody made, whatever the login was.
fn text(name: &'static str, text: &str) -> Row {
    let text = text.to_owned();
    row(name, move |b| b.id_token_text = Some(text), UNACCEPTED)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuer_audience_and_subject_must_be_right() {
    play(vec![
        claim("another issuer", "iss", "http://evil.test"),
        claim("no issuer", "iss", json!(null)),
        claim("an issuer that is no text", "iss", 7),
        row(
            "the issuer with a slash",
            |b| {
                // The issuer has no path here, so that a slash is all that differs.
                b.rewrite.id_token = Some(|claims| {
                    let at = claims.find("\"iss\":\"").unwrap() + 7;
                    let end = at + claims[at..].find('"').unwrap();
                    format!("{}/{}", &claims[..end], &claims[end..])
                });
            },
            UNACCEPTED,
        ),
        claim("another audience", "aud", "other"),
        claim("our audience in another case", "aud", "Proxy"),
        claim("an empty audience", "aud", ""),
        claim("no audience in the list", "aud", json!([])),
        claim("several audiences and no azp", "aud", json!(["proxy", "other"])),
        without("no audience", "aud"),
        claim("another authorised party", "azp", "other"),
        claim("an authorised party that is no text", "azp", json!(["proxy"])),
        without("no subject", "sub"),
        claim("a subject that is null", "sub", json!(null)),
        claim("a subject that is a number", "sub", 7),
        row(
            "an empty subject",
            |b| {
                b.id_token.set("sub", "");
            },
            super::Ending { page: "The identity provider did not say who you are.", ..UNACCEPTED },
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn times_must_be_right() {
    play(vec![
        claim("expired", "exp", 1000),
        claim("expired before 1970", "exp", -1),
        claim("an end beyond the calendar", "exp", 1e300),
        claim("an end far before the calendar", "exp", -1e300),
        claim("an end that is a text", "exp", "tomorrow"),
        claim("an end that is a number in a text", "exp", "99999999999"),
        claim("an end that is null", "exp", json!(null)),
        claim("an end that is a list", "exp", json!([FAR])),
        without("no end", "exp"),
        beginning("an end that no number type holds", |claims| {
            claims.replacen("\"exp\":", "\"exp\":1e999,\"was\":", 1)
        }),
        beginning("an end of a thousand digits", |claims| {
            claims.replacen("\"exp\":", &format!("\"exp\":1{},\"was\":", "0".repeat(1000)), 1)
        }),
        claim("issued in the future", "iat", FAR),
        claim("issued beyond the calendar", "iat", 1e300),
        claim("issued at a text", "iat", "yesterday"),
        without("not issued", "iat"),
        claim("not valid yet", "nbf", FAR),
        claim("never valid", "nbf", 1e300),
        claim("valid from a text on", "nbf", "now"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonce_and_access_token_must_be_those_of_this_login() {
    let earlier = stage(|_| (), super::PATIENT).await;
    let mut browser = earlier.browser();
    let token = earlier.sign_in(&mut browser, super::APP, "alice").await.is(200).header("x-authentik-jwt");
    let replayed = up_to_callback(&earlier, &mut earlier.browser(), "alice").await;
    drop(replayed);
    // The same provider and keys: only the nonce tells that this token is of an earlier login.
    earlier.provider.set(|b| b.id_token_text = Some(token));
    let mut later = earlier.browser();
    let callback = up_to_callback(&earlier, &mut later, "alice").await;
    UNACCEPTED.check(&later.get(callback.location().as_str()).await, true);
    super::opens_nothing(&earlier, &mut later).await;

    play(vec![
        claim("another nonce", "nonce", "other"),
        claim("an empty nonce", "nonce", ""),
        claim("a nonce that is a list", "nonce", json!(["x"])),
        without("no nonce", "nonce"),
        beginning("the nonce twice, the wrong one first", |claims| claims.replacen('{', "{\"nonce\":\"other\",", 1)),
        beginning("the nonce twice, the wrong one last", |claims| {
            format!("{},\"nonce\":\"other\"}}", claims.trim_end_matches('}'))
        }),
        claim("the hash of another access token", "at_hash", "AAAAAAAAAAAAAAAAAAAAAA"),
        claim("a hash of nothing", "at_hash", ""),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn signatures_must_be_the_providers() {
    fn confused(name: &'static str, algorithm: Algorithm, form: PublicForm) -> Row {
        // Even where the provider says that it signs with the client secret, too.
        row(name, move |b| b.signing_key = SigningKey::PublicKeyAsSecret(form), UNACCEPTED).announced(move |b| {
            b.algorithm = algorithm;
            b.metadata.set("id_token_signing_alg_values_supported", json!(["RS256", "ES256", "HS256"]));
        })
    }
    fn header(name: &'static str, member: &'static str, value: serde_json::Value) -> Row {
        row(
            name,
            move |b| {
                b.id_token_header.set(member, value);
            },
            UNACCEPTED,
        )
    }
    play(vec![
        row("no signature", |b| b.algorithm = Algorithm::None, UNACCEPTED),
        row("no signature, and the provider says it signs none", |b| b.algorithm = Algorithm::None, UNACCEPTED)
            .announced(|b| {
                b.metadata.set("id_token_signing_alg_values_supported", json!(["none"]));
            }),
        header("none, with a signature", "alg", json!("none")),
        header("NoNe, with a signature", "alg", json!("NoNe")),
        row("a foreign key", |b| b.signing_key = SigningKey::Stray, UNACCEPTED),
        row("a foreign key under a known name", |b| b.signing_key = SigningKey::StrayWithPublishedId, UNACCEPTED),
        row("an algorithm that was not announced", |b| b.algorithm = Algorithm::Rs256, UNACCEPTED),
        row("the client secret, which was not announced", |b| b.algorithm = Algorithm::Hs256, UNACCEPTED),
        row("an empty key set", |b| b.signing_key = SigningKey::Published, UNACCEPTED)
            .announced(|b| b.jwks = Jwks::NoKeys),
        confused("an EC key as a secret, as in the key set", Algorithm::Es256, PublicForm::Jwk),
        confused("an EC key as a secret, in DER", Algorithm::Es256, PublicForm::Der),
        confused("an EC key as a secret, in PEM", Algorithm::Es256, PublicForm::Pem),
        confused("an RSA key as a secret, as in the key set", Algorithm::Rs256, PublicForm::Jwk),
        confused("an RSA key as a secret, in DER", Algorithm::Rs256, PublicForm::Der),
        confused("an RSA key as a secret, in PEM", Algorithm::Rs256, PublicForm::Pem),
        row(
            "an RSA key as a secret that was not announced",
            |b| {
                b.signing_key = SigningKey::PublicKeyAsSecret(PublicForm::Pem);
            },
            UNACCEPTED,
        )
        .announced(|b| b.algorithm = Algorithm::Rs256),
        header("another algorithm of the same family", "alg", json!("ES384")),
        header("another family", "alg", json!("RS256")),
        header("no algorithm", "alg", json!(null)),
        header("an unknown algorithm", "alg", json!("XX256")),
        header("a name that is no text", "kid", json!(7)),
        header("an unknown extension that must be understood", "crit", json!(["exp"])),
        row(
            "the algorithm twice",
            |b| b.rewrite.id_token_header = Some(|header| header.replacen('{', "{\"alg\":\"none\",", 1)),
            UNACCEPTED,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_id_token_is_refused() {
    play(vec![
        text("no token at all", ""),
        text("not a JWT", "not a JWT"),
        text("three dots", "..."),
        text("three empty parts", ".."),
        text("two parts", "e30.e30"),
        text("an encrypted one", "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.a.b.c.d"),
        text("parts that are no base64", "%%%.%%%.%%%"),
        text("parts that are no JSON", "AAAA.AAAA.AAAA"),
        text("lists in place of objects", "W10.W10.AAAA"),
        text("a megabyte", &format!("e30.{}.AAAA", "A".repeat(900_000))),
        beginning("claims that are no object", |_| "[]".to_owned()),
        beginning("claims that are no JSON", |_| "{".to_owned()),
        beginning("claims of ten thousand lists", |_| format!("{{\"x\":{}", "[".repeat(10_000))),
    ])
    .await;
}

/// Signs in where the provider is unusual, but right; the reply is the check that lets in.
async fn accepted(change: impl FnOnce(&mut Behaviour)) -> (crate::support::Stage, Reply) {
    let stage = stage(|_| (), super::PATIENT).await;
    stage.provider.set(change);
    let entered = stage.sign_in(&mut stage.browser(), super::APP, "alice").await;
    entered.is(200);
    (stage, entered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn names_of_every_kind_reach_the_application_in_one_line() {
    type Case = (&'static str, fn(&mut Behaviour), &'static str, &'static str);
    let cases: [Case; 13] = [
        ("claims only in userinfo", |b| b.user_claims_only_in_userinfo = true, "x-authentik-groups", "admins|staff"),
        (
            "no groups anywhere",
            |b| {
                b.id_token.set("groups", json!(null)).remove("groups");
                b.userinfo.set("groups", json!(null));
            },
            "x-authentik-groups",
            "",
        ),
        (
            "one group, not in a list",
            |b| {
                b.id_token.set("groups", "only one");
            },
            "x-authentik-groups",
            "only one",
        ),
        (
            "truth as a text",
            |b| {
                b.id_token.set("email_verified", "true");
            },
            "x-authentik-email",
            "alice@example.test",
        ),
        (
            "pipes in groups",
            |b| {
                b.id_token.set("groups", json!(["a|b", "c", "%7C"]));
            },
            "x-authentik-groups",
            "a%7Cb|c|%257C",
        ),
        (
            "line ends in groups",
            |b| {
                b.id_token.set("groups", json!(["a\r\nX-Authentik-Username: root", "b\u{0}c"]));
            },
            "x-authentik-groups",
            "a%0D%0AX-Authentik-Username: root|b%00c",
        ),
        (
            "a line end in the name",
            |b| {
                b.id_token.set("name", "Alice\nAdmin");
            },
            "x-authentik-name",
            "Alice Admin",
        ),
        (
            "four bytes a character",
            |b| {
                b.id_token.set("preferred_username", "𝒶𝓁𝒾𝒸ℯ🦊");
            },
            "x-authentik-username",
            "𝒶𝓁𝒾𝒸ℯ🦊",
        ),
        (
            "other line ends of Unicode",
            |b| {
                b.id_token.set("name", "a\u{85}b\u{2028}c");
            },
            "x-authentik-name",
            "a b\u{2028}c",
        ),
        (
            "a name that is a number",
            |b| {
                b.id_token.set("preferred_username", "4711").set("groups", json!([1, true, null, {}]));
            },
            "x-authentik-groups",
            "1|true",
        ),
        (
            "times with fractions",
            |b| {
                b.id_token.set("auth_time", json!(1_795_295_634.151_661));
            },
            "x-authentik-username",
            "alice",
        ),
        (
            "ourselves as one of one audience",
            |b| {
                b.id_token.set("aud", json!(["proxy"])).set("azp", "proxy");
            },
            "x-authentik-username",
            "alice",
        ),
        (
            "ourselves as the party of several audiences",
            |b| {
                b.id_token.set("aud", json!(["other", "proxy"])).set("azp", "proxy");
            },
            "x-authentik-username",
            "alice",
        ),
    ];
    side_by_side(cases.map(|(name, change, header, expected)| {
        (name, async move {
            let (_stage, entered) = accepted(change).await;
            assert_eq!(entered.header(header), expected, "{name}");
            let username = entered.header("x-authentik-username");
            assert!(!username.contains("root") && !username.contains(" & "), "{entered:#?}");
        })
    }))
    .await;
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
        ("members that nobody knows", |b| {
            b.token.set("session_state", "x").set("not-before-policy", 0).set("nested", json!({"a": [1]}));
        }),
        ("a lifetime that no number type holds", |b| {
            b.rewrite.token =
                Some(|text| text.replacen("\"expires_in\":3600", "\"expires_in\":99999999999999999999", 1));
        }),
    ];
    side_by_side(cases.map(|(name, change)| {
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
    let mut operator = crate::support::Browser::new().route("*", stage.daemon.metrics_address().unwrap());
    let metrics = operator.get("http://x/metrics").await;
    let line = metrics.body.lines().find(|line| line.contains("too_large") && line.contains("=\"app\""));
    assert!(line.is_some_and(|line| line.ends_with(" 1")), "{line:?}");
}
