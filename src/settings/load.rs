//! The layers: defaults ← file ← environment ← flags.
//!
//! The default of a key is where the key is read, in the file of its section, beside its limits.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::mistakes::{Complaint, Mistake, Mistakes, complaint, shown};
use super::reader::{Report, TEXT_LAYER, Table};
use super::server::private_networks;
use super::{Settings, Store, application, provider, server, session};
use crate::access::Rule;
use crate::app::Declaration;
use crate::serve::{Admin, Server};

/// The prefix of forepost's environment variables.
const PREFIX: &str = "FOREPOST_";
/// Set by systemd for units with `StateDirectory=`, and in the image.
const STATE_VARIABLE: &str = "STATE_DIRECTORY";
/// Set by systemd for units with `RuntimeDirectory=`.
const RUNTIME_VARIABLE: &str = "RUNTIME_DIRECTORY";
/// The file name of the admin socket in a directory of the daemon.
const ADMIN_SOCKET: &str = "admin.sock";
/// Names the file. It is the only `FOREPOST_` variable that is not a setting.
const CONFIG_VARIABLE: &str = "FOREPOST_CONFIG";
/// The files that are tried if none is named.
const IMPLICIT_FILES: [&str; 2] = ["forepost.toml", "/etc/forepost/forepost.toml"];
/// The largest depth of a key.
const DEEPEST_KEY: usize = 8;

/// The layers of the configuration.
///
/// The default has no layers, for tests. The daemon uses `Layers::from_process`.
#[derive(Clone, Debug, Default)]
pub struct Layers {
    /// The file that the operator named. It must exist, and overrides `FOREPOST_CONFIG`.
    pub config: Option<PathBuf>,
    /// The files to try if none was named; the first one that exists is read.
    pub implicit_files: Vec<PathBuf>,
    /// Names and values. Names without the prefix `FOREPOST_` are ignored.
    pub environment: Vec<(String, String)>,
    /// Dotted paths of keys with their values as texts (`server.http`, `off`). They override all other layers.
    pub overrides: Vec<(String, String)>,
    /// The directory that the service manager gives for state.
    pub state_directory: Option<PathBuf>,
    /// The directory that it gives for files that end with the process.
    pub runtime_directory: Option<PathBuf>,
}

impl Layers {
    /// The layers of this process: its environment, and the usual files unless `config` names one.
    #[must_use]
    pub(crate) fn from_process(config: Option<PathBuf>) -> Self {
        let lossy = |text: OsString| text.to_string_lossy().into_owned();
        Self {
            config,
            implicit_files: IMPLICIT_FILES.map(PathBuf::from).to_vec(),
            environment: std::env::vars_os()
                .map(|(name, value)| (lossy(name), lossy(value)))
                .filter(|(name, _)| name.starts_with(PREFIX))
                .collect(),
            overrides: Vec::new(),
            state_directory: first_directory(std::env::var_os(STATE_VARIABLE)),
            runtime_directory: first_directory(std::env::var_os(RUNTIME_VARIABLE)),
        }
    }

