//! The layers: defaults ← files ← environment ← flags.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use figment::providers::{Format, Toml};
use figment::value::{Dict, Map, Tag, Value};
use figment::{Figment, Metadata, Profile, Provider};

use super::mistakes::{Complaint, Mistake, complaint};
use super::reader::TEXT_LAYER;

/// The prefix of forepost's environment variables.
const PREFIX: &str = "FOREPOST_";
/// Set by systemd for units with `StateDirectory=`, and in the image.
const STATE_VARIABLE: &str = "STATE_DIRECTORY";
/// Set by systemd for units with `RuntimeDirectory=`.
const RUNTIME_VARIABLE: &str = "RUNTIME_DIRECTORY";
/// Names the file. It is the only `FOREPOST_` variable that is not a setting.
const CONFIG_VARIABLE: &str = "FOREPOST_CONFIG";
/// The files that are tried if none is named.
const IMPLICIT_FILES: [&str; 2] = ["forepost.toml", "/etc/forepost/forepost.toml"];
/// The directory beside the file, whose files are read after it.
const DIRECTORY: &str = "conf.d";
/// The list whose elements are those of all files.
const APPLICATIONS: &str = "application";
/// The largest depth of a key.
const DEEPEST_KEY: usize = 8;

/// The keys of a provider and an application that are allowed at the top of a file, without a table.
pub(super) const QUICK_PROVIDER: [&str; 4] = ["issuer", "client_id", "client_secret", "client_secret_file"];
pub(super) const QUICK_APPLICATION: [&str; 2] = ["external_host", "cookie_domain"];

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

    /// The files that the configuration may be in.
    pub(crate) fn files(&self) -> BTreeSet<PathBuf> {
        self.candidates().0.into_iter().collect()
    }

    /// The files to look for, of which the first that exists is read; and whether the operator named it.
    fn candidates(&self) -> (Vec<PathBuf>, bool) {
        let variable = self.environment.iter().rfind(|(name, value)| name == CONFIG_VARIABLE && !value.is_empty());
        match (&self.config, variable) {
            (Some(path), _) => (vec![path.clone()], true),
            (None, Some((_, value))) => (vec![PathBuf::from(value)], true),
            (None, None) => (self.implicit_files.clone(), false),
        }
    }

    /// Reads the file, then those in the directory beside it, and notes in `files` what the result depends on.
    fn texts(&self, files: &mut BTreeSet<PathBuf>) -> Result<Vec<(PathBuf, String)>, Mistake> {
        let (candidates, named) = self.candidates();
        let mut texts = Vec::new();
        for path in &candidates {
            files.insert(path.clone());
            match std::fs::read_to_string(path) {
                Ok(text) => {
                    texts.push((path.clone(), text));
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound && !named => {}
                Err(error) => return Err(unreadable(path, &error)),
            }
        }
        let beside = texts.first().map(|(path, _)| path).or(candidates.last());
        let Some(directory) = beside.and_then(|path| path.parent()).map(|folder| folder.join(DIRECTORY)) else {
            return Ok(texts);
        };
        files.insert(directory.clone());
        for path in files_in(&directory).map_err(|error| unreadable(&directory, &error))? {
            files.insert(path.clone());
            let text = std::fs::read_to_string(&path).map_err(|error| unreadable(&path, &error))?;
            texts.push((path, text));
        }
        Ok(texts)
    }
}

/// The files of a directory that end in `.toml`, in the order of their names, without hidden ones; none if there is no directory.
fn files_in(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut paths = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let is_hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
        if path.extension().is_some_and(|extension| extension == "toml") && !is_hidden {
            paths.push(path);
        }
    }
    paths.sort();
    Ok(paths)
}

fn unreadable(path: &Path, error: &io::Error) -> Mistake {
    Mistake {
        path: String::new(),
        problem: format!("the file {} cannot be read: {error}", path.display()),
        hint: "name one with --config or FOREPOST_CONFIG, or correct its owner and mode".to_owned(),
        origin: None,
    }
}

/// All layers in one.
pub(super) fn merged(layers: &Layers, files: &mut BTreeSet<PathBuf>) -> Result<Figment, Vec<Mistake>> {
    let mut figment = Figment::new();
    let mut mistakes = Vec::new();
    for (path, text) in layers.texts(files).map_err(|mistake| vec![mistake])? {
        match file_layer(&path.display().to_string(), &text) {
            Ok(mut layer) => {
                // The applications of all files count, while another key of a later file replaces that of an earlier one.
                if let Some(applications) = layer.split(APPLICATIONS) {
                    figment = figment.admerge(applications);
                }
                figment = figment.merge(layer);
            }
            Err(mistake) => mistakes.push(mistake),
        }
    }
    if !mistakes.is_empty() {
        return Err(mistakes);
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

/// One file, one environment variable, one flag, or one label.
pub(super) struct Layer {
    metadata: Metadata,
    dict: Dict,
}

impl Layer {
    /// Adds a value at a path of keys; the reader of the key parses it.
    pub(super) fn text(name: String, keys: Vec<String>, value: &str) -> Self {
        let value = Value::String(Tag::Default, value.to_owned());
        let nested = keys.into_iter().rfold(value, |value, key| Value::Dict(Tag::Default, Dict::from([(key, value)])));
        let dict = match nested {
            Value::Dict(_, dict) => dict,
            _ => Dict::new(),
        };
        Self { metadata: Metadata::from(name, TEXT_LAYER), dict }
    }

    /// Splits off the list under a key, if it is one.
    fn split(&mut self, key: &str) -> Option<Self> {
        if !matches!(self.dict.get(key), Some(Value::Array(..))) {
            return None;
        }
        let (key, list) = self.dict.remove_entry(key)?;
        Some(Self { metadata: self.metadata.clone(), dict: Dict::from([(key, list)]) })
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

pub(super) fn file_layer(name: &str, text: &str) -> Result<Layer, Mistake> {
    let dict = Toml::from_str(text).map_err(|error| {
        let Complaint { problem, hint } = syntax_complaint(&error.to_string());
        Mistake { path: String::new(), problem, hint, origin: Some(name.to_owned()) }
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
