//! Applications out of the labels of containers.
//!
//! One task follows the engine and hands on each complete list; [`Docker`] makes of the last one what its labels say. While the
//! engine is away, what was known stays, and is said to be old.

mod engine;
mod follow;
mod known;
mod labels;
#[cfg(test)]
mod tests;
mod traefik;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;

use self::engine::Engine;
use self::follow::{Pace, Seen, follow};
use self::known::{Bounds, Containers, Said};
use super::{Reading, Source};
use crate::app::DeclaredApplication;
use crate::catalog::{Declaration, Declared};
use crate::host::Host;
use crate::identity::ClaimNames;
use crate::settings::{self, Endpoint, LabelContext, OfLabels};

/// The name of this source.
const DOCKER: &str = "docker";

/// The labels of an engine's containers.
pub struct Docker {
    endpoint: Endpoint,
    domains: Vec<Host<'static>>,
    grace: Duration,
    /// What the files declare, which labels may name and must not take away.
    files: watch::Receiver<Vec<Declaration>>,
    seen: watch::Receiver<Seen>,
    context: LabelContext,
    containers: Containers,
    /// When the next container will have been stopped for long enough.
    expires: Option<Instant>,
    /// The last reading; `None` before the first one.
    told: Option<(Said, Option<String>)>,
    _following: AbortOnDropHandle<()>,
}

impl Docker {
    /// Begins to follow the engine.
    ///
    /// `files` has what files declare now. With `names_proxies` the operator named the proxies that are trusted, so that labels may
    /// have rules for networks.
    #[must_use]
    pub fn new(settings: settings::Docker, names_proxies: bool, files: watch::Receiver<Vec<Declaration>>) -> Self {
        Self::at_pace(Pace::default(), settings, names_proxies, files)
    }

    fn at_pace(
        pace: Pace,
        settings: settings::Docker,
        names_proxies: bool,
        files: watch::Receiver<Vec<Declaration>>,
    ) -> Self {
        let settings::Docker { endpoint, domains, grace } = settings;
        let (sender, seen) = watch::channel(Seen::default());
        let engine = Engine { endpoint: endpoint.clone(), answer_timeout: pace.answer };
        let following = tokio::spawn(follow(engine, pace, sender));
        let mut docker = Self {
            endpoint,
            domains,
            grace,
            files,
            seen,
            context: LabelContext { names_proxies, ..LabelContext::default() },
            containers: Containers::default(),
            expires: None,
            told: None,
            _following: AbortOnDropHandle::new(following),
        };
        docker.take_files();
        docker
    }

    fn take_files(&mut self) {
        let files = self.files.borrow_and_update();
        let claims: BTreeMap<&str, &ClaimNames> = files
            .iter()
            .filter_map(|declaration| match &declaration.declared {
                Declared::Provider { name, registration } => Some((name.as_str(), &registration.claims)),
                Declared::Application(_) | Declared::Host { .. } => None,
            })
            .collect();
        let domain = |declaration: &Declaration| match &declaration.declared {
            Declared::Application(application) if application.cookie_domain.is_some() => {
                let claims = claims.get(application.identity_provider.as_str())?;
                Some((DeclaredApplication::clone(application), ClaimNames::clone(claims)))
            }
            _ => None,
        };
        self.context.domains = files.iter().filter_map(domain).collect();
        self.context.providers = claims.into_keys().map(str::to_owned).collect();
        drop(files);
        self.containers.read_again(&self.context);
    }

    /// What there is to tell now; `None` where it is what was told last.
    fn reading(&mut self) -> Option<Reading> {
        let Seen { containers, away } = self.seen.borrow_and_update().clone();
        let now = Instant::now();
        match containers {
            Some(containers) if away.is_none() => self.containers.list(&containers, &self.context, now),
            None if away.is_none() => return None,
            _ => {}
        }
        self.expires = self.containers.expire(self.grace, now);
        let files = self.files.borrow().clone();
        let application = |declaration: Declaration| match declaration.declared {
            Declared::Application(application) => Some(*application),
            Declared::Provider { .. } | Declared::Host { .. } => None,
        };
        let file: Vec<DeclaredApplication> = files.into_iter().filter_map(application).collect();
        let said = self.containers.say(&Bounds { domains: &self.domains, file: &file });
        let telling = Some((said, away));
        if telling == self.told {
            return None;
        }
        let before = std::mem::replace(&mut self.told, telling);
        let (said, away) = self.told.as_ref()?;
        let mut mistakes = said.mistakes.clone();
        mistakes.extend(away.as_ref().map(|why| format!("docker: {}: {why}", self.endpoint)));
        let (said_before, away_before) = before.unwrap_or_default();
        for mistake in said.mistakes.iter().filter(|it| !said_before.mistakes.contains(it)) {
            tracing::error!(%mistake, "labels cannot be used; the application stays as it was, if it was there before");
        }
        match away {
            Some(error) if *away != away_before => {
                tracing::warn!(endpoint = %self.endpoint, error, "the container engine is away; its applications stay as they were");
            }
            None if away_before.is_some() => tracing::info!(endpoint = %self.endpoint, "the container engine is back"),
            _ => {}
        }
        let declaration = |(origin, declared): (Arc<str>, OfLabels)| match declared {
            OfLabels::Application(application) => Declaration { origin, declared: Declared::Application(application) },
            OfLabels::Host { application, host } => {
                Declaration { origin, declared: Declared::Host { application, host: Arc::new(host) } }
            }
        };
        let declarations = said.declared.iter().cloned().map(declaration);
        let stale = away.is_some();
        Some(Reading { declarations: declarations.collect(), mistakes, stale, ..Reading::default() })
    }
}

impl Source for Docker {
    fn name(&self) -> &'static str {
        DOCKER
    }

    async fn next(&mut self) -> Reading {
        loop {
            let expires = self.expires;
            let expiry = async {
                match expires {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Ok(()) = self.seen.changed() => {}
                Ok(()) = self.files.changed() => self.take_files(),
                () = expiry => {}
            }
            if let Some(reading) = self.reading() {
                return reading;
            }
        }
    }
}
