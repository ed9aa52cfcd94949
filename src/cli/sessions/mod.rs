//! `forepost sessions`: lists and ends the sessions of the running daemon.

mod table;

use std::io::{self, BufRead as _, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;
use url::form_urlencoded;

use super::admin_client::{Client, NO_MATCH, ended, line, print, sockets};
use super::command_error::CommandError;
use crate::session::SessionKey;
use crate::settings::Layers;
use crate::telemetry::log::escaped;

/// `forepost sessions`.
#[derive(Args, Clone, Debug, PartialEq, Eq)]
#[command(after_help = AFTER_HELP)]
pub struct SessionsArguments {
    /// What to do.
    #[command(subcommand)]
    pub command: SessionsCommand,

    /// Use this socket of the daemon instead of that of the settings (server.admin).
    #[arg(long, global = true, value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Exit status: 0 when it is done, 1 when nothing is like that, 64 when something has to be said differently,
69 when no daemon answers, 77 when its socket is not for this user.";

/// What to do with sessions.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum SessionsCommand {
    /// List all sessions, or some.
    List {
        /// Only those of this user, by name or subject.
        #[arg(long)]
        user: Option<String>,
        /// Only those for this application, by its slug.
        #[arg(long)]
        application: Option<String>,
        /// Print one JSON object a line, in no order.
        #[arg(long)]
        json: bool,
    },
    /// Show everything that is known about one session.
    Show {
        /// The id, as in the list.
        #[arg(allow_hyphen_values = true)]
        id: String,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
    },
    /// End sessions, and logins that are under way; the next request has to sign in.
    Revoke {
        /// Whose.
        #[command(flatten)]
        whose: Whose,
        /// With --user: only at this provider; a user without a session is named by subject.
        #[arg(long, requires = "user", conflicts_with_all = ["application", "id", "all"], value_name = "URL")]
        issuer: Option<String>,
        /// Print a JSON object.
        #[arg(long)]
        json: bool,
        /// With --all: do not ask for confirmation.
        #[arg(long)]
        yes: bool,
    },
}

/// Whose sessions to end.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[group(required = true, multiple = false)]
pub struct Whose {
    /// Those of this user, by name or subject, in all applications.
    #[arg(long)]
    pub user: Option<String>,
    /// Those for this application, by its slug.
    #[arg(long)]
    pub application: Option<String>,
    /// The session with this id, as in the list.
    #[arg(long, allow_hyphen_values = true)]
    pub id: Option<String>,
    /// All.
    #[arg(long)]
    pub all: bool,
}

/// Runs the command.
pub(super) async fn run(layers: &Layers, asked: &SessionsArguments) -> ExitCode {
    ended(obey(layers, asked).await)
}

async fn obey(layers: &Layers, asked: &SessionsArguments) -> Result<(), CommandError> {
    if let SessionsCommand::Revoke { whose: Whose { all: true, .. }, yes: false, .. } = &asked.command {
        confirm()?;
    }
    let mut client = Client::connect(&sockets(layers, asked.socket.as_ref())?).await?;
    match &asked.command {
        SessionsCommand::List { user, application, json } => {
            let filter = [("user", user), ("application", application)];
            list(&mut client, filter, *json).await
        }
        SessionsCommand::Show { id, json } => {
            let session = client.ask(Method::GET, &session_target(id)?).await?;
            print(&if *json { line(&session) } else { table::one(&session) })
        }
        SessionsCommand::Revoke { whose, issuer, json, yes: _ } => {
            let done = client.ask(Method::DELETE, &revoke_target(whose, issuer.as_deref())?).await?;
            print(&if *json { line(&done) } else { outcome(&done) })
        }
    }
}

async fn list(client: &mut Client, filter: [(&str, &Option<String>); 2], json: bool) -> Result<(), CommandError> {
    let mut given = form_urlencoded::Serializer::new(String::new());
    given.extend_pairs(filter.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))));
    let given = given.finish();
    let mut target = format!("/sessions?{given}");
    let (mut sessions, mut count) = (Vec::new(), 0);
    loop {
        let mut page = client.ask(Method::GET, &target).await?;
        let Value::Array(part) = page["sessions"].take() else { break };
        count += part.len();
        if json {
            print(&part.iter().map(line).collect::<String>())?;
        } else {
            sessions.extend(part);
        }
        let Some(next) = page["next"].as_str() else { break };
        target = format!("/sessions?{given}&{}", parameter("at", next));
    }
    if count == 0 && !given.is_empty() {
        return Err(CommandError::new(NO_MATCH, "no session is like that"));
    }
    if json { Ok(()) } else { print(&table::list(&sessions)) }
}

