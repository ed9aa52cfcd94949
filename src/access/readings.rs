//! A path has several readings: what one server takes as text, the next decodes, merges or cuts.

use std::collections::BTreeSet;

use percent_encoding::percent_decode_str;

/// Above this many readings a path is not judged but taken as ambiguous.
const MAX_READINGS: usize = 64;

/// Longer paths are not judged either: rules would cost too much on them.
const MAX_LENGTH: usize = 4096;

/// What one server does to a path before the next; `None` where it would change nothing.
pub(super) const STEPS: [fn(&str) -> Option<String>; 8] = [
    decode,
    decode_within_segments,
    backslashes_as_slashes,
    without_parameters,
    cut_at_delimiter,
    merge_slashes,
    resolve_dots,
    resolve_dots_to_names,
];

/// All ways in which servers are known to read `path`, the raw one included; `None` when there are too many.
///
/// The readings are closed under: one more percent-decoding, of all or of all but slashes, backslash as slash, dot
/// segments resolved (RFC 3986 §5.2.4; at the end also without the slash that is left there), slashes merged, path parameters cut (RFC 3986 §3.3), and the end at a decoded
/// `#`, `?` or NUL.
pub(crate) fn readings(path: &str) -> Option<BTreeSet<String>> {
    if path.len() > MAX_LENGTH {
        return None;
    }
    if is_plain(path) {
        return Some(BTreeSet::from([path.to_owned()]));
    }
    let mut known = BTreeSet::from([path.to_owned()]);
    let mut fresh = vec![path.to_owned()];
    while let Some(reading) = fresh.pop() {
        for step in STEPS {
            let Some(other) = step(&reading) else {
                continue;
            };
            if !known.contains(&other) {
                known.insert(other.clone());
                fresh.push(other);
            }
            if known.len() > MAX_READINGS {
                return None;
            }
        }
    }
    Some(known)
}

/// Whether every server reads `path` alike, for sure, and it is short enough to be judged: most paths are of that kind.
pub(crate) fn is_plain(path: &str) -> bool {
    let bytes = path.as_bytes();
    let after_slash = bytes.windows(2).any(|pair| pair[0] == b'/' && matches!(pair[1], b'/' | b'.'));
    path.len() <= MAX_LENGTH
        && !after_slash
        && !bytes.iter().any(|byte| matches!(byte, b'%' | b'\\' | b';' | b'?' | b'#' | 0))
}

