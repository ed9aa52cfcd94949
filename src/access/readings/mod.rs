//! The readings of a path: what one server reads as text, another one decodes, merges or cuts.
//!
//! No list of readings is complete. So a path that no honest client needs is ambiguous: it may be any path.

mod steps;

use std::collections::BTreeSet;
use std::fmt;

use percent_encoding::percent_decode_str;

pub(super) use steps::STEPS;
use steps::names_host;

use crate::unicode::is_control;

/// A path with more readings is ambiguous.
pub(super) const MAX_READINGS: usize = 64;

/// The most bytes of all readings of a path of `length` bytes. Each step reads every reading, so with this limit the cost of a path
/// grows with its length only. Long paths of honest clients have two or three readings.
const fn most_bytes(length: usize) -> usize {
    2 * length + (4 << 10)
}

/// The factor for the bytes that steps make, because they make known readings again.
const MOST_MADE: usize = 8;

/// A longer path is ambiguous, because rules would cost too much on it.
const MAX_LENGTH: usize = 4096;

/// The ways in which servers are known to read a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Readings {
    /// The raw path and its readings; not all of them if there are too many.
    pub(crate) paths: BTreeSet<String>,
    /// Why a server may read the path in a way that is not listed.
    pub(crate) ambiguity: Option<Ambiguity>,
    /// Whether a server may read a part of the path as the host.
    pub(crate) may_name_host: bool,
    /// Whether `paths` has all readings that the steps make.
    pub(crate) is_complete: bool,
}

/// Why a path is ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ambiguity {
    /// `//host/path`: parsers of references read a host, also if a proxy cuts the application's own path off first.
    EmptyFirstSegment,
    /// A control character, before or after decoding.
    ControlCharacter,
    /// The decoded bytes are not UTF-8: overlong forms, bytes of older encodings.
    NotUtf8,
    /// IIS reads `%u002f` as a slash.
    UnicodeEscape,
    /// More than 4096 bytes.
    TooLong,
    /// More than 64 readings, or readings that are together longer than twice the path and 4 KiB.
    TooManyReadings,
}

impl fmt::Display for Ambiguity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmptyFirstSegment => {
                f.write_str("its first segment is empty, so what follows may be taken for a host")
            }
            Self::ControlCharacter => f.write_str("it holds a control character"),
            Self::NotUtf8 => f.write_str("it is not UTF-8"),
            Self::UnicodeEscape => f.write_str("it holds an escape like %u002f"),
            Self::TooLong => write!(f, "it is longer than {MAX_LENGTH} bytes"),
            Self::TooManyReadings => f.write_str("it has too many readings"),
        }
    }
}

/// The ways in which servers are known to read `path`, with the raw path, for an application whose address has the path `base`, which
/// has no final slash.
///
/// The readings are closed under: one more percent-decoding, of all or of all but slashes, backslash as slash, dot
/// segments resolved (RFC 3986 §5.2.4; at the end also without the slash that is left there), slashes merged, path parameters cut
/// (RFC 3986 §3.3) or taken for the query, the end at a decoded `#`, `?` or control character, control and ignorable characters
/// removed, blanks and dots at the end of a segment removed, what follows an authority (RFC 3986 §4.2), and characters
/// replaced by compatible ones (NFKC).
pub(crate) fn readings(path: &str, base: &str) -> Readings {
    let paths = BTreeSet::from([path.to_owned()]);
    let mut found = Readings { paths, ambiguity: None, may_name_host: false, is_complete: true };
    if path.len() > MAX_LENGTH {
        found.ambiguity = Some(Ambiguity::TooLong);
        found.may_name_host = !has_one_reading(path);
        found.is_complete = false;
        return found;
    }
    if is_plain(path) {
        return found;
    }
    found.look_at(path, base);
    let mut fresh = vec![path.to_owned()];
    let (mut bytes, mut made) = (path.len(), 0);
    while let Some(reading) = fresh.pop() {
        for step in STEPS {
            let Some(other) = step(&reading) else {
                continue;
            };
            let is_new = !found.paths.contains(&other);
            made += other.len();
            bytes += if is_new { other.len() } else { 0 };
            let most = most_bytes(path.len());
            if bytes > most || made > MOST_MADE * most || (is_new && found.paths.len() == MAX_READINGS) {
                found.ambiguity.get_or_insert(Ambiguity::TooManyReadings);
                found.may_name_host = true;
                found.is_complete = false;
                return found;
            }
            if is_new {
                found.look_at(&other, base);
                found.paths.insert(other.clone());
                fresh.push(other);
            }
        }
    }
    found
}

impl Readings {
    /// Records what no honest client needs.
    fn look_at(&mut self, reading: &str, base: &str) {
        let below = reading.strip_prefix(base).unwrap_or(reading);
        let oddities = [
            (Ambiguity::EmptyFirstSegment, names_host(reading) || names_host(below)),
            (Ambiguity::ControlCharacter, reading.contains(is_control)),
            (Ambiguity::NotUtf8, percent_decode_str(reading).decode_utf8().is_err()),
            (Ambiguity::UnicodeEscape, has_unicode_escape(reading)),
        ];
        self.may_name_host |= oddities[0].1;
        let odd = oddities.into_iter().find(|(_, is_odd)| *is_odd).map(|(oddity, _)| oddity);
        self.ambiguity = self.ambiguity.or(odd);
    }
}