fn parameter(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new()).append_pair(name, value).finish()
}

fn session_target(id: &str) -> Result<String, CommandError> {
    // Another text could change the path of the request.
    let wrong = || CommandError::usage(format!("{id} is not an id of a session: 43 letters, digits, - and _"));
    SessionKey::parse(id).map(|id| format!("/sessions/{id}")).ok_or_else(wrong)
}

fn revoke_target(whose: &Whose, issuer: Option<&str>) -> Result<String, CommandError> {
    if let Some(id) = &whose.id {
        return session_target(id);
    }
    let mut query = form_urlencoded::Serializer::new(String::new());
    let given = [("user", whose.user.as_deref()), ("issuer", issuer), ("application", whose.application.as_deref())];
    query.extend_pairs(given.iter().filter_map(|(name, value)| Some((name, (*value)?))));
    if whose.all {
        query.append_pair("all", "true");
    }
    Ok(format!("/sessions?{}", query.finish()))
}

/// Asks the operator to confirm that all sessions are meant. Without a terminal, `--yes` is required.
fn confirm() -> Result<(), CommandError> {
    if !io::stdin().is_terminal() {
        return Err(CommandError::usage("this signs everybody out; add --yes if that is meant"));
    }
    eprint!("This signs everybody out of every application. Go on? [y/N] ");
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    if read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(CommandError::usage("nothing was done"))
}

/// What an order to end sessions does not end.
const STILL_SIGNED_IN: &str =
    "A user who is still signed in at the identity provider gets a new session without being asked.\n";

/// The result of an order, as text.
fn outcome(done: &Value) -> String {
    let count = done["ended"].as_u64().unwrap_or_default();
    let plural = if count == 1 { "" } else { "s" };
    let about = if done["at_least"] == true { "at least " } else { "" };
    let users = done["users"].as_array().into_iter().flatten().map(|user| {
        let part = |name: &str| escaped(user[name].as_str().unwrap_or_default());
        format!("Ended here: all of subject {} of {}\n", part("subject"), part("issuer"))
    });
    let users: String = users.collect();
    let note = if count == 0 && users.is_empty() { "" } else { STILL_SIGNED_IN };
    format!("Ended {about}{count} session{plural}.\n{users}{note}")
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn parsed(line: &str) -> Result<SessionsArguments, clap::Error> {
        match Arguments::try_parse_from(line.split(' '))?.command {
            Some(Command::Sessions(asked)) => Ok(asked),
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn revoke(line: &str, expected: Option<&str>) {
        let target = parsed(&format!("forepost sessions revoke {line}")).ok().and_then(|asked| match asked.command {
            SessionsCommand::Revoke { whose, issuer, .. } => revoke_target(&whose, issuer.as_deref()).ok(),
            other => panic!("{other:?}"),
        });
        assert_eq!(target.as_deref(), expected, "{line}");
    }

    #[test]
    fn orders_name_exactly_one_thing() {
        revoke("--user a&b", Some("/sessions?user=a%26b"));
        revoke("--user a --issuer https://x", Some("/sessions?user=a&issuer=https%3A%2F%2Fx"));
        revoke("--application wiki --json", Some("/sessions?application=wiki"));
        let id = format!("-_{}", "A".repeat(41));
        revoke(&format!("--id {id}"), Some(&format!("/sessions/{id}")));
        revoke(&format!("--id={id}"), Some(&format!("/sessions/{id}")));
        revoke("--id ../x?all=true", None);
        revoke("--all --yes", Some("/sessions?all=true"));
        revoke("--json", None);
        revoke("--user a --all", None);
        revoke("--application a --id b", None);
        revoke("--issuer x --all", None);
        revoke("--issuer x --id a", None);
        revoke("--issuer x", None);
    }

    #[test]
    fn ids_may_begin_with_a_hyphen() {
        let asked = parsed("forepost sessions show -_x --json --socket /a").unwrap();
        assert_eq!(asked.command, SessionsCommand::Show { id: "-_x".to_owned(), json: true });
        assert_eq!(asked.socket, Some(PathBuf::from("/a")));
    }
}
