//! `forepost explain`: why a request is decided as it is.

use std::fs;

use serde_json::Value;

use super::RULES;
use super::hosts::DOMAIN;
use crate::support::process::{borrowed, forepost, quick_start};

fn explained(arguments: &[&str]) -> (Option<i32>, String) {
    explained_by(RULES, &[&["--application", "app"], arguments].concat())
}

fn explained_by(rules: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("forepost.toml");
    let provider =
        "[identity_provider.idp]\nissuer = \"https://id.example.com\"\nclient_id = \"proxy\"\nclient_secret = \"x\"\n";
    fs::write(&file, format!("{provider}{rules}")).unwrap();
    fs::write(folder.path().join("bob.json"), r#"{"sub": "id-bob", "preferred_username": "bob"}"#).unwrap();
    fs::write(folder.path().join("eve.json"), r#"{"sub": "id-eve", "email": "eve@x.example.com"}"#).unwrap();
    let config = ["--config", file.to_str().unwrap(), "explain"];
    let output = forepost(&[&config[..], arguments].concat(), &[]).current_dir(folder.path()).output().unwrap();
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[test]
fn decisions_are_explained() {
    let check = |arguments: &[&str], status, texts: &[&str]| {
        let (code, text) = explained(arguments);
        assert_eq!(code, Some(status), "{text}");
        for wanted in texts {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
    };
    check(
        &["--url", "https://app.example.com/admin", "--claims", "bob.json"],
        1,
        &[
            "forbid: who is signed in is not what is required",
            "signed in: bob",
            "decided by: rule[3] (require)",
            "rule[0] (deny) is not for this request: paths",
        ],
    );
    check(
        &["--url", "https://app.example.com/office/..%2fadmin", "--client-ip", "192.0.2.1"],
        1,
        &[
            "start_login",
            "read as /office/..%2fadmin",
            "read as /admin",
            "decided by: rule[3] (require), rule[2] (public)",
        ],
    );
    check(
        &["--url", "https://app.example.com/hook", "--method", "-"],
        1,
        &["rule[1] (public) counts, because this is not known: methods", "required_groups (require) decides"],
    );
    check(
        &["--url", "https://app.example.com//y/admin", "--claims", "bob.json"],
        1,
        &[
            "forbid: a rule denies it",
            "the path is ambiguous, so it may be any path: its first segment is empty",
            "may be read as /admin\n",
            "rule[0] (deny) counts, because this is not known: paths",
            "rule[3] (require) counts",
        ],
    );
    check(
        &["--url", "https://app.example.com/admin%0a"],
        1,
        &["the path is ambiguous, so it may be any path: it holds a control character", "may be read as /admin\n"],
    );
    check(
        &["--url", "https://app.example.com/mail", "--claims", "eve.json"],
        0,
        &[
            "rule[7] (require) counts, because this is not known: when: identity.email is null",
            "required_groups (require) decides",
        ],
    );
    check(&["--url", "https://app.example.com/hook", "--method", "post"], 64, &["--method", "refused with 400"]);
    check(&["--url", "https://app.example.com/hook", "--method", "POST"], 0, &["pass: gets in without an identity"]);
    check(&["--url", "https://other.example.com/"], 64, &["app does not answer for other.example.com"]);
    check(&["--url", "app.example.com"], 64, &["--url"]);
    let (code, text) = explained(&["--url", "https://app.example.com/shut", "--json"]);
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!((code, &json["decision"], &json["decided_by"][0]), (Some(1), &"forbid".into(), &"rule[0]".into()));
    assert_eq!(json["readings"][0]["rules"][0]["matches"], "yes");
    let environment = quick_start("https://id.example.com");
    let line = ["explain", "--application", "none", "--url", "https://app.example.com/"];
    let output = forepost(&line, &borrowed(&environment)).output().unwrap();
    let (code, text) = (output.status.code(), String::from_utf8(output.stderr).unwrap());
    assert!(code == Some(64) && text.contains("there is no application"), "{text}");
}

#[test]
fn rules_of_a_host_are_told_from_those_of_its_application() {
    let check = |application: &str, path: &str, status, texts: &[&str]| {
        let url = format!("https://{path}");
        let (code, text) = explained_by(DOMAIN, &["--application", application, "--url", &url, "--claims", "bob.json"]);
        assert_eq!(code, Some(status), "{text}");
        for wanted in texts {
            assert!(text.contains(wanted), "{wanted} is not in\n{text}");
        }
    };
    check(
        "sonarr",
        "sonarr.example.test/",
        1,
        &[
            "application: sonarr, signed in: bob",
            "decided by: host.required_groups (require), required_groups (require)",
            "host.public_paths[0] (public) is not for this request: paths",
            "  rule[0] (deny) is not for this request: paths",
        ],
    );
    check("sonarr", "sonarr.example.test/internal", 1, &["decided by: rule[0] (deny)"]);
    check("sonarr", "sonarr.example.test/api", 0, &["decided by: host.public_paths[0] (public)"]);
    check("home", "sonarr.example.test/", 64, &["home does not answer for sonarr.example.test; sonarr does"]);
    check("sonarr", "wiki.example.test/", 64, &["sonarr does not answer for wiki.example.test; home does"]);
    check("none", "wiki.example.test/", 64, &["there is no application \"none\"; there are home, sonarr, grafana"]);
}
