//! The command line: commands and their exit status.

mod admin_client;
mod check;
mod command_error;
mod explain;
mod healthcheck;
mod sessions;
mod status;
mod token;

use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use http::Method;
use sd_notify::NotifyState;
use tokio::signal::unix::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::catalog::ReloadRequest;
use crate::daemon::Daemon;
use crate::lifecycle::{self, Shutdown};
use crate::serve::Drained;
use crate::settings::{self, Layers, Mistakes, Settings};
use crate::telemetry::log;
use crate::world::World;

pub use self::explain::ExplainArguments;
pub use self::sessions::SessionsArguments;
pub use self::status::StatusArguments;
pub use self::token::TokenArguments;

/// `EX_USAGE` of sysexits.h: the settings or the arguments have mistakes.
const USAGE: u8 = 64;

/// Forward authentication for reverse proxies, with any OpenID provider.
///
/// Settings come from a file, from environment variables and from flags; later ones win.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Arguments {
    /// The command; serve by default.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Read this file instead of ./forepost.toml or /etc/forepost/forepost.toml.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Set one key, as in server.http=127.0.0.1:9000; overrides all else, can be repeated.
    #[arg(long, short, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub set: Vec<(String, String)>,
}

const AFTER_HELP: &str = "\
Without a file, these are enough: FOREPOST_ISSUER, FOREPOST_CLIENT_ID, FOREPOST_CLIENT_SECRET,
FOREPOST_EXTERNAL_HOST; and FOREPOST_COOKIE_DOMAIN for one login in a whole domain.

Exit status: 0 on success, 1 on failure, 64 when the settings have mistakes.
Every key is described in config/forepost.toml.";

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Answer reverse proxies and browsers until a signal (SIGTERM or SIGINT).
    Serve,
    /// Check the settings, then ask each identity provider whether logins would work.
    Check {
        /// Print one JSON document instead of lines.
        #[arg(long)]
        json: bool,
    },
    /// Explain the decision about a request, and which rule makes it.
    Explain(ExplainArguments),
    /// Check that the running daemon answers; for health checks of containers.
    Healthcheck,
    /// Have the running daemon read its configuration again, and show what came of it.
    Reload(StatusArguments),
    /// Show what the running daemon goes by, and what is wrong in its configuration.
    Status(StatusArguments),
    /// List and end the sessions of the running daemon.
    Sessions(SessionsArguments),
    /// Print a token for an application, after a login on any device.
    Token(TokenArguments),
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        Some(_) | None => Err("expected KEY=VALUE".to_owned()),
    }
}

/// Reads the settings that these arguments name.
///
/// # Errors
///
/// All mistakes in them.
pub fn settings(arguments: &Arguments) -> Result<Settings, Mistakes> {
    settings::load(&layers(arguments))
}

fn layers(arguments: &Arguments) -> Layers {
    let mut layers = Layers::from_process(arguments.config.clone());
    layers.overrides.clone_from(&arguments.set);
    layers
}

/// Prints the mistakes, and returns the exit status for them.
#[must_use]
pub fn usage_error(mistakes: &dyn fmt::Display) -> ExitCode {
    eprintln!("{mistakes}");
    ExitCode::from(USAGE)
}

