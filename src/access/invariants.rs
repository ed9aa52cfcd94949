//! Properties of the decision about every path.

use std::sync::LazyLock;

use http::HeaderMap;
use percent_encoding::percent_decode_str;
use regex::Regex;
use url::Url;

use super::readings::{STEPS, readings};
use super::{Action, PathPattern, PublicPathRule, Rule};
use super::{Decision, Readings, decide};
use crate::app::{Application, samples};
use crate::forwarded::{ClientHints, OriginalRequest, Target};
use crate::host::{Authority, Scheme};
use crate::world::UnixTime;

/// Decides about `text` as the target of a request to applications with one rule of each kind.
pub(crate) fn hold(text: &str) {
    let Ok(target) = Target::parse(text) else { return };
    readings_hold(target.path());
    for (app, expected) in RULES.iter() {
        rule_holds(app, target, *expected);
    }
    for (app, expected) in DENIALS.iter() {
        denial_holds(app, target, *expected);
    }
}

/// The path of the applications here.
const BASE: &str = "";

/// The same pattern as a function.
type Expected = fn(&str) -> bool;

/// An application with one rule of each kind.
static RULES: LazyLock<[(Application, Expected); 3]> =
    LazyLock::new(|| patterns().map(|(path, expected)| (app(path), expected)));

/// The same with rules that deny, before a rule that opens all other paths.
static DENIALS: LazyLock<[(Application, Expected); 3]> =
    LazyLock::new(|| patterns().map(|(path, expected)| (denying(path), expected)));

fn patterns() -> [(PathPattern, Expected); 3] {
    let regex = Regex::new("^(?:/api/[^/]*/status)$").expect("an expression");
    [
        (PathPattern::Path("/health".into()), |path| path == "/health"),
        (PathPattern::Prefix("/public/".into()), |path| path == "/public" || path.starts_with("/public/")),
        (PathPattern::Regex(regex), |path| {
            let id = path.strip_prefix("/api/").and_then(|rest| rest.strip_suffix("/status"));
            id.is_some_and(|id| !id.contains('/'))
        }),
    ]
}

/// The readings begin with a slash and contain the raw path. Unless there are too many, they are closed under all steps.
fn readings_hold(path: &str) {
    let Readings { paths, ambiguity, may_name_host, is_complete } = readings(path, BASE);
    assert!(paths.contains(path));
    let is_odd = |it: &String| it.starts_with("//") || it.contains(char::is_control);
    assert!(ambiguity.is_some() || !paths.iter().any(is_odd), "{path:?} can be {paths:?}");
    assert!(ambiguity.is_some() || !may_name_host, "{path:?} may name a host");
    for reading in &paths {
        assert!(reading.starts_with('/'), "{path:?} is read as {reading:?}");
    }
    if !is_complete {
        assert!(ambiguity.is_some());
        return;
    }
    for reading in &paths {
        for other in STEPS.iter().filter_map(|step| step(reading)) {
            assert!(paths.contains(&other), "{path:?} has {reading:?} and not {other:?}");
        }
    }
}

/// If a rule lets `target` pass, it does so for every reading, and for every path that a server may serve.
fn rule_holds(app: &Application, target: Target<'_>, expected: Expected) {
    let path = target.path();
    if !passes(app, target) {
        return;
    }
    let readings = readings(path, BASE);
    assert_eq!(readings.ambiguity, None, "{path:?} passes");
    for reading in &readings.paths {
        assert!(expected(reading), "{path:?} passes and can mean {reading:?}");
    }
    for served in served(path) {
        assert!(expected(&served), "{path:?} passes and is served as {served:?}");
    }
    let with_query = format!("{path}?/public/../admin");
    assert!(passes(app, Target::parse(&with_query).expect("a path and a query")), "the query counted");
}

/// A rule denies `target` if it denies a reading of it, or if the path is ambiguous, and only then. No server would serve a denied
/// path.
fn denial_holds(app: &Application, target: Target<'_>, expected: Expected) {
    let path = target.path();
    let denied = matches!(decided(app, target), Decision::Forbid(_));
    let readings = readings(path, BASE);
    let under_some = readings.ambiguity.is_some() || readings.paths.iter().any(|reading| expected(reading));
    assert_eq!(denied, under_some, "{path:?}");
    for served in served(path) {
        assert!(denied || !expected(&served), "{path:?} is served as {served:?}");
    }
}

fn passes(app: &Application, target: Target<'_>) -> bool {
    match decided(app, target) {
        Decision::Pass(permit) => {
            assert!(permit.session().is_none());
            true
        }
        Decision::StartLogin(_) => false,
        other => panic!("without a session there is no {}", other.as_str()),
    }
}

fn decided(app: &Application, target: Target<'_>) -> Decision {
    let nothing = HeaderMap::new();
    let original = OriginalRequest {
        scheme: Some(Scheme::Https),
        authority: Authority { host: app.external_host.host.clone(), port: None },
        asked_at: None,
        target,
        method: None,
        client: ClientHints::new(&nothing, false),
    };
    decide(&app.policy, &app.access_request(&original, None), None, UnixTime::from_secs(1_000_000))
}

