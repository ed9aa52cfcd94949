use std::time::Duration;

use redis::{Cmd, Value};

use super::error::RedisError;
use super::script::{BEGIN, FINISH, LONGEST, ORDER, REMOVE, RENEW, SAVE, TRIM, TRIM_LIST};
use super::stream::EntryId;
use super::value::{bytes, done, list, number, only, optional_bytes};
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

/// An order as it goes on the list of revocations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order<'a> {
    /// The entry.
    pub(crate) entry: &'a [u8],
    /// What vouches for the list without it; nothing where there is no list.
    pub(crate) head: &'a [u8],
    /// What vouches for it afterwards.
    pub(crate) new_head: &'a [u8],
    /// Its moment, in milliseconds: the order is not listed where a login that was saved began later.
    pub(crate) at: Option<u64>,
    /// Its name, and for how long that is remembered: it is listed once.
    pub(crate) once: Option<(&'a [u8], Duration)>,
    /// Whether nothing else is on the list from now on.
    pub(crate) anew: bool,
}

/// What comes of [`Redis::order`]; only after the first one anything has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    /// It is on the list.
    Done,
    /// An order of this name was on it before.
    Repeated,
    /// The list has this head.
    OtherHead(Vec<u8>),
    /// A login that was saved began at this moment, in milliseconds.
    Late(u64),
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

    /// Writes a new record, which lives so long, of a login that began at the moment `began`, in milliseconds.
    ///
    /// In a Cluster the moment has a round trip of its own, before the record.
    pub(crate) async fn put(&self, key: &[u8; 32], record: &[u8], ttl: Duration, began: u64) -> Result<(), RedisError> {
        let (name, latest, began) = (self.record(key), self.shared(Shared::Latest), began.to_string());
        if let Way::One(_) = &self.way {
            return done(&self.run(&SAVE, &[&name, &latest], &[record, &millis(ttl), began.as_bytes()]).await?)
                .map(drop);
        }
        number(&self.run(&LONGEST, &[&*latest], &[began.as_bytes()]).await?)?;
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

    /// Puts an order on the list of revocations and tells all followers, for good.
    pub(crate) async fn order(&self, order: &Order<'_>) -> Result<Listed, RedisError> {
        let names = [Shared::Revocations, Shared::Head, Shared::Latest].map(|which| self.shared(which));
        let once = order.once.map(|(tag, ttl)| (self.shared(Shared::Once(tag)), millis(ttl)));
        let (once, ttl) = once.unzip();
        let keys: Vec<&str> = names.iter().chain(&once).map(String::as_str).collect();
        let (at, ttl) = (order.at.map(|at| at.to_string()).unwrap_or_default(), ttl.unwrap_or_default());
        let anew: &[u8] = if order.anew { b"1" } else { b"0" };
        let arguments = [order.head, order.new_head, at.as_bytes(), &ttl, anew, order.entry];
        let answer = self.run(&ORDER, &keys, &arguments).await?;
        let [outcome, detail] = list(&answer)? else { return Err(RedisError::Unexpected) };
        match (bytes(outcome)?, bytes(detail)?) {
            (b"listed", _) => Ok(Listed::Done),
            (b"repeated", _) => Ok(Listed::Repeated),
            (b"head", head) => Ok(Listed::OtherHead(head.to_vec())),
            (b"late", _) => Ok(Listed::Late(number(detail)?)),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Drops the entries before `first` from the list of revocations, where its head is `head`, and gives it another one.
    pub(crate) async fn trim_list(&self, first: EntryId, head: &[u8], new_head: &[u8]) -> Result<bool, RedisError> {
        let [stream, name] = [Shared::Revocations, Shared::Head].map(|which| self.shared(which));
        done(&self.run(&TRIM_LIST, &[&stream, &name], &[head, new_head, first.to_string().as_bytes()]).await?)
    }

    /// Keeps the latest moment ever given, for orders that others give.
    pub(crate) async fn note_latest(&self, moment: u64) -> Result<u64, RedisError> {
        let name = self.shared(Shared::Latest);
        number(&self.run(&LONGEST, &[&*name], &[moment.to_string().as_bytes()]).await?)
    }

    /// Keeps the largest number ever given, and gives it.
    pub(crate) async fn longest(&self, lifetime_ms: u64) -> Result<u64, RedisError> {
        let name = self.shared(Shared::Longest);
        number(&self.run(&LONGEST, &[&*name], &[lifetime_ms.to_string().as_bytes()]).await?)
    }

    /// Frees what the stream of removals holds that is older than this by the server's clock, which named the entries; a few may
    /// stay.
    ///
    /// Gives the server's time, in milliseconds.
    pub(crate) async fn trim(&self, removals: Duration) -> Result<u64, RedisError> {
        let stream = self.shared(Shared::Removals);
        number(&self.run(&TRIM, &[&*stream], &[&millis(removals)]).await?)
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
