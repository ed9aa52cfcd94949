//! Token and userinfo endpoints that fail, lie, or are not HTTP servers.

use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::json;

use super::odd::{Manner, Odd};
use super::{AWAY, Ending, REFUSED, Row, UNACCEPTED, opens_nothing, play, row, side_by_side, stage, up_to_callback};
use crate::provider::{Endpoint, Fault};

/// More than the greatest body that is read, with what systems buffer underneath; far less than the 50 MB offered.
const TAKEN: u64 = 16 << 20;

fn token(name: &'static str, fault: Fault, ending: Ending) -> Row {
    row(
        name,
        move |b| {
            b.faults.insert(Endpoint::Token, fault);
        },
        ending,
    )
}

fn userinfo(name: &'static str, fault: Fault, ending: Ending) -> Row {
    row(
        name,
        move |b| {
            b.user_claims_only_in_userinfo = true;
            b.faults.insert(Endpoint::Userinfo, fault);
        },
        ending,
    )
}

fn body(body: impl Into<bytes::Bytes>) -> Fault {
    Fault { body: Some(body.into()), ..Fault::default() }
}

fn refusal(error: &str) -> Fault {
    Fault { status: Some(StatusCode::BAD_REQUEST), ..body(json!({ "error": error }).to_string()) }
}

