//! Properties of every configuration, from a file or from the environment.

use std::collections::BTreeSet;

use super::values::{duration, spelled};
use super::{Layers, Settings, address, load};
use crate::access::PathPattern;
use crate::app::ExternalHost;

const SECRET: &str = "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d";

/// The shortest configuration that loads: a provider and an application.
const MINIMAL: &str = r#"
[identity_provider.default]
issuer = "https://id.example.com/"
client_id = "forepost"
client_secret = "9b1deb4d3b7d4bad9bdd2b0d7b3dcb6d"
[[application]]
external_host = "https://app.example.com"
"#;

/// Loads `text` as a file, as the rest of a file that is complete, and each line of it as an environment variable.
///
/// Skips texts that name a file with a secret, because the content of that file is not part of the input.
pub(crate) fn hold(text: &str) {
    if text.to_ascii_lowercase().contains("_file") || text.contains(SECRET) {
        return;
    }
    for whole in [text.to_owned(), format!("{MINIMAL}{text}"), format!("client_secret = \"{SECRET}\"\n{text}")] {
        loaded_or_refused(Settings::from_toml(&whole));
    }
    let variables = text.lines().filter_map(|line| line.split_once('='));
    let mut environment: Vec<_> = variables
        .filter(|(name, _)| *name != "CONFIG")
        .map(|(name, value)| (format!("FOREPOST_{name}"), value.to_owned()))
        .collect();
    environment.push(("FOREPOST_CLIENT_SECRET".to_owned(), SECRET.to_owned()));
    loaded_or_refused(load(&Layers { environment, ..Layers::default() }));
    for line in text.lines() {
        duration_holds(line);
        if let Ok(address) = address::external_host(line) {
            address_holds(&address);
        }
    }
}

fn loaded_or_refused(result: Result<Settings, super::Mistakes>) {
    match result {
        Ok(settings) => settings_hold(&settings),
        Err(mistakes) => {
            let block = mistakes.to_string();
            assert!(!block.contains(SECRET), "a secret was shown");
            assert_eq!(block.lines().count(), mistakes.0.len() + 1, "one line each:\n{block}");
            assert!(!block.chars().any(|it| it.is_control() && it != '\n'), "{block:?}");
        }
    }
}

fn settings_hold(settings: &Settings) {
    assert!(!settings.applications.is_empty() || settings.docker.is_some());
    assert!(!settings.identity_providers.is_empty());
    let slugs: BTreeSet<_> = settings.applications.iter().map(|app| &app.slug).collect();
    assert_eq!(slugs.len(), settings.applications.len(), "slugs are unique");
    for app in &settings.applications {
        assert!(settings.identity_providers.contains_key(&app.identity_provider), "{}", app.identity_provider);
        address_holds(&app.external_host);
        if let Some(domain) = &app.cookie_domain {
            assert!(domain.contains(&app.external_host.host), "logins of {domain} come back to it");
        }
        for rule in &app.public_paths {
            pattern_holds(&rule.path);
        }
    }
    for provider in settings.identity_providers.values() {
        assert!(provider.scopes.iter().any(|scope| scope == "openid"));
    }
    assert!(!format!("{settings:?}").contains(SECRET), "a secret was shown");
    let _ = settings.dangers();
}

/// The text of an address parses to the same address.
fn address_holds(address: &ExternalHost) {
    let read = address::external_host(&address.url());
    assert_eq!(read.as_ref(), Ok(address), "{}", address.url());
    assert!(address.base_path.is_empty() || address.base_path.starts_with('/') && !address.base_path.ends_with('/'));
    assert_ne!(address.port, Some(address.scheme.default_port()));
}

/// A public path does not open a path that its pattern does not name.
fn pattern_holds(pattern: &PathPattern) {
    match pattern {
        PathPattern::Path(path) => assert!(path.starts_with('/')),
        PathPattern::Prefix(prefix) => assert!(prefix.len() > 1 && prefix.starts_with('/'), "{prefix}"),
        PathPattern::Regex(regex) => assert!(!regex.is_match("/q7Zx0vKp/F3-Lw_9~/e8.Ht2c"), "{regex}"),
    }
}

fn duration_holds(text: &str) {
    if let Ok(read) = duration(text) {
        assert_eq!(duration(&spelled(read)), Ok(read), "{text}");
    }
}
