use std::time::Duration;

use redis::{Cmd, Value};

use super::error::RedisError;
use super::script::{BEGIN, FINISH, LONGEST, ORDER, REMOVE, RENEW, SAVE, TRIM, TRIM_LIST};
use super::stream::EntryId;
use super::value::{bytes, done, list, number, only, optional_bytes};
use super::{Redis, Shared, Topology};

/// The approximate number of removals that are kept: any client can sign out with invented cookies. A process that missed more
/// forgets what it has in memory.
const MOST_REMOVALS: &[u8] = b"100000";

/// The result of [`Redis::take_out`].
#[derive(Debug)]
pub(crate) struct TakenOut {
    /// `None` where there was none.
    pub(crate) record: Option<Vec<u8>>,
    /// Whether the followers are notified already.
    pub(crate) is_notified: bool,
}

/// The result of [`Redis::begin_refresh`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BeginReply {
    /// The caller has the lease; this is the record.
    Taken(Vec<u8>),
    /// The same, after a lease that ran out.
    Retaken(Vec<u8>),
    /// Another owner has the lease.
    Busy,
    /// A lease ran out before its owner finished; what the owner did is not known. This is the record.
    Abandoned(Vec<u8>),
    /// There is no record.
    Gone,
}

/// An order for the list of revocations.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Order<'a> {
    /// The entry.
    pub(crate) entry: &'a [u8],
    /// The head of the list before the order; empty where there is no list.
    pub(crate) head: &'a [u8],
    /// The head of the list with the order.
    pub(crate) new_head: &'a [u8],
    /// The moment of the order, in milliseconds: it is not listed where a saved login began later.
    pub(crate) at: Option<u64>,
    /// The name of the order, and how long it is remembered: an order is listed once.
    pub(crate) once: Option<(&'a [u8], Duration)>,
    /// Whether the list begins anew with this order.
    pub(crate) anew: bool,
}

/// The result of [`Redis::order`]; only [`OrderReply::Done`] has changed anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum OrderReply {
    /// The order is on the list.
    Done,
    /// An order of this name was on the list before.
    Repeated,
    /// The list has this head.
    OtherHead(Vec<u8>),
    /// A saved login began at this moment, in milliseconds.
    Late(u64),
}

/// How a refresh ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Finish<'a> {
    /// With a new record, which lives this long from now; the mark is removed.
    Replace(&'a [u8], Duration),
    /// Without a change; the mark is removed.
    Release,
    /// Without a change; the mark stays, and others get [`BeginReply::Abandoned`].
    Keep,
}

impl Redis {
    /// Reads a record.
    ///
    /// # Errors
    ///
    /// As for all operations: [`RedisError`].
    pub(crate) async fn get(&self, key: &[u8; 32]) -> Result<Option<Vec<u8>>, RedisError> {
        let name = self.record(key);
        optional_bytes(only(self.send(&name, &[command("GET", &[name.as_bytes()])]).await?)?)
    }

    /// Writes a record, which lives for `ttl`, of a login that began at the moment `began`, in milliseconds.
    ///
    /// In a Cluster the moment is written first, with a round trip of its own.
    pub(crate) async fn put(&self, key: &[u8; 32], record: &[u8], ttl: Duration, began: u64) -> Result<(), RedisError> {
        let (name, latest, began) = (self.record(key), self.shared(Shared::Latest), began.to_string());
        if let Topology::One(_) = &self.topology {
            return done(&self.run(&SAVE, &[&name, &latest], &[record, &millis(ttl), began.as_bytes()]).await?)
                .map(drop);
        }
        number(&self.run(&LONGEST, &[&*latest], &[began.as_bytes()]).await?)?;
        let set = command("SET", &[name.as_bytes(), record, b"PX", &millis(ttl)]);
        done(&only(self.send(&name, &[set]).await?)?).map(drop)
    }

    /// Removes a record and its lease, and notifies all followers, whether there was a record or not.
    ///
    /// In a Cluster [`Redis::notify_removed`] notifies them, a second round trip: a follower that is notified must not find the
    /// record. After an error the record may be gone without a notification; then it has to be removed again.
    pub(crate) async fn take_out(&self, key: &[u8; 32]) -> Result<TakenOut, RedisError> {
        let (record, lease, removals) = (self.record(key), self.lease(key), self.shared(Shared::Removals));
        let is_notified = matches!(self.topology, Topology::One(_));
        let taken = if is_notified {
            self.run(&REMOVE, &[&record, &lease, &removals], &[key, MOST_REMOVALS]).await?
        } else {
            self.run(&REMOVE, &[&record, &lease], &[]).await?
        };
        Ok(TakenOut { record: optional_bytes(taken)?, is_notified })
    }

