//! Authenticates the list of revocations in the file.
//!
//! Each entry has a message authentication code (MAC) under the daemon's secret. The head has one over the number of entries,
//! the latest moment and the sum (XOR) of further MACs of the entries, which are not written down. So a changed, added, removed
//! or restored entry is found when the list is read, while an order writes only the head and its own entries. The head is in a
//! table of its own: no single damage can restore an older list together with its head.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::session::revocation::vouched::{CODE_LENGTH, Code, ListKey};
use crate::session::revocation::{Entry, Tag};
use crate::world::{UnixTime, World};

const ENTRY: &str = "entry in a file";
const SUMMAND: &str = "summand in a file";
const HEAD: &str = "head in a file";

const NAME_END: usize = CODE_LENGTH + CHECK_LENGTH;
/// Follows the name of the secret, so that damage does not look like another secret.
const CHECK_LENGTH: usize = 8;
const FIELDS_END: usize = NAME_END + 3 * 8;
/// The length of a head.
pub(super) const HEAD_LENGTH: usize = FIELDS_END + size_of::<Code>();

/// The row that authenticates the whole list.
pub(super) type HeadBytes = [u8; HEAD_LENGTH];

/// The end of an entry and its moment, in milliseconds, and its MAC.
pub(super) type Row<'r> = (u64, u64, &'r [u8; CODE_LENGTH]);

/// What the writer knows of the list beside its entries.
#[derive(Clone)]
pub(super) struct List {
    key: Arc<ListKey>,
    world: World,
    count: u64,
    sum: Code,
    /// The latest moment of a login in the file.
    latest: UnixTime,
    /// The longest lifetime of sessions in the file, in milliseconds.
    lifetime: u64,
}

/// Why a list does not authenticate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mistrust {
    /// It was written under another secret.
    OtherSecret,
    /// It is damaged in this way.
    Damaged(&'static str),
}

impl List {
    /// An empty list, with keys derived from `secret`.
    pub(super) fn new(secret: &[u8], world: World) -> Self {
        let (latest, sum) = (UnixTime::default(), Code::default());
        Self { key: Arc::new(ListKey::new(secret)), world, count: 0, sum, latest, lifetime: 0 }
    }

    /// The latest moment of a login in the file.
    pub(super) const fn latest(&self) -> UnixTime {
        self.latest
    }

    /// Notes that sessions live for `lifetime` milliseconds at most from now on; returns whether that is longer than before.
    pub(super) const fn lengthen(&mut self, lifetime: u64) -> bool {
        let longer = lifetime > self.lifetime;
        if longer {
            self.lifetime = lifetime;
        }
        longer
    }

    /// The longest lifetime of sessions in the file, in milliseconds.
    pub(super) const fn lifetime(&self) -> u64 {
        self.lifetime
    }

    /// The MAC of `entry`.
    pub(super) fn code(&self, entry: &Entry) -> [u8; CODE_LENGTH] {
        self.key.short_code(ENTRY, &[&bytes(entry)])
    }

    /// The entry in a row; `None` when its MAC is wrong.
    pub(super) fn entry(&self, tag: [u8; CODE_LENGTH], (until, at, code): Row<'_>) -> Option<Entry> {
        let [until, at] = [until, at].map(UnixTime::from_millis);
        let entry = Entry { tag: Tag(tag), at, until };
        self.key.vouches(code, ENTRY, &[&bytes(&entry)]).then_some(entry)
    }

    /// Notes that `entry` was added.
    pub(super) fn put(&mut self, entry: &Entry) {
        self.count += 1;
        self.change(entry);
    }

    /// Notes that `entry` was removed.
    pub(super) fn take(&mut self, entry: &Entry) {
        self.count = self.count.saturating_sub(1);
        self.change(entry);
    }

    fn change(&mut self, entry: &Entry) {
        let summand = self.key.code(SUMMAND, &[&bytes(entry)]);
        self.sum.iter_mut().zip(summand).for_each(|(sum, summand)| *sum ^= summand);
    }

    /// The head of the list as it is now.
    pub(super) fn head(&mut self) -> HeadBytes {
        self.latest = self.latest.max(self.world.latest());
        let name = self.key.name();
        let mut head = [0; HEAD_LENGTH];
        head[..CODE_LENGTH].copy_from_slice(&name);
        head[CODE_LENGTH..NAME_END].copy_from_slice(&check(&name));
        let fields = [self.count, self.latest.as_millis(), self.lifetime].map(u64::to_be_bytes);
        head[NAME_END..FIELDS_END].copy_from_slice(fields.as_flattened());
        let code = self.key.code(HEAD, &[&head[..FIELDS_END], &self.sum]);
        head[FIELDS_END..].copy_from_slice(&code);
        head
    }

    /// Takes over `head`, where it authenticates the entries that were put so far.
    pub(super) fn believe(&mut self, head: &HeadBytes) -> Result<(), Mistrust> {
        let (fields, code) = head.split_at(FIELDS_END);
        let (name, fields) = fields.split_at(NAME_END);
        let (name, checked) = name.split_at(CODE_LENGTH);
        if checked != check(name) {
            return Err(Mistrust::Damaged("its head was changed"));
        }
        if name != self.key.name() {
            return Err(Mistrust::OtherSecret);
        }
        if !self.key.vouches(code, HEAD, &[&head[..FIELDS_END], &self.sum]) {
            return Err(Mistrust::Damaged("entries are missing, or its head was changed"));
        }
        if let [_, latest, lifetime] = fields.as_chunks().0 {
            self.latest = UnixTime::from_millis(u64::from_be_bytes(*latest));
            self.lifetime = u64::from_be_bytes(*lifetime);
        }
        Ok(())
    }
}

fn bytes(entry: &Entry) -> [u8; CODE_LENGTH + 16] {
    let mut bytes = [0; CODE_LENGTH + 16];
    bytes[..CODE_LENGTH].copy_from_slice(&entry.tag.0);
    bytes[CODE_LENGTH..]
        .copy_from_slice([entry.until, entry.at].map(|time| time.as_millis().to_be_bytes()).as_flattened());
    bytes
}

fn check(name: &[u8]) -> [u8; CHECK_LENGTH] {
    let mut check = [0; CHECK_LENGTH];
    check.copy_from_slice(&digest(&SHA256, name).as_ref()[..CHECK_LENGTH]);
    check
}
