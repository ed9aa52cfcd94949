//! What the operator sees of a running daemon: logs and metrics.

pub mod audit;
pub mod log;
pub mod metrics;
mod request_id;

pub use request_id::{RequestId, RequestIds};
