//! Parses durations and switches, and finds the known key that is nearest to an unknown one.

use std::time::Duration;

use super::mistakes::{Complaint, complaint, shown};

/// Browsers do not keep a cookie longer (RFC 6265bis §5.5), so it is the longest lifetime.
pub(super) const LONGEST: Duration = Duration::from_hours(400 * 24);

/// Parses `90s`, `500ms`, `10m`, `1h30m`, `24h`, `1d`.
pub(super) fn duration(text: &str) -> Result<Duration, Complaint> {
    let wrong = || {
        let bare = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let hint = if bare {
            format!("a unit is missing: write \"{text}s\" for seconds")
        } else {
            "write it like \"90s\", \"10m\", \"24h\" or \"1d\"".to_owned()
        };
        complaint(format!("{} is not a duration", shown(text)), hint)
    };
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let millis: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return Err(wrong()),
        };
        let part = number.checked_mul(millis).ok_or_else(wrong)?;
        total = total.checked_add(Duration::from_millis(part)).ok_or_else(wrong)?;
        if tail.is_empty() {
            return Ok(total);
        }
        rest = tail;
    }
}

/// Writes `duration` as [`duration()`] parses it, in the largest unit that fits.
pub(super) fn spelled(duration: Duration) -> String {
    let millis = duration.as_millis();
    for (unit, size) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)] {
        if millis >= size && millis.is_multiple_of(size) {
            return format!("{}{unit}", millis / size);
        }
    }
    match millis {
        0 => "0s".to_owned(),
        _ => format!("{millis}ms"),
    }
}

/// Whether a text switches a limit or listener off.
pub(super) fn is_off(text: &str) -> bool {
    matches!(text, "" | "0" | "off")
}

/// Parses a switch as environments spell it.
pub(super) fn switch(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Some(true),
        "false" | "no" | "off" | "0" => Some(false),
        _ => None,
    }
}

/// A slug: letters, digits, `-` and `_`.
pub(super) fn is_slug(text: &str) -> bool {
    (1..=100).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
}

/// Makes a slug of a name: lower case, with one `-` for each run of characters that a slug cannot hold; may be empty.
pub(super) fn slugified(name: &str) -> String {
    let words: Vec<_> =
        name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| !word.is_empty()).collect();
    let mut slug = words.join("-").to_ascii_lowercase();
    slug.truncate(100);
    slug
}

/// The hint for an unknown key: the known key that is nearest to it, or all known keys.
pub(super) fn which_key(unknown: &str, known: &[&'static str]) -> String {
    let unknown = unknown.to_ascii_lowercase().replace('-', "_");
    let near = known
        .iter()
        .map(|key| (distance(&unknown, key), key))
        .min()
        .filter(|(distance, key)| *distance <= (key.len() / 3).clamp(1, 3));
    match near {
        Some((_, key)) => format!("did you mean {key}?"),
        None => format!("known here: {}", known.join(", ")),
    }
}

/// The edit distance of two texts: insertions, removals and replacements.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    // A longer text is not a typing error, and this bounds the time.
    let from = from.chars().take(64);
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, a) in from.enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(text: &str, expected: Option<u64>) {
        let got = duration(text).ok();
        assert_eq!(got, expected.map(Duration::from_millis), "{text:?}");
    }

    #[test]
    fn durations() {
        check("90s", Some(90_000));
        check("250ms", Some(250));
        check("10m", Some(600_000));
        check("24h", Some(86_400_000));
        check("1d", Some(86_400_000));
        check("1h30m", Some(5_400_000));
        check("0s", Some(0));
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "+1s",
            "1.5h",
            "1w",
            "1hx",
            "1S",
            "٣s",
            "18446744073709551615d",
            "99999999999999999999s",
        ] {
            check(text, None);
        }
    }

    proptest! {
        #[test]
        fn spelled_durations_read_back(millis in 0u64..1 << 50) {
            let one = Duration::from_millis(millis);
            prop_assert_eq!(duration(&spelled(one)).ok(), Some(one));
        }

        #[test]
        fn durations_never_panic(text in "[0-9msh d]{0,40}|.{0,20}") {
            let _ = duration(&text);
        }
    }

    #[track_caller]
    fn hint(unknown: &str, expected: &str) {
        let known = ["issuer", "client_id", "client_secret", "client_secret_file"];
        assert_eq!(which_key(unknown, &known), expected);
    }

    #[test]
    fn unknown_keys_are_guessed() {
        hint("isuer", "did you mean issuer?");
        hint("ISSUER", "did you mean issuer?");
        hint("client-id", "did you mean client_id?");
        hint("clientid", "did you mean client_id?");
        hint("client_secrets", "did you mean client_secret?");
        hint("colour", "known here: issuer, client_id, client_secret, client_secret_file");
    }

    #[test]
    fn slugs() {
        assert_eq!(slugified("My App (new)"), "my-app-new");
        assert_eq!(slugified("app.example.com"), "app-example-com");
        assert_eq!(slugified("日本"), "");
        assert!(is_slug("my-app_2") && !is_slug("") && !is_slug("a b") && !is_slug("a\n"));
    }
}
