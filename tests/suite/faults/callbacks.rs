//! The way back from the provider: errors, parameters that are missing or wrong, the same way twice.

use serde_json::json;

use super::{
    Ending, FOREIGN, NO_ANSWER, NO_ISSUER, OTHER_ISSUER, PATIENT, Row, opens_nothing, play, row, stage, up_to_callback,
};
use crate::provider::Endpoint;

fn error(name: &'static str, code: &'static str, status: u16, page: &'static str) -> [Row; 2] {
    let ending = Ending { status, page, error: "login_failed" };
    let malformed = row(
        name,
        move |b| {
            b.refuse = Some(code);
            b.malformed_errors = true;
        },
        ending,
    );
    // That way back has no `iss`.
    let malformed = malformed.announced(|b| {
        b.metadata.remove("authorization_response_iss_parameter_supported");
    });
    [row(name, move |b| b.refuse = Some(code), ending), malformed]
}

fn parameter(name: &'static str, parameter: &'static str, value: &'static str, ending: Ending) -> Row {
    row(
        name,
        move |b| {
            b.callback.set(parameter, value);
        },
        ending,
    )
}

fn without(name: &'static str, parameter: &'static str, ending: Ending) -> Row {
    row(
        name,
        move |b| {
            b.callback.remove(parameter);
        },
        ending,
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn errors_of_the_provider_end_on_a_page() {
    let without_you = "The identity provider could not complete the sign-in without you.";
    let ill = "The identity provider has a problem at the moment.";
    let refused = "The identity provider refused the login.";
    play(
        [
            error("denied", "access_denied", 403, "The identity provider did not grant access."),
            error("login required", "login_required", 400, without_you),
            error("consent required", "consent_required", 400, without_you),
            error("interaction required", "interaction_required", 400, without_you),
            error("server error", "server_error", 502, ill),
            error("unavailable", "temporarily_unavailable", 502, ill),
            error("an invalid request", "invalid_request", 400, refused),
            error("markup", "<script>alert(1)</script>", 400, refused),
            error("a loop", "http://evil.test/", 400, refused),
        ]
        .into_iter()
        .flatten()
        .collect(),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_way_back_that_is_wrong_leads_nowhere() {
    play(vec![
        parameter("another issuer", "iss", "http://evil.test", OTHER_ISSUER),
        parameter("an empty issuer", "iss", "", OTHER_ISSUER),
        without("no issuer, though one was promised", "iss", NO_ISSUER),
        row("the issuer twice", |b| b.callback_suffix = "&iss=http://evil.test", NO_ANSWER),
        row("the code twice", |b| b.callback_suffix = "&code=other", NO_ANSWER),
        row("the state twice", |b| b.callback_suffix = "&state=other", NO_ANSWER),
        without("no code", "code", NO_ANSWER),
        without("no state", "state", NO_ANSWER),
        parameter("another state", "state", "other", FOREIGN),
        parameter("an empty state", "state", "", FOREIGN),
        parameter("another code", "code", "other", super::UNACCEPTED).begins_again(),
        parameter("an empty code", "code", "", super::UNACCEPTED),
        row(
            "an error beside the code",
            |b| {
                b.callback.set("error", "access_denied");
            },
            Ending { status: 403, page: "The identity provider did not grant access.", error: "login_failed" },
        ),
    ])
    .await;
}

#[tokio::test]
async fn an_issuer_with_one_slash_more_is_another_one() {
    let stage = stage(|_| (), PATIENT).await;
    let iss = json!(format!("{}/", stage.provider.issuer()));
    stage.provider.set(|b| {
        b.callback.set("iss", iss);
    });
    let mut browser = stage.browser();
    let callback = up_to_callback(&stage, &mut browser, "alice").await;
    OTHER_ISSUER.check(&browser.get(callback.location().as_str()).await, true);
    opens_nothing(&stage, &mut browser).await;
    assert_eq!(stage.provider.requests(Endpoint::Token), 0, "the code is not given to anybody");
}

#[tokio::test]
async fn a_way_back_works_once() {
    let stage = stage(|_| (), PATIENT).await;
    let mut browser = stage.browser();
    let callback = up_to_callback(&stage, &mut browser, "alice").await.location();
    let mut copy = browser.clone();
    assert_eq!(browser.get(callback.as_str()).await.is(302).header("location"), super::APP);
    // With the session, the second time is harmless; without, another login begins, though all its cookies are there.
    assert_eq!(browser.get(callback.as_str()).await.is(302).header("location"), super::APP);
    stage.check("traefik", &mut browser, super::APP).await.is(200);
    let again = copy.get(callback.as_str()).await;
    assert!(again.is(302).location().as_str().starts_with(stage.provider.issuer()), "{again:#?}");
    opens_nothing(&stage, &mut copy).await;
    assert_eq!(stage.provider.requests(Endpoint::Token), 1);
    stage.complete(&mut copy, again, "alice").await.is(200);
}
