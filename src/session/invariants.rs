//! What holds for any bytes in a store.

use std::sync::LazyLock;
use std::time::Duration;

use super::SessionToken;
use super::record::{Head, RecordKeys};

static KEYS: LazyLock<RecordKeys> =
    LazyLock::new(|| RecordKeys::new(b"a secret of some length, for tests", Duration::from_hours(24), None));

/// Reads `bytes` as a record, and as a record that begins like a valid one.
pub(crate) fn hold(bytes: &[u8]) {
    let token = SessionToken::parse(&"A".repeat(43)).expect("a token");
    for record in [bytes.to_vec(), [&[1], bytes].concat()] {
        assert!(KEYS.open(&token, &record).is_none(), "it was not sealed with these keys");
        assert!(KEYS.outline(&token.key(), &record).is_none(), "it was not sealed with these keys");
        assert!(Head::read(&record).is_none_or(|_| record[0] == 1), "of a version that is not ours");
    }
}
