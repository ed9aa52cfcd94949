//! Paths of our own.

use crate::app::{Application, OUTPOST_PATH};
use crate::forwarded::{Dialect, ENVOY_PREFIX, Target};
use crate::login::has_marker;

/// Where programs look for what an application says of itself (RFC 9728 §3); behind it may stand the resource's path.
pub(super) const WELL_KNOWN_RESOURCE: &str = "/.well-known/oauth-protected-resource";

/// What a request to us is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Whether we live.
    Ping,
    /// A proxy's question.
    Auth(Dialect),
    /// What the application says of itself to programs (RFC 9728).
    Resource,
    /// A browser's request to the outpost itself.
    Browser(BrowserRoute),
}

/// What a browser may ask the outpost itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrowserRoute {
    /// Begin a login.
    Start,
    /// Come back from the provider.
    Callback,
    /// End the session.
    SignOut,
    /// The page after it.
    SignedOut,
    /// The provider's order to end sessions; no browser's at all.
    BackChannelLogout,
    /// The same, by way of a browser.
    FrontChannelLogout,
}

impl BrowserRoute {
    const ALL: [Self; 6] = [
        Self::Start,
        Self::Callback,
        Self::SignOut,
        Self::SignedOut,
        Self::BackChannelLogout,
        Self::FrontChannelLogout,
    ];

    /// The name in paths and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Callback => "callback",
            Self::SignOut => "sign_out",
            Self::SignedOut => "signed_out",
            Self::BackChannelLogout => "backchannel-logout",
            Self::FrontChannelLogout => "frontchannel-logout",
        }
    }

    /// The part behind the outpost's path; `ping` and the questions of proxies are not among them.
    fn parse(below: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|route| below.strip_prefix('/') == Some(route.as_str()))
    }

    /// Whether a forwarded request is for the outpost, below the application's own path or at the root.
    ///
    /// The raw path counts: what only some reading would lead here is the application's.
    #[must_use]
    pub fn of_path(app: &Application, target: &Target<'_>) -> Option<Self> {
        let base = app.external_host.base_path.as_str();
        let below_base = target.path().strip_prefix(base).unwrap_or(target.path());
        [target.path(), below_base].into_iter().find_map(|path| path.strip_prefix(OUTPOST_PATH).and_then(Self::parse))
    }

    /// The same, where the callback is also known by the contract's marker in the query, on any path.
    #[must_use]
    pub fn of_forwarded(app: &Application, target: &Target<'_>) -> Option<Self> {
        Self::of_path(app, target).or_else(|| target.query().is_some_and(has_marker).then_some(Self::Callback))
    }
}

