use std::sync::Arc;

use super::map::Keyed;
use super::{Finished, Lease, Revocation, Session, SessionKey, StoreError};
use crate::world::UnixTime;

/// Where a [`CachedStore`](super::CachedStore) keeps records behind its memory.
///
/// It moves bytes: it neither opens nor seals a record. It changes memory together with the record; a file's writer does so before
/// it answers. A caller that is gone, or comes late, must not leave in memory what is not in the file.
pub(super) trait Backend: Send + Sync + 'static {
    /// Whether records are kept. Where not, sessions are in memory alone.
    const KEEPS_RECORDS: bool = true;

    /// Whether other processes use the same records.
    const IS_SHARED: bool = false;

    /// Fails while memory and records must not be relied on, because others may have ended sessions.
    fn ensure_fresh(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// What is kept of a session.
    fn get(&self, key: SessionKey) -> impl Future<Output = Result<Option<Stored>, StoreError>> + Send;

    /// Keeps `record`, which is that of `session`, and takes the session into memory.
    fn put(
        &self,
        key: SessionKey,
        record: Vec<u8>,
        session: &Arc<Session>,
    ) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// Removes a session, in memory too.
    fn remove(&self, key: SessionKey) -> impl Future<Output = Result<Option<Removed>, StoreError>> + Send;

    /// Gives the right to refresh `session`, durably.
    fn begin_refresh(
        &self,
        key: SessionKey,
        session: &Session,
    ) -> impl Future<Output = Result<LeaseReply, StoreError>> + Send;

    /// Ends a refresh; a renewed session takes the place of the one before, with `record`, in memory too.
    fn finish_refresh(
        &self,
        key: SessionKey,
        lease: &Lease,
        finished: Finished,
        record: Vec<u8>,
    ) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// Puts an order on the list of revocations, in memory too; `false` when it was followed before.
    fn revoke(&self, revocation: &Revocation<'_>) -> impl Future<Output = Result<bool, StoreError>> + Send;

    /// A part of all that is kept, from a place that the part before named; `None` for a place that does not exist.
    fn page(&self, at: Option<String>) -> impl Future<Output = Result<Option<StoredPage>, StoreError>> + Send;

    /// Writes down the last uses of these sessions, without waiting for it.
    fn queue_uses(&self, uses: Vec<Keyed>);

    /// Writes down the last uses of sessions in memory, and frees what is kept of sessions and revocations that count no longer.
    fn reclaim(&self, now: UnixTime) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// About how many sessions are kept.
    fn count(&self) -> u64;

    /// Whether it answers, as far as is known.
    fn is_up(&self) -> bool;

    /// Whether what is kept now outlives the process, as far as is known.
    fn is_durable(&self) -> bool {
        self.is_up()
    }
}

/// What a backend keeps of a session.
pub(super) enum Stored {
    /// A record, as [`RecordKeys`](super::record::RecordKeys) seals it.
    Sealed(Vec<u8>),
    /// The session itself, where it is in memory alone.
    Open(Arc<Session>),
}

/// What was kept of a removed session, and the session that memory had at the removal.
pub(super) type Removed = (Stored, Option<Arc<Session>>);

/// Some of all that is kept.
pub(super) struct StoredPage {
    pub(super) found: Vec<(SessionKey, Stored)>,
    /// Where to go on; `None` at the end.
    pub(super) next: Option<String>,
}

/// What a backend says to who asks for the right to refresh.
///
/// Where other processes write records too, the newest record comes with it.
#[derive(Debug)]
pub(super) enum LeaseReply {
    /// It was given.
    Lease(Lease, Option<Vec<u8>>),
    /// It was given after another holder had let it run out.
    Retaken(Lease, Vec<u8>),
    /// Another one has it.
    Busy,
    /// The refresh token may be spent.
    Spent(Option<Vec<u8>>),
    /// There is no such session.
    Gone,
}