    /// The text of the file, with the name to show for it.
    fn file(&self) -> Result<Option<(String, String)>, Mistake> {
        let variable = self.environment.iter().rfind(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
        let named = match (&self.config, variable) {
            (Some(path), _) => Some(path.clone()),
            (None, Some((_, value))) => Some(PathBuf::from(value)),
            (None, None) => None,
        };
        let candidates = named.as_ref().map_or(&*self.implicit_files, std::slice::from_ref);
        for path in candidates {
            match std::fs::read_to_string(path) {
                Ok(text) => return Ok(Some((path.display().to_string(), text))),
                Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => {}
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        Ok(None)
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    Mistake {
        path: String::new(),
        problem: format!("the file {} cannot be read: {error}", path.display()),
        hint: "name one with --config or FOREPOST_CONFIG, or correct its owner and mode".to_owned(),
        origin: None,
    }
}

/// Reads, layers and checks everything.
///
/// # Errors
///
/// All mistakes at once. A file that cannot be read or is not TOML is reported alone, because it would cause all others.
pub fn load(layers: &Layers) -> Result<Settings, Mistakes> {
    typed(merged(layers)?, layers)
}

/// Reads the address of the admin socket of a daemon with these settings.
///
/// Ignores all other mistakes: the command may run without the environment and the secrets of the daemon.
///
/// # Errors
///
/// The mistakes of the keys that name the socket, and a file that cannot be read or is not TOML.
pub(crate) fn admin(layers: &Layers) -> Result<Admin, Mistakes> {
    let report = Report::new(merged(layers)?);
    let settings = read(&report, layers);
    let matters = |path: &str| ["server.admin", "session.store", "session.directory"].contains(&path);
    match report.into_mistakes().into_iter().filter(|it| matters(&it.path)).collect::<Vec<_>>() {
        mistakes if mistakes.is_empty() => Ok(settings.server.admin),
        mistakes => Err(Mistakes::new(mistakes)),
    }
}

fn merged(layers: &Layers) -> Result<Figment, Mistakes> {
    let mut figment = Figment::new();
    if let Some((name, text)) = layers.file().map_err(|mistake| Mistakes::new(vec![mistake]))? {
        figment = figment.merge(file_layer(&name, &text)?);
    }
    for layer in environment_layers(&layers.environment) {
        figment = figment.merge(layer);
    }
    for (path, value) in &layers.overrides {
        let keys = path.splitn(DEEPEST_KEY, '.').map(str::to_owned).collect();
        figment = figment.merge(Layer::text("the command line".to_owned(), keys, value));
    }
    Ok(figment)
}

/// The first of the directories in a variable of systemd's, which are separated by colons (systemd.exec(5)).
fn first_directory(variable: Option<OsString>) -> Option<PathBuf> {
    std::env::split_paths(&variable?).find(|path| path.is_absolute())
}

impl Settings {
    /// The settings of a file with this text, without other layers.
    ///
    /// # Errors
    ///
    /// As [`load`].
    pub fn from_toml(text: &str) -> Result<Self, Mistakes> {
        typed(Figment::new().merge(file_layer("the text", text)?), &Layers::default())
    }
}

fn typed(figment: Figment, layers: &Layers) -> Result<Settings, Mistakes> {
    let report = Report::new(figment);
    let settings = read(&report, layers);
    match report.into_mistakes() {
        mistakes if mistakes.is_empty() => Ok(settings),
        mistakes => Err(Mistakes::new(mistakes)),
    }
}

/// The keys of a provider and an application that are allowed at the top of a file, without a table.
const QUICK_PROVIDER: [&str; 4] = ["issuer", "client_id", "client_secret", "client_secret_file"];
const QUICK_APPLICATION: [&str; 2] = ["external_host", "cookie_domain"];

/// Reads the settings. They are valid only if the report has no mistakes.
fn read(report: &Report, layers: &Layers) -> Settings {
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
    let identity_providers = provider::read_all(tables);

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
        None => root.missing("application", hint),
    }
    let applications = application::read_all(tables, &provider_names);
    check_networks(&root, &applications, &server);

    let session = session::read(root.table("session"), layers.state_directory.as_deref());
    if server.admin == Admin::Usual(None) {
        server.admin = Admin::Usual(admin_directory(&session.store, layers).map(|path| path.join(ADMIN_SOCKET)));
    }
    let log = session::read_log(root.table("log"));
    root.finish();
    Settings { server, identity_providers, applications, session, log }
}

/// Reports rules for networks without `trusted_proxies`, because such a rule trusts the proxy to name the client's address.
fn check_networks(root: &Table<'_>, applications: &[Declaration], server: &Server) {
    if server.trusted_proxies == private_networks()
        && let Some(application) =
            applications.iter().find(|application| application.rules.iter().any(Rule::looks_at_client))
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

/// One file, one environment variable, or one flag.
struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Layer {
    /// Adds a value at a path of keys; the reader of the key parses it.
    fn text(name: String, keys: Vec<String>, value: &str) -> Self {
        let value = Value::String(Tag::Default, value.to_owned());
        let nested = keys.into_iter().rfold(value, |value, key| Value::Dict(Tag::Default, Dict::from([(key, value)])));
        let dict = match nested {
            Value::Dict(_, dict) => dict,
            _ => Dict::new(),
        };
        Self { metadata: Metadata::from(name, TEXT_LAYER), dict }
    }
}

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        self.metadata.clone()
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.dict.clone())]))
    }
}

fn file_layer(name: &str, text: &str) -> Result<Layer, Mistakes> {
    let dict = Toml::from_str(text).map_err(|error| {
        let Complaint { problem, hint } = syntax_complaint(&error.to_string());
        Mistakes::new(vec![Mistake { path: String::new(), problem, hint, origin: Some(name.to_owned()) }])
    })?;
    Ok(Layer { metadata: Metadata::named(name.to_owned()), dict })
}

/// The message of the TOML parser without the line that it quotes, which may contain a secret.
fn syntax_complaint(error: &str) -> Complaint {
    let quote = |line: &&str| {
        let number = line.trim_start().trim_start_matches(|c: char| c.is_ascii_digit());
        !number.trim_start().starts_with('|')
    };
    let lines: Vec<_> = error.lines().filter(quote).map(str::trim).collect();
    complaint(lines.join(": "), "texts are quoted, as in key = \"value\"")
}

fn environment_layers(environment: &[(String, String)]) -> Vec<Layer> {
    let mut variables: Vec<_> = environment
        .iter()
        .filter(|(name, value)| name != CONFIG_VARIABLE && !is_service_link(name, value))
        .filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)))
        .collect();
    variables.sort_by_key(|(name, _, _)| *name);
    let layers = variables.into_iter().filter_map(|(name, key, value)| {
        let key = key.to_ascii_lowercase();
        // A Compose file passes an unset variable as an empty text.
        let is_quick = QUICK_PROVIDER.iter().chain(&QUICK_APPLICATION).any(|k| *k == key);
        if is_quick && value.is_empty() {
            return None;
        }
        let keys = key.splitn(DEEPEST_KEY, "__").map(str::to_owned).collect();
        let origin = format!("environment variable {}", name.escape_debug());
        Some(Layer::text(origin, keys, value))
    });
    layers.collect()
}

/// Whether the variable is one of Kubernetes: for a service named `forepost` every pod gets variables with the same prefix
/// (<https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables>).
fn is_service_link(name: &str, value: &str) -> bool {
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    let last = name.split("_PORT_").last().unwrap_or_default();
    let is_part = last.starts_with(|c: char| c.is_ascii_digit())
        && ["_PROTO", "_PORT", "_ADDR", "_TCP", "_UDP", "_SCTP"].iter().any(|end| last.ends_with(end));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_address)
        || (name.contains("_PORT_") && is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(variable: Option<&str>, expected: Option<&str>) {
        assert_eq!(first_directory(variable.map(OsString::from)), expected.map(PathBuf::from), "{variable:?}");
    }

    #[test]
    fn the_first_directory_counts() {
        check(None, None);
        check(Some(""), None);
        check(Some("/var/lib/forepost"), Some("/var/lib/forepost"));
        check(Some("/var/lib/a:/var/lib/b"), Some("/var/lib/a"));
        check(Some("relative"), None);
    }
}
