//! `[application.tokens]` and `[[application.token_issuer]]`.

use std::collections::BTreeSet;
use std::time::Duration;

use super::address::issuer;
use super::mistakes::{complaint, shown};
use super::provider::{claims, scope};
use super::reader::Table;
use super::values::is_slug;
use crate::app::{AcceptedTokens, Basic, Bearer, TokenIssuer};

const LIST: &[char] = &[',', ' '];

/// Reads which credentials programs may show in place of a session; `None` if they may not show any.
pub(super) fn read(mut table: Table<'_>, issuer_tables: Option<Vec<Table<'_>>>) -> Option<AcceptedTokens> {
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
    accepts_any.then_some(AcceptedTokens {
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
            Err(complaint(format!("{} is not a usable name", shown(text)), "letters, digits, - and _ make a name"))
        }
    });
    table.missing("name", "it stands before the names of this issuer's users: \"ci\" makes ci:deployer");
    let danger_http_issuer = table.boolean("danger_http_issuer", false);
    let issuer = table.read("issuer", |item| issuer(item.text()?, danger_http_issuer));
    table.missing("issuer", "the address of the issuer, as its discovery document spells it");
    let audiences = table.each("audiences", LIST, |item| item.text().map(str::to_owned)).unwrap_or_default();
    let ca_file = table.ca_file();
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
