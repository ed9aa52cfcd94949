//! What holds for every path that is asked for a route.

use super::route::WELL_KNOWN_RESOURCE;
use super::{BrowserRoute, Route};
use crate::app::{OUTPOST_PATH, samples};
use crate::forwarded::{Dialect, ENVOY_PREFIX, Target};

/// A path that has a route is spelled out: nothing in it is decoded, resolved or guessed.
pub(crate) fn route_holds(path: &str) {
    let at_root = Route::parse(path, "");
    match at_root {
        Some(Route::Auth(Dialect::Envoy)) => assert!(path.starts_with(ENVOY_PREFIX)),
        Some(Route::Resource) if !path.starts_with(OUTPOST_PATH) => {
            let part = path.strip_prefix(WELL_KNOWN_RESOURCE).expect("the place that the RFC names");
            assert!(part.is_empty() || part.starts_with('/'), "{path}");
        }
        Some(route) => {
            let below = path.strip_prefix(OUTPOST_PATH).expect("routes lie below the outpost's path");
            assert!(below.bytes().all(|byte| byte.is_ascii_lowercase() || b"_-/".contains(&byte)), "{path}");
            assert_eq!(Route::parse(&format!("/sub{path}"), "/sub"), Some(route));
        }
        None => {}
    }
    if let Some(route) = at_root {
        assert_eq!(Route::parse(path, "/sub"), Some(route), "an application's own path hides no route");
    }

    let Ok(target) = Target::parse(path) else { return };
    let app = samples::single("https://app.example.com/sub");
    if let Some(route) = BrowserRoute::of_path(&app, &target) {
        let own = [app.outpost_path(route.as_str()), format!("{OUTPOST_PATH}/{}", route.as_str())];
        assert!(own.iter().any(|own| own == target.path()), "{path}");
        assert_eq!(BrowserRoute::of_forwarded(&app, &target), Some(route));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn of_any_path(
            path in "(/sub|/x)?/outpost.goauthentik.io/{1,2}(ping|start|callback|sign_out|backchannel-logout|auth/(traefik|envoy))?[./a%2ef]{0,4}|.{0,40}",
        ) {
            super::route_holds(&path);
        }
    }
}
