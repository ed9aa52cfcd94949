//! Public paths: what needs no login.

use http::Method;

use super::readings::{is_plain, readings};
use crate::forwarded::OriginalRequest;
use crate::settings::{PathPattern, PublicPathRule};

/// The proof that a rule of the operator lets a request through without an identity.
///
/// Only this folder makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PublicPath(pub(super) ());

/// The proof for `original`, where a rule grants it.
///
/// A rule grants only when it grants under every reading of the path, and where it names methods only to a method that
/// is known. The query is never looked at.
pub(super) fn find(rules: &[PublicPathRule], original: &OriginalRequest<'_>) -> Option<PublicPath> {
    let mut rules = rules.iter().filter(|rule| fits(rule, original)).peekable();
    rules.peek()?;
    if is_plain(original.target.path()) {
        return rules.any(|rule| matches(&rule.path, original.target.path())).then_some(PublicPath(()));
    }
    let readings = readings(original.target.path())?;
    rules.any(|rule| readings.iter().all(|path| matches(&rule.path, path))).then_some(PublicPath(()))
}

fn fits(rule: &PublicPathRule, original: &OriginalRequest<'_>) -> bool {
    rule.host.as_ref().is_none_or(|host| *host == original.authority.host)
        && (rule.methods.is_empty()
            || original.method.as_ref().is_some_and(|method: &Method| rule.methods.contains(method)))
}

fn matches(pattern: &PathPattern, path: &str) -> bool {
    match pattern {
        PathPattern::Path(whole) => path == whole,
        PathPattern::Prefix(prefix) => {
            let prefix = prefix.strip_suffix('/').unwrap_or(prefix);
            path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        }
        PathPattern::Regex(regex) => regex.is_match(path),
    }
}
