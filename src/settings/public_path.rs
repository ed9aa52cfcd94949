//! `public_paths`: patterns of paths that need no login, and checks that a pattern does not open too much.

use http::Method;
use regex::{Regex, RegexBuilder};

use super::address::{host, plain_path};
use super::mistakes::{Complaint, complaint, shown};
use super::reader::Table;
use crate::access::{PathPattern, PublicPathRule};
use crate::app::OUTPOST_PATH;
use crate::forwarded::parse_method;

/// The largest compiled expression, in bytes. A larger one would be slow to build and to match.
const LARGEST_REGEX: usize = 1 << 20;
/// Paths that no operator means. A pattern that matches one of the deep paths matches nearly every path.
const DEEP_PROBES: [&str; 2] = ["/q7Zx0vKp/F3-Lw_9~/e8.Ht2c", "/9Wm_4j/B.y5/Xk-1~r"];
const SHALLOW_PROBES: [&str; 2] = ["/", "/q7Zx0vKp"];

/// Reads one public path of an application whose own path is `base_path`. Returns `None` only if it reported a mistake.
pub(super) fn read(mut table: Table<'_>, base_path: &str) -> Option<PublicPathRule> {
    let path = pattern(&mut table, base_path, Opens::Yes);
    let rule_host = table.read("host", |item| host(item.text()?));
    let methods = table.each("methods", &[',', ' '], |item| method(item.text()?));
    table.finish();
    Some(PublicPathRule { path: path?, host: rule_host, methods: methods.unwrap_or_default() })
}

/// Whether a pattern opens the paths that match it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Opens {
    Yes,
    No,
}

/// Reads the one pattern of a table, for an application whose own path is `base_path`. Returns `None` only if it reported a
/// mistake.
///
/// A pattern that opens the whole application is a mistake.
pub(super) fn pattern(table: &mut Table<'_>, base_path: &str, opens: Opens) -> Option<PathPattern> {
    let path = table.read("path", |item| {
        let text = own_path(item.text()?, base_path)?;
        Ok(PathPattern::Path(text.to_owned()))
    });
    let prefix = table.read("prefix", |item| {
        let text = own_path(item.text()?, base_path)?;
        match opens {
            Opens::Yes => prefix(text, base_path),
            Opens::No => Ok(PathPattern::Prefix(text.to_owned())),
        }
    });
    let regex = table.read("regex", |item| match opens {
        Opens::Yes => regex(item.text()?, base_path),
        Opens::No => anchored(item.text()?).map(PathPattern::Regex),
    });
    let given = ["path", "prefix", "regex"].into_iter().filter(|key| table.was_given(key)).count();
    if given != 1 {
        let problem = match (given, opens) {
            (0, Opens::Yes) => "matches nothing in particular, so it would open everything",
            (0, Opens::No) => "matches nothing in particular",
            _ => "has more than one pattern",
        };
        table.wrong_whole(complaint(problem, "give exactly one of path, prefix, regex"));
    }
    path.or(prefix).or(regex)
}

/// Checks that a path is one of the application's, and not of forepost's own.
fn own_path<'t>(text: &'t str, base_path: &str) -> Result<&'t str, Complaint> {
    plain_path(text)?;
    let below =
        |path: &str| path.strip_prefix(OUTPOST_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if below(text) || text.strip_prefix(base_path).is_some_and(below) {
        let problem = format!("{} lies within forepost's own path", shown(text));
        return Err(complaint(problem, "forepost answers there before any rule: remove it"));
    }
    Ok(text)
}

fn opens_everything(text: &str) -> Complaint {
    complaint(
        format!("{} would open everything", shown(text)),
        "name what is public, as prefix = \"/static\"; an application without logins needs no forepost",
    )
}

fn prefix(text: &str, base_path: &str) -> Result<PathPattern, Complaint> {
    let stem = text.strip_suffix('/').unwrap_or(text);
    let above = base_path.strip_prefix(stem);
    if stem.is_empty() || above.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
        return Err(opens_everything(text));
    }
    Ok(PathPattern::Prefix(text.to_owned()))
}

fn regex(text: &str, base_path: &str) -> Result<PathPattern, Complaint> {
    let regex = anchored(text)?;
    let matches = |probe: &&str| regex.is_match(probe) || regex.is_match(&format!("{base_path}{probe}"));
    if DEEP_PROBES.iter().any(matches) || SHALLOW_PROBES.iter().all(matches) {
        return Err(opens_everything(text));
    }
    Ok(PathPattern::Regex(regex))
}

