use std::collections::HashSet;
use std::process::ExitCode;

use http::HeaderName;
use http::header::AUTHORIZATION;
use serde_json::json;

use crate::catalog::Problem;
use crate::oidc::inspect::{Finding, Level, inspect};
use crate::settings::{FurtherNames, Settings};
use crate::world::World;

/// The settings do not show this, and it costs more than everything else.
const KEEP_ALIVE: &str = "let it keep its connections to forepost (nginx: \"keepalive\" in the upstream, HTTP/1.1, an empty \
                          Connection header); without, a request costs twice as much. The metric \
                          forepost_requests_per_connection shows it: about 1 means that none is kept";

/// Asks every provider, and prints a line for each finding.
pub(super) async fn run(settings: &Settings, as_json: bool) -> ExitCode {
    let mut findings = Vec::new();
    for danger in settings.dangers() {
        findings.push(("settings".to_owned(), Finding::new(Level::Warning, "danger", format!("{danger} is on"))));
    }
    let (catalog, conflicts) = crate::daemon::catalog(settings, World::system());
    for (name, provider) in &settings.identity_providers {
        let introspects = catalog.provider(name).is_some_and(|provider| catalog.introspects(provider));
        let found = inspect(provider, introspects, &World::system()).await;
        findings.extend(found.into_iter().map(|finding| (format!("identity_provider.{name}"), finding)));
    }
    let mut told = HashSet::new();
    // What is wrong with a provider is among its own findings.
    for conflict in conflicts.iter().filter(|conflict| matches!(conflict.problem, Problem::TokenIssuer { .. })) {
        findings.push(("settings".to_owned(), Finding::new(Level::Failure, "token issuer", conflict.to_string())));
    }
    for app in &settings.applications {
        if let Some(app) = catalog.application(&app.slug) {
            let provider = app.provider.settings();
            let logout = |channel| format!("{}{}", app.origin, app.outpost_path(channel));
            let mut uris = vec![
                ("redirect URI", app.redirect_uri.clone()),
                ("post-logout redirect URI", app.post_logout_redirect_uri.clone()),
            ];
            // A client has one of these URIs, however many applications use it.
            if told.insert(app.provider.name().to_owned()) {
                uris.push(("back-channel logout URI", logout("backchannel-logout")));
                if provider.frontchannel_logout {
                    uris.push(("front-channel logout URI", logout("frontchannel-logout")));
                }
            }
            for (what, uri) in uris {
                let finding =
                    Finding::new(Level::Note, what, format!("register {uri} for client {}", provider.client_id));
                findings.push((format!("application {}", app.id), finding));
            }
        }
        for (slug, names) in app.further_names() {
            findings.extend(further_headers(names).map(|finding| (format!("application {slug}"), finding)));
        }
    }
    findings.push(("proxy".to_owned(), Finding::new(Level::Note, "keep-alive", KEEP_ALIVE.to_owned())));
    let works = findings.iter().all(|(_, finding)| finding.level != Level::Failure);
    if as_json {
        print_json(&findings, works);
    } else {
        print_lines(&findings, works);
    }
    if works { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What the proxy in front of an application has to do with its further headers.
fn further_headers(names: FurtherNames) -> impl Iterator<Item = Finding> {
    const CHECK: &str = "further headers";
    let FurtherNames { in_examples, by_operator } = names;
    let known = (!in_examples.is_empty()).then(|| {
        let message = format!(
            "{}: the proxy must remove them from clients, in every spelling, and copy them from forepost's answer; the example \
             configurations do both",
            titles(&in_examples)
        );
        Finding::new(Level::Note, CHECK, message)
    });
    let (authorization, others): (Vec<_>, Vec<_>) = by_operator.into_iter().partition(|name| *name == AUTHORIZATION);
    let unknown = (!others.is_empty()).then(|| {
        let message = format!(
            "{}: the proxy must remove them from clients, in every spelling, and copy them from forepost's answer, or clients \
             choose their values; no example configuration names them: examples/README.md has the lines to add",
            titles(&others)
        );
        Finding::new(Level::Warning, CHECK, message)
    });
    let basic = (!authorization.is_empty()).then(|| {
        let message = "Authorization (basic_auth): the proxy must put forepost's in the place of the client's, also where it is \
                       empty, or clients choose the user; examples/README.md has the lines to add";
        Finding::new(Level::Warning, CHECK, message)
    });
    known.into_iter().chain(unknown).chain(basic)
}

/// Writes names as Caddy's placeholders and most documents do.
fn titles(names: &[HeaderName]) -> String {
    let title = |part: &str| part.get(..1).unwrap_or_default().to_ascii_uppercase() + part.get(1..).unwrap_or_default();
    let names = names.iter().map(|name| name.as_str().split('-').map(title).collect::<Vec<_>>().join("-"));
    names.collect::<Vec<_>>().join(", ")
}

fn print_lines(findings: &[(String, Finding)], works: bool) {
    println!("{:<6} settings: no mistakes", Level::Good.mark());
    for (subject, finding) in findings {
        println!("{:<6} {subject}: {}: {}", finding.level.mark(), finding.check, finding.message);
    }
    println!("{}", if works { "Logins should work." } else { "A login would break." });
}

fn print_json(findings: &[(String, Finding)], works: bool) {
    let findings: Vec<_> = findings
        .iter()
        .map(|(subject, finding)| {
            json!({
                "subject": subject,
                "check": finding.check,
                "level": finding.level.as_str(),
                "message": finding.message,
            })
        })
        .collect();
    println!("{:#}", json!({"logins_work": works, "findings": findings}));
}
