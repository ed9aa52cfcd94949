//! `forepost explain`: the decision about a request, the rule that makes it, and why the rules before do not.

use std::borrow::Cow;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::{HeaderMap, HeaderValue, header};
use serde_json::{Map, Value, json};

use super::USAGE;
use crate::access::{Because, Decision, Matches, Reading, RulePlace, Trace, decide_traced};
use crate::app::Application;
use crate::forwarded::{ClientHints, OriginalRequest, Target, parse_method};
use crate::host::{AbsoluteUrl, Authority, Scheme};
use crate::identity::Identity;
use crate::session::{NewSession, ProviderSide, Session};
use crate::settings::Settings;
use crate::telemetry::log::escaped;
use crate::world::World;

/// A request and its user.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AFTER_HELP)]
pub struct ExplainArguments {
    /// The slug of the application.
    #[arg(long)]
    pub application: String,
    /// The URL that a browser asks for.
    #[arg(long)]
    pub url: String,
    /// The method; "-" if the proxy does not say it, as nginx.
    #[arg(long, default_value = "GET")]
    pub method: String,
    /// The client's address, as the proxy reports it; without it, it is not known.
    #[arg(long, value_name = "ADDRESS")]
    pub client_ip: Option<IpAddr>,
    /// A JSON object with the claims of the user; without it, no user is signed in.
    #[arg(long, value_name = "FILE")]
    pub claims: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    pub json: bool,
}

const AFTER_HELP: &str = "\
The path may be read in several ways; the request must be let in under each of them. An ambiguous path, which no honest
client needs, may be any path: every rule counts that is not known to be for other requests.

Exit status: 0 when the request is let in, 1 when it is not, 64 when something has to be said differently.";

const NO_METHOD: &str =
    "--method has other characters than capital letters and hyphens: such requests are refused with 400";

