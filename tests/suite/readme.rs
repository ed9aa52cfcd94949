//! The documents say what is there: snippets, keys, links, metrics and log events.

use std::fs;
use std::path::{Path, PathBuf};

use forepost::settings::{Layers, Settings, load};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Files below `folder` that end in `.{extension}`.
fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the project").filter_map(|entry| Some(entry.ok()?.path()));
    let found = entries.flat_map(|path| if path.is_dir() { files(&path, extension) } else { vec![path] });
    found.filter(|path| path.extension().is_some_and(|it| it == extension)).collect()
}

fn documents() -> Vec<PathBuf> {
    let names = ["README.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md"];
    names.iter().map(|name| root().join(name)).chain(files(&root().join("docs"), "md")).collect()
}

/// Fenced blocks with their language and the line that stands before them.
fn blocks(document: &str) -> Vec<(&str, &str, &str)> {
    let mut found = Vec::new();
    let mut parts = document.split("\n```");
    while let (Some(before), Some(block)) = (parts.next(), parts.next()) {
        let (language, block) = block.split_once('\n').expect("a fence ends its line");
        found.push((language, before.lines().last().unwrap_or_default(), block));
    }
    found
}

/// What stands between single backticks outside of blocks.
fn code_spans(document: &str) -> Vec<String> {
    let prose: Vec<&str> = document.split("\n```").step_by(2).collect();
    prose.iter().flat_map(|text| text.split('`').skip(1).step_by(2)).map(|span| span.replace('\n', " ")).collect()
}

#[test]
fn toml_snippets_are_settings() {
    let documents =
        ["README.md", "docs/ACCESS.md", "docs/PROVIDERS.md", "docs/PROGRAMS.md", "docs/DOCKER.md"].map(read).concat();
    let mut checked = 0;
    for (_, _, block) in blocks(&documents).into_iter().filter(|(language, ..)| *language == "toml") {
        let mut text = block.replace("client_secret_file = \"/run/secrets/", "client_secret = \"");
        if !text.contains("[[application]]") {
            text.insert_str(0, "external_host = \"https://app.example.com\"\n");
        }
        if !text.contains("[identity_provider.") {
            text.insert_str(
                0,
                "issuer = \"https://id.example.com\"\nclient_id = \"forepost\"\nclient_secret = \"x\"\n",
            );
        }
        let settings = Settings::from_toml(&text).unwrap_or_else(|mistakes| panic!("{mistakes}\n{block}"));
        assert!(!settings.applications.is_empty());
        checked += 1;
    }
    assert!(checked >= 8, "{checked}");
}

#[test]
fn the_quick_start_needs_no_file() {
    let readme = read("README.md");
    let (_, _, block) = blocks(&readme).into_iter().find(|(language, ..)| *language == "env").unwrap();
    let environment = block.lines().filter_map(|line| line.split_once('='));
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let settings = load(&Layers { environment, ..Layers::default() });
    let settings = settings.unwrap_or_else(|mistakes| panic!("{mistakes}"));
    assert_eq!(
        settings.applications[0].cookie_domain.as_ref().map(ToString::to_string).as_deref(),
        Some("example.com")
    );
}

/// An excerpt leaves lines out, but has them in the order of the file.
#[test]
fn excerpts_are_lines_of_the_examples() {
    let readme = read("README.md");
    let mut checked = 0;
    for (_, before, block) in blocks(&readme) {
        let Some(path) = before.strip_prefix("<!-- lines of ").and_then(|it| it.strip_suffix(" -->")) else { continue };
        let example = read(path);
        let mut lines = example.lines();
        for wanted in block.lines().filter(|line| !line.trim().is_empty()) {
            assert!(lines.any(|line| line == wanted), "{path} has no line like this, here: {wanted}");
        }
        checked += 1;
    }
    assert_eq!(checked, 5, "one for each proxy");
}

#[test]
fn keys_exist() {
    let mut table = String::new();
    let mut keys = Vec::new();
    for line in read("config/forepost.toml").lines() {
        let line = line.trim_start_matches('#').trim_start_matches('+');
        if let Some(header) = line.strip_prefix('[') {
            table = header.trim_matches(['[', ']']).replace(".default", "");
            keys.push(table.clone());
        } else if let Some((key, _)) = line.split_once(" = ") {
            keys.push(format!("{table}.{key}"));
        }
    }
    let tables = ["server.", "session.", "docker.", "log.", "identity_provider.", "application."];
    let mut checked = 0;
    for path in documents() {
        for span in code_spans(&read(&path)) {
            let is_key = tables.iter().any(|table| span.starts_with(table))
                && span.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_' || byte == b'.');
            if is_key {
                assert!(keys.contains(&span), "{}: there is no key {span}", path.display());
                checked += 1;
            }
        }
    }
    assert!(checked > 20, "only {checked}");
}

#[test]
fn links_lead_somewhere() {
    for path in documents() {
        let text = read(&path);
        for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(link, _)| link) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            if file.contains("://") {
                continue;
            }
            let target = if file.is_empty() { path.clone() } else { path.with_file_name("").join(file) };
            assert!(target.exists(), "{}: {link}", path.display());
            if !anchor.is_empty() {
                let anchors =
                    read(&target).lines().filter(|line| line.starts_with('#')).map(anchor_of).collect::<Vec<_>>();
                assert!(anchors.iter().any(|it| it == anchor), "{}: {link}; there are {anchors:?}", path.display());
            }
        }
    }
}

/// As GitHub makes them.
fn anchor_of(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    text.chars().filter(|it| it.is_alphanumeric() || " -_".contains(*it)).collect::<String>().replace(' ', "-")
}

