//! Sessions as text.

use chrono::DateTime;
use serde_json::Value;

use crate::telemetry::log::escaped;

/// Shown for an unknown value.
const NOTHING: &str = "-";

/// The columns of a list; the last one has no fixed width.
const COLUMNS: [(&str, &str); 6] = [
    ("USER", "user"),
    ("APPLICATION", "application"),
    ("SIGNED IN", "created_at"),
    ("LAST USE", "last_use"),
    ("ENDS", "expires_at"),
    ("ID", "id"),
];

/// The lines about one session.
const LINES: [(&str, &str); 9] = [
    ("ID", "id"),
    ("User", "user"),
    ("Subject", "subject"),
    ("Application", "application"),
    ("Issuer", "issuer"),
    ("Provider's session", "session_id"),
    ("Signed in", "created_at"),
    ("Last use", "last_use"),
    ("Ends", "expires_at"),
];

/// A line with headings, and one for each session, in the order of user, application and time.
pub(super) fn list(sessions: &[Value]) -> String {
    let mut rows: Vec<_> = sessions.iter().map(|session| COLUMNS.map(|(_, field)| shown(session, field))).collect();
    rows.sort_unstable();
    rows.insert(0, COLUMNS.map(|(heading, _)| heading.to_owned()));
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; COLUMNS.len()] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// One session, with a line for each known field.
pub(super) fn one(session: &Value) -> String {
    let width = LINES.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
    let lines = LINES.iter().map(|(name, field)| format!("{name:<width$}  {}\n", shown(session, field)));
    lines.collect()
}

/// Writes a value: times in UTC, and text without characters that control a terminal.
fn shown(session: &Value, field: &str) -> String {
    match &session[field] {
        Value::String(text) if text.is_empty() => NOTHING.to_owned(),
        Value::String(text) => escaped(text),
        Value::Number(millis) => {
            let time = millis.as_i64().and_then(DateTime::from_timestamp_millis);
            time.map_or_else(|| NOTHING.to_owned(), |time| time.format("%Y-%m-%d %H:%M:%SZ").to_string())
        }
        _ => NOTHING.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn session(user: &str, last_use: Option<u64>) -> Value {
        json!({
            "id": "A".repeat(43), "application": "wiki", "issuer": "https://id.example.com", "subject": "1", "user": user,
            "created_at": 1_795_324_811_999_u64, "expires_at": 1_795_411_211_000_u64, "last_use": last_use,
        })
    }

    #[test]
    fn lists_are_aligned_and_in_order() {
        let table =
            list(&[session("zoë", None), session("alice", Some(1_795_324_812_000)), session("\u{1b}[2J", None)]);
        let id = "A".repeat(43);
        let expected = format!(
            "USER       APPLICATION  SIGNED IN             LAST USE              ENDS                  ID\n\
             \\u001b[2J  wiki         2026-11-22 05:20:11Z  -                     2026-11-23 05:20:11Z  {id}\n\
             alice      wiki         2026-11-22 05:20:11Z  2026-11-22 05:20:12Z  2026-11-23 05:20:11Z  {id}\n\
             zoë        wiki         2026-11-22 05:20:11Z  -                     2026-11-23 05:20:11Z  {id}\n"
        );
        assert_eq!(table, expected, "{table}");
    }

    #[test]
    fn one_session_shows_all() {
        let text = one(&session("alice\n", None));
        assert!(
            text.contains("User                alice\\u000a\n") && text.contains("Last use            -\n"),
            "{text}"
        );
        assert!(text.contains("Issuer              https://id.example.com\n"), "{text}");
        assert_eq!(text.lines().count(), LINES.len());
    }
}