/// Explains the decision about a request, with the same code that makes it in the daemon.
pub(super) fn run(settings: &Settings, asked: &ExplainArguments) -> ExitCode {
    match explain(settings, asked) {
        Ok((report, let_in)) => {
            print!("{report}");
            if let_in { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(problem) => {
            eprintln!("forepost: {}", escaped(&problem));
            ExitCode::from(USAGE)
        }
    }
}

fn explain(settings: &Settings, asked: &ExplainArguments) -> Result<(String, bool), String> {
    let (catalog, conflicts) = crate::daemon::catalog(settings, World::system());
    let slugs = || catalog.applications().iter().map(|app| app.id.as_str()).collect::<Vec<_>>().join(", ");
    let is_declared = settings.applications.iter().any(|app| app.slug == asked.application);
    let app = catalog.application(&asked.application).ok_or_else(|| match conflicts.first() {
        Some(conflict) if is_declared => conflict.to_string(),
        _ => format!("there is no application {:?}; there are {}", asked.application, slugs()),
    })?;

    let mut headers = HeaderMap::new();
    headers.insert(header::ACCEPT, HeaderValue::from_static("text/html"));
    let (scheme, authority, target) =
        split(&asked.url).ok_or("--url is not an address like https://app.example.com/path")?;
    match catalog.find(&authority.host) {
        Some(other) if Arc::ptr_eq(other, app) => {}
        Some(other) => return Err(format!("{} does not answer for {}; {} does", app.id, authority.host, other.id)),
        None => return Err(format!("{} does not answer for {}", app.id, authority.host)),
    }
    let original = OriginalRequest {
        scheme: Some(scheme),
        authority,
        asked_at: None,
        target,
        method: match asked.method.as_str() {
            "-" => None,
            method => Some(parse_method(method.as_bytes()).ok_or(NO_METHOD)?),
        },
        client: ClientHints::new(&headers, false),
    };
    let now = World::system().now();
    let session = match &asked.claims {
        None => None,
        Some(file) => {
            let mut claims = read_claims(file)?;
            let mut identity =
                Identity::from_claims(&claims, &app.provider.settings().claims).map_err(|error| error.to_string())?;
            app.set_apart_from_issuers(&mut identity, &mut claims);
            Some(Arc::new(Session::new(
                NewSession {
                    realm: app.realm.clone(),
                    identity: app.pack(identity, "", None, &claims),
                    began_at: now,
                    lifetime: settings.session.lifetime,
                    idle_timeout: settings.session.idle_timeout,
                    provider: ProviderSide::default(),
                },
                now,
            )))
        }
    };
    let mut trace = Explanation::default();
    let client = asked.client_ip.map(|client| client.to_canonical());
    let request = app.access_request(&original, client);
    let decision = decide_traced(&app.policy, &request, session.as_ref(), now, &mut trace);
    let user = session.as_ref().map(|session| session.identity().label());
    let report =
        if asked.json { format!("{}\n", trace.json(app, user, &decision)) } else { trace.text(app, user, &decision) };
    Ok((report, matches!(decision, Decision::Allow(_) | Decision::Pass(_))))
}

/// Splits a URL as a proxy passes it on: without resolving or decoding anything.
fn split(url: &str) -> Option<(Scheme, Authority<'_>, Target<'_>)> {
    let url = AbsoluteUrl::split(url)?;
    let target = if url.rest.is_empty() { Target::root() } else { Target::parse(url.rest).ok()? };
    Some((Scheme::named(url.scheme)?, Authority::parse(url.authority).ok()?, target))
}

fn read_claims(file: &Path) -> Result<Map<String, Value>, String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = fs::read_to_string(file).map_err(|error| told(&error))?;
    match serde_json::from_str(&text).map_err(|error| told(&error))? {
        Value::Object(claims) => Ok(claims),
        _ => Err(told(&"claims are a JSON object")),
    }
}

/// Records the result of each rule under each reading.
#[derive(Default)]
struct Explanation {
    readings: Vec<Read>,
}

struct Read {
    /// `None`: an ambiguous path.
    path: Option<String>,
    ambiguity: Option<Ambiguous>,
    rules: Vec<Asked>,
}

struct Ambiguous {
    why: String,
    /// Some of its readings.
    paths: Vec<String>,
}

struct Asked {
    place: RulePlace,
    matches: Matches,
    unmet: Option<Cow<'static, str>>,
}

impl Trace for Explanation {
    fn reading(&mut self, reading: Reading<'_>) {
        let (path, ambiguity) = match reading {
            Reading::As(path) => (Some(path.to_owned()), None),
            Reading::Ambiguous(readings) => {
                let why = readings.ambiguity.map(|it| it.to_string()).unwrap_or_default();
                (None, Some(Ambiguous { why, paths: readings.paths.iter().cloned().collect() }))
            }
        };
        self.readings.push(Read { path, ambiguity, rules: Vec::new() });
    }

    fn rule(&mut self, place: RulePlace, matches: Matches, unmet: Option<Cow<'static, str>>) {
        if let Some(reading) = self.readings.last_mut() {
            reading.rules.push(Asked { place, matches, unmet });
        }
    }
}

impl Asked {
    fn decides(&self) -> bool {
        self.matches != Matches::No
    }
}

impl Explanation {
    /// The rules that count, each once.
    fn deciding(&self) -> Vec<RulePlace> {
        let mut places = Vec::new();
        for asked in self.readings.iter().flat_map(|reading| &reading.rules).filter(|asked| asked.decides()) {
            if !places.contains(&asked.place) {
                places.push(asked.place);
            }
        }
        places
    }

    fn text(&self, app: &Application, user: Option<&str>, decision: &Decision) -> String {
        let mut lines = vec![format!("{}: {}", decision.as_str(), meaning(decision))];
        lines.push(format!("application: {}, signed in: {}", app.id, user.map_or("no user".into(), escaped)));
        let deciding: Vec<_> = self.deciding().iter().map(|place| describe(app, *place)).collect();
        lines.push(format!("decided by: {}", deciding.join(", ")));
        for reading in &self.readings {
            match &reading.path {
                Some(path) if self.readings.len() > 1 => lines.push(format!("read as {}", escaped(path))),
                Some(path) => lines.push(format!("path {}", escaped(path))),
                None => {}
            }
            if let Some(Ambiguous { why, paths }) = &reading.ambiguity {
                lines.push(format!("the path is ambiguous, so it may be any path: {why}"));
                lines.extend(paths.iter().map(|path| format!("  may be read as {}", escaped(path))));
            }
            for asked in &reading.rules {
                let unmet = asked.unmet.as_deref().unwrap_or_default();
                let said = match asked.matches {
                    Matches::Yes => "decides".to_owned(),
                    Matches::No => format!("is not for this request: {}", escaped(unmet)),
                    Matches::Unknown => format!("counts, because this is not known: {}", escaped(unmet)),
                };
                lines.push(format!("  {} {said}", describe(app, asked.place)));
            }
        }
        lines.push(String::new());
        lines.join("\n")
    }

    fn json(&self, app: &Application, user: Option<&str>, decision: &Decision) -> Value {
        let readings = self.readings.iter().map(|reading| {
            let rules = reading.rules.iter().map(|asked| {
                let matches = match asked.matches {
                    Matches::Yes => "yes",
                    Matches::No => "no",
                    Matches::Unknown => "perhaps",
                };
                let action = app.policy.action(asked.place);
                json!({"rule": asked.place.to_string(), "action": action, "matches": matches, "unmet": asked.unmet})
            });
            json!({
                "path": reading.path,
                "ambiguous": reading.ambiguity.as_ref().map(|it| &it.why),
                "may_be": reading.ambiguity.as_ref().map(|it| &it.paths),
                "rules": rules.collect::<Vec<_>>(),
            })
        });
        json!({
            "decision": decision.as_str(),
            "meaning": meaning(decision),
            "application": app.id.as_str(),
            "user": user,
            "decided_by": self.deciding().iter().map(ToString::to_string).collect::<Vec<_>>(),
            "readings": readings.collect::<Vec<_>>(),
        })
    }
}

fn describe(app: &Application, place: RulePlace) -> String {
    format!("{place} ({})", app.policy.action(place))
}

fn meaning(decision: &Decision) -> &'static str {
    match decision {
        Decision::Allow(_) => "who is signed in gets in",
        Decision::Pass(_) => "gets in without an identity",
        Decision::StartLogin(assurance) | Decision::Challenge(assurance) if assurance.is_none() => "has to sign in",
        Decision::StartLogin(_) | Decision::Challenge(_) => "has to sign in, with acr_values or max_age",
        Decision::Forbid(forbidden) => match forbidden.because {
            Because::Denied => "a rule denies it",
            Because::NotEntitled => "who is signed in is not what is required",
            Because::NotAssured => "the login is not what is required, although it was asked for",
        },
    }
}
