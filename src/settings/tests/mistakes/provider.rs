//! Mistakes in an identity provider's table.

use super::*;

/// More lines in the provider's table.
#[track_caller]
fn provider(lines: &str, parts: &[&str]) {
    one(&with_provider(lines), parts);
}

/// A provider's table without the given key, and with more lines.
#[track_caller]
fn provider_without(key: &str, lines: &str, parts: &[&str]) {
    let bare = without(MINIMAL, key);
    one(&bare.replace("[[application]]", &format!("{lines}\n[[application]]")), parts);
}

fn without(text: &str, key: &str) -> String {
    let lines = text.lines().filter(|line| !line.starts_with(&format!("{key} =")));
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn in_a_provider() {
    let path = "identity_provider.default";
    provider_without("issuer", "", &[path, "issuer: is missing"]);
    provider_without("client_id", "", &["client_id: is missing"]);
    provider_without("issuer", "issuer = \"http://id.example.com\"", &["cleartext", "danger_http_issuer"]);
    provider_without("issuer", "issuer = \"https://id.example.com/?a\"", &["query or fragment"]);
    provider_without("client_secret", "client_secret = 12345", &["put it in quotes"]);
    provider_without("client_secret", "client_secret = \"\"", &["client_secret: is empty"]);
    provider_without(
        "client_secret",
        "client_secret_file = \"/nonexistent/file\"",
        &["client_secret_file: \"/nonexistent/file\" cannot be read", "readable by the user"],
    );
    let empty = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(empty.path(), "\n").unwrap();
    let line = format!("client_secret_file = {:?}", empty.path());
    provider_without("client_secret", &line, &["client_secret_file", "is empty"]);
    std::fs::write(empty.path(), "from a file").unwrap();
    provider(&line, &["client_secret: a secret given twice", "client_secret_file"]);
}

#[test]
fn in_the_protocol_of_a_provider() {
    let path = "identity_provider.default";
    provider("token_endpoint_auth_method = \"none\"", &["without a secret, and one is given"]);
    for method in ["client_secret_basic", "client_secret_post"] {
        let line = format!("token_endpoint_auth_method = \"{method}\"");
        provider_without("client_secret", &line, &["needs a secret, and none is given"]);
    }
    provider("token_endpoint_auth_method = \"private_key_jwt\"", &["one of auto,"]);
    provider("scopes = [\"openid profile\"]", &["scopes[0]: \"openid profile\" is not a scope"]);
    provider("offline_access = \"yes\"", &["one of auto, always, never"]);
    provider("offline_access = true", &["offline_access:"]);
    provider(
        "offline_access = \"never\"\nscopes = [\"offline_access\"]",
        &["offline_access: \"never\", and it is among the scopes"],
    );
    provider("timeout = \"0\"", &["out of range"]);
    provider("jwks_cooldown = \"2h\"", &["out of range"]);
    for name in ["none", "ES256K", "rs256"] {
        provider(
            &format!("id_token_signed_response_alg = \"{name}\""),
            &["not an algorithm that is supported", "RS256, "],
        );
    }
    provider_without("client_secret", "id_token_signed_response_alg = \"HS256\"", &["client secret"]);
    provider("claims = { usrname = \"a\" }", &["claims.usrname", "did you mean username?"]);
    provider("claims = { groups = \"\" }", &["claims.groups: is empty"]);
    provider("claims = { username = [] }", &["claims.username: is an empty list"]);
    provider("claims = { username = [\"\"] }", &["claims.username: is empty"]);
    provider("claims = { username = [[]] }", &["claims.username: is an empty list", "each step"]);
    provider("claims = { username = [7] }", &["claims.username:", "put it in quotes"]);
    provider("claims = { username = [[[\"a\"]]] }", &["claims.username:", "wanted a text"]);
    // Steps or alternatives: to guess would make groups of what are none.
    provider("claims = { groups = [\"a\", \"b\"] }", &["claims.groups: has more than one reading", "[[\"a\", \"b\"]]"]);
    provider("claims = { groups = [\"a\", [\"b\"]] }", &["claims.groups: has more than one reading"]);
    for owned in [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "scope",
        "state",
        "nonce",
        "code_challenge",
        "code_challenge_method",
        "request",
        "request_uri",
    ] {
        let line = format!("authorization_parameters = {{ {owned} = \"x\" }}");
        let expected = format!("{path}.authorization_parameters.{owned}: belongs to the protocol");
        provider(&line, &[&expected]);
    }
    provider("authorization_parameters = { a = [] }", &["authorization_parameters.a: wanted a text"]);
    one(&MINIMAL.replace(".default]", ".\"a b\"]"), &["identity_provider.\"a b\": is not a usable name"]);
}
