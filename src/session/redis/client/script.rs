//! The scripts that servers run, each in one atomic step.

use std::fmt::Write;
use std::sync::OnceLock;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use redis::Cmd;

/// A script, which servers know by its digest.
pub(super) struct Script {
    text: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    const fn new(text: &'static str) -> Self {
        Self { text, digest: OnceLock::new() }
    }

    pub(super) fn by_digest(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        let digest = self.digest.get_or_init(|| {
            digest(&SHA1_FOR_LEGACY_USE_ONLY, self.text.as_bytes()).as_ref().iter().fold(
                String::new(),
                |mut hex, byte| {
                    // Writing to a string does not fail.
                    let _ = write!(hex, "{byte:02x}");
                    hex
                },
            )
        });
        call("EVALSHA", digest, keys, arguments)
    }

    pub(super) fn by_text(&self, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
        call("EVAL", self.text, keys, arguments)
    }
}

fn call(name: &str, script: &str, keys: &[&str], arguments: &[&[u8]]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(name).arg(script).arg(keys.len());
    for key in keys {
        command.arg(*key);
    }
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

/// Removes a record and its lease; a third key is the stream of removals, with the record's key and the number of entries to
/// keep.
pub(super) static REMOVE: Script = Script::new(
    "local record = redis.call('GET', KEYS[1])
redis.call('DEL', KEYS[1], KEYS[2])
if KEYS[3] then redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', 'k', ARGV[1]) end
return record",
);

/// Takes the lease: owner, length in milliseconds, whether one that ran out may be taken. The mark lives as long as the record.
pub(super) static BEGIN: Script = Script::new(
    "local record = redis.call('GET', KEYS[1])
if not record then
    redis.call('DEL', KEYS[2])
    return {'gone'}
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = redis.call('HGET', KEYS[2], 'until')
if ends and tonumber(ends) > now then return {'busy'} end
if ends and ARGV[3] ~= '1' then return {'abandoned', record} end
redis.call('HSET', KEYS[2], 'owner', ARGV[1], 'until', string.format('%.0f', now + ARGV[2]))
local left = redis.call('PTTL', KEYS[1])
if left > 0 then redis.call('PEXPIRE', KEYS[2], left) end
return {ends and 'retaken' or 'taken', record}",
);

/// Renews the owner's lease, unless it was given up: owner, length in milliseconds.
pub(super) static RENEW: Script = Script::new(
    "local mark = redis.call('HMGET', KEYS[2], 'owner', 'until')
if mark[1] ~= ARGV[1] or mark[2] == '0' then return 0 end
local left = redis.call('PTTL', KEYS[1])
if left == -2 then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[2], 'until', string.format('%.0f', now + ARGV[2]))
if left > 0 then redis.call('PEXPIRE', KEYS[2], left) end
return 1",
);

/// Ends the owner's lease: owner, what to do, and for a replacement the record and its time in milliseconds.
pub(super) static FINISH: Script = Script::new(
    "if redis.call('HGET', KEYS[2], 'owner') ~= ARGV[1] then return 0 end
if redis.call('EXISTS', KEYS[1]) == 0 then
    redis.call('DEL', KEYS[2])
    return 0
end
if ARGV[2] == 'keep' then
    redis.call('HSET', KEYS[2], 'until', '0')
    return 1
end
if ARGV[2] == 'replace' then redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4]) end
redis.call('DEL', KEYS[2])
return 1",
);

/// Replaces a record that is still the old one: old, new, time in milliseconds.
pub(super) static UPDATE: Script = Script::new(
    "if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 1",
);

/// Saves a record, and the moment at which its login began: record, time in milliseconds, moment.
///
/// The moment comes first, because an order to end sessions must not miss a record. Forepost does not write a moment that is
/// ten years ahead.
pub(super) static SAVE: Script = Script::new(
    "local latest, moment = tonumber(redis.call('GET', KEYS[2]) or '0'), tonumber(ARGV[3])
if moment > latest or latest > moment + 315360000000 then redis.call('SET', KEYS[2], ARGV[3]) end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1",
);

/// Puts an order on the list: expected head, new head, moment of the order or nothing, time of the fourth key in
/// milliseconds, whether the list begins anew, entry.
///
/// It does nothing where the fourth key exists (the script makes it), where the head is another one, or where a saved login
/// began after the order, by less than ten years. The fourth key comes last, so an order that failed half-way can be given
/// again.
pub(super) static ORDER: Script = Script::new(
    "if KEYS[4] and redis.call('EXISTS', KEYS[4]) == 1 then return {'repeated', ''} end
local head = redis.call('GET', KEYS[2]) or ''
if head ~= ARGV[1] then return {'head', head} end
local at = tonumber(ARGV[3])
local latest = redis.call('GET', KEYS[3]) or '0'
if at and tonumber(latest) > at and tonumber(latest) <= at + 315360000000 then return {'late', latest} end
if ARGV[5] == '1' then redis.call('DEL', KEYS[1]) end
redis.call('XADD', KEYS[1], '*', 'e', ARGV[6])
redis.call('SET', KEYS[2], ARGV[2])
if KEYS[4] then redis.call('SET', KEYS[4], '', 'PX', ARGV[4]) end
return {'listed', ''}",
);

/// Removes the entries before one from the list, where its head is the expected one, and replaces the head.
pub(super) static TRIM_LIST: Script = Script::new(
    "if (redis.call('GET', KEYS[2]) or '') ~= ARGV[1] then return 0 end
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[3])
redis.call('SET', KEYS[2], ARGV[2])
return 1",
);

/// Removes from a stream what is older than a time in milliseconds; returns the server's time.
pub(super) static TRIM: Script = Script::new(
    "local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('XTRIM', KEYS[1], 'MINID', '~', string.format('%.0f', math.max(now - ARGV[1], 0)))
return string.format('%.0f', now)",
);

/// Keeps the largest number that was ever given.
pub(super) static LONGEST: Script = Script::new(
    "local kept = redis.call('GET', KEYS[1])
if kept and tonumber(kept) >= tonumber(ARGV[1]) then return kept end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]",
);
