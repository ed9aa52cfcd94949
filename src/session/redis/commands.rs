use std::time::Duration;

use redis::{Cmd, Value};

use super::error::RedisError;
use super::script::{BEGIN, FINISH, LONGEST, REMOVE, RENEW, REVOKE, TRIM};
use super::value::{bytes, done, number, only, optional_bytes};
use super::{Redis, Shared, Way};

/// About how many removals are kept: anybody may sign out with cookies that were never given. Who missed more forgets what it
/// has in memory.
const MOST_REMOVALS: &[u8] = b"100000";

/// What comes of [`Redis::take_out`].
#[derive(Debug)]
pub(crate) struct Taken {
    /// `None` where there was none.
    pub(crate) record: Option<Vec<u8>>,
    /// Whether all followers are told already.
    pub(crate) is_told: bool,
}

/// What comes of [`Redis::begin_refresh`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begun {
    /// The lease is the caller's; this is the record.
    Taken(Vec<u8>),
    /// The same after one that ran out, as may be after [`Begun::Abandoned`].
    Retaken(Vec<u8>),
    /// Another one has the lease.
    Busy,
    /// A lease ran out before its owner finished; this is the record. What the owner had done nobody knows.
    Abandoned(Vec<u8>),
    /// There is no record.
    Gone,
}

/// How a refresh ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish<'a> {
    /// With a new record, which lives so long from now, and without a mark.
    Replace(&'a [u8], Duration),
    /// Without a mark: nothing was done.
    Release,
    /// With the mark that something was begun: others will find [`Begun::Abandoned`].
    Keep,
}