#[test]
fn metrics_are_those_of_the_code() {
    let source = read("src/telemetry/metrics/mod.rs") + &read("src/telemetry/metrics/configuration.rs");
    let logging = read("docs/LOGGING.md");
    let spans = code_spans(&logging);
    let mut documented: Vec<&str> = spans
        .iter()
        .filter_map(|span| span.strip_prefix("forepost_").or_else(|| span.starts_with("authentik_").then_some(span)))
        .map(|name| ["_total", "_seconds"].iter().fold(name, |name, end| name.strip_suffix(end).unwrap_or(name)))
        .map(|name| if name == "build_info" { "build" } else { name })
        .collect();
    documented.sort_unstable();
    documented.dedup();
    for name in &documented {
        assert!(source.contains(&format!("\"{name}\"")), "no metric {name}");
    }
    let registered = source.matches(".register(").count() - source.matches(".register()").count()
        + source.matches(".register_with_unit(").count();
    assert_eq!(documented.len(), registered, "{documented:?}");
}

/// The last text of each logging macro is its message.
fn events(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    let calls = source.match_indices("tracing::").map(|(at, path)| &source[at + path.len()..]);
    let calls = calls.chain(source.match_indices("warn_throttled!(").map(|(at, _)| &source[at..]));
    for (name, rest) in calls.filter_map(|rest| rest.split_once("!(")) {
        if !["error", "warn", "info", "debug", "trace", "warn_throttled"].contains(&name) {
            continue;
        }
        let (mut depth, mut texts, mut text) = (1, Vec::new(), None::<String>);
        for character in rest.chars() {
            match (&mut text, character) {
                (Some(_), '"') => texts.extend(text.take()),
                (Some(text), other) => text.push(other),
                (None, '"') => text = Some(String::new()),
                (None, '(') => depth += 1,
                (None, ')') => depth -= 1,
                (None, _) => {}
            }
            if depth == 0 {
                break;
            }
        }
        // A macro of our own passes on what it was called with.
        if texts.is_empty() {
            continue;
        }
        // Where the message is chosen, "{}" stands before the choices.
        let choices = texts.iter().position(|text| text == "{}").map_or(texts.len() - 1, |at| at + 1);
        found.extend(texts.drain(choices..));
    }
    found
}

#[test]
fn log_events_are_those_of_the_code() {
    let is_test =
        |path: &Path| path.components().any(|it| ["tests", "tests.rs"].contains(&&*it.as_os_str().to_string_lossy()));
    let sources = files(&root().join("src"), "rs").into_iter().filter(|path| !is_test(path)).map(read);
    let mut logged: Vec<_> = sources
        .flat_map(|source| events(source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default()))
        .collect();
    logged.sort_unstable();
    let documented = code_spans(&read("docs/LOGGING.md"));
    for event in &logged {
        assert!(documented.contains(event), "docs/LOGGING.md does not have {event:?}");
    }
    let document = read("docs/LOGGING.md");
    let (_, table) = document.split_once("## Other events").unwrap();
    for row in table.lines().take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix("| `")) {
        let (event, _) = row.split_once('`').unwrap();
        assert!(logged.iter().any(|it| it == event), "the code does not log {event:?}");
    }
}

/// Texts of one word behind each `before` in `source`, up to the end of the statement.
fn words_behind<'s>(source: &'s str, before: &str) -> Vec<&'s str> {
    let statements = source.split(before).skip(1).filter_map(|rest| rest.split(';').next());
    let texts = statements.flat_map(|statement| statement.split('"').skip(1).step_by(2).take(1));
    texts.filter(|text| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')).collect()
}

#[test]
fn audit_reasons_are_those_of_the_code() {
    let logging = read("docs/LOGGING.md");
    let (_, audit) = logging.split_once("| `event` | `reason` | Means |").unwrap();
    let rows = audit.lines().skip(2).take_while(|line| line.starts_with("| `"));
    let mut documented: Vec<String> = rows.map(|row| row.split('`').nth(3).unwrap().to_owned()).collect();
    // With an example of its own above the table.
    documented.push("operator".to_owned());
    let mut known: Vec<String> = Vec::new();
    let parts =
        ["admin", "http", "login", "logout", "oidc", "refresh"].map(|part| files(&root().join("src").join(part), "rs"));
    let list = root().join("src/session/redis/list.rs");
    for path in parts.into_iter().flatten().chain([list]) {
        let source = read(&path);
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for before in [
            "AuditLine::new(",
            ".line(",
            "audit(Event::",
            ".audit(",
            ".end(",
            ".end_all(",
            ".failed(",
            ".forget(",
            "const REASON: ",
            "const DENIED: ",
            "const TOKEN_MAY_BE_SPENT: ",
        ] {
            known.extend(words_behind(source, before).into_iter().map(str::to_owned));
        }
        if path.ends_with("oidc/refresh_error.rs") {
            let names = source.split_once("fn as_str").unwrap().1.split_once("    }\n").unwrap().0;
            known.extend(names.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    for reason in &known {
        assert!(documented.contains(reason), "docs/LOGGING.md does not have the reason {reason:?}");
    }
    for reason in &documented {
        assert!(known.contains(reason), "the code has no reason {reason:?}");
    }
}

#[test]
fn the_first_commands_exist() {
    let readme = read("README.md");
    let commands = blocks(&readme).into_iter().filter(|(language, ..)| *language == "sh");
    let first: Vec<&str> = commands.take(2).map(|(_, _, block)| block.trim()).collect();
    assert_eq!(first, ["cargo run --example demo", "tests/run"]);
    assert!(root().join("examples/demo/main.rs").exists() && root().join("tests/run").exists());
}
