//! Two foreposts that share a Redis, behind one proxy.

mod groups;
mod load;
mod logins;
mod outage;
mod refresh;
mod scene;

pub(crate) use scene::Scene;
