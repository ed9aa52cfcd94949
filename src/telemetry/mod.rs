//! What the operator sees of a running daemon: logs and metrics.

pub mod audit;
pub mod log;
pub mod metrics;
mod rarely;
mod request_id;
mod settings;

pub(crate) use rarely::{Rarely, warn_rarely};
pub use request_id::{RequestId, RequestIds};
pub use settings::{Log, LogFormat, RoutineChecks};