impl Route {
    /// The route of a request path, as received; nothing is decoded or resolved.
    ///
    /// `base_path` is the path that the host's application lives under: its proxy may leave it in place.
    #[must_use]
    pub fn parse(path: &str, base_path: &str) -> Option<Self> {
        if let Some(rest) = path.strip_prefix(ENVOY_PREFIX)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Some(Self::Auth(Dialect::Envoy));
        }
        if let Some(rest) = path.strip_prefix(WELL_KNOWN_RESOURCE)
            && (rest.is_empty() || rest.starts_with('/'))
        {
            return Some(Self::Resource);
        }
        let below =
            path.strip_prefix(OUTPOST_PATH).or_else(|| path.strip_prefix(base_path)?.strip_prefix(OUTPOST_PATH))?;
        match below {
            "/ping" => Some(Self::Ping),
            "/oauth-protected-resource" => Some(Self::Resource),
            "/auth/traefik" => Some(Self::Auth(Dialect::Traefik)),
            "/auth/caddy" => Some(Self::Auth(Dialect::Caddy)),
            "/auth/nginx" => Some(Self::Auth(Dialect::Nginx)),
            _ => BrowserRoute::parse(below).map(Self::Browser),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::samples::single;

    #[track_caller]
    fn check(path: &str, expected: Option<Route>) {
        assert_eq!(Route::parse(path, ""), expected, "{path}");
    }

    #[test]
    fn own_paths() {
        check("/outpost.goauthentik.io/ping", Some(Route::Ping));
        check("/outpost.goauthentik.io/auth/traefik", Some(Route::Auth(Dialect::Traefik)));
        check("/outpost.goauthentik.io/auth/caddy", Some(Route::Auth(Dialect::Caddy)));
        check("/outpost.goauthentik.io/auth/nginx", Some(Route::Auth(Dialect::Nginx)));
        check("/outpost.goauthentik.io/auth/envoy", Some(Route::Auth(Dialect::Envoy)));
        check("/outpost.goauthentik.io/auth/envoy/../../start", Some(Route::Auth(Dialect::Envoy)));
        check("/outpost.goauthentik.io/start", Some(Route::Browser(BrowserRoute::Start)));
        check("/outpost.goauthentik.io/callback", Some(Route::Browser(BrowserRoute::Callback)));
        check("/outpost.goauthentik.io/sign_out", Some(Route::Browser(BrowserRoute::SignOut)));
        check("/outpost.goauthentik.io/signed_out", Some(Route::Browser(BrowserRoute::SignedOut)));
        check("/outpost.goauthentik.io/backchannel-logout", Some(Route::Browser(BrowserRoute::BackChannelLogout)));
        check("/outpost.goauthentik.io/frontchannel-logout", Some(Route::Browser(BrowserRoute::FrontChannelLogout)));
        check("/outpost.goauthentik.io/oauth-protected-resource", Some(Route::Resource));
        check("/.well-known/oauth-protected-resource", Some(Route::Resource));
        check("/.well-known/oauth-protected-resource/mcp", Some(Route::Resource));
    }

    #[test]
    fn everything_else_is_not_ours() {
        for path in [
            "/",
            "",
            "/start",
            "/outpost.goauthentik.io",
            "/outpost.goauthentik.io/",
            "/outpost.goauthentik.io/start/",
            "/outpost.goauthentik.io//start",
            "/outpost.goauthentik.io/Start",
            "/outpost.goauthentik.io/auth",
            "/outpost.goauthentik.io/auth/haproxy",
            "/outpost.goauthentik.io/auth/traefik/x",
            "/outpost.goauthentik.io/auth/envoyx",
            "/outpost.goauthentik.io/../outpost.goauthentik.io/start",
            "/x/outpost.goauthentik.io/start",
            "/outpost.goauthentik.iox/start",
            "/.well-known/oauth-protected-resources",
            "/outpost.goauthentik.io/oauth-protected-resource/x",
        ] {
            check(path, None);
        }
    }

    #[test]
    fn below_an_applications_path() {
        let start = Some(Route::Browser(BrowserRoute::Start));
        assert_eq!(Route::parse("/sub/outpost.goauthentik.io/start", "/sub"), start);
        assert_eq!(Route::parse("/outpost.goauthentik.io/start", "/sub"), start);
        assert_eq!(Route::parse("/other/outpost.goauthentik.io/start", "/sub"), None);
    }

    #[track_caller]
    fn forwarded(target: &str, expected: Option<BrowserRoute>) {
        let app = single("https://app.example.com/sub");
        assert_eq!(BrowserRoute::of_forwarded(&app, &Target::parse(target).unwrap()), expected, "{target}");
    }

    #[test]
    fn forwarded_requests_for_the_outpost() {
        forwarded("/outpost.goauthentik.io/callback?code=x", Some(BrowserRoute::Callback));
        forwarded("/sub/outpost.goauthentik.io/sign_out", Some(BrowserRoute::SignOut));
        forwarded("/any?X-authentik-auth-callback=true&code=x", Some(BrowserRoute::Callback));
        forwarded("/any?X-authentik-auth-callback=true?error=x", Some(BrowserRoute::Callback));
        for target in [
            "/",
            "/any?X-authentik-logout=true",
            "/outpost.goauthentik.io/ping",
            "/outpost.goauthentik.io/auth/traefik",
            "/outpost.goauthentik.io/../admin",
            "/outpost.goauthentik.io/callback/../../admin",
            "/outpost.goauthentik.io%2fcallback",
        ] {
            forwarded(target, None);
        }
    }
}
