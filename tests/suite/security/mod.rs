//! Every known attack on forward-auth daemons that can concern this one, over HTTP against a running daemon.
//!
//! A test lists the numbers of its items in `SECURITY.md` (`SECURITY: 12, 40`), and `table.rs` compares both.

mod callback;
mod cookies;
mod forwarded;
mod hosts;
mod pages;
mod paths;
mod planted;
mod raw;
mod readers;
mod redirects;
mod secrets;
mod sign_out;
mod table;
mod tokens;

use crate::support::{DIALECTS, Stage};

/// A page that needs a login.
const APP: &str = "https://app.example.com/page";

const START: &str = "https://app.example.com/outpost.goauthentik.io/start";

/// One host with rules of every sort, and a whole domain with one.
const RULES: &str = r#"
[[application]]
name = "The App"
slug = "app"
external_host = "https://app.example.com"
public_paths = [
    { prefix = "/public" },
    { path = "/allowed" },
    { regex = "/api/.*/status" },
    { regex = "/foo/.*/bar" },
    { path = "/hook", methods = ["POST"] },
]

[[application]]
name = "Administration"
slug = "admin"
external_host = "https://admin.example.com/sub"
required_groups = ["admins"]

[[application]]
name = "Everything"
slug = "domain"
external_host = "https://auth.example.test"
cookie_domain = "example.test"
public_paths = [{ prefix = "/public", host = "open.example.test" }]
"#;

/// A provider and a daemon with [`RULES`].
async fn stage() -> Stage {
    Stage::with("", RULES).await
}
