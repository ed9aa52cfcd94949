//! What holds for everything that a link, a callback or a state can say.

use std::sync::LazyLock;

use http::HeaderValue;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use url::Url;

use super::attempt::ReturnedAttempt;
use super::{CallbackParams, ReturnTarget, has_marker, login_url, requested_target};
use crate::app::{Application, OUTPOST_PATH, samples};
use crate::cookie::Sealer;
use crate::host::Host;
use crate::world::World;

/// One host, one host with a path and a port, and a whole domain.
static APPLICATIONS: LazyLock<[Application; 3]> = LazyLock::new(|| {
    [
        samples::single("https://app.example.com"),
        samples::single("https://app.example.com:8443/sub"),
        samples::domain("https://auth.example.com", "example.com"),
    ]
});

static SEALER: LazyLock<Sealer> = LazyLock::new(|| Sealer::new(b"a secret of some length, for tests"));

/// Takes `text` for a return target, for a query, and for what a state holds.
pub(crate) fn hold(text: &str) {
    for app in APPLICATIONS.iter() {
        for asked in [Some(text.to_owned()), requested_target(text)].into_iter().flatten() {
            if let Some(target) = ReturnTarget::parse(app, &asked) {
                target_holds(app, &target);
            }
        }
        state_holds(app, text);
    }
    let encoded = utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    assert_eq!(requested_target(&format!("rd={encoded}")).as_deref(), Some(text));
    params_hold(text, &encoded);
}

/// Whatever it was made from, a browser that follows it stays within the application and away from the outpost.
pub(crate) fn target_holds(app: &Application, target: &ReturnTarget) {
    let text = target.as_str();
    let url = Url::parse(text).expect("a target is a URL");
    let host = url.host_str().and_then(|host| Host::parse(host).ok()).expect("a target has a host");
    assert!(app.owns(&host), "{text} leads to {host}");
    assert_eq!(url.scheme(), app.external_host.scheme.as_str(), "{text}");
    assert!(url.username().is_empty() && url.password().is_none(), "{text}");
    if host == app.external_host.host {
        assert_eq!(url.port(), app.external_host.port, "{text}");
    }
    assert!(text.bytes().all(|byte| byte.is_ascii_graphic()) && HeaderValue::from_str(text).is_ok(), "{text}");
    assert!(!leads_to_outpost(app, url.path()), "{text} begins another login");
    assert_eq!(ReturnTarget::parse(app, text).as_ref(), Some(target), "a state keeps it");

    let login = Url::parse(&login_url(app, target)).expect("a login begins at a URL");
    assert_eq!(login.origin(), url.origin());
    assert_eq!(login.query().and_then(requested_target).as_deref(), Some(text));
}

fn leads_to_outpost(app: &Application, path: &str) -> bool {
    let path = percent_decode_str(path).decode_utf8_lossy();
    [OUTPOST_PATH, &app.outpost_path("")].iter().any(|own| path.starts_with(own))
}

/// Neither what was not sealed nor what we sealed leads out.
fn state_holds(app: &Application, text: &str) {
    assert!(ReturnedAttempt::open(app, text, &SEALER).is_none(), "it was not sealed with these keys");
    let sealed = SEALER.seal(&World::system(), "state", text.as_bytes()).expect("randomness");
    if let Some(attempt) = ReturnedAttempt::open(app, &sealed, &SEALER) {
        target_holds(app, &attempt.target);
    }
}

fn params_hold(text: &str, encoded: &str) {
    let written = CallbackParams {
        state: Some(text.into()),
        code: Some(text.into()),
        iss: Some(text.into()),
        error: None,
        error_description: Some(text.into()),
    };
    let query = format!("state={encoded}&code={encoded}&iss={encoded}&error_description={encoded}");
    assert_eq!(CallbackParams::parse(&query).as_ref(), Ok(&written));
    let marked = format!("X-authentik-auth-callback=true&{query}");
    assert!(has_marker(&marked));
    assert_eq!(CallbackParams::parse(&marked), Ok(written));

    let Ok(params) = CallbackParams::parse(text) else { return };
    for (name, value) in [("state", &params.state), ("code", &params.code), ("iss", &params.iss)] {
        let twice = CallbackParams::parse(&format!("{text}&{name}=x"));
        assert_eq!(twice.is_err(), value.is_some(), "{name} counts once");
    }
    assert_eq!(has_marker(text), has_marker(&format!("a&{text}&b")));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_any_text(text in "(.|\n){0,60}") {
            super::hold(&text);
        }

        #[test]
        fn of_texts_like_urls(text in "(https?:)?[/\\\\]{0,3}[a-z.@:%0-9\\\\/?# \t\u{ff0e}]{0,40}") {
            super::hold(&text);
        }

        #[test]
        fn of_own_urls(
            text in "(https?://([a-z]{1,3}\\.)?(app|auth)\\.example\\.com(:[0-9]{0,5})?)?(/sub)?(/|\\.|%2e|outpost\\.goauthentik\\.io|%6f|[a-z?#&=]|\u{e9}){0,16}",
        ) {
            super::hold(&text);
        }

        #[test]
        fn of_long_targets(text in "/[a\u{e9}<]{600,2200}") {
            super::hold(&text);
        }

        #[test]
        fn of_texts_like_queries(text in "((rd|code|state|iss|error|X-authentik-auth-callback)=[a-zA-Z/%?+:2-5]{0,12}[&?]?){0,6}") {
            super::hold(&text);
        }

        #[test]
        fn of_texts_like_states(target in "[a-z/.:\\\\?#%]{0,30}", began: u64) {
            super::hold(&format!(r#"{{"i":"id","a":"app-example-com","r":"{target}","t":{began}}}"#));
        }
    }
}
