//! The configuration file, the directory beside it, and the files that they name.

mod stamp;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};

use self::stamp::Stamp;
use super::{Reading, Source, warn_about};
use crate::app;
use crate::catalog::{Declaration, Declared, ReloadRequest};
use crate::settings::{Attempt, Layers, Mistakes, Settings};

/// The name of this source.
pub(crate) const FILES: &str = "files";

/// How often files are looked at. A change is read when two looks in a row find the same.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// How often one change is read again because the configuration names other files than before.
const MOST_READINGS: usize = 3;

/// The configuration file with all other layers, read again when a file has changed, and when an operator asks for it.
///
/// Files are looked at and not watched: that finds every kind of replacement (an editor's rename, the swap of a symbolic link
/// by Kubernetes, a network file system), and what is read has been quiet for as long as forepost looks.
pub struct Files {
    layers: Layers,
    /// The settings at the start, of which some count until the restart.
    running: Settings,
    /// What was read last without a mistake.
    declarations: Vec<Declaration>,
    /// The files and directories that the configuration depends on.
    paths: BTreeSet<PathBuf>,
    /// What was there when they were read last.
    read: Stamp,
    /// What the last look found.
    seen: Stamp,
    looks: Interval,
    requests: mpsc::Receiver<Option<ReloadRequest>>,
}

impl Files {
    /// The files of `layers`, from which `running` was read; read again at each of `requests`.
    #[must_use]
    pub fn new(layers: Layers, running: Settings, requests: mpsc::Receiver<Option<ReloadRequest>>) -> Self {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let declarations = running.declarations();
        let paths = layers.files();
        Self { layers, running, declarations, paths, read: Stamp::default(), seen: Stamp::default(), looks, requests }
    }

    /// Whether the files have changed since they were read, and have been quiet since the last look.
    async fn changed(&mut self) -> bool {
        let files = self.paths.clone();
        // A file may lie on a file system that does not answer.
        let Ok(look) = spawn_blocking(move || Stamp::of(&files)).await else { return false };
        let changed = look != self.read && look == self.seen;
        self.seen = look;
        changed
    }

    /// Reads everything.
    async fn reading(&mut self, asked_by: Option<ReloadRequest>) -> Reading {
        let (layers, mut files) = (self.layers.clone(), self.paths.clone());
        let read = spawn_blocking(move || {
            let mut readings = 1;
            loop {
                // Before the files are read: a change while they are read is one that the next look finds.
                let stamp = Stamp::of(&files);
                let attempt = Attempt::new(&layers);
                if *attempt.files() == files || readings == MOST_READINGS {
                    return (stamp, attempt);
                }
                files.clone_from(attempt.files());
                readings += 1;
            }
        });
        let Ok((stamp, attempt)) = read.await else {
            let declarations = self.declarations.clone();
            return Reading { declarations, asked_by, ..Reading::default() };
        };
        self.paths.clone_from(attempt.files());
        (self.read, self.seen) = (stamp.clone(), stamp);
        let (mistakes, needs_restart) = self.apply(attempt);
        Reading { declarations: self.declarations.clone(), mistakes, needs_restart, stale: false, asked_by }
    }

    /// Takes over what is usable. Returns what is not, and the keys that need a restart.
    fn apply(&mut self, attempt: Attempt) -> (Vec<String>, Vec<&'static str>) {
        let (settings, refused, mistakes) = match attempt.into_usable() {
            Ok((settings, refused, mistakes)) => (settings, refused, mistakes),
            Err(mistakes) => return (not_reloaded(&mistakes), Vec::new()),
        };
        let needs_restart = settings.needs_restart(&self.running);
        if !needs_restart.is_empty() {
            tracing::warn!(keys = needs_restart.join(", "), "these settings change with a restart only");
        }
        if needs_restart.contains(&"server.trusted_proxies")
            && settings.applications.iter().chain(&refused).any(app::DeclaredApplication::looks_at_client)
        {
            // Rules for networks would believe proxies that the new configuration does not trust.
            let mistake = "rules for networks and another server.trusted_proxies need a restart";
            tracing::error!(mistakes = mistake, "the configuration is not reloaded; the one before it stays in force");
            return (vec![mistake.to_owned()], needs_restart);
        }
        let mut declarations = settings.declarations();
        let Some(mistakes) = mistakes else {
            warn_about(&settings);
            self.declarations = declarations;
            return (Vec::new(), needs_restart);
        };
        for refused in &refused {
            match self.before(refused) {
                Some(before) => declarations.push(before.clone()),
                // Another application might answer for its hosts, by other rules.
                None => return (not_reloaded(&mistakes), needs_restart),
            }
        }
        tracing::error!(%mistakes, "applications with mistakes stay as they were; the rest of the configuration is reloaded");
        warn_about(&settings);
        self.declarations = declarations;
        (mistakes.lines(), needs_restart)
    }

    /// The declaration before of an application that answers for the same hosts.
    fn before(&self, refused: &app::DeclaredApplication) -> Option<&Declaration> {
        self.declarations.iter().find(|declaration| match &declaration.declared {
            Declared::Application(before) => {
                before.slug == refused.slug
                    && before.external_host.host == refused.external_host.host
                    && before.cookie_domain == refused.cookie_domain
            }
            Declared::Provider { .. } | Declared::Host { .. } => false,
        })
    }
}

fn not_reloaded(mistakes: &Mistakes) -> Vec<String> {
    tracing::error!(%mistakes, "the configuration is not reloaded; the one before it stays in force");
    mistakes.lines()
}

impl Source for Files {
    fn name(&self) -> &'static str {
        FILES
    }

    async fn next(&mut self) -> Reading {
        loop {
            let asked_by = tokio::select! {
                Some(request) = self.requests.recv() => request,
                _ = self.looks.tick() => {
                    if !self.running.server.watch || !self.changed().await {
                        continue;
                    }
                    None
                }
            };
            return self.reading(asked_by).await;
        }
    }
}
