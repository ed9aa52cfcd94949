//! The provider's few pages.

use askama::Template;
use http::StatusCode;

use super::web::{self, Answer};

/// The login form.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Sign in · Demo identity provider</title>
<style>{{ style|safe }}</style>
<body class="idp">
<main class="card">
<p class="brand">Demo identity provider</p>
<h1>Sign in</h1>
<p class="quiet">to continue to <strong>{{ application }}</strong></p>
{% if !mistake.is_empty() %}<p class="mistake" role="alert">{{ mistake }}</p>{% endif %}
<form method="post" action="{{ action }}">
<input type="hidden" name="request" value="{{ request }}">
<label>Name <input name="login" value="{{ hint }}" autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus></label>
<label>Password <input name="password" type="password" autocomplete="current-password" placeholder="anything will do"></label>
<button type="submit" class="main">Sign in</button>
</form>
<p class="or"><span>or with one click</span></p>
<form method="post" action="{{ action }}" class="quick">
<input type="hidden" name="request" value="{{ request }}">
{% for login in logins %}<button type="submit" name="login" value="{{ login }}">{{ login }}</button>
{% endfor %}</form>
</main>
</body>
</html>
"#
)]
pub(super) struct Login {
    pub(super) style: &'static str,
    pub(super) action: String,
    /// What the user is on the way to.
    pub(super) application: String,
    /// The authorisation request, to be sent along.
    pub(super) request: String,
    /// The name to begin with.
    pub(super) hint: String,
    /// What was wrong with the last attempt; may be empty.
    pub(super) mistake: String,
    pub(super) logins: Vec<String>,
}

/// Where the code of a program is confirmed.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>Confirm a login · Demo identity provider</title>
<style>{{ style|safe }}</style>
<body class="idp">
<main class="card">
<p class="brand">Demo identity provider</p>
<h1>Confirm a login</h1>
<p class="quiet">of a program that shows you this code</p>
{% if !mistake.is_empty() %}<p class="mistake" role="alert">{{ mistake }}</p>{% endif %}
<form method="post" action="{{ action }}">
<label>Code <input name="user_code" value="{{ user_code }}" autocomplete="off" spellcheck="false" required></label>
<p class="or"><span>as</span></p>
{% for login in logins %}<button type="submit" name="login" value="{{ login }}">{{ login }}</button>
{% endfor %}<button type="submit" name="deny" value="yes">That was not me</button>
</form>
</main>
</body>
</html>
"#
)]
pub(super) struct Device {
    pub(super) style: &'static str,
    pub(super) action: String,
    pub(super) user_code: String,
    /// What was wrong with the last attempt; may be empty.
    pub(super) mistake: String,
    pub(super) logins: Vec<String>,
}

/// A heading and a sentence.
#[derive(Template)]
#[template(
    ext = "html",
    source = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{{ title }} · Demo identity provider</title>
<style>{{ style|safe }}</style>
<body class="idp">
<main class="card">
<p class="brand">Demo identity provider</p>
<h1>{{ title }}</h1>
<p>{{ text }}</p>
</main>
</body>
</html>
"#
)]
struct Message<'a> {
    style: &'static str,
    title: &'a str,
    text: &'a str,
}

fn message(status: StatusCode, title: &str, text: &str) -> Answer {
    let style = web::STYLE;
    web::page(status, &Message { style, title, text })
}

pub(super) fn login(page: &Login) -> Answer {
    let status = if page.mistake.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    web::page(status, page)
}

pub(super) fn device(page: &Device) -> Answer {
    let status = if page.mistake.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    web::page(status, page)
}

pub(super) fn device_answered() -> Answer {
    message(StatusCode::OK, "Thank you", "The program knows. You can close this page.")
}

pub(super) fn bad_request(text: &str) -> Answer {
    message(StatusCode::BAD_REQUEST, "That did not work", text)
}

pub(super) fn not_found() -> Answer {
    message(StatusCode::NOT_FOUND, "Nothing here", "An identity provider has no pages of its own to look at.")
}

pub(super) fn signed_out() -> Answer {
    message(StatusCode::OK, "You are signed out", "The identity provider has forgotten you. You can close this page.")
}
