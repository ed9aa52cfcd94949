use proptest::prelude::*;

use crate::settings::invariants::hold;
use crate::settings::{Layers, Settings, load};

/// Keys of all tables, and a few that are none.
const KEYS: &[&str] = &[
    "issuer",
    "client_id",
    "client_secret",
    "external_host",
    "cookie_domain",
    "server",
    "http",
    "metrics",
    "https",
    "listen",
    "certificate",
    "key",
    "trusted_proxies",
    "max_headers",
    "idle_timeout",
    "identity_provider",
    "default",
    "scopes",
    "offline_access",
    "claims",
    "groups",
    "authorization_parameters",
    "application",
    "slug",
    "public_paths",
    "path",
    "prefix",
    "regex",
    "host",
    "methods",
    "required_groups",
    "headers",
    "cors",
    "tokens",
    "bearer",
    "token_issuer",
    "allowed_origins",
    "session",
    "lifetime",
    "store",
    "directory",
    "secret",
    "redis",
    "url",
    "urls",
    "master",
    "log",
    "routine_checks",
    "level",
    "a.b",
    "x",
];

fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        9 => prop::sample::select(KEYS).prop_map(str::to_owned),
        1 => "[a-z_]{0,6}",
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,20}",
        "https?://[a-z.:@/?#%*\\[\\]0-9]{0,20}",
        "[/.()|*+?\\[\\]a-z{}0-9^$]{0,12}",
        "[0-9]{1,22}(ms|s|m|h|d)?",
        "[\\[{][a-z =\",\\[{}\\]0-9]{0,20}",
        Just("off".to_owned()),
    ]
}

fn value() -> impl Strategy<Value = toml_like::Value> {
    let leaf = prop_oneof![
        4 => text().prop_map(toml_like::Value::Text),
        1 => any::<i64>().prop_map(toml_like::Value::Integer),
        1 => any::<f64>().prop_map(toml_like::Value::Float),
        1 => any::<bool>().prop_map(toml_like::Value::Boolean),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(toml_like::Value::List),
            prop::collection::btree_map(key(), inner, 0..4).prop_map(toml_like::Value::Table),
        ]
    })
}

/// Just enough TOML to write values of any shape.
mod toml_like {
    use std::collections::BTreeMap;
    use std::fmt;

    #[derive(Clone, Debug)]
    pub(super) enum Value {
        Text(String),
        Integer(i64),
        Float(f64),
        Boolean(bool),
        List(Vec<Value>),
        Table(BTreeMap<String, Value>),
    }

    impl fmt::Display for Value {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            match self {
                Self::Text(text) => quoted(text, f),
                Self::Integer(number) => write!(f, "{number}"),
                Self::Float(number) if number.is_finite() => write!(f, "{number:?}"),
                Self::Float(_) => f.write_str("inf"),
                Self::Boolean(switch) => write!(f, "{switch}"),
                Self::List(values) => {
                    f.write_str("[")?;
                    values.iter().try_for_each(|value| write!(f, "{value}, "))?;
                    f.write_str("]")
                }
                Self::Table(table) => {
                    f.write_str("{")?;
                    for (i, (key, value)) in table.iter().enumerate() {
                        f.write_str(if i == 0 { " " } else { ", " })?;
                        quoted(key, f)?;
                        write!(f, " = {value}")?;
                    }
                    f.write_str(" }")
                }
            }
        }
    }

    fn quoted(text: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("\"")?;
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(f, "\\{c}")?,
                c if c.is_control() => write!(f, "\\u{:04X}", u32::from(c))?,
                c => write!(f, "{c}")?,
            }
        }
        f.write_str("\"")
    }
}

proptest! {
    #[test]
    fn any_text_is_loaded_or_refused(text in "(.|\n){0,200}") {
        hold(&text);
    }

    #[test]
    fn any_table_is_loaded_or_refused(table in prop::collection::btree_map(key(), value(), 0..8)) {
        let lines: Vec<_> = table.iter().map(|(key, value)| format!("\"{key}\" = {value}")).collect();
        hold(&lines.join("\n"));
        if let Err(mistakes) = Settings::from_toml(&lines.join("\n")) {
            let block = mistakes.to_string();
            prop_assert!(!block.contains("TOML parse error"), "{}\n{}", lines.join("\n"), block);
        }
    }

    #[test]
    fn any_environment_is_loaded_or_refused(
        pairs in prop::collection::vec((prop::collection::vec(key(), 1..4), text()), 0..8)
    ) {
        let environment: Vec<_> = pairs
            .into_iter()
            .map(|(keys, value)| (format!("FOREPOST_{}", keys.join("__").to_uppercase()), value))
            .collect();
        let lines: Vec<_> =
            environment.iter().map(|(name, value)| format!("{}={value}", &name["FOREPOST_".len()..])).collect();
        hold(&lines.join("\n"));
        let overrides = environment.clone();
        let _ = load(&Layers { environment, overrides, ..Layers::default() });
    }
}

#[test]
fn depth_is_no_danger() {
    for text in [
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        format!("{}a = 1", "a.".repeat(100_000)),
        format!("[{}a]", "a.".repeat(100_000)),
    ] {
        assert!(Settings::from_toml(&text).is_err());
        let environment = vec![("FOREPOST_APPLICATION".to_owned(), text[4..].to_owned())];
        let layers = Layers { environment, ..Layers::default() };
        assert!(load(&layers).is_err());
    }
    let environment = vec![(format!("FOREPOST_{}A", "A__".repeat(100_000)), String::new())];
    let layers = Layers { environment, ..Layers::default() };
    assert!(load(&layers).is_err());
}
