//! From the keys of a label to the keys of an application.

use super::PREFIX;
use crate::settings::mistakes::{Complaint, complaint};
use crate::settings::values::which_key;

/// The number of the rule that `forepost.users` makes: behind all others, which have nine digits at most.
pub(super) const LAST_RULE: &str = "1000000000";

/// The first key of a label: as operators write it, and the key of the application.
pub(super) const KEYS: [(&str, &str); 17] = [
    ("basic_auth", "basic_auth"),
    ("cookie_domain", "cookie_domain"),
    ("cors", "cors"),
    ("enable", ""),
    ("groups", "required_groups"),
    ("header", "header"),
    ("headers", "headers"),
    ("host", ""),
    ("name", "name"),
    ("post_logout_redirect_uri", "post_logout_redirect_uri"),
    ("provider", "identity_provider"),
    ("public", "public_paths"),
    ("rule", "rule"),
    ("show_required", "show_required"),
    ("slug", "slug"),
    ("tokens", "tokens"),
    ("users", ""),
];

/// Keys whose tables have numbers in labels.
pub(super) const LISTS: [&str; 5] = ["header", "paths", "public_paths", "require", "rule"];

/// The keys of a rule, as labels have them.
const RULE_KEYS: [&str; 13] = [
    "deny", "groups", "hosts", "methods", "networks", "path", "paths", "prefix", "public", "regex", "require", "users",
    "when",
];

/// The keys that a host of an application of the file may have.
pub(super) const OF_HOSTS: [&str; 7] = ["header", "headers", "name", "public_paths", "required_groups", "rule", "slug"];

/// The keys of the application that a label's keys mean; none for a label that no reader of applications takes.
pub(super) fn keys_of(keys: &[&str]) -> Result<Vec<String>, Complaint> {
    let known: Vec<&'static str> = KEYS.iter().map(|(label, _)| *label).collect();
    let found = KEYS.iter().find(|(label, key)| keys[0] == *label || (!key.is_empty() && keys[0] == *key));
    let Some((label, key)) = found else {
        if keys[0] == "external_host" {
            return Ok(Vec::new());
        }
        return Err(complaint("is an unknown label", which_key(keys[0], &known)));
    };
    let owned = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    if ["enable", "host", "users"].contains(label) {
        if keys.len() > 1 {
            return Err(complaint("is an unknown label", format!("write {PREFIX}{label}")));
        }
        let users = ["rule", LAST_RULE, "require", "users"];
        return Ok(if *label == "users" { owned(&users) } else { Vec::new() });
    }
    let is_list = LISTS.contains(key);
    let (number, rest) = match keys {
        [_, number, rest @ ..] if is_list && is_number(number) && !rest.is_empty() => (*number, rest),
        [_] if !["rule", "header"].contains(key) => return Ok(owned(&[key])),
        [_, rest @ ..] if !is_list => return Ok([owned(&[key]), owned(rest)].concat()),
        _ => return Err(complaint("has no number", format!("write {PREFIX}{label}.1.KEY"))),
    };
    if let ("rule", [first, ..]) = (*label, rest)
        && !RULE_KEYS.contains(first)
    {
        return Err(complaint("is an unknown label", which_key(first, &RULE_KEYS)));
    }
    if let ["paths", number, _, ..] | ["paths", number] = rest
        && !is_number(number)
    {
        return Err(complaint("has no number", format!("write {PREFIX}{label}.1.paths.1.prefix")));
    }
    let rest = match (*label, rest) {
        ("rule", [key @ ("path" | "prefix" | "regex")]) => {
            let place = ["path", "prefix", "regex"].iter().position(|it| it == key).unwrap_or_default();
            vec!["paths".to_owned(), place.to_string(), (*key).to_owned()]
        }
        ("rule", ["groups"]) => owned(&["require", "groups_any"]),
        ("rule", ["users"]) => owned(&["require", "users"]),
        // Names of claims hold dots.
        ("rule", ["require", "claims", first, more @ ..]) => {
            let claim = [&[*first], more].concat().join(".");
            [owned(&["require", "claims"]), vec![claim]].concat()
        }
        (_, rest) => owned(rest),
    };
    Ok([owned(&[*key, number]), rest].concat())
}

/// A number of a list in its one spelling, so that no two labels name one entry.
pub(super) fn is_number(key: &str) -> bool {
    let digits = !key.is_empty() && key.len() <= 9 && key.bytes().all(|byte| byte.is_ascii_digit());
    digits && (key == "0" || !key.starts_with('0'))
}
