//! Revocation, as forepost asks for it.

use super::*;

#[tokio::test]
async fn a_revoked_token_serves_no_more() {
    let visit = Visit::offline(|_| ()).await;
    assert_eq!(visit.known.revoke(&visit.token()).await.unwrap(), Revocation::Done);
    assert_eq!(
        visit.scene.provider.last_request(Endpoint::Revocation).unwrap().form.get("token_type_hint"),
        Some("refresh_token")
    );
    assert!(!visit.lives(&visit.token()).await);
    // RFC 7009 §2.2: the provider answers 200 for an unknown token.
    assert_eq!(visit.known.revoke(&visit.token()).await.unwrap(), Revocation::Done);
}

#[tokio::test]
async fn a_revocation_that_fails_says_so() {
    let none = Visit::offline(|b| {
        b.metadata.remove("revocation_endpoint");
    })
    .await;
    assert_eq!(none.known.revoke(&none.token()).await.unwrap(), Revocation::Unsupported);
    let elsewhere = Visit::offline(|b| {
        b.metadata.set("revocation_endpoint", "javascript:x");
    })
    .await;
    assert_eq!(elsewhere.known.revoke(&elsewhere.token()).await.unwrap(), Revocation::Unsupported);

    let visit = Visit::offline(|_| ()).await;
    for (status, body, why) in [
        (503, "", "does not answer"),
        (302, "", "does not answer"),
        (401, r#"{"error": "invalid_client"}"#, "refused: invalid_client"),
        (400, "<html>", "refused: revocation answered 400"),
        (400, r#"{"error": "se:cr+t%"}"#, "refused: revocation answered 400"),
    ] {
        visit.scene.provider.set(answers(Endpoint::Revocation, status, body));
        let error = WithCauses(&visit.known.revoke(&visit.token()).await.unwrap_err()).to_string();
        assert!(error.contains(why), "{error:?} does not say {why:?}");
    }
}