fn gzip() -> Fault {
    let headers = [("content-encoding", "gzip")].map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()));
    Fault { headers: HeaderMap::from_iter(headers), ..body(b"\x1f\x8b\x08\0\0\0\0\0\0\x03".as_slice()) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_endpoint_that_misbehaves_ends_on_a_page() {
    play(vec![
        token("500", Fault::status(StatusCode::INTERNAL_SERVER_ERROR), AWAY),
        token("503", Fault::status(StatusCode::SERVICE_UNAVAILABLE), AWAY),
        token("429", Fault::status(StatusCode::TOO_MANY_REQUESTS), AWAY),
        token("404", Fault::status(StatusCode::NOT_FOUND), UNACCEPTED),
        token("204", Fault::status(StatusCode::NO_CONTENT), UNACCEPTED),
        token("a connection that ends", Fault { hang_up: true, ..Fault::default() }, AWAY),
        token("an empty answer", body(""), UNACCEPTED),
        token("HTML", body("<html><script>alert(1)</script>"), UNACCEPTED),
        token("a list", body("[]"), UNACCEPTED),
        token("an empty object", body("{}"), UNACCEPTED),
        token("a compressed body", gzip(), UNACCEPTED),
        token("two megabytes", body(vec![b' '; 2 << 20]), UNACCEPTED),
        token("no UTF-8", body(b"{\"access_token\":\"\xff\"}".as_slice()), UNACCEPTED),
        token("ten thousand lists", body("[".repeat(10_000)), UNACCEPTED),
        token("the code was used before", refusal("invalid_grant"), UNACCEPTED).begins_again(),
        token("we are not known", refusal("invalid_client"), REFUSED),
        token("an error of their own", refusal("<script>alert(1)</script>\r\n"), UNACCEPTED),
        row(
            "no ID token",
            |b| {
                b.token.remove("id_token");
            },
            UNACCEPTED,
        ),
        row(
            "an ID token that is null",
            |b| {
                b.token.set("id_token", json!(null));
            },
            UNACCEPTED,
        ),
        row(
            "no access token",
            |b| {
                b.token.remove("access_token");
            },
            UNACCEPTED,
        ),
        row(
            "an access token twice",
            |b| b.rewrite.token = Some(|text| text.replacen('{', "{\"access_token\":\"other\",", 1)),
            UNACCEPTED,
        ),
        row(
            "an ID token twice",
            |b| b.rewrite.token = Some(|text| text.replacen('{', "{\"id_token\":\"e30.e30.\",", 1)),
            UNACCEPTED,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_userinfo_endpoint_that_misbehaves_ends_on_a_page() {
    fn patched(name: &'static str, value: serde_json::Value) -> Row {
        row(
            name,
            move |b| {
                b.user_claims_only_in_userinfo = true;
                b.userinfo.set("sub", value);
            },
            UNACCEPTED,
        )
    }
    play(vec![
        userinfo("500", Fault::status(StatusCode::INTERNAL_SERVER_ERROR), AWAY),
        userinfo("429", Fault::status(StatusCode::TOO_MANY_REQUESTS), AWAY),
        userinfo("401", Fault::status(StatusCode::UNAUTHORIZED), UNACCEPTED),
        userinfo("a connection that ends", Fault { hang_up: true, ..Fault::default() }, AWAY),
        userinfo("HTML", body("<html>"), UNACCEPTED),
        userinfo("an empty object", body("{}"), UNACCEPTED),
        userinfo("a compressed body", gzip(), UNACCEPTED),
        userinfo("two megabytes", body(vec![b' '; 2 << 20]), UNACCEPTED),
        patched("another user", json!("another-user")),
        patched("a subject that is null", json!(null)),
        patched("a subject in another case", json!("ID-alice")),
        row(
            "the right subject and then another one",
            |b| {
                b.user_claims_only_in_userinfo = true;
                b.rewrite.userinfo = Some(|text| format!("{},\"sub\":\"other\"}}", text.trim_end_matches('}')));
            },
            UNACCEPTED,
        ),
        row(
            "another subject and then the right one",
            |b| {
                b.user_claims_only_in_userinfo = true;
                b.rewrite.userinfo = Some(|text| text.replacen('{', "{\"sub\":\"other\",", 1));
            },
            UNACCEPTED,
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoints_that_are_no_http_servers_cost_neither_memory_nor_time() {
    let manners = [
        ("silence", Manner::Silent, AWAY),
        ("a body of 50 MB", Manner::Huge, UNACCEPTED),
        ("a body of 50 MB in chunks", Manner::HugeChunks, UNACCEPTED),
        ("a body drop by drop", Manner::DripBody, AWAY),
        ("a head drop by drop", Manner::DripHead, AWAY),
        ("half a body", Manner::HalfClosed, AWAY),
        ("a broken chunk", Manner::BrokenChunk, AWAY),
        ("another protocol", Manner::NotHttp, AWAY),
        ("interim answers without end", Manner::Continue, AWAY),
        ("a thousand headers", Manner::ManyHeaders, AWAY),
    ];
    let (mut rows, mut all_seen, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for (name, manner, ending) in manners {
        for key in ["token_endpoint", "userinfo_endpoint"] {
            let odd = Odd::start(manner).await;
            let url = odd.url();
            let row = row(name, |b| b.user_claims_only_in_userinfo = true, ending).announced(move |b| {
                b.metadata.set(key, url);
            });
            // Only those that would wait for ever are waited for briefly.
            let waits = matches!(manner, Manner::Silent | Manner::DripBody | Manner::DripHead | Manner::Continue);
            rows.push(if waits { row.hasty() } else { row });
            all_seen.push((name, odd.seen()));
            servers.push(odd);
        }
    }
    play(rows).await;
    for (name, seen) in all_seen {
        assert!(seen.requests() >= 2, "{name} was not met");
        assert!(seen.written() < TAKEN, "{name}: {} bytes were taken", seen.written());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_redirect_of_an_endpoint_is_followed() {
    let statuses = [300, 301, 302, 303, 307, 308].map(|status| StatusCode::from_u16(status).unwrap());
    let places = [("token", Endpoint::Token), ("userinfo", Endpoint::Userinfo)];
    let cases = places.into_iter().flat_map(|place| statuses.map(|status| (place, status)));
    side_by_side(cases.map(|((name, endpoint), status)| {
        (name, async move {
            let elsewhere = Odd::start(Manner::Object).await;
            let stage = stage(|_| (), super::PATIENT).await;
            let location = HeaderValue::try_from(elsewhere.url()).unwrap();
            let headers = HeaderMap::from_iter([(http::header::LOCATION, location)]);
            stage.provider.set(|b| {
                b.user_claims_only_in_userinfo = true;
                b.faults.insert(endpoint, Fault { headers, ..Fault::status(status) });
            });
            let mut browser = stage.browser();
            let callback = up_to_callback(&stage, &mut browser, "alice").await;
            AWAY.check(&browser.get(callback.location().as_str()).await, true);
            opens_nothing(&stage, &mut browser).await;
            assert_eq!((stage.provider.requests(endpoint), elsewhere.seen().requests()), (1, 0), "{status}");
        })
    }))
    .await;
}