fn app(path: PathPattern) -> Application {
    samples::application("https://app.example.com", None, |app| {
        app.public_paths = vec![PublicPathRule { path, host: None, methods: Vec::new() }];
    })
}

fn denying(path: PathPattern) -> Application {
    let rule = |paths, action| Rule {
        hosts: Vec::new(),
        paths,
        methods: Vec::new(),
        networks: Vec::new(),
        when: None,
        action,
    };
    samples::application("https://app.example.com", None, |app| {
        app.rules = vec![rule(vec![path], Action::Deny), rule(Vec::new(), Action::Public)];
    })
}

/// The paths that servers are known to serve for a path.
fn served(path: &str) -> Vec<String> {
    let mut served = vec![as_browsers(path), by_segments(path), as_nginx(path), as_starlette(path), as_fastify(path)];
    served.push(as_windows(path));
    served.extend(as_node(path));
    served
}

/// `new URL(path, base).pathname`, decoded; `None` if Node throws.
fn as_node(path: &str) -> Option<String> {
    let base = Url::parse("https://app.example.com/").expect("a URL");
    base.join(path).ok().map(|url| decoded(url.path()))
}

/// Python's `$` matches before a line end at the end.
fn as_starlette(path: &str) -> String {
    let decoded = decoded(path);
    decoded.strip_suffix('\n').map_or(decoded.clone(), str::to_owned)
}

/// `;` begins the query.
fn as_fastify(path: &str) -> String {
    decoded(path.split(';').next().unwrap_or(path))
}

/// A file system that ignores dots and blanks at the end of a name, and reads a backslash as a slash.
fn as_windows(path: &str) -> String {
    let path = decoded(path).replace('\\', "/");
    let names = path.split('/').map(|name| if name == ".." { name } else { name.trim_end_matches(['.', ' ']) });
    as_nginx(&names.collect::<Vec<_>>().join("/"))
}

/// The path of browsers and Envoy (<https://url.spec.whatwg.org/#path-state>), decoded.
fn as_browsers(path: &str) -> String {
    let url = Url::parse(&format!("https://app.example.com{path}")).expect("a path makes a URL");
    decoded(url.path())
}

/// Servers that split before they decode: `%2F` is not a separator, and each segment is decoded by itself.
fn by_segments(path: &str) -> String {
    let segments = path.split('/').skip(1).map(|raw| {
        let name = decoded(raw.split(';').next().unwrap_or(raw));
        (name.clone(), name == "." || name == "..")
    });
    let mut kept: Vec<String> = Vec::new();
    for (name, is_dots) in segments {
        match (is_dots, name.as_str()) {
            (true, "..") => drop(kept.pop()),
            (true, _) => {}
            _ => kept.push(name),
        }
    }
    format!("/{}", kept.join("/"))
}

/// nginx decodes once, merges slashes and resolves dots in one pass.
fn as_nginx(path: &str) -> String {
    let decoded = decoded(path);
    let mut kept: Vec<&str> = Vec::new();
    for segment in decoded.split('/').filter(|segment| !segment.is_empty()) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            name => kept.push(name),
        }
    }
    // A path that ends in a directory keeps its final slash.
    let is_directory = ["/", "/.", "/.."].iter().any(|end| decoded.ends_with(end)) && !kept.is_empty();
    format!("/{}{}", kept.join("/"), if is_directory { "/" } else { "" })
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    fn pieces() -> impl Strategy<Value = String> {
        const PIECES: &[&str] = &[
            "/",
            "/",
            "\\",
            ".",
            "..",
            "..",
            ";",
            "%2e",
            "%2E",
            "%2f",
            "%5c",
            "%3b",
            "%23",
            "%3f",
            "%00",
            "%25",
            "%252e",
            "%252f",
            "a",
            "a%2fb",
            "/%2e%2e",
            "/..%3b",
            "public",
            "health",
            "admin",
            "%20",
            "#",
            "\u{e9}",
            "%ff",
            "\n",
            "%0a",
            "%09",
            "%20",
            ".",
            "%u002f",
            "%25u002f",
            "\u{ff0f}",
            "%ef%bc%8e",
            "\u{200b}",
            "y",
            "//y/",
            "/\\",
        ];
        prop::collection::vec(prop::sample::select(PIECES), 0..14).prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn of_odd_paths(path in pieces()) {
            super::hold(&format!("/{path}"));
        }

        #[test]
        fn of_paths_that_lead_away(
            begin in "/public/(api/)?|/api/",
            segments in prop::collection::vec("a|a%2fb|a%5cb|a;b|\\.|\\.\\.|%2e%2E|\\.%2e|\\.\\.%3b|\\.\\.;|\\.\\.\\\\", 1..6),
            end in "admin|status",
        ) {
            super::hold(&format!("{begin}{}/{end}", segments.join("/")));
        }

        #[test]
        fn of_paths_that_begin_well(
            begin in "/public/|/health|/api/",
            path in pieces(),
            end in "(/status|/\\.\\./admin)?",
        ) {
            super::hold(&format!("{begin}{path}{end}"));
        }
    }
}
