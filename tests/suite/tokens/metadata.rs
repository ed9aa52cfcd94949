use http::Method;
use serde_json::json;

use super::{APP, stage};

#[tokio::test]
async fn programs_learn_where_to_get_a_token() {
    let stage = stage().await;
    let mut program = stage.browser();
    let challenge = stage.ask("traefik", &mut program, Method::POST, APP, &[("accept", "application/json")]).await;
    let address = "https://app.example.com/outpost.goauthentik.io/oauth-protected-resource";
    let expected = format!("Bearer resource_metadata=\"{address}\"");
    assert_eq!(challenge.is(401).header("www-authenticate"), expected);
    let nginx = stage.ask("nginx", &mut program, Method::GET, APP, &[]).await;
    assert_eq!(nginx.is(401).header("www-authenticate"), expected);
    let reply = program.get(address).await;
    let document = json!({
        "resource": "https://app.example.com",
        "resource_name": "app",
        "authorization_servers": [stage.provider.issuer()],
        "bearer_methods_supported": ["header"],
        "scopes_supported": ["openid", "profile", "email", "groups"],
        "forepost_cli_client_id": "cli",
    });
    assert_eq!(reply.is(200).json(), document);
    assert_eq!(reply.header("access-control-allow-origin"), "*");
    assert_eq!(reply.header("cache-control"), "public, max-age=300");
    let well_known = "https://app.example.com/.well-known/oauth-protected-resource";
    assert_eq!(program.get(well_known).await.json(), document);
    let part = program.get(&format!("{well_known}/mcp")).await;
    assert_eq!(part.is(200).json()["resource"], "https://app.example.com/mcp");
    let scoped = program.get("https://scoped.example.com/.well-known/oauth-protected-resource").await;
    assert_eq!(scoped.json()["scopes_supported"], json!(["write", "openid", "profile", "email", "groups"]));
    for path in [
        "https://app.example.com/.well-known/oauth-protected-resource/other",
        "https://plain.example.com/outpost.goauthentik.io/oauth-protected-resource",
        "https://password.example.com/.well-known/oauth-protected-resource",
    ] {
        program.get(path).await.is(404);
    }
    program.send(Method::OPTIONS, address, &[], None).await.is(204);
    program.send(Method::POST, address, &[], Some("x=y")).await.is(405);
    // A question about it is a question about the application.
    stage.check("traefik", &mut program, well_known).await.is(302);
}

#[tokio::test]
async fn without_tokens_nothing_is_said_of_them() {
    let stage = stage().await;
    let mut program = stage.browser();
    let reply = stage
        .ask("traefik", &mut program, Method::POST, "https://plain.example.com/", &[("accept", "application/json")])
        .await;
    assert_eq!(reply.is(401).header("www-authenticate"), "Cookie realm=\"forepost\"");
}
