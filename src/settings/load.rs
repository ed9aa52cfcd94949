//! Reads all layers as settings.
//!
//! The default of a key is where the key is read, in the file of its section, beside its limits.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use figment::Figment;

use super::layers::{Layers, QUICK_APPLICATION, QUICK_PROVIDER, file_layer, merged};
use super::mistakes::{Mistake, Mistakes, complaint, shown};
use super::reader::{Report, Table};
use super::server::private_networks;
use super::{Origins, Settings, Store, application, docker, provider, server, session};
use crate::app::DeclaredApplication;
use crate::serve::{Admin, Server};

/// The file name of the admin socket in a directory of the daemon.
const ADMIN_SOCKET: &str = "admin.sock";

/// An attempt to read the configuration.
pub(crate) struct Attempt {
    /// The settings, without applications that have mistakes; `None` if a file cannot be read or is not TOML.
    settings: Option<Settings>,
    /// The applications that were left out because of mistakes of their own, as far as they could be read.
    refused: Vec<DeclaredApplication>,
    /// All mistakes.
    mistakes: Vec<Mistake>,
    /// How many of them are mistakes of one of `refused`.
    of_refused: usize,
    /// The files and directories that the result depends on.
    files: BTreeSet<PathBuf>,
}

impl Attempt {
    /// Reads, layers and checks everything.
    pub(crate) fn new(layers: &Layers) -> Self {
        let mut files = BTreeSet::new();
        match merged(layers, &mut files) {
            Ok(figment) => typed(figment, layers, files),
            Err(mistakes) => Self { settings: None, refused: Vec::new(), mistakes, of_refused: 0, files },
        }
    }

    /// The files and directories that the result depends on, whether or not they are there.
    pub(crate) fn files(&self) -> &BTreeSet<PathBuf> {
        &self.files
    }

    /// The settings.
    ///
    /// # Errors
    ///
    /// All mistakes.
    pub(crate) fn into_settings(self) -> Result<Settings, Mistakes> {
        match self.settings {
            Some(settings) if self.mistakes.is_empty() => Ok(settings),
            _ => Err(Mistakes::new(self.mistakes)),
        }
    }

    /// The settings without the applications that have mistakes, those applications as far as they could be read, and their
    /// mistakes, if there are any.
    ///
    /// # Errors
    ///
    /// All mistakes, if not all are mistakes of one application.
    pub(crate) fn into_usable(self) -> Result<(Settings, Vec<DeclaredApplication>, Option<Mistakes>), Mistakes> {
        match self.settings {
            Some(settings) if self.of_refused == self.mistakes.len() => {
                let mistakes = (!self.mistakes.is_empty()).then(|| Mistakes::new(self.mistakes));
                Ok((settings, self.refused, mistakes))
            }
            _ => Err(Mistakes::new(self.mistakes)),
        }
    }
}

/// Reads, layers and checks everything.
///
/// # Errors
///
/// All mistakes at once. A file that cannot be read or is not TOML is reported alone, because it would cause all others.
pub fn load(layers: &Layers) -> Result<Settings, Mistakes> {
    Attempt::new(layers).into_settings()
}

/// Reads the address of the admin socket of a daemon with these settings.
///
/// Ignores all other mistakes: the command may run without the environment and the secrets of the daemon.
///
/// # Errors
///
/// The mistakes of the keys that name the socket, and a file that cannot be read or is not TOML.
pub(crate) fn admin(layers: &Layers) -> Result<Admin, Mistakes> {
    let figment = merged(layers, &mut BTreeSet::new()).map_err(Mistakes::new)?;
    let report = Report::new(figment);
    let (settings, _) = read(&report, layers);
    let matters = |path: &str| ["server.admin", "session.store", "session.directory"].contains(&path);
    match report.into_parts().0.into_iter().filter(|it| matters(&it.path)).collect::<Vec<_>>() {
        mistakes if mistakes.is_empty() => Ok(settings.server.admin),
        mistakes => Err(Mistakes::new(mistakes)),
    }
}

impl Settings {
    /// The settings of a file with this text, without other layers.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        let layer = file_layer("the text", text).map_err(|mistake| Mistakes::new(vec![mistake]))?;
        typed(Figment::new().merge(layer), &Layers::default(), BTreeSet::new()).into_settings()
    }
}

