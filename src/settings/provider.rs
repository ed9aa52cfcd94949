//! `[identity_provider.NAME]`.

use std::collections::BTreeMap;
use std::time::Duration;

use super::address::issuer;
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use super::session::secret;
use super::typed::FlatList;
use super::values::is_slug;
use crate::identity::{ClaimNames, ClaimPath};
use crate::oidc::{IdentityProvider, OfflineAccess, SigningAlgorithm, TokenEndpointAuthMethod};

/// Parameters of the authorisation request that forepost sets itself (OIDC Core §3.1.2.1, RFC 7636, RFC 9101).
const OWNED_PARAMETERS: [&str; 12] = [
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
    "registration",
];

/// Reads all providers, and leaves out those with mistakes.
pub(super) fn read_all(tables: Vec<(String, Table<'_>)>) -> BTreeMap<String, IdentityProvider> {
    let mut providers = BTreeMap::new();
    for (name, table) in tables {
        if !is_slug(&name) {
            let hint = "letters, digits, - and _ make a name";
            table.wrong_whole(complaint("is not a usable name", hint));
        }
        if let Some(provider) = read(table) {
            providers.insert(name, provider);
        }
    }
    providers
}

fn read(mut table: Table<'_>) -> Option<IdentityProvider> {
    let second = Duration::from_secs(1);
    let danger_http_issuer = table.boolean("danger_http_issuer", false);
    let issuer = table.read("issuer", |item| issuer(item.text()?, danger_http_issuer));
    table.missing("issuer", "the address of the provider, as its discovery document spells it");
    let client_id = table.text("client_id");
    table.missing("client_id", "the id that the provider gave forepost at registration");
    let client_secret = secret(&mut table, "client_secret", "client_secret_file");
    let scopes = table.each("scopes", &[',', ' '], |item| scope(item.text()?));
    let offline_access = offline_access(&mut table, scopes.as_deref().unwrap_or_default());
    let token_endpoint_auth_method = table.choice(
        "token_endpoint_auth_method",
        TokenEndpointAuthMethod::Auto,
        &[
            ("auto", TokenEndpointAuthMethod::Auto),
            ("client_secret_basic", TokenEndpointAuthMethod::ClientSecretBasic),
            ("client_secret_post", TokenEndpointAuthMethod::ClientSecretPost),
            ("none", TokenEndpointAuthMethod::None),
        ],
    );
    let has_secret = table.was_given("client_secret") || table.was_given("client_secret_file");
    check_method(&table, token_endpoint_auth_method, has_secret);
    let id_token_signed_response_alg =
        table.read("id_token_signed_response_alg", |item| signing_algorithm(item.text()?, has_secret));
    let ca_file = table.ca_file();
    let timeout = table.duration("timeout", second * 10, second..=second * 120);
    let jwks_cooldown = table.duration("jwks_cooldown", second * 30, second..=second * 3600);
    let callback_marker = table.boolean("callback_marker", true);
    let frontchannel_logout = table.boolean("frontchannel_logout", false);
    let cli_client_id = table.text("cli_client_id");
    let claims = claims(table.table("claims"));
    let authorization_parameters = parameters(&mut table);
    table.finish();
    Some(IdentityProvider {
        issuer: issuer?,
        client_id: client_id?,
        client_secret,
        scopes: with_openid(scopes),
        offline_access,
        token_endpoint_auth_method,
        id_token_signed_response_alg,
        ca_file,
        timeout,
        jwks_cooldown,
        claims,
        authorization_parameters,
        frontchannel_logout,
        callback_marker,
        cli_client_id,
        danger_http_issuer,
    })
}

fn offline_access(table: &mut Table<'_>, scopes: &[String]) -> OfflineAccess {
    let choices = [("auto", OfflineAccess::Auto), ("always", OfflineAccess::Always), ("never", OfflineAccess::Never)];
    let offline_access = table.choice("offline_access", OfflineAccess::Auto, &choices);
    if offline_access == OfflineAccess::Never && scopes.iter().any(|scope| scope == "offline_access") {
        let hint = "remove it there, or choose always";
        table.wrong("offline_access", complaint("\"never\", and it is among the scopes", hint));
    }
    offline_access
}

fn check_method(table: &Table<'_>, method: TokenEndpointAuthMethod, has_secret: bool) {
    let wrong = |problem: &str, hint: &str| {
        table.wrong("token_endpoint_auth_method", complaint(problem, hint));
    };
    match method {
        TokenEndpointAuthMethod::None if has_secret => {
            wrong("\"none\" is for clients without a secret, and one is given", "remove the secret, or choose auto");
        }
        TokenEndpointAuthMethod::ClientSecretBasic | TokenEndpointAuthMethod::ClientSecretPost if !has_secret => {
            wrong("needs a secret, and none is given", "give client_secret or client_secret_file");
        }
        _ => {}
    }
}

fn signing_algorithm(text: &str, has_secret: bool) -> Result<SigningAlgorithm, Complaint> {
    let algorithm = SigningAlgorithm::named(text).ok_or_else(|| {
        let hint = format!("one of {}", SigningAlgorithm::list(&SigningAlgorithm::ALL));
        complaint(format!("{} is not an algorithm that is supported", shown(text)), hint)
    })?;
    if algorithm.uses_client_secret() && !has_secret {
        let problem = format!("{text} is made with the client secret, and none is given");
        return Err(complaint(problem, "give client_secret or client_secret_file, or register RS256 or ES256"));
    }
    Ok(algorithm)
}

/// RFC 6749 §3.3.
pub(super) fn scope(text: &str) -> Result<String, Complaint> {
    let is_token = text.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\');
    if is_token {
        Ok(text.to_owned())
    } else {
        Err(complaint(format!("{} is not a scope", shown(text)), "write each scope as its own element, without blanks"))
    }
}

/// Without `openid` it is not an OpenID request (OIDC Core §3.1.2.1).
fn with_openid(scopes: Option<Vec<String>>) -> Vec<String> {
    let given = scopes.unwrap_or_else(|| ["openid", "profile", "email"].map(str::to_owned).into());
    let mut scopes: Vec<String> = Vec::with_capacity(given.len() + 1);
    if !given.iter().any(|scope| scope == "openid") {
        scopes.push("openid".to_owned());
    }
    for scope in given {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

pub(super) fn claims(mut table: Table<'_>) -> ClaimNames {
    let mut claim = |key, default, flat| table.claim_path(key, flat).unwrap_or_else(|| ClaimPath::new(default));
    let claims = ClaimNames {
        username: claim("username", "preferred_username", FlatList::Alternatives),
        email: claim("email", "email", FlatList::Alternatives),
        name: claim("name", "name", FlatList::Alternatives),
        groups: claim("groups", "groups", FlatList::Ambiguous),
        entitlements: claim("entitlements", "entitlements", FlatList::Ambiguous),
        uid: claim("uid", "sub", FlatList::Alternatives),
    };
    table.finish();
    claims
}

fn parameters(table: &mut Table<'_>) -> BTreeMap<String, String> {
    let given = table.texts_by_name("authorization_parameters");
    for (name, _) in &given {
        if OWNED_PARAMETERS.contains(&name.as_str()) {
            table.wrong_below(
                "authorization_parameters",
                name,
                complaint("belongs to the protocol and is set by forepost", "remove it; scopes have their own key"),
            );
        }
    }
    given.into_iter().collect()
}