impl Redis {
    /// The record.
    ///
    /// # Errors
    ///
    /// As every operation: [`RedisError`].
    pub(crate) async fn get(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, RedisError> {
        let name = self.record(key);
        optional_bytes(only(self.send(&name, &[command("GET", &[name.as_bytes()])]).await?)?)
    }

    /// Writes a new record, which lives so long.
    pub(crate) async fn put(&self, key: &[u8; 32], record: &[u8], ttl: Duration) -> Result<(), RedisError> {
        let name = self.record(key);
        let set = command("SET", &[name.as_bytes(), record, b"PX", &millis(ttl)]);
        done(&only(self.send(&name, &[set]).await?)?).map(drop)
    }

    /// Takes out a record and its lease, and tells all followers of it, whether there was one or not.
    ///
    /// In a Cluster they are told by [`Redis::tell_removed`] only, a second round trip: whoever hears of it must no longer find
    /// the record. After an error it may be gone without their being told: then it has to be removed once more.
    pub(crate) async fn take_out(&self, key: &[u8; 32]) -> Result<Taken, RedisError> {
        let (record, lease, removals) = (self.record(key), self.lease(key), self.shared(Shared::Removals));
        let is_told = matches!(self.way, Way::One(_));
        let taken = if is_told {
            self.run(&REMOVE, &[&record, &lease, &removals], &[key, MOST_REMOVALS]).await?
        } else {
            self.run(&REMOVE, &[&record, &lease], &[]).await?
        };
        Ok(Taken { record: optional_bytes(taken)?, is_told })
    }

    /// Tells all followers that a record was removed; as often as may be.
    pub(crate) async fn tell_removed(&self, key: &[u8; 32]) -> Result<(), RedisError> {
        let removals = self.shared(Shared::Removals);
        let tell = command("XADD", &[removals.as_bytes(), b"MAXLEN", b"~", MOST_REMOVALS, b"*", b"k", key]);
        bytes(&only(self.send(&removals, &[tell]).await?)?).map(drop)
    }

    /// Takes the lease for a refresh, for so long from now by the server's clock.
    ///
    /// A lease that ran out is taken only where that `may_retake`. `owner` is one that nobody used before.
    pub(crate) async fn begin_refresh(
        &self,
        key: &[u8; 32],
        owner: &[u8; 16],
        lease: Duration,
        may_retake: bool,
    ) -> Result<Begun, RedisError> {
        let may_retake: &[u8] = if may_retake { b"1" } else { b"0" };
        let answer = self.on_lease(&BEGIN, key, &[owner, &millis(lease), may_retake]).await?;
        let Value::Array(parts) = answer else { return Err(RedisError::Unexpected) };
        let mut parts = parts.into_iter();
        let outcome = parts.next().ok_or(RedisError::Unexpected)?;
        let record = optional_bytes(parts.next().unwrap_or_default())?;
        match (bytes(&outcome)?, record) {
            (b"taken", Some(record)) => Ok(Begun::Taken(record)),
            (b"retaken", Some(record)) => Ok(Begun::Retaken(record)),
            (b"busy", None) => Ok(Begun::Busy),
            (b"abandoned", Some(record)) => Ok(Begun::Abandoned(record)),
            (b"gone", None) => Ok(Begun::Gone),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Prolongs the lease to so long from now; false when it is not the owner's any more, or the record is gone.
    pub(crate) async fn renew_refresh(
        &self,
        key: &[u8; 32],
        owner: &[u8; 16],
        lease: Duration,
    ) -> Result<bool, RedisError> {
        done(&self.on_lease(&RENEW, key, &[owner, &millis(lease)]).await?)
    }

    /// Ends a refresh; false, and nothing changes, when the lease is not the owner's any more or the record is gone.
    pub(crate) async fn finish_refresh(
        &self,
        key: &[u8; 32],
        owner: &[u8; 16],
        finish: Finish<'_>,
    ) -> Result<bool, RedisError> {
        let finished = match finish {
            Finish::Replace(record, ttl) => {
                self.on_lease(&FINISH, key, &[owner, b"replace", record, &millis(ttl)]).await?
            }
            Finish::Release => self.on_lease(&FINISH, key, &[owner, b"release"]).await?,
            Finish::Keep => self.on_lease(&FINISH, key, &[owner, b"keep"]).await?,
        };
        done(&finished)
    }

    /// Tells all followers of revocations, for good.
    ///
    /// With a tag they take effect only when the tag was not given before, or longer ago than its time; else it is false.
    pub(crate) async fn revoke(&self, entries: &[&[u8]], once: Option<(&[u8], Duration)>) -> Result<bool, RedisError> {
        let stream = self.shared(Shared::Revocations);
        let Some((tag, ttl)) = once else { return done(&self.run(&REVOKE, &[&*stream], entries).await?) };
        let (once, ttl) = (self.shared(Shared::Once(tag)), millis(ttl));
        let arguments: Vec<&[u8]> = std::iter::once(&*ttl).chain(entries.iter().copied()).collect();
        done(&self.run(&REVOKE, &[&*stream, &once], &arguments).await?)
    }

    /// Keeps the largest number ever given, and gives it.
    pub(crate) async fn longest(&self, lifetime_ms: u64) -> Result<u64, RedisError> {
        let name = self.shared(Shared::Longest);
        number(&self.run(&LONGEST, &[&*name], &[lifetime_ms.to_string().as_bytes()]).await?)
    }

    /// Frees what the two streams hold that is older than this by the server's clock, which named the entries; a few may stay.
    ///
    /// Gives the server's time, in milliseconds.
    pub(crate) async fn trim(&self, revocations: Duration, removals: Duration) -> Result<u64, RedisError> {
        let streams = [Shared::Revocations, Shared::Removals].map(|stream| self.shared(stream));
        number(
            &self
                .run(&TRIM, &streams.each_ref().map(String::as_str), &[&millis(revocations), &millis(removals)])
                .await?,
        )
    }

    /// Runs a script on a record and its lease.
    pub(super) async fn on_lease(
        &self,
        script: &super::Script,
        key: &[u8; 32],
        arguments: &[&[u8]],
    ) -> Result<Value, RedisError> {
        self.run(script, &[&self.record(key), &self.lease(key)], arguments).await
    }
}

/// A command and its arguments.
pub(super) fn command(name: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(name);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

/// At least one, because servers refuse records that live for no time.
pub(super) fn millis(duration: Duration) -> Vec<u8> {
    duration.as_millis().max(1).to_string().into_bytes()
}
