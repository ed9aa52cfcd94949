//! Orders that end many sessions. They take effect at once, also if the search for the sessions takes long.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::query::{Filter, Order};
use super::{Admin, REASON, Refusal, line};
use crate::app::Application;
use crate::session::{Revocation, StoreError, Whom};
use crate::telemetry::audit::AuditLine;

/// The default of the time that an order waits for its count.
pub const COUNT_TIMEOUT: Duration = Duration::from_secs(2);

/// A search through all sessions, page by page, for those that match a filter.
struct Look {
    filter: Filter,
    /// The number of sessions that matched.
    seen: u64,
    /// The users of matching sessions since the last call, if a user is searched: issuer and subject, with the name for logs.
    whose: BTreeMap<(String, String), Option<String>>,
    at: Option<String>,
    done: bool,
}

impl Look {
    const fn new(filter: Filter) -> Self {
        Self { filter, seen: 0, whose: BTreeMap::new(), at: None, done: false }
    }
}

impl Admin {
    pub(super) async fn follow(&self, query: &str, by: &str) -> Result<Value, Refusal> {
        match Order::parse(query)? {
            Order::User { user, issuer } => self.revoke_user(user, issuer, by).await,
            Order::Application(application) => self.revoke_application(&application, by).await,
            Order::All => {
                // The store counts records, also those of ended sessions.
                let mut look = Look::new(Filter::default());
                self.wait_and_look(&mut look).await;
                self.revoke(Whom::Everybody).await?;
                line(by, None).write();
                Ok(told(&look, "all", json!(true)))
            }
        }
    }

    async fn revoke_application(&self, application: &str, by: &str) -> Result<Value, Refusal> {
        let filter = Filter { application: Some(application.to_owned()), ..Filter::default() };
        let mut look = Look::new(filter);
        let catalog = self.catalog.load_full();
        let app = catalog.application(application);
        // A host has no sessions, but those that it had as an application may still be kept.
        if app.is_some_and(|app| app.host.is_none()) {
            self.wait_and_look(&mut look).await;
        } else {
            while !look.done {
                self.go_on(&mut look).await?;
            }
            if look.seen == 0 {
                if let Some(app) = app {
                    return Err(Refusal::NoMatch(sessions_elsewhere(app)));
                }
                let all = catalog.applications().iter().filter(|app| app.host.is_none());
                let known: Vec<_> = all.map(|app| app.id.as_str()).collect();
                let known = known.join(", ");
                return Err(Refusal::NoMatch(format!("there is no application {application}; there are {known}")));
            }
        }
        self.revoke(Whom::Application(application)).await?;
        AuditLine { application: Some(application), ..line(by, None) }.write();
        Ok(told(&look, "application", json!(application)))
    }

    /// Ends the sessions of all users with the name `user`. Revokes by issuer and subject, so that logins under way end too.
    async fn revoke_user(&self, user: String, issuer: Option<String>, by: &str) -> Result<Value, Refusal> {
        if let Some(issuer) = &issuer
            && self.provider_name(issuer).is_none()
        {
            let catalog = self.catalog.load_full();
            let issuers = catalog.providers().iter().map(|provider| provider.settings().issuer.as_str());
            let known: BTreeSet<_> = issuers.collect();
            let known: Vec<_> = known.into_iter().collect();
            return Err(Refusal::Bad(format!(
                "issuer: no identity provider is called so; there are {}",
                known.join(", ")
            )));
        }
        let mut look = Look::new(Filter { user: Some(user.clone()), issuer: issuer.clone(), ..Filter::default() });
        self.wait_and_look(&mut look).await;
        let mut ended = BTreeSet::new();
        if let Some(issuer) = issuer
            && (!look.done || look.whose.is_empty())
        {
            // A user who is named by subject needs no search.
            look.whose.entry((issuer, user.clone())).or_insert(None);
        }
        let counted = look.done;
        loop {
            while let Some(((issuer, subject), name)) = look.whose.pop_first() {
                let key = (issuer, subject);
                if ended.contains(&key) {
                    continue;
                }
                let (issuer, subject) = (&*key.0, &*key.1);
                self.revoke(Whom::Subject { issuer, subject }).await?;
                let provider = self.provider_name(issuer);
                let line = line(by, provider.as_deref());
                AuditLine { user: name.as_deref(), subject: Some(subject), ..line }.write();
                ended.insert(key);
            }
            if look.done {
                break;
            }
            self.go_on(&mut look).await?;
        }
        if ended.is_empty() {
            let hint = "for logins that are under way, give the subject with its issuer";
            return Err(Refusal::NoMatch(format!("no session of a user {user}; {hint}")));
        }
        look.done = counted;
        let ended: Vec<_> =
            ended.iter().map(|(issuer, subject)| json!({"issuer": issuer, "subject": subject})).collect();
        Ok(told(&look, "users", json!(ended)))
    }

    async fn revoke(&self, whom: Whom<'_>) -> Result<(), StoreError> {
        self.store.revoke(&Revocation { whom, once: None }).await?;
        self.metrics.revocation(REASON);
        Ok(())
    }

    /// Searches for as long as an order may wait. The order takes effect also if the store does not answer the search.
    async fn wait_and_look(&self, look: &mut Look) {
        let deadline = Instant::now() + self.count_timeout;
        while !look.done && Instant::now() < deadline {
            if !matches!(timeout_at(deadline, self.go_on(look)).await, Ok(Ok(()))) {
                return;
            }
        }
    }

    /// Searches one more page.
    async fn go_on(&self, look: &mut Look) -> Result<(), StoreError> {
        let Some(page) = self.store.page(look.at.clone()).await? else {
            look.done = true;
            return Ok(());
        };
        for session in page.sessions.into_iter().filter(|it| look.filter.holds_for(it)) {
            look.seen += 1;
            if look.filter.user.is_some() {
                look.whose.insert((session.issuer, session.subject), Some(session.user));
            }
        }
        look.done = page.next.is_none();
        look.at = page.next;
        Ok(())
    }
}

/// Which application has the sessions of the one of a host.
pub(super) fn sessions_elsewhere(app: &Application) -> String {
    let (host, owner) = (&app.id, &app.realm.application);
    format!("{host} is a host of {owner}, and shares its sessions: name {owner}")
}

/// How many sessions ended, if they were counted, and whose.
fn told(look: &Look, name: &str, whose: Value) -> Value {
    let mut told = json!({"ended": look.seen, name: whose});
    if !look.done {
        told["at_least"] = json!(true);
    }
    told
}