fn decode(path: &str) -> Option<String> {
    path.contains('%').then(|| percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// Envoy and browsers take `%2e%2e` for dots, and servers that split first decode each segment: to all of them `%2f` is
/// no separator, so that `/a/b%2fc/%2e%2e` is `/a/`.
fn decode_within_segments(path: &str) -> Option<String> {
    let is_slash = |escape: &str| escape.get(..2).is_some_and(|digits| digits.eq_ignore_ascii_case("2f"));
    let mut pieces = path.split('%');
    let mut kept = pieces.next()?.to_owned();
    for piece in pieces {
        kept.push_str(if is_slash(piece) { "%25" } else { "%" });
        kept.push_str(piece);
    }
    decode(&kept)
}

fn backslashes_as_slashes(path: &str) -> Option<String> {
    path.contains('\\').then(|| path.replace('\\', "/"))
}

fn without_parameters(path: &str) -> Option<String> {
    path.contains(';').then(|| {
        let segments: Vec<_> = path.split('/').map(|segment| segment.split(';').next().unwrap_or(segment)).collect();
        segments.join("/")
    })
}

fn cut_at_delimiter(path: &str) -> Option<String> {
    path.find(['#', '?', '\0']).map(|end| path[..end].to_owned())
}

fn merge_slashes(path: &str) -> Option<String> {
    path.contains("//").then(|| {
        let mut merged = String::with_capacity(path.len());
        for character in path.chars() {
            if character != '/' || !merged.ends_with('/') {
                merged.push(character);
            }
        }
        merged
    })
}

fn resolve_dots(path: &str) -> Option<String> {
    resolved(path).map(|(names, ends_in_directory)| {
        let tail = if ends_in_directory && !names.is_empty() { "/" } else { "" };
        format!("/{}{tail}", names.join("/"))
    })
}

/// Go's `path.Clean` and Python's `normpath` make `/a` of `/a/b/..`, where the RFC has `/a/`.
fn resolve_dots_to_names(path: &str) -> Option<String> {
    let (names, ends_in_directory) = resolved(path)?;
    ends_in_directory.then(|| format!("/{}", names.join("/")))
}

/// What is left of the segments, and whether the last one was dots; `None` without any.
fn resolved(path: &str) -> Option<(Vec<&str>, bool)> {
    if !path.split('/').any(|segment| segment == "." || segment == "..") {
        return None;
    }
    let mut resolved: Vec<&str> = Vec::new();
    let mut ends_in_directory = false;
    for segment in path.split('/').skip(1) {
        ends_in_directory = false;
        match segment {
            "." => ends_in_directory = true,
            ".." => {
                resolved.pop();
                ends_in_directory = true;
            }
            _ => resolved.push(segment),
        }
    }
    Some((resolved, ends_in_directory))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let got = readings(path).unwrap();
        assert_eq!(got.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{path}");
    }

    #[test]
    fn plain_paths_have_one_reading() {
        check("/", &["/"]);
        check("/public/a.css", &["/public/a.css"]);
        check("/a..b/.hidden", &["/a..b/.hidden"]);
    }

    proptest::proptest! {
        #[test]
        fn no_step_changes_a_plain_path(path in "(/[a%.;#?\\\\\0/]{0,4}){1,4}") {
            if is_plain(&path) {
                assert!(STEPS.iter().all(|step| step(&path).is_none()), "{path:?}");
            }
        }
    }

    #[test]
    fn odd_paths_have_more() {
        check("/public/../admin", &["/admin", "/public/../admin"]);
        check("/public/..%2fadmin", &["/admin", "/public/..%2fadmin", "/public/../admin"]);
        check("/a//b", &["/a//b", "/a/b"]);
        check("/a;x=1/b", &["/a/b", "/a;x=1/b"]);
        check("/a%23/b", &["/a", "/a#/b", "/a%23/b"]);
        check("/a\\b", &["/a/b", "/a\\b"]);
        check("/a%20b", &["/a b", "/a%20b"]);
        check("/..", &["/", "/.."]);
        check("/a/..", &["/", "/a/.."]);
        check("/a/b/.", &["/a/b", "/a/b/", "/a/b/."]);
        check("/a/b/..", &["/a", "/a/", "/a/b/.."]);
    }

    #[track_caller]
    fn can_mean(path: &str, reading: &str) {
        let got = readings(path).unwrap();
        assert!(got.contains(reading), "{path} has not {reading} but {got:?}");
    }

    #[test]
    fn known_tricks_mean_the_protected_path() {
        for path in [
            "/public/%2e%2e/admin",
            "/public%2f..%2fadmin",
            "/public/..;/admin",
            "/public\\..\\admin",
            "/public//../admin/.././admin",
            "/public/%252e%252e/admin",
            "/public/..%5cadmin",
            "/public;x/../admin",
            "/%61dmin",
            "/%2Fadmin",
            "//admin",
            "/admin;jsessionid=1",
            "/admin%00.css",
            "/admin%3f.css",
            "/public/a%2fb/%2e%2e/%2e%2e/admin",
            "/public/a%2Fb/%2e./..%3bx/admin",
            "/public/a%2fb%5c..%5c..%5cadmin",
        ] {
            can_mean(path, "/admin");
        }
    }

    #[test]
    fn endless_paths_are_ambiguous() {
        assert_eq!(readings(&"/%25".repeat(2000)), None);
        assert_eq!(readings(&"/a".repeat(3000)), None);
        assert!(is_plain(&"/a".repeat(2048)) && !is_plain(&"/a".repeat(2049)));
        assert_eq!(readings(&format!("/%{}41", "25".repeat(100))), None);
    }
}
