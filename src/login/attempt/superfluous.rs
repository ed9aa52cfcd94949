//! Which attempts of a browser make room for another one.

use std::time::Duration;

use http::HeaderMap;

use super::{COOKIE, Secrets, is_live, open};
use crate::app::Application;
use crate::cookie::{Sealer, cookies};
use crate::world::UnixTime;

/// Attempts that one browser may have under way; the oldest makes room, once it is settled.
const MOST_LIVE: usize = 8;

/// Younger attempts may belong to tabs that were restored together, each of which will come back.
pub(super) const SETTLED: Duration = Duration::from_mins(1);

/// Attempts that one browser may have under way however young; their cookies still fit into a header line of 8 kB.
const MOST_AT_ONCE: usize = 20;

/// Stale cookies that one answer takes back at most.
const MOST_EXPIRED: usize = 8;

/// Names of attempt cookies that are dead, or too many: the oldest first.
pub(super) fn superfluous(
    app: &Application,
    headers: &HeaderMap,
    sealer: &Sealer,
    now: UnixTime,
) -> impl Iterator<Item = String> + use<> {
    let prefix = app.cookies.attempt_prefix();
    let mut attempts: Vec<(u64, String)> = cookies(headers)
        .filter(|(name, _)| name.starts_with(prefix) && name[prefix.len()..].bytes().all(is_id_byte))
        .map(|(name, value)| {
            let began = open::<Secrets>(sealer, COOKIE, value)
                .filter(|secrets| is_live(secrets.began, now))
                .map_or(0, |secrets| secrets.began);
            (began, name.to_owned())
        })
        .collect();
    attempts.sort();
    let live = attempts.iter().filter(|(began, _)| *began > 0).count();
    let dead = attempts.len() - live;
    let is_settled = |began: u64| began > 0 && UnixTime::from_millis(began) + SETTLED <= now;
    let settled = attempts.iter().filter(|(began, _)| is_settled(*began)).count();
    let beyond = |most: usize| (live + 1).saturating_sub(most);
    let expired = dead + beyond(MOST_LIVE).min(settled).max(beyond(MOST_AT_ONCE));
    attempts.into_iter().take(expired.min(MOST_EXPIRED)).map(|(_, name)| name)
}

pub(super) const fn is_id_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_'
}