fn anchored(text: &str) -> Result<Regex, Complaint> {
    // Without the anchors first: `a)|(?:b` would close their group.
    compiled(text)?;
    compiled(&format!("^(?:{text})$"))
}

fn compiled(text: &str) -> Result<Regex, Complaint> {
    let built = RegexBuilder::new(text).size_limit(LARGEST_REGEX).build();
    built.map_err(|error| {
        let drawn = error.to_string();
        let reason = if matches!(error, regex::Error::CompiledTooBig(_)) {
            "it is too large"
        } else {
            // The last line of a syntax error says what is wrong; the lines before it quote the expression.
            let last = drawn.lines().last().unwrap_or_default();
            last.trim_start_matches("error: ")
        };
        complaint(format!("{} is not a regular expression that can be used", shown(text)), reason)
    })
}

pub(super) fn method(text: &str) -> Result<Method, Complaint> {
    let hint = "as \"GET\": letters and hyphens; requests with other methods are refused";
    parse_method(text.to_ascii_uppercase().as_bytes())
        .ok_or_else(|| complaint(format!("{} is not an HTTP method", shown(text)), hint))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, pattern: &str, base_path: &str, expected: Result<(), &str>) {
        let got = match key {
            "prefix" => own_path(pattern, base_path).and_then(|path| prefix(path, base_path)),
            _ => regex(pattern, base_path),
        };
        match (got, expected) {
            (Ok(_), Ok(())) => {}
            (Err(Complaint { problem, hint }), Err(expected)) => {
                let got = format!("{problem}; {hint}");
                assert!(got.contains(expected), "{got}");
            }
            (got, _) => panic!("{key} {pattern}: {got:?}"),
        }
    }

    #[test]
    fn prefixes() {
        check("prefix", "/static", "", Ok(()));
        check("prefix", "/static/", "", Ok(()));
        check("prefix", "/app/static", "/app", Ok(()));
        check("prefix", "/ap", "/app", Ok(()));
        check("prefix", "/outpost.goauthentik.io/start", "", Err("before any rule"));
        check("prefix", "/outpost.goauthentik.io", "/app", Err("before any rule"));
        check("prefix", "/app/outpost.goauthentik.io/x", "/app", Err("before any rule"));
        check("prefix", "/app/outpost.goauthentik.io/x", "", Ok(()));
        check("prefix", "/outpost.goauthentik.iox", "", Ok(()));
        check("prefix", "/", "", Err("open everything"));
        check("prefix", "/app", "/app", Err("open everything"));
        check("prefix", "/app/", "/app/sub", Err("open everything"));
        check("prefix", "static", "", Err("begin it with /"));
        check("prefix", "/a?b", "", Err("query"));
        check("prefix", "/a#b", "", Err("fragment"));
        check("prefix", "/a/../b", "", Err("dot segments"));
        check("prefix", "/a//b", "", Err("empty segment"));
        check("prefix", "/a%2fb", "", Err("can never match"));
        check("prefix", "/a\\b", "", Err("can never match"));
        check("prefix", "/ä", "", Err("can never match"));
    }

    #[test]
    fn expressions() {
        check("regex", r"/static/.*\.(css|js)", "", Ok(()));
        check("regex", "/[a-z0-9-]+", "", Ok(()));
        check("regex", "/api/v[0-9]+/.*", "", Ok(()));
        check("regex", "/", "", Ok(()));
        check("regex", "/.*/health", "", Ok(()));
        check("regex", "^/health$", "", Ok(()));
        for everything in [
            ".*",
            ".+",
            "/.*",
            "/.+",
            "^/",
            "(/.*)?",
            "[^?]*",
            "/[^a].*",
            r"/\S*",
            "(?s).*",
            "|/.*",
            "/([^/]+)?",
            "/[^/]+/.*",
            "(?i)/[a-z0-9._~/-]*",
        ] {
            if everything == "^/" {
                // With its anchors the expression matches the root only.
                check("regex", everything, "", Ok(()));
            } else {
                check("regex", everything, "", Err("open everything"));
            }
        }
        check("regex", "/app/.*", "/app", Err("open everything"));
        check("regex", "(", "", Err("unclosed group"));
        check("regex", "a)|(?:b", "", Err("unopened group"));
        check("regex", "/a{1000}{1000}", "", Err("too large"));
    }

    #[test]
    fn expressions_are_anchored() {
        let PathPattern::Regex(regex) = regex("/a|/b", "").unwrap() else { panic!("not a regular expression") };
        for (path, expected) in [("/a", true), ("/b", true), ("/a/x", false), ("/x/b", false), ("/b\n", false)] {
            assert_eq!(regex.is_match(path), expected, "{path:?}");
        }
    }
}