    /// Notifies all followers that a record was removed; may be repeated.
    pub(crate) async fn notify_removed(&self, key: &[u8; 32]) -> Result<(), RedisError> {
        let removals = self.shared(Shared::Removals);
        let tell = command("XADD", &[removals.as_bytes(), b"MAXLEN", b"~", MOST_REMOVALS, b"*", b"k", key]);
        bytes(&only(self.send(&removals, &[tell]).await?)?).map(drop)
    }

    /// Takes the lease for a refresh, for the time of `lease` by the server's clock.
    ///
    /// A lease that ran out is taken only where it `may_retake`. Each `owner` is used once.
    pub(crate) async fn begin_refresh(
        &self,
        key: &[u8; 32],
        owner: &[u8; 16],
        lease: Duration,
        may_retake: bool,
    ) -> Result<BeginReply, RedisError> {
        let may_retake: &[u8] = if may_retake { b"1" } else { b"0" };
        let answer = self.on_lease(&BEGIN, key, &[owner, &millis(lease), may_retake]).await?;
        let Value::Array(parts) = answer else { return Err(RedisError::Unexpected) };
        let mut parts = parts.into_iter();
        let outcome = parts.next().ok_or(RedisError::Unexpected)?;
        let record = optional_bytes(parts.next().unwrap_or_default())?;
        match (bytes(&outcome)?, record) {
            (b"taken", Some(record)) => Ok(BeginReply::Taken(record)),
            (b"retaken", Some(record)) => Ok(BeginReply::Retaken(record)),
            (b"busy", None) => Ok(BeginReply::Busy),
            (b"abandoned", Some(record)) => Ok(BeginReply::Abandoned(record)),
            (b"gone", None) => Ok(BeginReply::Gone),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Renews the lease; `false` when the owner does not have it any more, or the record is gone.
    pub(crate) async fn renew_refresh(
        &self,
        key: &[u8; 32],
        owner: &[u8; 16],
        lease: Duration,
    ) -> Result<bool, RedisError> {
        done(&self.on_lease(&RENEW, key, &[owner, &millis(lease)]).await?)
    }

    /// Ends a refresh; `false`, without a change, when the owner does not have the lease any more or the record is gone.
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

    /// Puts an order on the list of revocations, which notifies all followers.
    pub(crate) async fn order(&self, order: &Order<'_>) -> Result<OrderReply, RedisError> {
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
            (b"listed", _) => Ok(OrderReply::Done),
            (b"repeated", _) => Ok(OrderReply::Repeated),
            (b"head", head) => Ok(OrderReply::OtherHead(head.to_vec())),
            (b"late", _) => Ok(OrderReply::Late(number(detail)?)),
            _ => Err(RedisError::Unexpected),
        }
    }

    /// Removes the entries before `first` from the list of revocations, where its head is still `head`.
    pub(crate) async fn trim_list(&self, first: EntryId, head: &[u8], new_head: &[u8]) -> Result<bool, RedisError> {
        let [stream, name] = [Shared::Revocations, Shared::Head].map(|which| self.shared(which));
        done(&self.run(&TRIM_LIST, &[&stream, &name], &[head, new_head, first.to_string().as_bytes()]).await?)
    }

    /// Raises the latest moment of a login to `moment`, for the orders of other processes.
    pub(crate) async fn note_latest(&self, moment: u64) -> Result<u64, RedisError> {
        let name = self.shared(Shared::Latest);
        number(&self.run(&LONGEST, &[&*name], &[moment.to_string().as_bytes()]).await?)
    }

    /// Raises the longest lifetime to this one, and returns it.
    pub(crate) async fn longest(&self, lifetime_ms: u64) -> Result<u64, RedisError> {
        let name = self.shared(Shared::Longest);
        number(&self.run(&LONGEST, &[&*name], &[lifetime_ms.to_string().as_bytes()]).await?)
    }

    /// Removes from the stream of removals what is older than `removals` by the server's clock, approximately.
    ///
    /// Returns the server's time, in milliseconds.
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

/// A command with arguments.
pub(super) fn command(name: &str, arguments: &[&[u8]]) -> Cmd {
    let mut command = Cmd::new();
    command.arg(name);
    for argument in arguments {
        command.arg(*argument);
    }
    command
}

/// At least one, because servers refuse a time of zero.
pub(super) fn millis(duration: Duration) -> Vec<u8> {
    duration.as_millis().max(1).to_string().into_bytes()
}
