//! The checks that are counted.

use std::hint::black_box;
use std::sync::Arc;

use forepost::forwarded::Dialect;
use forepost::session::Session;
use http::request::Parts;
use tokio::runtime;

use super::stage::{Browser, Failure, PROXY, Stage, question, ready};

/// One kind of check.
pub(crate) struct Case {
    /// As in the table.
    pub(crate) name: &'static str,
    dialect: Dialect,
    browser: Browser,
    target: &'static str,
    credential: Credential,
    logged: bool,
    status: u16,
}

#[derive(Clone, Copy)]
enum Credential {
    None,
    Unknown,
    /// Each check comes with another one of so many sessions.
    Sessions(usize),
}

const TARGET: &str = "/dashboards/17/panels?from=now-6h&to=now";

const ALLOW: Case = Case {
    name: "allow",
    dialect: Dialect::Traefik,
    browser: Browser::Fetches,
    target: TARGET,
    credential: Credential::Sessions(1),
    logged: false,
    status: 200,
};

const CHALLENGE: Case = Case { name: "challenge", credential: Credential::None, status: 401, ..ALLOW };

/// All of them, in the order of the table.
pub(crate) const CASES: [Case; 11] = [
    Case { name: "allow, Traefik", ..ALLOW },
    Case { name: "allow, Caddy", dialect: Dialect::Caddy, ..ALLOW },
    Case { name: "allow, nginx", dialect: Dialect::Nginx, ..ALLOW },
    Case { name: "allow, Envoy", dialect: Dialect::Envoy, ..ALLOW },
    Case { name: "allow, 1,000 sessions", credential: Credential::Sessions(1000), ..ALLOW },
    Case { name: "allow, with its log line", logged: true, ..ALLOW },
    Case { name: "challenge, no cookie", ..CHALLENGE },
    Case { name: "challenge, unknown cookie", credential: Credential::Unknown, ..CHALLENGE },
    Case { name: "challenge, with its log line", logged: true, ..CHALLENGE },
    Case { name: "redirect to the login", browser: Browser::Navigates, status: 302, ..CHALLENGE },
    Case { name: "public path", target: "/public/logo.svg", status: 200, ..CHALLENGE },
];

/// The row of what a session takes while it is kept.
pub(crate) const KEPT: &str = "one session kept";

/// Signs so many people in, and leaves them so until the process ends.
pub(crate) fn keep(sessions: usize) -> Result<(), Failure> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let stage = runtime.block_on(Stage::new("routine_checks = \"off\""))?;
    for number in 0..sessions {
        ready(stage.store.save(&stage.token()?, keep_one(&stage, number)))?;
    }
    std::mem::forget(stage);
    Ok(())
}

/// What is counted of a session: its making.
#[inline(never)]
fn keep_one(stage: &Stage, number: usize) -> Arc<Session> {
    black_box(Arc::new(stage.session(number)))
}

impl Case {
    /// Answers the question so many times; what comes before the first answer is the same for any number.
    pub(crate) fn run(&self, times: usize) -> Result<(), Failure> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let log = if self.logged { "routine_checks = \"all\"" } else { "routine_checks = \"off\"" };
        let (stage, questions) = runtime.block_on(async {
            let stage = Stage::new(log).await?;
            let questions = self.questions(&stage).await?;
            Ok::<_, Failure>((stage, questions))
        })?;
        for parts in questions.iter().cycle().take(times) {
            let status = check(black_box(&stage), black_box(parts));
            if status != self.status {
                return Err(format!("{}: answered {status} instead of {}", self.name, self.status).into());
            }
        }
        Ok(())
    }

    async fn questions(&self, stage: &Stage) -> Result<Vec<Parts>, Failure> {
        let mut cookies = Vec::new();
        match self.credential {
            Credential::None => cookies.push(None),
            Credential::Unknown => cookies.push(Some(stage.cookie(&stage.token()?))),
            Credential::Sessions(count) => {
                for number in 0..count {
                    let token = stage.token()?;
                    stage.store.save(&token, Arc::new(stage.session(number))).await?;
                    cookies.push(Some(stage.cookie(&token)));
                }
            }
        }
        let ask = |cookie: &Option<String>| question(self.dialect, self.browser, self.target, cookie.as_deref());
        Ok(cookies.iter().map(ask).collect::<Result<_, _>>()?)
    }
}

/// The names under which valgrind knows [`check`] and [`keep_one`].
pub(crate) const CHECK: &str = concat!(module_path!(), "::check");
pub(crate) const KEEP_ONE: &str = concat!(module_path!(), "::keep_one");

/// What is counted, under a name that no optimisation takes away.
#[inline(never)]
fn check(stage: &Stage, parts: &Parts) -> u16 {
    black_box(ready(stage.outpost.answer(parts, PROXY))).status().as_u16()
}
