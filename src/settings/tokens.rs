//! `[application.tokens]` and `[[application.token_issuer]]`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use super::address::issuer;
use super::mistakes::{complaint, shown};
use super::provider::{claims, scope};
use super::reader::Table;
use super::values::is_slug;
use super::{ClaimNames, IdentityProvider, OfflineAccess, TokenEndpointAuthMethod};

/// What programs may show in place of a session, in `Authorization`.
#[derive(Clone, Debug)]
pub struct Tokens {
    /// The scheme `Bearer` (RFC 6750).
    pub bearer: Bearer,
    /// The scheme `Basic` (RFC 7617).
    pub basic: Basic,
    /// Audiences that mean this application, beside our client id and the application's own address.
    pub audiences: Vec<String>,
    /// Other clients of the provider whose tokens are accepted although they were not made for us.
    pub accept_clients: Vec<String>,
    /// Scopes that every bearer token needs.
    pub scopes: Vec<String>,
    /// Accept tokens that name no user; the application then gets an empty user name.
    pub allow_unnamed: bool,
    /// Whether a valid session counts before `Authorization`, which is then the application's own.
    pub prefer_session: bool,
    /// Further issuers of JWTs.
    pub issuers: Vec<TokenIssuer>,
}

/// Which bearer tokens are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bearer {
    /// None.
    Off,
    /// JWTs, verified here (RFC 9068, and plain ones).
    Jwt,
    /// Any that the provider says are good, each time anew (RFC 7662).
    Introspection,
    /// JWTs verified here, others by introspection.
    Both,
}

/// What user name and password are accepted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basic {
    /// Nothing.
    Off,
    /// App passwords of authentik, redeemed at its token endpoint.
    Authentik,
}

/// An issuer of JWTs that is no identity provider of ours.
#[derive(Clone, Debug)]
pub struct TokenIssuer {
    /// Stands before the names of its users and groups, so that they are nobody else's.
    pub name: String,
    /// The issuer identifier, compared to the last character.
    pub issuer: String,
    /// Audiences that mean this application, beside its own address.
    pub audiences: Vec<String>,
    /// PEM file with certificate authorities trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// For one request to the issuer, connection included.
    pub timeout: Duration,
    /// Least time between two key refreshes that unknown key ids ask for.
    pub jwks_cooldown: Duration,
    /// Where in the claims the parts of an identity are.
    pub claims: ClaimNames,
    /// Speak to an issuer in cleartext although it is not on this machine.
    pub danger_http_issuer: bool,
}

const LIST: &[char] = &[',', ' '];

/// Reads what programs may show in place of a session; `None` when it is nothing.
pub(super) fn read(mut table: Table<'_>, issuer_tables: Option<Vec<Table<'_>>>) -> Option<Tokens> {
    let bearer = table.choice(
        "bearer",
        Bearer::Off,
        &[("off", Bearer::Off), ("jwt", Bearer::Jwt), ("introspection", Bearer::Introspection), ("both", Bearer::Both)],
    );
    let basic = table.choice("basic", Basic::Off, &[("off", Basic::Off), ("authentik", Basic::Authentik)]);
    let mut texts = |key| table.each(key, LIST, |item| item.text().map(str::to_owned)).unwrap_or_default();
    let (audiences, accept_clients) = (texts("audiences"), texts("accept_clients"));
    let scopes = table.each("scopes", LIST, |item| scope(item.text()?)).unwrap_or_default();
    let allow_unnamed = table.boolean("allow_unnamed", false);
    let prefer_session = table.boolean("prefer_session", false);
    if bearer == Bearer::Off {
        for key in ["audiences", "accept_clients", "scopes"] {
            if table.was_given(key) {
                table
                    .wrong(key, complaint("has no effect while bearer is off", "choose bearer = \"jwt\", for example"));
            }
        }
    }
    let issuers = issuers(issuer_tables.unwrap_or_default(), bearer);
    table.finish();
    let accepts_any = bearer != Bearer::Off || basic != Basic::Off;
    accepts_any.then_some(Tokens {
        bearer,
        basic,
        audiences,
        accept_clients,
        scopes,
        allow_unnamed,
        prefer_session,
        issuers,
    })
}

impl Tokens {
    /// Whether the provider is asked about tokens (RFC 7662), so that it needs an introspection endpoint.
    #[must_use]
    pub fn needs_introspection(&self) -> bool {
        matches!(self.bearer, Bearer::Introspection | Bearer::Both)
    }
}

impl TokenIssuer {
    /// The same as a provider where we have no client, as its keys are looked after in the same way.
    #[must_use]
    pub fn as_provider(&self) -> IdentityProvider {
        IdentityProvider {
            issuer: self.issuer.clone(),
            client_id: String::new(),
            client_secret: None,
            scopes: Vec::new(),
            offline_access: OfflineAccess::Never,
            token_endpoint_auth_method: TokenEndpointAuthMethod::None,
            id_token_signed_response_alg: None,
            ca_file: self.ca_file.clone(),
            timeout: self.timeout,
            jwks_cooldown: self.jwks_cooldown,
            claims: self.claims.clone(),
            authorization_parameters: BTreeMap::new(),
            frontchannel_logout: false,
            callback_marker: false,
            cli_client_id: None,
            danger_http_issuer: self.danger_http_issuer,
        }
    }
}

fn issuers(tables: Vec<Table<'_>>, bearer: Bearer) -> Vec<TokenIssuer> {
    let mut seen = BTreeSet::new();
    let mut issuers = Vec::new();
    for mut table in tables {
        if !matches!(bearer, Bearer::Jwt | Bearer::Both) {
            let hint = "choose bearer = \"jwt\" or \"both\" under [application.tokens]";
            table.wrong_whole(complaint("has no effect: no JWT is accepted", hint));
        }
        if let Some(issuer) = one_issuer(&mut table) {
            for (key, value) in [("name", &issuer.name), ("issuer", &issuer.issuer)] {
                if !seen.insert((key, value.clone())) {
                    let problem = format!("{} is that of an earlier one too", shown(value));
                    table.wrong(key, complaint(problem, "give each issuer once, by a name of its own"));
                }
            }
            issuers.push(issuer);
        }
        table.finish();
    }
    issuers
}

fn one_issuer(table: &mut Table<'_>) -> Option<TokenIssuer> {
    let second = Duration::from_secs(1);
    let name = table.read("name", |item| {
        let text = item.text()?;
        if is_slug(text) {
            Ok(text.to_owned())
        } else {
            Err(complaint(format!("{} is no usable name", shown(text)), "letters, digits, - and _ make a name"))
        }
    });
    table.missing("name", "it stands before the names of this issuer's users: \"ci\" makes ci:deployer");
    let danger_http_issuer = table.boolean("danger_http_issuer", false);
    let issuer = table.read("issuer", |item| issuer(item.text()?, danger_http_issuer));
    table.missing("issuer", "the address of the issuer, as its discovery document spells it");
    let audiences = table.each("audiences", LIST, |item| item.text().map(str::to_owned)).unwrap_or_default();
    let ca_file = table.text("ca_file").map(PathBuf::from);
    let timeout = table.duration("timeout", second * 10, second..=second * 120);
    let jwks_cooldown = table.duration("jwks_cooldown", second * 30, second..=second * 3600);
    let claims = claims(table.table("claims"));
    Some(TokenIssuer {
        name: name?,
        issuer: issuer?,
        audiences,
        ca_file,
        timeout,
        jwks_cooldown,
        claims,
        danger_http_issuer,
    })
}
