//! Which application a request to our own paths is for.

use std::sync::Arc;

use http::StatusCode;

use super::outpost::Outpost;
use super::reply;
use super::request::Received;
use super::visited::Visited;
use crate::app::Application;
use crate::catalog::Catalog;
use crate::forwarded::{ClientHints, Dialect, ForwardedError, OriginalRequest, forwarded_authority, request_authority};
use crate::host::{Authority, Host};
use crate::pages::{BadRequest, Page};
use crate::telemetry::warn_throttled;

/// What a browser asked for by naming it.
#[derive(Default)]
pub(super) struct Addressed<'r> {
    /// Its host and port, where it named one.
    pub(super) authority: Option<Authority<'r>>,
    /// The application that has this host.
    pub(super) app: Option<&'r Arc<Application>>,
}

impl<'r> Addressed<'r> {
    pub(super) fn host(&self) -> Option<&Host<'r>> {
        self.authority.as_ref().map(|authority| &authority.host)
    }

    /// The application, with the host of it that was named.
    pub(super) fn found(&self) -> Option<(&'r Arc<Application>, Host<'r>)> {
        self.app.zip(self.host().cloned())
    }
}

/// Why it is not known which application a request is for.
#[derive(Debug, thiserror::Error)]
pub(super) enum Misaddressed<'r> {
    /// What the proxy says is not a host.
    #[error(transparent)]
    Malformed(#[from] ForwardedError),
    /// The request names one application, and the proxy says another.
    #[error("the request names the application of {named}, and X-Forwarded-Host that of {forwarded}")]
    TwoApplications {
        /// By its own words, or those of the proxy that are for this.
        named: Authority<'r>,
        /// By `X-Forwarded-Host`.
        forwarded: Authority<'r>,
    },
    /// A question about one host is sent to another one, where browsers find an application.
    #[error("a question about {about} is sent to {asked_at}, which is the host of an application")]
    AskedElsewhere {
        /// The host of the URL that is asked about.
        about: Host<'r>,
        /// The question's own `Host`.
        asked_at: Host<'r>,
    },
}

impl Outpost {
    /// What a request to our own paths is for.
    ///
    /// The browser's host is what a trusted proxy says in `X-Forwarded-Host`; where it says nothing, or its sender is not
    /// trusted, the request's own host. Proxies may put the address of forepost there, which may lie under the cookie domain
    /// of another application: then one of both is wrong, and forepost cannot know which.
    pub(super) fn addressed<'r>(received: &Received<'r>) -> Result<Addressed<'r>, Misaddressed<'r>> {
        let named = request_authority(&received.parts.uri, &received.parts.headers).ok();
        let forwarded = if received.trusted { forwarded_authority(&received.parts.headers)? } else { None };
        let Some(forwarded) = forwarded else {
            let app = named.as_ref().and_then(|named| received.catalog.find(&named.host));
            return Ok(Addressed { authority: named, app });
        };
        if let Some(named) = named {
            agree(received.catalog, named, &forwarded)?;
        }
        let app = received.catalog.find(&forwarded.host);
        Ok(Addressed { authority: Some(forwarded), app })
    }

    /// Checks that a question, whose application is known by other means, does not name another one in `X-Forwarded-Host`, and is
    /// not sent to an application's host that it is not about.
    ///
    /// With Traefik and Caddy that field is the means. Where it is the client's own, nothing but the client's own request is
    /// refused.
    pub(super) fn agrees<'r>(
        dialect: Dialect,
        original: &OriginalRequest<'r>,
        received: &Received<'r>,
    ) -> Result<(), Misaddressed<'r>> {
        if let Some(asked_at) = original.asked_at.clone().filter(|host| received.catalog.serves_browsers(host)) {
            return Err(Misaddressed::AskedElsewhere { about: original.authority.host.clone(), asked_at });
        }
        if !dialect.leaves_forwarded_host() || !received.trusted {
            return Ok(());
        }
        // What is not a host names no application.
        let forwarded = forwarded_authority(&received.parts.headers).ok().flatten();
        forwarded.map_or(Ok(()), |forwarded| agree(received.catalog, original.authority.clone(), &forwarded))
    }

    /// Says so in the log.
    pub(super) fn note_misaddressed(&self, mistake: &Misaddressed<'_>, received: &Received<'_>) {
        warn_throttled!(
            self.misaddressed,
            request_id = %received.id,
            client = received.client().map(tracing::field::display),
            error = %mistake,
            "a request does not say which application it is for: have the proxy pass the browser's Host on, and overwrite X-Forwarded-Host with it"
        );
    }

    /// Answers a request for a page that names no one application.
    pub(super) fn refuse_misaddressed(&self, mistake: &Misaddressed<'_>, received: &Received<'_>) -> Visited {
        self.note_misaddressed(mistake, received);
        let reason = mistake.reason();
        let html = ClientHints::new(&received.parts.headers, false).accepts_html();
        let answer = reply::page(StatusCode::BAD_REQUEST, &Page::BadRequest { reason }, html, received.id);
        Visited::new(answer, "refuse")
    }
}

fn agree<'r>(catalog: &Catalog, named: Authority<'r>, forwarded: &Authority<'r>) -> Result<(), Misaddressed<'r>> {
    if named.host == forwarded.host {
        return Ok(());
    }
    // Proxies may know forepost by the name that logins come back to, where the hosts of a cookie domain share them.
    let is_own = |app: &Application| [&named, forwarded].iter().any(|it| it.host == app.external_host.host);
    let is_one = |one: &Arc<Application>, other: &Arc<Application>| {
        Arc::ptr_eq(one, other) || (one.realm == other.realm && is_own(one))
    };
    match (catalog.find(&named.host), catalog.find(&forwarded.host)) {
        (Some(one), Some(other)) if !is_one(one, other) => {
            Err(Misaddressed::TwoApplications { named, forwarded: forwarded.clone() })
        }
        _ => Ok(()),
    }
}

impl Misaddressed<'_> {
    /// Why the browser sees a page.
    pub(super) const fn reason(&self) -> BadRequest {
        match self {
            Self::Malformed(_) => BadRequest::Malformed,
            Self::TwoApplications { .. } => BadRequest::TwoApplications,
            Self::AskedElsewhere { .. } => BadRequest::TwoHosts,
        }
    }
}
