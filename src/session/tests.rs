//! How long sessions live.

use super::samples::{alice, app};
use super::*;

const BEGAN: u64 = 1_700_000_000;
const DAY: u64 = 24 * 60;

/// For a session that may be idle for eight hours: the minutes after its beginning at which it was used, at which a use was
/// written down, and at which it ends.
#[track_caller]
fn check(used: &[u64], written: Option<u64>, ends: u64) {
    let at = |minutes: u64| UnixTime::from_secs(BEGAN + minutes * 60);
    let (lifetime, idle) = (Duration::from_secs(DAY * 60), Duration::from_hours(8));
    let session = alice(app(), at(0), lifetime, Some(idle));
    for minutes in used {
        session.touch(at(*minutes));
    }
    if let Some(minutes) = written {
        session.note_saved_use(at(minutes).as_millis());
    }
    let millis = at(ends).as_millis();
    for (millis, expected) in [(millis - 1, true), (millis, false)] {
        assert_eq!(session.lives(UnixTime::from_millis(millis)), expected, "{used:?} {written:?}");
    }
}

/// A tenth of eight hours is 48 minutes.
#[test]
fn a_session_ends_when_no_client_can_have_used_it() {
    check(&[], None, 528);
    check(&[47], None, 528);
    check(&[48], None, 528);
    check(&[49], None, 529);
    check(&[49], Some(49), 577);
    // Another process wrote a later use.
    check(&[49], Some(100), 628);
    check(&[200, 230], Some(200), 728);
    check(&[200, 260], Some(200), 740);
    check(&[1000], Some(1000), DAY);
    check(&[1400], None, DAY);
}
