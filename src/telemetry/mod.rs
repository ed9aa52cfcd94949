//! What the operator sees of a running daemon: logs and metrics.

pub mod audit;
mod causes;
pub mod log;
pub mod metrics;
mod request_id;
mod settings;
mod throttle;

pub use causes::WithCauses;

pub use request_id::{RequestId, RequestIds};
pub use settings::Log;
pub(crate) use settings::{LogFormat, RoutineChecks};
pub(crate) use throttle::{LogThrottle, warn_throttled};
