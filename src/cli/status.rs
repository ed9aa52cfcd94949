//! `forepost status` and `forepost reload`: what the running daemon goes by.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use chrono::DateTime;
use clap::Args;
use http::Method;
use serde_json::Value;

use super::admin_client::{Client, ended, line, print, sockets};
use super::command_error::CommandError;
use crate::settings::Layers;
use crate::telemetry::log::escaped;

/// The configuration, or a part of it, cannot be used.
const MISTAKES: u8 = 1;

/// `forepost status` and `forepost reload`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AFTER_HELP)]
pub struct StatusArguments {
    /// Print a JSON object.
    #[arg(long)]
    pub json: bool,

    /// Use this socket of the daemon instead of that of the settings (server.admin).
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit status: 0 when all that is configured counts, 1 when something has a mistake and stays as it was,
64 when the settings do not say where the daemon is, 69 when no daemon answers, 77 when its socket is
not for this user.";

/// Asks the daemon; with POST it reads its configuration again first.
pub(super) async fn run(layers: &Layers, asked: &StatusArguments, method: Method) -> ExitCode {
    match ask(layers, asked, method).await {
        Ok(ExitStatus::Good) => ExitCode::SUCCESS,
        Ok(ExitStatus::Mistakes) => ExitCode::from(MISTAKES),
        Err(error) => ended(Err(error)),
    }
}

enum ExitStatus {
    Good,
    Mistakes,
}

async fn ask(layers: &Layers, asked: &StatusArguments, method: Method) -> Result<ExitStatus, CommandError> {
    let mut client = Client::connect(&sockets(layers, asked.socket.as_ref())?).await?;
    let status = client.ask(method, "/configuration").await?;
    print(&if asked.json { line(&status) } else { text(&status) })?;
    let sources = status["sources"].as_object().into_iter().flatten();
    let mistakes = sources.filter(|(_, source)| !empty(&source["mistakes"]) || source["stale"] == true).count();
    Ok(if mistakes == 0 && empty(&status["conflicts"]) { ExitStatus::Good } else { ExitStatus::Mistakes })
}

fn empty(list: &Value) -> bool {
    list.as_array().is_none_or(Vec::is_empty)
}

/// The status as text, with a line for each application and provider.
fn text(status: &Value) -> String {
    let mut text = String::new();
    let mut say = |line: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{}", line.trim_end());
    };
    say(format!("Revision {}, published {}", status["revision"], time(&status["published_at"])));
    for (heading, key) in [("Added", "added"), ("Changed", "changed"), ("Removed", "removed")] {
        let names: Vec<_> = texts(&status["changes"][key]).collect();
        if !names.is_empty() {
            say(format!("  {heading}: {}", names.join(", ")));
        }
    }
    for (name, source) in status["sources"].as_object().into_iter().flatten() {
        let stale = if source["stale"] == true { "; it cannot be reached now, so this is old" } else { "" };
        say(format!("Source {}, read {}{stale}", escaped(name), time(&source["read_at"])));
        texts(&source["mistakes"]).for_each(|mistake| say(format!("  Mistake: {mistake}")));
        let keys: Vec<_> = texts(&source["needs_restart"]).collect();
        if !keys.is_empty() {
            say(format!("  Changes with a restart only: {}", keys.join(", ")));
        }
    }
    texts(&status["conflicts"]).for_each(|conflict| say(format!("Conflict: {conflict}")));
    let list = |name: &str| status[name].as_array().into_iter().flatten();
    let field = |value: &Value, name: &str| escaped(value[name].as_str().unwrap_or_default());
    say("Identity providers:".to_owned());
    for provider in list("identity_providers") {
        let ready = if provider["ready"] == true { "logins work" } else { "logins do not work" };
        say(format!("  {}  {}  {ready}", field(provider, "name"), field(provider, "issuer")));
    }
    say("Applications:".to_owned());
    for app in list("applications") {
        say(format!("  {}  {}  from {}", field(app, "slug"), field(app, "hosts"), field(app, "origin")));
    }
    text
}

fn texts(list: &Value) -> impl Iterator<Item = String> {
    list.as_array().into_iter().flatten().map(|text| escaped(text.as_str().unwrap_or_default()))
}

fn time(millis: &Value) -> String {
    let time = millis.as_i64().and_then(DateTime::from_timestamp_millis);
    time.map_or_else(|| "-".to_owned(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
}