fn typed(figment: Figment, layers: &Layers, mut files: BTreeSet<PathBuf>) -> Attempt {
    let report = Report::new(figment);
    let (settings, (refused, of_refused)) = read(&report, layers);
    let (mistakes, named) = report.into_parts();
    files.extend(named);
    Attempt { settings: Some(settings), refused, mistakes, of_refused, files }
}

/// Reads the settings, which are valid only if the report has no mistakes; and the applications that were left out because of
/// mistakes of their own, with the number of these mistakes.
fn read(report: &Report, layers: &Layers) -> (Settings, (Vec<DeclaredApplication>, usize)) {
    let mut root = report.root();
    let mut server = server::read(root.table("server"));

    let quick = root.split(&QUICK_PROVIDER);
    let mut tables = root.named_tables("identity_provider");
    if let Some(quick) = quick {
        if tables.iter().any(|(name, _)| name == "default") {
            note_clash(&quick, "[identity_provider.default]");
        } else {
            tables.push(("default".to_owned(), quick));
        }
    }
    if tables.is_empty() {
        let hint = "give FOREPOST_ISSUER and FOREPOST_CLIENT_ID, or a table [identity_provider.NAME]";
        root.missing("identity_provider", hint);
    }
    let provider_names: Vec<_> = tables.iter().map(|(name, _)| name.clone()).collect();
    let providers = tables.iter().map(|(name, table)| (name.clone(), table.origin())).collect();
    let mut origins = Origins { providers, ..Origins::default() };
    let identity_providers = provider::read_all(tables);

    let docker = docker::read(root.table("docker"));
    docker::check_any_host(&root, docker.as_ref(), &server);
    let quick = root.split(&QUICK_APPLICATION);
    let given = root.tables("application");
    let hint = "give FOREPOST_EXTERNAL_HOST, or a table [[application]]";
    if given.as_ref().is_some_and(Vec::is_empty) {
        root.wrong("application", complaint("there is no application", hint));
    }
    let given = given.unwrap_or_default().into_iter();
    let mut tables: Vec<_> = given.map(|table| (table, None)).collect();
    match quick {
        Some(quick) if root.was_given("application") => note_clash(&quick, "[[application]]"),
        Some(quick) => tables.push((quick, Some("default"))),
        None if docker.is_none() => root.missing("application", hint),
        None => {}
    }
    let application::Applications { usable: applications, refused, of_refused } =
        application::read_all(tables, &provider_names, &mut origins.applications);
    check_networks(&root, applications.iter().chain(&refused), &server);

    let session = session::read(root.table("session"), layers.state_directory.as_deref());
    if server.admin == Admin::Usual(None) {
        server.admin = Admin::Usual(admin_directory(&session.store, layers).map(|path| path.join(ADMIN_SOCKET)));
    }
    let log = session::read_log(root.table("log"));
    root.finish();
    (Settings { server, identity_providers, applications, docker, session, log, origins }, (refused, of_refused))
}

/// Reports rules for networks without `trusted_proxies`, because such a rule trusts the proxy to name the client's address.
fn check_networks<'a>(
    root: &Table<'_>,
    mut applications: impl Iterator<Item = &'a DeclaredApplication>,
    server: &Server,
) {
    if server.trusted_proxies == private_networks()
        && let Some(application) = applications.find(|application| application.looks_at_client())
    {
        let problem = format!("has to be given, because {} has rules for networks", shown(&application.slug));
        let hint = "by default every host in a private network can claim any client address: name your proxies only";
        root.report().note("server.trusted_proxies".to_owned(), None, complaint(problem, hint));
    }
}

/// A directory that only this daemon uses.
fn admin_directory<'s>(store: &'s Store, layers: &'s Layers) -> Option<&'s Path> {
    if let Store::File(directory) = store {
        return Some(directory);
    }
    layers.state_directory.as_deref().or(layers.runtime_directory.as_deref())
}

fn note_clash(quick: &Table<'_>, table: &str) {
    let Some((key, tag)) = quick.first_key() else {
        return;
    };
    let complaint = complaint(format!("clashes with {table}"), "use the short keys at the top or the table, not both");
    quick.report().note(quick.key_path(key), Some(tag), complaint);
}
