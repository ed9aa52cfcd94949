//! `forepost token`: a token for an application, by a login on another device (RFC 8628).

mod challenge;
mod client;
mod device;
mod discovery;
mod forget;
mod interrupt;
mod kept;
mod obtain;
mod show;

use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use self::discovery::address;
use self::interrupt::Interrupt;
use self::kept::Store;
use self::show::Screen;
use super::command_error::CommandError;
use crate::oidc::HttpClient;
use crate::telemetry::WithCauses;
use crate::tls::CaFile;
use crate::world::World;

const USER_AGENT: &str = concat!("forepost/", env!("CARGO_PKG_VERSION"));

/// The time-out of a request.
const TIMEOUT: Duration = Duration::from_secs(15);

/// For which application, and how.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
#[command(after_help = AFTER_HELP)]
#[expect(clippy::struct_excessive_bools, reason = "independent flags, not states")]
pub struct TokenArguments {
    /// The address of the application, or of anything in it that needs a login.
    pub url: String,

    /// Use this client instead of the one that the application names.
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,

    /// Read the client's secret from this file.
    #[arg(long, value_name = "FILE")]
    pub client_secret_file: Option<PathBuf>,

    /// Ask for exactly these scopes; may be repeated.
    #[arg(long, value_name = "SCOPE")]
    pub scope: Vec<String>,

    /// Ask for a token that is good for this application alone (RFC 8707); some providers refuse that.
    #[arg(long)]
    pub resource_indicator: bool,

    /// Get a new token although the kept one is still good.
    #[arg(long)]
    pub renew: bool,

    /// Forget and revoke what is kept for this application, and print nothing.
    #[arg(long, conflicts_with = "renew")]
    pub forget: bool,

    /// Draw no QR code.
    #[arg(long)]
    pub no_qr: bool,

    /// Trust the certificate authorities in this PEM file, too.
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

const AFTER_HELP: &str = "\
Prints the token and nothing else, for curl -H \"Authorization: Bearer $(forepost token URL)\";
all that is said to people goes to standard error.

Exit status: 0 with a token, 64 when something has to be said differently, 69 when a server does
not answer or not as it should, 74 when the token cannot be printed, 75 when the code has expired,
77 when the login was denied or others may read the kept tokens, 130 when interrupted.";

/// Does what was asked, and tells how it went.
pub(super) async fn run(arguments: &TokenArguments) -> ExitCode {
    let mut run = match Run::new(arguments) {
        Ok(run) => run,
        Err(failure) => return ended(&mut Screen::new(false), &failure),
    };
    let done = if arguments.forget { run.forget().await } else { run.print_token().await };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => ended(&mut run.screen, &failure),
    }
}

fn ended(screen: &mut Screen, failure: &CommandError) -> ExitCode {
    screen.say(&format!("forepost: {}", failure.message));
    ExitCode::from(failure.status)
}

struct Run<'a> {
    arguments: &'a TokenArguments,
    url: Url,
    secret: Option<SecretString>,
    http: HttpClient,
    world: World,
    store: Option<Store>,
    screen: Screen,
    interrupt: Interrupt,
}

impl<'a> Run<'a> {
    fn new(arguments: &'a TokenArguments) -> Result<Self, CommandError> {
        let mut url = address(&arguments.url, "the address of the application").map_err(CommandError::usage)?;
        url.set_query(None);
        url.set_fragment(None);
        let secret = arguments.client_secret_file.as_deref().map(read_secret).transpose()?;
        let http = HttpClient::new(arguments.ca_file.clone().map(CaFile::read).as_ref(), TIMEOUT);
        Ok(Self {
            arguments,
            url,
            secret,
            http: http.map_err(|error| CommandError::usage(WithCauses(&error).to_string()))?,
            world: World::system(),
            store: Store::of_environment(),
            screen: Screen::new(!arguments.no_qr),
            interrupt: Interrupt::listen(),
        })
    }

    async fn print_token(&mut self) -> Result<(), CommandError> {
        let token = self.token().await?;
        let mut stdout = io::stdout().lock();
        let printed = writeln!(stdout, "{}", token.expose_secret()).and_then(|()| stdout.flush());
        printed.map_err(|error| CommandError::output(format!("the token cannot be printed: {error}")))
    }
}

fn read_secret(path: &Path) -> Result<SecretString, CommandError> {
    let failure = |why: &str| CommandError::usage(format!("--client-secret-file: {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| failure(&error.to_string()))?;
    match text.trim_end_matches(['\r', '\n']) {
        "" => Err(failure("it is empty")),
        secret => Ok(SecretString::from(secret)),
    }
}
