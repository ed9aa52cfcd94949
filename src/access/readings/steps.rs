//! The steps by which servers change a path.

use icu_normalizer::ComposingNormalizerBorrowed;
use percent_encoding::percent_decode_str;

use crate::unicode::{is_control, is_ignorable};

/// A step of a server; `None` if it does not change the path.
pub(in crate::access) const STEPS: [fn(&str) -> Option<String>; 16] = [
    decode,
    decode_within_segments,
    backslashes_as_slashes,
    without_parameters,
    cut_at_delimiter,
    cut_at_parameter,
    without_controls,
    without_final_blanks,
    without_final_dots,
    merge_slashes,
    resolve_dots,
    resolve_dots_to_names,
    after_authority,
    after_authority_behind_slashes,
    compatible,
    without_ignorables,
];

fn decode(path: &str) -> Option<String> {
    path.contains('%').then(|| percent_decode_str(path).decode_utf8_lossy().into_owned())
}

/// Decodes all but slashes. Envoy and browsers read `%2e%2e` as dots, and servers that split first decode each segment: for all of
/// them `%2f` is not a separator, so `/a/b%2fc/%2e%2e` is `/a/`.
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
    path.contains(';').then(|| each_segment(path, |segment| segment.split(';').next().unwrap_or(segment)))
}

/// C libraries end a text at NUL, and patterns in Python and JavaScript match before a final line end.
fn cut_at_delimiter(path: &str) -> Option<String> {
    path.find(|it| matches!(it, '#' | '?') || is_control(it)).map(|end| path[..end].to_owned())
}

/// Fastify's router reads `;` as the beginning of a query.
fn cut_at_parameter(path: &str) -> Option<String> {
    path.find(';').map(|end| path[..end].to_owned())
}

/// Parsers of URLs drop tabs and line ends (<https://url.spec.whatwg.org/#concept-basic-url-parser>).
fn without_controls(path: &str) -> Option<String> {
    path.contains(is_control).then(|| path.replace(is_control, ""))
}

/// File systems of Windows ignore blanks at the end of a name.
fn without_final_blanks(path: &str) -> Option<String> {
    changed(path, |segment| segment.trim_end_matches(|it: char| it.is_whitespace() && !is_control(it)))
}

/// They also ignore dots at the end of a name.
fn without_final_dots(path: &str) -> Option<String> {
    changed(path, |segment| if is_dots(segment) { segment } else { segment.trim_end_matches('.') })
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

/// Parsers of references read `//authority/path` as a path after an authority (RFC 3986 §4.2), which may be empty.
fn after_authority(path: &str) -> Option<String> {
    path.strip_prefix('/')?.strip_prefix(is_slash).map(from_first_slash)
}

/// Browsers and Node skip all slashes before the authority (<https://url.spec.whatwg.org/#special-authority-ignore-slashes-state>).
fn after_authority_behind_slashes(path: &str) -> Option<String> {
    names_host(path).then(|| from_first_slash(path.trim_start_matches(is_slash)))
}

/// Databases and file systems compare compatible characters as equal, and some code pages have only one of them: `／` is `/`.
fn compatible(path: &str) -> Option<String> {
    if path.is_ascii() {
        return None;
    }
    let nfkc = const { ComposingNormalizerBorrowed::new_nfkc() };
    let normalised = nfkc.normalize(path);
    let plain: String = normalised.chars().map(best_fit).collect();
    (plain != path).then_some(plain)
}

fn without_ignorables(path: &str) -> Option<String> {
    path.contains(is_ignorable).then(|| path.replace(is_ignorable, ""))
}

/// Characters that some code pages map to a slash or backslash, and that are not compatible with it.
const fn best_fit(it: char) -> char {
    match it {
        '\u{2044}' | '\u{2215}' | '\u{29f8}' => '/',
        '\u{2216}' | '\u{29f5}' | '\u{29f9}' => '\\',
        other => other,
    }
}

/// Whether a parser of references would read a host after the first two slashes.
pub(super) fn names_host(path: &str) -> bool {
    path.strip_prefix('/').is_some_and(|rest| rest.starts_with(is_slash))
}

const fn is_slash(it: char) -> bool {
    matches!(it, '/' | '\\')
}

fn from_first_slash(rest: &str) -> String {
    rest.split_once(is_slash).map_or_else(|| "/".to_owned(), |(_, path)| format!("/{path}"))
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn each_segment(path: &str, change: impl Fn(&str) -> &str) -> String {
    path.split('/').map(change).collect::<Vec<_>>().join("/")
}

fn changed(path: &str, change: impl Fn(&str) -> &str) -> Option<String> {
    let changes = path.split('/').any(|segment| change(segment).len() != segment.len());
    changes.then(|| each_segment(path, change))
}

/// The segments after resolving dots, and whether the last one was dots; `None` if there are no dots.
fn resolved(path: &str) -> Option<(Vec<&str>, bool)> {
    if !path.split('/').any(is_dots) {
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
