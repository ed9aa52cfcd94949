//! The applications behind the proxy. They know about the user only what the headers tell them.

use askama::Template;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value, json};

use super::web::{self, Answer};

/// An application, chosen by the first label of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Application {
    /// Shows the request as it arrived.
    Whoami,
    /// A second one, for single sign-on.
    Notes,
    /// For administrators only, as far as forepost says so.
    Admin,
}

impl Application {
    /// The application of a host.
    pub(super) fn of(host: &str) -> Option<Self> {
        let label = host.split(['.', ':']).next().unwrap_or_default();
        match label.to_ascii_lowercase().as_str() {
            "whoami" => Some(Self::Whoami),
            "notes" => Some(Self::Notes),
            "admin" => Some(Self::Admin),
            _ => None,
        }
    }

    /// Answers a request that forepost has let through.
    pub(super) fn answer(self, head: &Parts, scheme: &str, host: &str) -> Answer {
        let request = Request { head, scheme, host };
        match (self, head.uri.path()) {
            (_, "/api") => web::json(StatusCode::OK, &request.json(self)),
            (Self::Whoami, "/admin" | "/admin/") => web::redirect(&request.sibling("admin", "/")),
            (_, "/public/signed-out") => request.page(
                self,
                "You are signed out",
                "This page needs no login. The links below do: try one, and you are asked again.",
            ),
            (_, path) if path.starts_with("/public/") => request.page(
                self,
                "Public page",
                "No login is needed here: the path is listed in public_paths. forepost was asked all the same, and answered with empty identity headers.",
            ),
            (Self::Whoami, _) => request.page(
                self,
                "Who am I?",
                "This is what the application received behind the proxy.",
            ),
            (Self::Notes, _) => request.page(
                self,
                "Notes",
                "A second application with its own session. If you came here signed in elsewhere, the provider did not ask you again.",
            ),
            (Self::Admin, _) => request.page(
                self,
                "Administration",
                "You are in the group admins, or you would not see this page.",
            ),
        }
    }
}

/// The answer for a host that no application has.
pub(super) fn unknown(host: &str) -> Answer {
    let port = host.rsplit_once(':').map_or("80", |(_, port)| port);
    // A bare `localhost` or address is a visitor who typed the port only.
    let bare = host.split(':').next().unwrap_or_default();
    if matches!(bare, "localhost" | "127.0.0.1") && port.bytes().all(|byte| byte.is_ascii_digit()) {
        return web::redirect(&format!("http://whoami.localhost:{port}/"));
    }
    web::text(StatusCode::NOT_FOUND, "No application has this host.")
}

struct Request<'a> {
    head: &'a Parts,
    scheme: &'a str,
    host: &'a str,
}

impl Request<'_> {
    /// The same place on another host beside this one.
    fn sibling(&self, label: &str, path: &str) -> String {
        let rest = self.host.find(['.', ':']).map_or("", |at| &self.host[at..]);
        format!("{}://{label}{rest}{path}", self.scheme)
    }

    fn json(&self, application: Application) -> Value {
        let headers = identity(&self.head.headers).map(|(name, value)| (name, json!(value)));
        json!({
            "application": format!("{application:?}").to_lowercase(),
            "method": self.head.method.as_str(),
            "host": self.host,
            "path": self.head.uri.to_string(),
            "headers": headers.collect::<Map<_, _>>(),
        })
    }

    fn page(&self, application: Application, title: &str, text: &str) -> Answer {
        let headers: Vec<Header> =
            identity(&self.head.headers).map(|(name, value)| Header { shown: shorten(&name, &value), name }).collect();
        let named = headers.iter().find(|header| header.name == "x-authentik-name");
        let name = named.map(|header| header.shown.clone()).unwrap_or_default();
        let mut links = vec![
            ("whoami", self.sibling("whoami", "/")),
            ("Second application", self.sibling("notes", "/")),
            ("/admin", self.sibling("whoami", "/admin")),
            ("/public/", self.sibling("whoami", "/public/")),
            ("/api", "/api".to_owned()),
        ];
        if !name.is_empty() {
            links.push(("Sign out", "/outpost.goauthentik.io/sign_out".to_owned()));
        }
        let page = Page {
            style: web::STYLE,
            application: format!("{application:?}"),
            title,
            text,
            name,
            method: self.head.method.as_str(),
            host: self.host,
            path: self.head.uri.path_and_query().map_or("/", |path| path.as_str()),
            headers,
            links,
        };
        web::page(StatusCode::OK, &page)
    }
}

/// Every identity header that arrived, under whatever spelling, and cookies; the values of one name joined.
fn identity(headers: &HeaderMap) -> impl Iterator<Item = (String, String)> {
    let names = headers.keys().filter(|name| {
        let name = name.as_str().replace(['_', '.', '~'], "-");
        ["x-authentik-", "remote-", "x-forwarded-user", "cookie"].iter().any(|it| name.starts_with(it))
    });
    names.map(|name| {
        let values = headers.get_all(name).iter();
        let values = values.map(|value| String::from_utf8_lossy(value.as_bytes()));
        (name.to_string(), values.collect::<Vec<_>>().join(", "))
    })
}

/// A token is shown to exist, not to be copied from a screen.
fn shorten(name: &str, value: &str) -> String {
    if name != "x-authentik-jwt" || value.is_empty() {
        return value.to_owned();
    }
    let start: String = value.chars().take(12).collect();
    format!("{start}… ({} bytes)", value.len())
}

struct Header {
    name: String,
    shown: String,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }} · {{ application }}</title>
<style>{{ style|safe }}</style>
<body class="app">
<header>
<div>
<p class="brand">{{ application }}</p>
<h1>{{ title }}</h1>
</div>
{% if name.is_empty() %}<p class="quiet">not signed in</p>{% else %}<p class="quiet">signed in as <strong>{{ name }}</strong></p>{% endif %}
</header>
<main>
<p>{{ text }}</p>
<section class="panel">
<h2>Request</h2>
<table>
<tr><th scope="row">Method</th><td class="mono">{{ method }}</td></tr>
<tr><th scope="row">Host</th><td class="mono">{{ host }}</td></tr>
<tr><th scope="row">Path</th><td class="mono">{{ path }}</td></tr>
</table>
</section>
<section class="panel">
<h2>Identity headers</h2>
<table>
{% for header in headers %}<tr><th scope="row" class="mono">{{ header.name }}</th><td class="mono">{% if header.shown.is_empty() %}<span class="empty">empty</span>{% else %}{{ header.shown }}{% endif %}</td></tr>
{% else %}<tr><td class="empty">none</td></tr>
{% endfor %}</table>
</section>
<nav aria-label="Try">
{% for (label, target) in links %}<a class="button" href="{{ target }}">{{ label }}</a>
{% endfor %}</nav>
</main>
</body>
</html>
"#
)]
struct Page<'a> {
    style: &'static str,
    application: String,
    title: &'a str,
    text: &'a str,
    /// Who is signed in; may be empty.
    name: String,
    method: &'a str,
    host: &'a str,
    path: &'a str,
    headers: Vec<Header>,
    links: Vec<(&'static str, String)>,
}
