//! What bounds work: one call for all who need its value, rates, pauses. Nothing here knows what the work is.

mod backoff;
mod bucket;
mod cooldown;
mod single_flight;

pub(crate) use backoff::Backoff;
pub(crate) use bucket::{Quota, TokenBucket, TokenBuckets};
pub(crate) use cooldown::Cooldowns;
pub(crate) use single_flight::{Call, Follower, SingleFlight};
