//! A callback without an answer of the provider, or with one that counted before: it buys no time.

use super::scene::{AFTER, APP};
use super::silent::{callback, is_silent, pauses, scene};

/// A browser whose attempt is gone when it comes back is sent off again, and not for ever.
#[tokio::test]
async fn a_lost_attempt_buys_no_time_and_does_not_go_round() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    scene.pass(AFTER);
    let mut elsewhere = browser.clone();
    let leaving = scene.check(&mut elsewhere).await;
    is_silent(&scene, &leaving);
    for _ in 0..3 {
        // This one has the session, and not the cookie of the attempt.
        assert_eq!(callback(&mut browser, &leaving).await.is(302).header("location"), APP);
        is_silent(&scene, &scene.check(&mut browser).await);
    }
    pauses(&scene, &mut browser).await;
}

#[tokio::test]
async fn the_address_of_a_trip_of_before_buys_no_time() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    scene.pass(AFTER);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    let back = browser.get(leaving.location().as_str()).await.location();
    browser.get(back.as_str()).await.is(302);
    scene.check(&mut browser).await.is(200);
    // Once the provider has to be asked again, and long after the attempt's time.
    for pause in [AFTER, 31 * 60] {
        scene.pass(pause);
        assert_eq!(browser.get(back.as_str()).await.is(302).header("location"), APP);
        is_silent(&scene, &scene.check(&mut browser).await);
    }
}

#[tokio::test]
async fn an_answer_buys_time_once() {
    let scene = scene().await;
    let mut browser = scene.sign_in().await;
    scene.provider().set(|behaviour| behaviour.refuse = Some("server_error"));
    scene.pass(AFTER);
    let leaving = scene.check(&mut browser).await;
    is_silent(&scene, &leaving);
    let back = browser.get(leaving.location().as_str()).await.location();
    // It keeps the cookie of the attempt.
    let mut keeper = browser.clone();
    assert_eq!(browser.get(back.as_str()).await.is(302).header("location"), APP);
    scene.check(&mut browser).await.is(200);
    scene.pass(AFTER);
    assert_eq!(keeper.get(back.as_str()).await.is(302).header("location"), APP);
    is_silent(&scene, &scene.check(&mut keeper).await);
    is_silent(&scene, &scene.check(&mut browser).await);
}
