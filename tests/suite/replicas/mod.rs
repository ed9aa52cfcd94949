//! Two foreposts that share a Redis, behind one proxy.

mod ends;
mod example;
mod groups;
mod load;
mod logins;
mod outage;
mod refresh;
mod scene;
mod secured;
mod trial;

pub(crate) use scene::Scene;
