//! What bounds work: one call for all who need it, a rate, a pause after a failure.

mod single_flight;

pub(crate) use single_flight::{Follower, SingleFlight};
