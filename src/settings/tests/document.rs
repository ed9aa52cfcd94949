//! `config/forepost.toml` says what the code does.
//!
//! In it `#key = value` shows a default, `#+key = value` an example of a key that has none.

use std::collections::BTreeSet;

use super::{loaded, refused};
use crate::settings::Settings;

const DOCUMENT: &str = include_str!("../../../config/forepost.toml");

/// Keys that exclude another one of the document, or that need another one to be given.
const TWINS: [&str; 9] = [
    "client_secret_file",
    "secret_file",
    "password_file",
    "sentinel_password_file",
    "url_file",
    "urls",
    "networks",
    "public = ",
    "deny = ",
];

/// The document with its examples, and with its defaults if wanted, but for the twins.
fn uncommented(defaults: bool) -> String {
    let lines = DOCUMENT.lines().filter_map(|line| {
        let Some(comment) = line.strip_prefix('#') else {
            return Some(line);
        };
        if let Some(example) = comment.strip_prefix('+') {
            let is_twin = TWINS.iter().any(|twin| example.starts_with(twin));
            return (!is_twin).then_some(example);
        }
        let is_default = comment.starts_with(|c: char| c.is_ascii_lowercase());
        (comment.starts_with('[') || (is_default && defaults)).then_some(comment)
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_document_loads_as_it_stands() {
    let settings = loaded(DOCUMENT);
    assert_eq!(settings.applications.len(), 1);
    assert_eq!(settings.dangers(), [""; 0]);
}

#[test]
fn every_documented_default_is_the_default() {
    let with_defaults = format!("{:#?}", loaded(&uncommented(true)));
    let without = format!("{:#?}", loaded(&uncommented(false)));
    for (documented, real) in with_defaults.lines().zip(without.lines()) {
        assert_eq!(documented, real);
    }
    assert_eq!(with_defaults, without);
}

/// A key that no table knows makes each table list the keys that it does know.
#[test]
fn every_key_is_documented() {
    let probe = "zzzzzzzzzzzz = 1";
    let probed: Vec<_> = uncommented(true)
        .lines()
        .map(|line| {
            if line.starts_with('[') {
                format!("{line}\n{probe}")
            } else {
                line.replace("{ path", &format!("{{ {probe}, path"))
            }
        })
        .collect();
    let probed = format!("{probe}\n{}", probed.join("\n"));
    let block = refused(Settings::from_toml(&probed));
    let mut tables = BTreeSet::new();
    for line in block.lines().skip(1) {
        let (_, keys) = line.split_once("known here: ").unwrap_or_else(|| panic!("{line}"));
        let (keys, _) = keys.split_once(" (from").unwrap_or_else(|| panic!("{line}"));
        tables.insert(keys);
        for key in keys.split(", ") {
            let is_documented = DOCUMENT.lines().any(|line| {
                let line = line.trim_start_matches(['#', '+', '[']);
                let rest = line.strip_prefix(key);
                rest.is_some_and(|rest| rest.starts_with([' ', ']', '.']))
            });
            let is_inline = DOCUMENT.contains(&format!("{{ {key} =")) || DOCUMENT.contains(&format!(", {key} ="));
            let is_table = DOCUMENT.contains(&format!(".{key}]"));
            assert!(is_documented || is_inline || is_table, "{key} is not documented: {line}");
        }
    }
    assert_eq!(tables.len(), 21, "{block}");
}

#[test]
fn the_unit_uses_keys_that_exist() {
    let unit = include_str!("../../../config/forepost.service");
    assert!(unit.contains("FOREPOST_IDENTITY_PROVIDER__DEFAULT__CLIENT_SECRET_FILE=%d/client_secret"));
    assert!(unit.contains("RestartPreventExitStatus=64"));
    assert!(unit.contains("StateDirectory=forepost"));
}
