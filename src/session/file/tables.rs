use redb::{ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

use super::SessionKey;
use crate::session::record::Head;
use crate::session::revocation::{Entries, Entry, Tag};
use crate::world::UnixTime;

/// The name of a session and its record, by a number.
///
/// Numbers ascend, so that a new record goes behind the others: pages are filled, and few are copied for many logins.
pub(super) const RECORDS: TableDefinition<'_, u64, (&[u8; 32], &[u8])> = TableDefinition::new("records");
/// The numbers of sessions by their names.
pub(super) const NUMBERS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("numbers");
/// The second at which a session ends, and its number.
const ENDS: TableDefinition<'_, End, ()> = TableDefinition::new("record ends");
/// The names of sessions whose refresh was begun and not ended.
const REFRESHES: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("refreshes");
/// Revocations: the tag, then until when it counts and what it is about, both in milliseconds.
const REVOCATIONS: TableDefinition<'_, &[u8; 16], (u64, u64)> = TableDefinition::new("revocations");
/// The longest lifetime that sessions in the file may have, in milliseconds.
const LIFETIME: TableDefinition<'_, (), u64> = TableDefinition::new("lifetime");

/// When a session ends, in whole seconds, and its number.
pub(super) type End = (u64, u64);

/// The tables of a transaction that is being made.
pub(super) struct Tables<'t> {
    records: redb::Table<'t, u64, (&'static [u8; 32], &'static [u8])>,
    numbers: redb::Table<'t, &'static [u8; 32], u64>,
    ends: redb::Table<'t, End, ()>,
    refreshes: redb::Table<'t, &'static [u8; 32], ()>,
    revocations: redb::Table<'t, &'static [u8; 16], (u64, u64)>,
    lifetime: redb::Table<'t, (), u64>,
    changed: bool,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and makes them where there are none.
    pub(super) fn open(transaction: &'t redb::WriteTransaction) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            numbers: transaction.open_table(NUMBERS)?,
            ends: transaction.open_table(ENDS)?,
            refreshes: transaction.open_table(REFRESHES)?,
            revocations: transaction.open_table(REVOCATIONS)?,
            lifetime: transaction.open_table(LIFETIME)?,
            changed: false,
        })
    }

    /// Whether there is anything to commit.
    pub(super) const fn have_changed(&self) -> bool {
        self.changed
    }

    /// How many records there are.
    pub(super) fn count(&self) -> Result<u64, redb::Error> {
        Ok(self.records.len()?)
    }

    /// Has something written, which shows that it can be done.
    pub(super) fn prove(&mut self) -> Result<(), redb::Error> {
        self.changed = true;
        let lifetime = self.lifetime.get(())?.map_or(0, |lifetime| lifetime.value());
        self.lifetime.insert((), lifetime)?;
        Ok(())
    }

    /// Puts `record` in the place of what was there.
    pub(super) fn put(&mut self, key: &SessionKey, record: &[u8]) -> Result<(), redb::Error> {
        self.changed = true;
        let known = self.number(key)?;
        let number = match known {
            Some(number) => number,
            None => self.records.last()?.map_or(0, |(last, _)| last.value() + 1),
        };
        let ends_at = Head::read(record).map(|head| head.ends_at);
        let before = self.records.insert(number, (key.as_bytes(), record))?;
        let ended_at = before.and_then(|before| Some(Head::read(before.value().1)?.ends_at));
        if known.is_none() {
            self.numbers.insert(key.as_bytes(), number)?;
        }
        if let Some(second) = ended_at.filter(|_| ended_at != ends_at) {
            self.ends.remove((second, number))?;
        }
        if let Some(second) = ends_at.filter(|_| ended_at != ends_at) {
            self.ends.insert((second, number), ())?;
        }
        Ok(())
    }

    pub(super) fn get(&self, key: &SessionKey) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(number) = self.number(key)? else { return Ok(None) };
        Ok(self.records.get(number)?.map(|record| record.value().1.to_vec()))
    }

    /// Takes a record out with all that belongs to it, and gives it back.
    pub(super) fn remove(&mut self, key: &SessionKey) -> Result<Option<Vec<u8>>, redb::Error> {
        let Some(number) = self.numbers.remove(key.as_bytes())?.map(|number| number.value()) else { return Ok(None) };
        self.changed = true;
        self.refreshes.remove(key.as_bytes())?;
        let Some(record) = self.records.remove(number)?.map(|record| record.value().1.to_vec()) else {
            return Ok(None);
        };
        if let Some(head) = Head::read(&record) {
            self.ends.remove((head.ends_at, number))?;
        }
        Ok(Some(record))
    }

    fn number(&self, key: &SessionKey) -> Result<Option<u64>, redb::Error> {
        Ok(self.numbers.get(key.as_bytes())?.map(|number| number.value()))
    }

    /// At most so many sessions that had ended by `second`, those that ended first, by their names where they have one.
    pub(super) fn ended(&self, second: u64, most: usize) -> Result<Vec<(End, Option<SessionKey>)>, redb::Error> {
        let ended = self.ends.range(..=(second, u64::MAX))?.take(most);
        ended
            .map(|entry| {
                let end = entry?.0.value();
                let key = self.records.get(end.1)?.map(|record| SessionKey::from_bytes(*record.value().0));
                Ok((end, key))
            })
            .collect()
    }

    /// Takes out what says when a session ends, where its record does not.
    pub(super) fn forget_end(&mut self, end: End) -> Result<(), redb::Error> {
        self.changed |= self.ends.remove(end)?.is_some();
        Ok(())
    }

    /// Notes that a refresh begins; `false` when one was begun already and not ended, `None` without a session.
    pub(super) fn begin_refresh(&mut self, key: &SessionKey) -> Result<Option<bool>, redb::Error> {
        if self.number(key)?.is_none() {
            return Ok(None);
        }
        self.changed = true;
        Ok(Some(self.refreshes.insert(key.as_bytes(), ())?.is_none()))
    }

    /// Notes that a refresh ended.
    pub(super) fn end_refresh(&mut self, key: &SessionKey) -> Result<(), redb::Error> {
        self.changed = true;
        self.refreshes.remove(key.as_bytes())?;
        Ok(())
    }

    /// Writes revocations down, unless the order was followed before.
    pub(super) fn revoke(&mut self, entries: &Entries) -> Result<bool, redb::Error> {
        if let Some(once) = &entries.once
            && self.revocations.get(&once.tag.0)?.is_some()
        {
            return Ok(false);
        }
        for entry in entries.revoked.iter().chain(&entries.once) {
            let known = self.revocations.get(&entry.tag.0)?.map_or((0, 0), |known| known.value());
            let newer = (known.0.max(entry.until.as_millis()), known.1.max(entry.at.as_millis()));
            self.revocations.insert(&entry.tag.0, newer)?;
        }
        self.changed = true;
        Ok(true)
    }

    /// All revocations.
    pub(super) fn revocations(&self) -> Result<Vec<Entry>, redb::Error> {
        let entries = self.revocations.iter()?;
        entries
            .map(|entry| {
                let (tag, times) = entry?;
                let [until, at] = <[u64; 2]>::from(times.value()).map(UnixTime::from_millis);
                Ok(Entry { tag: Tag(*tag.value()), at, until })
            })
            .collect()
    }

    /// Takes revocations out that count no longer.
    pub(super) fn forget_revocations(&mut self, now: UnixTime) -> Result<(), redb::Error> {
        let over = |(until, _): (u64, u64)| until <= now.as_millis();
        let mut any = false;
        for entry in self.revocations.iter()? {
            // An iterator that failed once fails for ever.
            any = over(entry?.1.value());
            if any {
                break;
            }
        }
        if any {
            self.changed = true;
            self.revocations.retain(|_, times| !over(times))?;
        }
        Ok(())
    }

    /// Notes that sessions live for `lifetime` at most from now on; the longest that sessions in the file may have.
    pub(super) fn longest_lifetime(&mut self, lifetime: u64) -> Result<u64, redb::Error> {
        let known = self.lifetime.get(())?.map_or(0, |known| known.value());
        if lifetime > known {
            self.changed = true;
            self.lifetime.insert((), lifetime)?;
        }
        Ok(known.max(lifetime))
    }
}
