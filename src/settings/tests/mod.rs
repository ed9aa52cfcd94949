//! The whole of it: layers, every mistake, and the documented file.

mod document;
mod labels;
mod layers;
mod mistakes;
mod properties;
mod rules;

use super::{Mistakes, Settings};

/// A provider and an application, the shortest that load.
const MINIMAL: &str = r#"
[identity_provider.default]
issuer = "https://id.example.com/"
client_id = "forepost"
client_secret = "a secret"
[[application]]
external_host = "https://app.example.com"
"#;

#[track_caller]
fn loaded(text: &str) -> Settings {
    match Settings::from_toml(text) {
        Ok(settings) => settings,
        Err(mistakes) => panic!("{mistakes}"),
    }
}

#[track_caller]
fn refused<T>(result: Result<T, Mistakes>) -> String {
    match result {
        Ok(_) => panic!("loaded without a mistake"),
        Err(mistakes) => mistakes.to_string(),
    }
}
