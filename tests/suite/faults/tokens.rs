//! ID tokens that prove nothing.

use serde_json::json;

use super::{Row, UNACCEPTED, play, row, stage, up_to_callback};
use crate::provider::{Algorithm, Behaviour, Jwks, PublicForm, SigningKey};

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

/// A token of the test, whatever the login was.
fn text(name: &'static str, text: &str) -> Row {
    let text = text.to_owned();
    row(name, move |b| b.id_token_text = Some(text), UNACCEPTED)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn issuer_audience_and_subject_must_be_right() {
    play(vec![
        claim("another issuer", "iss", "http://evil.test"),
        claim("no issuer", "iss", json!(null)),
        claim("an issuer that is not a string", "iss", 7),
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
        claim("an authorised party that is not a string", "azp", json!(["proxy"])),
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
    /// The metadata stay so however often they are asked for.
    fn fixed(b: &mut Behaviour) {
        b.metadata.set("id_token_signing_alg_values_supported", json!(["ES256", "EdDSA"]));
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
        row("an algorithm that is not announced", |b| b.algorithm = Algorithm::Rs256, UNACCEPTED).announced(fixed),
        row("the client secret, which is not announced", |b| b.algorithm = Algorithm::Hs256, UNACCEPTED)
            .announced(fixed),
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
        header("a name that is not a string", "kid", json!(7)),
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
        text("parts that are not base64", "%%%.%%%.%%%"),
        text("parts that are not JSON", "AAAA.AAAA.AAAA"),
        text("lists in place of objects", "W10.W10.AAAA"),
        text("a megabyte", &format!("e30.{}.AAAA", "A".repeat(900_000))),
        beginning("claims that are not an object", |_| "[]".to_owned()),
        beginning("claims that are not JSON", |_| "{".to_owned()),
        beginning("claims of ten thousand lists", |_| format!("{{\"x\":{}", "[".repeat(10_000))),
    ])
    .await;
}