/// Serves until a signal, then finishes the requests in flight; SIGHUP has the arguments' settings read anew.
#[must_use]
pub fn serve(arguments: &Arguments, settings: Settings) -> ExitCode {
    let layers = layers(arguments);
    if let Err(error) = log::init(&settings.log) {
        return usage_error(&error);
    }
    run(async {
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            applications = settings.applications.len(),
            "forepost starts"
        );
        // Before the daemon is visible to other processes, so that no signal is lost.
        let shutdown = Shutdown::new(settings.server.shutdown_timeout);
        let hangups = match lifecycle::signals(&shutdown).and_then(|()| lifecycle::hangups()) {
            Ok(hangups) => hangups,
            Err(error) => {
                tracing::error!(%error, "signals cannot be caught");
                return ExitCode::FAILURE;
            }
        };
        let stop = shutdown.token();
        let daemon = match Daemon::start_until(shutdown, settings, Some(layers), World::system()).await {
            Ok(daemon) => daemon,
            Err(error) => {
                tracing::error!(%error, "forepost cannot start");
                return ExitCode::FAILURE;
            }
        };
        notify(&[NotifyState::Ready]);
        tokio::spawn(async move {
            stop.cancelled().await;
            notify(&[NotifyState::Stopping]);
        });
        tokio::spawn(follow_hangups(hangups, daemon.reloads()));
        match daemon.finished().await {
            Drained::InTime => tracing::info!("stopped"),
            Drained::Cut(connections) => tracing::warn!(connections, "stopped; connections were cut at the deadline"),
        }
        ExitCode::SUCCESS
    })
}

/// Tells systemd the state of the service (`sd_notify(3)`); without systemd this does nothing.
fn notify(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}

/// Has the configuration read again at each SIGHUP, as `Type=notify-reload` of systemd.service(5) has it.
async fn follow_hangups(mut hangups: Signal, reloads: mpsc::Sender<Option<ReloadRequest>>) {
    while hangups.recv().await.is_some() {
        let reloading = NotifyState::monotonic_usec_now().map(|now| [NotifyState::Reloading, now]);
        notify(reloading.as_ref().map_or(&[], <[_; 2]>::as_slice));
        let (asked_by, done) = oneshot::channel();
        if reloads.send(Some(asked_by)).await.is_err() {
            return;
        }
        drop(done.await);
        notify(&[NotifyState::Ready]);
    }
}

/// Checks the identity providers and prints the findings.
#[must_use]
pub fn check(settings: &Settings, json: bool) -> ExitCode {
    run(check::run(settings, json))
}

/// Explains the decision about a request.
#[must_use]
pub fn explain(settings: &Settings, asked: &ExplainArguments) -> ExitCode {
    explain::run(settings, asked)
}

/// Checks that the running daemon answers.
#[must_use]
pub fn healthcheck(settings: &Settings) -> ExitCode {
    run(healthcheck::run(settings))
}

/// Lists or ends sessions of the running daemon.
#[must_use]
pub fn sessions(arguments: &Arguments, asked: &SessionsArguments) -> ExitCode {
    run(sessions::run(&layers(arguments), asked))
}

/// Shows what the running daemon goes by.
#[must_use]
pub fn status(arguments: &Arguments, asked: &StatusArguments) -> ExitCode {
    run(status::run(&layers(arguments), asked, Method::GET))
}

/// Has the running daemon read its configuration again.
#[must_use]
pub fn reload(arguments: &Arguments, asked: &StatusArguments) -> ExitCode {
    run(status::run(&layers(arguments), asked, Method::POST))
}

/// Gets a token for an application; needs no settings.
#[must_use]
pub fn token(arguments: &TokenArguments) -> ExitCode {
    run(token::run(arguments))
}

fn run(future: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => {
            eprintln!("forepost: the runtime cannot start: {error}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    #[track_caller]
    fn check(line: &str, expected: Option<Command>, set: &[(&str, &str)]) {
        let arguments = Arguments::try_parse_from(line.split(' ')).unwrap();
        let set: Vec<_> = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        assert_eq!((arguments.command, arguments.set), (expected, set), "{line}");
    }

    #[test]
    fn commands_and_flags() {
        check("forepost", None, &[]);
        check("forepost serve --set a.b=c=d -s e=", Some(Command::Serve), &[("a.b", "c=d"), ("e", "")]);
        check("forepost check --json --config x.toml", Some(Command::Check { json: true }), &[]);
        check("forepost healthcheck", Some(Command::Healthcheck), &[]);
        assert!(Arguments::try_parse_from(["forepost", "--set", "novalue"]).is_err());
        assert!(Arguments::try_parse_from(["forepost", "unknown"]).is_err());
    }
}
