//! The decision table: every dialect, application mode, credential, path and kind of request, with what is answered.
//!
//! It is the specification, kept readable in `decision-table.txt`.

mod sessions;
mod stage;

use std::fmt::Write as _;

use self::stage::{CREDENTIALS, Credential, KINDS, MODES, Stage};
use crate::forwarded::Dialect;

const EXPECTED: &str = include_str!("../decision-table.txt");

/// Names and targets of the paths.
const PATHS: [(&str, &str); 11] = [
    ("restricted", "/page?x=/public/"),
    ("public", "/public/page"),
    ("perhaps public", "/public/..%2fpage"),
    ("ambiguous", "//y/public"),
    ("outpost's own", "/outpost.goauthentik.io/start?rd=/page"),
    ("near the outpost's", "/outpost.goauthentik.io/../page"),
    ("denied", "/shut"),
    ("perhaps denied", "/open/..%2fshut"),
    ("public for GET", "/open"),
    ("better login's", "/gold"),
    ("staff's", "/staff"),
];

/// Whether an identity, a rule or a permitted preflight is there to be proved; said again, without the program's own code.
fn is_proved(dialect: Dialect, credential: Credential, path: &str, kind: &str) -> bool {
    let entitled = matches!(credential, Credential::Valid | Credential::BadThenValid | Credential::ValidThenBad);
    let told_preflight = kind == "preflight" && dialect != Dialect::Nginx;
    let has_session = entitled || credential == Credential::NotEntitled;
    let told_get = dialect != Dialect::Nginx && !["post", "preflight", "stranger's"].contains(&kind);
    match path {
        "outpost's own" | "denied" | "perhaps denied" | "ambiguous" => false,
        "public" => true,
        "public for GET" => entitled || told_preflight || told_get,
        "better login's" => told_preflight,
        "staff's" => has_session || told_preflight,
        _ => entitled || told_preflight,
    }
}

#[tokio::test]
async fn the_decision_table() {
    let stage = Stage::new().await;
    let mut table = String::from(HEAD);
    for (path_name, path) in PATHS {
        let mut sections: Vec<(Vec<&str>, String)> = Vec::new();
        for dialect in Dialect::ALL {
            let section = section(&stage, dialect, path_name, path).await;
            match sections.iter_mut().find(|(_, other)| *other == section) {
                Some((dialects, _)) => dialects.push(dialect.as_str()),
                None => sections.push((vec![dialect.as_str()], section)),
            }
        }
        for (dialects, section) in sections {
            let _ = write!(table, "\n== {path_name} path: {} ==\n{section}", dialects.join(", "));
        }
    }
    if std::env::var_os("FOREPOST_WRITE_TABLE").is_some() {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/decision-table.txt"), &table).unwrap();
    } else {
        assert!(table == EXPECTED, "the table changed; with FOREPOST_WRITE_TABLE=1 this test writes it anew:\n{table}");
    }
}

/// The rows of one path in one dialect; credentials and kinds with equal answers stand together.
async fn section(stage: &Stage, dialect: Dialect, path_name: &str, path: &str) -> String {
    let mut rows: Vec<(Vec<String>, Vec<String>)> = Vec::new();
    for mode in MODES {
        for credential in CREDENTIALS {
            let mut row = Vec::new();
            for (kind, (kind_name, ..)) in KINDS.iter().enumerate() {
                let cell = stage.cell(dialect, mode, credential, path, kind).await;
                let what = format!("{dialect:?} {mode:?} {credential:?} {path_name} {kind_name}: {}", cell.text());
                let proved = is_proved(dialect, credential, path_name, kind_name);
                assert_eq!((200..300).contains(&cell.status), proved, "a 2xx if and only if proved: {what}");
                assert!(cell.status != 200 || cell.cookies == 0, "{what}");
                row.push(format!("{kind_name}: {}", cell.text()));
            }
            let name = format!("{mode:?}/{credential:?}");
            match rows.iter_mut().find(|(_, other)| *other == row) {
                Some((names, _)) => names.push(name),
                None => rows.push((vec![name], row)),
            }
        }
    }
    let mut text = String::new();
    for (names, row) in rows {
        let _ = writeln!(text, "{}", credentials(&names));
        for (answer, kinds) in by_answer(&row) {
            let _ = writeln!(text, "    {answer:<24} {kinds}");
        }
    }
    text
}

const HEAD: &str = "\
What a check is answered: by path, dialect and credential, for each kind of request.
Made by the test `the_decision_table`, which also proves that a 2xx is given if and only if an identity or a public rule was proved.

A line tells the status; where Location leads (`provider`: the authorisation endpoint, `login`: our start link, with the
action that nginx and HAProxy are told); whose identity headers are there (`empty`: all of them, without values); how many cookies are set.
A credential stands for both modes, one host and a whole domain, unless it says otherwise.
";

/// `Single/X` and `Domain/X` as `X`.
fn credentials(names: &[String]) -> String {
    let mut shown: Vec<String> = Vec::new();
    for name in names {
        let (mode, credential) = name.split_once('/').unwrap();
        let twin = if mode == "Single" { "Domain" } else { "Single" };
        let both = names.contains(&format!("{twin}/{credential}"));
        let text = if both { credential.to_owned() } else { format!("{credential} ({mode})") };
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    shown.join(", ")
}

/// Kinds of requests that get the same answer, together, in the order of the columns.
fn by_answer(row: &[String]) -> Vec<(String, String)> {
    let mut groups: Vec<(String, String)> = Vec::new();
    for cell in row {
        let (kind, answer) = cell.split_once(": ").unwrap();
        match groups.iter_mut().find(|(other, _)| other == answer) {
            Some((_, kinds)) => {
                kinds.push_str(", ");
                kinds.push_str(kind);
            }
            None => groups.push((answer.to_owned(), kind.to_owned())),
        }
    }
    groups
}