fn has_unicode_escape(path: &str) -> bool {
    let is_escape = |rest: &str| {
        rest.starts_with(['u', 'U']) && rest.get(1..5).is_some_and(|it| it.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    path.split('%').skip(1).any(is_escape)
}

/// Whether every server reads `path` in the same way and it is short enough. Most paths are of this kind.
pub(crate) fn is_plain(path: &str) -> bool {
    path.len() <= MAX_LENGTH && has_one_reading(path)
}

fn has_one_reading(path: &str) -> bool {
    let mut before = 0;
    let is_plain = path.bytes().all(|byte| {
        let is_plain = match byte {
            b'%' | b'\\' | b';' | b'?' | b'#' | 0..=b' ' | 0x7f.. => false,
            b'/' => !matches!(before, b'/' | b'.'),
            b'.' => before != b'/',
            _ => true,
        };
        before = byte;
        is_plain
    });
    is_plain && before != b'.'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &[&str]) {
        let got = readings(path, "");
        assert_eq!(got.ambiguity, None, "{path}");
        assert_eq!(got.paths.iter().map(String::as_str).collect::<Vec<_>>(), expected, "{path}");
    }

    #[test]
    fn plain_paths_have_one_reading() {
        check("/", &["/"]);
        check("/public/a.css", &["/public/a.css"]);
        check("/a..b/.hidden", &["/a..b/.hidden"]);
        check("/Press-Kit_1.0~/@me:x,y+z=(1)!*'&$", &["/Press-Kit_1.0~/@me:x,y+z=(1)!*'&$"]);
    }

    proptest::proptest! {
        #[test]
        fn no_step_changes_a_plain_path(path in "(/[a%.;#? \u{ad}\u{ff0f}\n\\\\\0/]{0,4}){1,4}") {
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
        check("/a;x=1/b", &["/a", "/a/b", "/a;x=1/b"]);
        check("/a%23/b", &["/a", "/a#/b", "/a%23/b"]);
        check("/a\\b", &["/a/b", "/a\\b"]);
        check("/a%20b", &["/a b", "/a%20b"]);
        check("/a%20/b.", &["/a /b", "/a /b.", "/a%20/b", "/a%20/b.", "/a/b", "/a/b."]);
        check("/..", &["/", "/.."]);
        check("/a/..", &["/", "/a/.."]);
        check("/a/b/.", &["/a/b", "/a/b/", "/a/b/."]);
        check("/a/b/..", &["/a", "/a/", "/a/b/.."]);
        check("/caf%C3%A9", &["/caf%C3%A9", "/caf\u{e9}"]);
        check("/\u{ff41}\u{200d}", &["/a", "/a\u{200d}", "/\u{ff41}", "/\u{ff41}\u{200d}"]);
    }

    #[track_caller]
    fn can_mean(path: &str, reading: &str) {
        let got = readings(path, "");
        assert!(got.paths.contains(reading), "{path} has not {reading} but {got:?}");
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
            "/admin;/public/x",
            "/admin%00.css",
            "/admin%3f.css",
            "/public/a%2fb/%2e%2e/%2e%2e/admin",
            "/public/a%2Fb/%2e./..%3bx/admin",
            "/public/a%2fb%5c..%5c..%5cadmin",
            "//y/admin",
            "///admin",
            "////y/admin",
            "//user@y:8080/admin",
            "/\\y/admin",
            "/\\y\\admin",
            "/%5c%5cy/admin",
            "/%2fy%2fadmin",
            "/x/..//y/admin",
            "/;/y/admin",
            "/admin%0a",
            "/admin%0d%0a",
            "/admin%0a/public",
            "/ad%09min",
            "/%0aadmin",
            "/admin%250a",
            "/admin%c2%85",
            "/admin%e2%80%a8",
            "/admin%20",
            "/admin.",
            "/admin.%20.",
            "/admin%c2%a0",
            "/public/..%20/admin",
            "/%ef%bc%8fadmin",
            "/public%ef%bc%8f%e2%80%a5%ef%bc%8fadmin",
            "/public%e2%88%95..%e2%88%95admin",
            "/%ef%bd%81dmin",
            "/ad%e2%80%8bmin",
        ] {
            can_mean(path, "/admin");
        }
    }

    #[track_caller]
    fn ambiguous(path: &str, base: &str, expected: Option<Ambiguity>) {
        assert_eq!(readings(path, base).ambiguity, expected, "{path}");
    }

    #[test]
    fn what_no_honest_client_needs_is_ambiguous() {
        for path in ["//admin", "//", "/\\x", "/%2f", "/%5Cx", "/./%2fx", "/x/..//y", "/;a/x", "/%252fx", "/%ef%bc%8f"]
        {
            ambiguous(path, "", Some(Ambiguity::EmptyFirstSegment));
        }
        for path in ["/a%0a", "/a%00b", "/%7f", "/a%250d", "/%c2%85", "/%E2%80%A8", "/a;%09"] {
            ambiguous(path, "", Some(Ambiguity::ControlCharacter));
        }
        for path in ["/a%ff", "/caf%e9", "/%c0%af", "/%ed%a0%80", "/a%25ff", "/%f0%9f"] {
            ambiguous(path, "", Some(Ambiguity::NotUtf8));
        }
        ambiguous("/a%25u002fb", "", Some(Ambiguity::UnicodeEscape));
        ambiguous("/a%25U00e9", "", Some(Ambiguity::UnicodeEscape));
        for path in [
            "/a//b",
            "/a/../b",
            "/a%2fb",
            "/a%5cb",
            "/a%20b/",
            "/a%25b",
            "/100%25upset",
            "/a;b=c",
            "/%e2%9d%a4%ef%b8%8f",
            "/\u{e9}",
            "/a%3fb",
        ] {
            ambiguous(path, "", None);
        }
        ambiguous("/sub//y/admin", "", None);
        ambiguous("/sub//y/admin", "/sub", Some(Ambiguity::EmptyFirstSegment));
        ambiguous("/sub%2f%5Cy/admin", "/sub", Some(Ambiguity::EmptyFirstSegment));
        ambiguous("/sub/y//admin", "/sub", None);
    }

    #[test]
    fn endless_paths_are_ambiguous() {
        ambiguous(&format!("/%{}41", "25".repeat(100)), "", Some(Ambiguity::TooManyReadings));
        ambiguous(&"/a".repeat(3000), "", Some(Ambiguity::TooLong));
        assert!(is_plain(&"/a".repeat(2048)) && !is_plain(&"/a".repeat(2049)));
        assert!(readings(&"//a".repeat(3000), "").may_name_host && !readings(&"/a".repeat(3000), "").may_name_host);
    }

    /// The parts that are repeated in paths with many readings.
    const SHAPES: [&str; 29] = [
        "/",
        "//",
        "///x",
        "/.",
        "/..",
        "/a/..",
        "/../a",
        "//;/",
        "/;",
        ";",
        "/a;b",
        "/..;",
        "\\",
        "/\\",
        "/%2f",
        "%2f",
        "%2F/..",
        "/%5c",
        "%25",
        "/%252e%252e",
        "%",
        "/%0a",
        "\u{ad}",
        "/\u{ff0f}",
        "%ef%bc%8f",
        "\u{fdfa}",
        "%EF%B7%BA",
        "/ .",
        "#?",
    ];

    /// Counts the work: the bytes of all readings, each of which every step reads, and the bytes that the steps make of them.
    #[test]
    fn readings_cost_as_much_as_the_path_is_long() {
        let lengths = [1, 60, 1000, 2500, MAX_LENGTH - 16, MAX_LENGTH, MAX_LENGTH + 1, 70_000];
        for shape in SHAPES {
            for (ending, length) in
                ["", "a", "/..", "%2f%2e%2e%5c;/. "].iter().flat_map(|it| lengths.map(|len| (it, len)))
            {
                let repeated = shape.repeat(length.div_ceil(shape.len())) + ending;
                let path = if repeated.starts_with('/') { repeated } else { format!("/{repeated}") };
                let Readings { paths, is_complete, ambiguity, .. } = readings(&path, "");
                assert!(is_complete || ambiguity.is_some(), "{shape:?} {ending:?} {length}");
                if path.len() > MAX_LENGTH {
                    assert_eq!((paths.len(), is_complete), (1, false), "{shape:?} {ending:?} {length}");
                    continue;
                }
                let looked_at: usize = paths.iter().map(String::len).sum();
                let most = most_bytes(path.len());
                let what = format!("{shape:?} {ending:?} {length}: {looked_at} of {most}");
                assert!(looked_at <= most && paths.len() <= MAX_READINGS, "{what}");
                // This limit ended the reading.
                let made = paths.iter().flat_map(|path| STEPS.iter().filter_map(move |step| step(path)));
                assert!(!is_complete || made.map(|it| it.len()).sum::<usize>() <= MOST_MADE * most, "{what}");
            }
        }
    }

    /// Long paths of honest clients are not ambiguous.
    #[test]
    fn long_honest_paths_are_judged() {
        for segment in [
            "/Gr%C3%B6%C3%9Fe%20und%20Ma%C3%9F",
            "/a%20b",
            "/x;y=1",
            "//a",
            "/\u{e9}\u{ad}",
            "/a/../b/./c",
            "/%E6%97%A5%E6%9C%AC",
        ] {
            let path = segment.repeat(4000 / segment.len()).replacen("//a", "/a", 1);
            ambiguous(&path, "", None);
        }
    }
}
