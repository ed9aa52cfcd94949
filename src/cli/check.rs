use std::collections::HashSet;
use std::process::ExitCode;

use serde_json::json;

use crate::app::Application;
use crate::oidc::inspect::{Finding, Level, inspect};
use crate::settings::Settings;
use crate::world::World;

/// What no look at the settings can tell, and what costs more than everything else.
const KEEP_ALIVE: &str = "let it keep its connections to forepost (nginx: \"keepalive\" in the upstream, HTTP/1.1, an empty \
                          Connection header); without, a request costs twice as much. The metric \
                          forepost_requests_per_connection shows it: about 1 means that none is kept";

/// Goes to every provider and prints one line for each thing that was looked at.
pub(super) async fn run(settings: &Settings, as_json: bool) -> ExitCode {
    let mut findings = Vec::new();
    for danger in settings.dangers() {
        findings.push(("settings".to_owned(), Finding::new(Level::Warning, "danger", format!("{danger} is on"))));
    }
    for (name, provider) in &settings.identity_providers {
        let found = inspect(provider, &World::system()).await;
        findings.extend(found.into_iter().map(|finding| (format!("identity_provider.{name}"), finding)));
    }
    let mut told = HashSet::new();
    for (number, app) in settings.applications.iter().enumerate() {
        if let Some(provider) = settings.identity_providers.get(&app.identity_provider) {
            let app = Application::new(number, app.clone(), provider, &settings.server.name);
            let logout = |channel| format!("{}{}", app.origin, app.outpost_path(channel));
            let mut uris = vec![
                ("redirect URI", app.redirect_uri.clone()),
                ("post-logout redirect URI", app.post_logout_redirect_uri.clone()),
            ];
            // A client has one of these, whatever the number of its applications.
            if told.insert(app.identity_provider.clone()) {
                uris.push(("back-channel logout URI", logout("backchannel-logout")));
                if provider.frontchannel_logout {
                    uris.push(("front-channel logout URI", logout("frontchannel-logout")));
                }
            }
            for (what, uri) in uris {
                let finding =
                    Finding::new(Level::Note, what, format!("register {uri} for client {}", provider.client_id));
                findings.push((format!("application {}", app.slug), finding));
            }
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
