//! The list of revocations in Redis: processes append orders to it, and replace a damaged list.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::Shared;
use super::chain::{Chain, Head, written};
use crate::session::redis::client::{EntryId, ListState, Order, OrderReply, RedisError};
use crate::session::revocation::Entry;
use crate::session::revocation::vouched::ListKey;
use crate::session::{Revocation, StoreError, Whom};
use crate::telemetry::audit::{AuditLine, Event};
use crate::world::UnixTime;

/// The number of attempts for an order, when other orders or logins by a clock that is ahead come first.
const MOST_TRIES: u32 = 100;

/// Forepost does not write a moment that is further ahead of the server's time.
pub(super) const MOST_AHEAD: Duration = Duration::from_hours(10 * 365 * 24);

/// What to put on the list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Listing<'l> {
    /// An order.
    Order(&'l Revocation<'l>),
    /// Entries that were on the list and are not any more.
    Again(&'l [Entry]),
}

/// What this process knows of the list.
pub(super) struct List {
    pub(super) key: ListKey,
    known: Mutex<Known>,
    /// Serialises the orders of this process.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    head: Head,
    chain: Chain,
    state: ListState,
}

impl List {
    pub(super) fn new(secret: &[u8]) -> Self {
        Self { key: ListKey::new(secret), known: Mutex::default(), turn: tokio::sync::Mutex::default() }
    }

    /// Prepares to read the list from its beginning.
    pub(super) fn read_anew(&self) {
        self.known.lock().chain = Chain::default();
    }

    /// Reads the next entry.
    pub(super) fn pass(&self, id: EntryId, entry: &[u8]) -> Result<Vec<Entry>, RedisError> {
        self.known.lock().chain.pass(id, entry, &self.key)
    }

    /// Whether all of the list was read, by the last head.
    pub(super) fn is_whole(&self) -> Result<(), RedisError> {
        let mut known = self.known.lock();
        let head = Head::read(&known.state.head, &self.key)?;
        known.chain.agrees(head)?;
        known.head = head;
        Ok(())
    }

    /// The server's time when it was last asked.
    pub(super) fn time(&self) -> UnixTime {
        UnixTime::from_millis(self.known.lock().state.time)
    }
}

impl Shared {
    pub(super) fn note_state(&self, state: &ListState) {
        self.cache.world.measure_with(UnixTime::from_millis(state.time));
        let latest = UnixTime::from_millis(state.latest);
        // The moment is not authenticated. A process that took over a wrong one would end all later logins with its next
        // order.
        if latest <= UnixTime::from_millis(state.time) + MOST_AHEAD {
            self.cache.world.saw(latest);
        }
        self.list.known.lock().state = state.clone();
    }

    /// Puts entries on the list, and returns them as they were written; `None` where the order was given before.
    pub(super) async fn put_on_list(&self, listing: Listing<'_>) -> Result<Option<Vec<Entry>>, StoreError> {
        let (key, _turn) = (&self.list.key, self.list.turn.lock().await);
        for _ in 0..MOST_TRIES {
            let head = self.list.known.lock().head;
            let (at, members, once) = self.members(listing);
            let new_head = head.next();
            let order = Order {
                entry: &written(new_head.last, &members, key),
                head: &head.bytes(key),
                new_head: &new_head.bytes(key),
                at,
                once: once.as_ref().map(|once| (once.tag.0.as_slice(), once.until.since(self.cache.world.now()))),
                anew: false,
            };
            match self.redis.order(&order).await? {
                OrderReply::Done => {
                    self.list.known.lock().head = new_head;
                    return Ok(Some(members));
                }
                OrderReply::Repeated => return Ok(None),
                OrderReply::OtherHead(bytes) => {
                    let head = Head::read(&bytes, key)?;
                    self.list.known.lock().head = head;
                }
                OrderReply::Late(moment) => self.cache.world.saw(UnixTime::from_millis(moment)),
            }
        }
        Err(StoreError("other orders came first all the time".to_owned()))
    }

    /// The moment and the entries of `listing`, and the name of an order that takes effect once.
    fn members(&self, listing: Listing<'_>) -> (Option<u64>, Vec<Entry>, Option<Entry>) {
        match listing {
            Listing::Order(revocation) => {
                let at = self.cache.world.end_moment();
                // The end of the entry follows from when the server gets it, which its id tells.
                let entries = self.cache.revocations.entries(revocation, at, self.list.time());
                (Some(at.as_millis()), entries.revoked, entries.once)
            }
            Listing::Again(members) => (None, members.to_vec(), None),
        }
    }

    /// Ends all sessions, because which of them were revoked is not known any more. A new list begins with that order.
    pub(super) async fn begin_list_anew(self: Arc<Self>, what: &'static str) {
        let (key, _turn) = (&self.list.key, self.list.turn.lock().await);
        let (found, last) = {
            let known = self.list.known.lock();
            (known.state.head.clone(), known.chain.last().max(known.head.last))
        };
        let last = Head::read(&found, key).map_or(last, |head| head.last.max(last));
        let new_head = Head { first: 1, last }.anew();
        for _ in 0..MOST_TRIES {
            let (at, members, _) = self.members(Listing::Order(&Revocation { whom: Whom::Everybody, once: None }));
            let entry = written(new_head.last, &members, key);
            let new_bytes = new_head.bytes(key);
            let order = Order { entry: &entry, head: &found, new_head: &new_bytes, at, once: None, anew: true };
            match self.redis.order(&order).await {
                Ok(OrderReply::Late(moment)) => self.cache.world.saw(UnixTime::from_millis(moment)),
                Ok(OrderReply::Done) => {
                    for entry in members {
                        self.cache.revocations.add(entry);
                    }
                    tracing::error!(
                        error = what,
                        "the list of revocations in Redis was damaged: all sessions have ended"
                    );
                    return AuditLine::new(Event::Revocation, "damaged_list").write();
                }
                // Another process did the same, or the next reading of the list tries again.
                Ok(OrderReply::OtherHead(_) | OrderReply::Repeated) | Err(_) => return,
            }
        }
    }

    /// Removes from the list what the server got before `oldest`.
    pub(super) async fn trim_list(&self, oldest: UnixTime) -> Result<(), RedisError> {
        let (head, remains) = {
            let known = self.list.known.lock();
            (known.head, known.chain.without_those_before(oldest.as_millis(), known.head))
        };
        if let Some((first, new_head)) = remains {
            let (before, after) = (head.bytes(&self.list.key), new_head.bytes(&self.list.key));
            // Where another order came first, the next attempt removes it.
            if self.redis.trim_list(first, &before, &after).await? {
                self.list.known.lock().head = new_head;
            }
        }
        let mut known = self.list.known.lock();
        let first = known.head.first;
        known.chain.forget_before(first);
        Ok(())
    }
}
