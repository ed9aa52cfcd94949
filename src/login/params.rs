use std::borrow::Cow;

use std::sync::LazyLock;

use memchr::memmem::Finder;
use percent_encoding::percent_decode_str;

/// The parameters of an authorisation response (RFC 6749 §4.1.2, RFC 9207 §2).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CallbackParams {
    /// The sealed state.
    pub state: Option<String>,
    /// The code, where the login succeeded.
    pub code: Option<String>,
    /// The issuer, where the provider names it.
    pub iss: Option<String>,
    /// The error, where it failed.
    pub error: Option<String>,
    /// The provider's words about the error.
    pub error_description: Option<String>,
}

/// A parameter stands there twice, so it is not clear which one counts (RFC 6749 §3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeated;

const MARKER: &str = "X-authentik-auth-callback=";

/// Whether the query carries the marker of the contract's redirect URI.
#[must_use]
pub fn has_marker(query: &str) -> bool {
    static FINDER: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(MARKER));
    // Every check asks, and nearly none has it.
    if FINDER.find(query.as_bytes()).is_none() {
        return false;
    }
    query.split('&').any(|pair| {
        pair.strip_prefix(MARKER)
            .is_some_and(|value| value.get(..4).is_some_and(|value| value.eq_ignore_ascii_case("true")))
    })
}

impl CallbackParams {
    /// Reads the query of a callback.
    ///
    /// authentik appends its error behind a second `?`, because the redirect URI has a query already; that one is taken
    /// as the separator that it should have been.
    ///
    /// # Errors
    ///
    /// When a parameter that counts is repeated.
    pub fn parse(query: &str) -> Result<Self, Repeated> {
        let mut params = Self::default();
        for pair in query.split('&') {
            let pair = match pair.strip_prefix(MARKER) {
                Some(value) => value.split_once('?').map_or("", |(_, behind)| behind),
                None => pair,
            };
            let Some((name, value)) = pair.split_once('=') else {
                continue;
            };
            let slot = match name {
                "state" => &mut params.state,
                "code" => &mut params.code,
                "iss" => &mut params.iss,
                "error" => &mut params.error,
                "error_description" => &mut params.error_description,
                _ => continue,
            };
            if slot.replace(decode(value)).is_some() {
                return Err(Repeated);
            }
        }
        Ok(params)
    }
}

fn decode(value: &str) -> String {
    let spaced: Cow<'_, str> = if value.contains('+') { value.replace('+', " ").into() } else { value.into() };
    percent_decode_str(&spaced).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(state: &str, code: Option<&str>, iss: Option<&str>, error: Option<&str>) -> CallbackParams {
        let owned = |text: Option<&str>| text.map(str::to_owned);
        CallbackParams {
            state: Some(state.into()),
            code: owned(code),
            iss: owned(iss),
            error: owned(error),
            error_description: None,
        }
    }

    #[test]
    fn answers_of_providers() {
        let marked = "X-authentik-auth-callback=true&code=abc&state=s";
        assert_eq!(CallbackParams::parse(marked), Ok(params("s", Some("abc"), None, None)));
        let plain = "code=a%2Bb&iss=https%3A%2F%2Fidp.test%2F&session_state=x&state=s";
        assert_eq!(CallbackParams::parse(plain), Ok(params("s", Some("a+b"), Some("https://idp.test/"), None)));
        let broken = "X-authentik-auth-callback=true?error=login_required&state=s";
        assert_eq!(CallbackParams::parse(broken), Ok(params("s", None, None, Some("login_required"))));
        let described = CallbackParams::parse("error=access_denied&error_description=Not+you%21&state=s").unwrap();
        assert_eq!(described.error_description.as_deref(), Some("Not you!"));
        assert_eq!(CallbackParams::parse(""), Ok(CallbackParams::default()));
    }

    #[test]
    fn recorded_error_redirects_of_authentik() {
        for release in ["2024.8.3", "2026.5.0-rc1"] {
            let root = env!("CARGO_MANIFEST_DIR");
            let recorded = format!("{root}/tests/data/authentik/{release}/error-redirects.txt");
            let recorded = std::fs::read_to_string(recorded).unwrap();
            let errors: Vec<_> = recorded
                .lines()
                .map(|line| CallbackParams::parse(line.split_once('?').unwrap().1).unwrap())
                .map(|params| (params.error.unwrap(), params.state.is_some(), params.error_description.is_some()))
                .collect();
            let named = |name: &str| errors.contains(&(name.to_owned(), true, true));
            assert_eq!(errors.len(), 5);
            assert!(
                named("login_required") && named("invalid_request") && named("unsupported_response_type"),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn repeated_parameters_are_refused() {
        for query in
            ["code=a&code=b", "state=a&state=a", "iss=a&iss=b", "error=a&X-authentik-auth-callback=true?error=b"]
        {
            assert_eq!(CallbackParams::parse(query), Err(Repeated), "{query}");
        }
    }

    #[test]
    fn the_marker_is_recognised() {
        for query in [
            "X-authentik-auth-callback=true",
            "a=b&X-authentik-auth-callback=TRUE&c",
            "X-authentik-auth-callback=true?error=x",
        ] {
            assert!(has_marker(query), "{query}");
        }
        for query in
            ["", "X-authentik-auth-callback=false", "x=X-authentik-auth-callback=true", "X-authentik-auth-callback"]
        {
            assert!(!has_marker(query), "{query}");
        }
    }
}
