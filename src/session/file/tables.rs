use redb::{ReadableTable as _, ReadableTableMetadata as _, TableDefinition};

use super::SessionKey;
use super::list::{HEAD_LENGTH, HeadBytes, List, Mistrust, Row};
use crate::session::record::Head;
use crate::session::revocation::{Entries, Entry, Tag};
use crate::world::UnixTime;

/// The key of a session and its record, by a number.
///
/// Numbers ascend, so new records are behind the others: pages are full, and many logins copy few pages.
pub(super) const RECORDS: TableDefinition<'_, u64, (&[u8; 32], &[u8])> = TableDefinition::new("records");
/// The numbers of sessions by their keys.
pub(super) const NUMBERS: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("numbers");
/// The second at which a session ends, and its number.
const ENDS: TableDefinition<'_, End, ()> = TableDefinition::new("record ends");
/// The keys of sessions whose refresh began and did not end.
const REFRESHES: TableDefinition<'_, &[u8; 32], ()> = TableDefinition::new("refreshes");
/// The revocations by their tags.
const REVOCATIONS: TableDefinition<'_, &[u8; 16], Row<'static>> = TableDefinition::new("revocations");
/// The head of the list of revocations.
const LIST: TableDefinition<'_, (), &HeadBytes> = TableDefinition::new("list");
/// The number of attempts to write anything.
const PROOFS: TableDefinition<'_, (), u64> = TableDefinition::new("proofs");

/// The second at which a session ends, and its number.
pub(super) type End = (u64, u64);

/// The tables of a transaction.
pub(super) struct Tables<'t> {
    records: redb::Table<'t, u64, (&'static [u8; 32], &'static [u8])>,
    numbers: redb::Table<'t, &'static [u8; 32], u64>,
    ends: redb::Table<'t, End, ()>,
    refreshes: redb::Table<'t, &'static [u8; 32], ()>,
    revocations: redb::Table<'t, &'static [u8; 16], Row<'static>>,
    heads: redb::Table<'t, (), &'static HeadBytes>,
    proofs: redb::Table<'t, (), u64>,
    /// `None` until it was read.
    list: Option<List>,
    changed: bool,
}

impl<'t> Tables<'t> {
    /// Opens the tables, and makes them where there are none; `list` is what is known of the list of revocations.
    pub(super) fn open(transaction: &'t redb::WriteTransaction, list: Option<List>) -> Result<Self, redb::Error> {
        Ok(Self {
            records: transaction.open_table(RECORDS)?,
            numbers: transaction.open_table(NUMBERS)?,
            ends: transaction.open_table(ENDS)?,
            refreshes: transaction.open_table(REFRESHES)?,
            revocations: transaction.open_table(REVOCATIONS)?,
            heads: transaction.open_table(LIST)?,
            proofs: transaction.open_table(PROOFS)?,
            list,
            changed: false,
        })
    }

    /// Whether there is anything to commit.
    pub(super) const fn have_changed(&self) -> bool {
        self.changed
    }

    /// The number of records.
    pub(super) fn count(&self) -> Result<u64, redb::Error> {
        Ok(self.records.len()?)
    }

    /// Writes something, to see whether that works.
    pub(super) fn probe(&mut self) -> Result<(), redb::Error> {
        self.changed = true;
        let proofs = self.proofs.get(())?.map_or(0, |proofs| proofs.value());
        self.proofs.insert((), proofs.wrapping_add(1))?;
        Ok(())
    }

    /// Writes the head of the list, where there is anything to commit; returns what is known of the list then.
    pub(super) fn close(mut self) -> Result<Option<List>, redb::Error> {
        if let Some(list) = self.list.as_mut().filter(|_| self.changed) {
            self.heads.insert((), &list.head())?;
        }
        Ok(self.list)
    }

    /// Writes `record`, in the place of an earlier one of the same session.
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

    /// Removes a record and all that belongs to it, and returns it.
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

    /// At most `most` sessions that had ended by `second`, the earliest first, with their keys where they have one.
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

    /// Removes the end of a session that has no record.
    pub(super) fn forget_end(&mut self, end: End) -> Result<(), redb::Error> {
        self.changed |= self.ends.remove(end)?.is_some();
        Ok(())
    }

    /// Marks that a refresh begins; `false` when the mark was there already, `None` without a session.
    pub(super) fn begin_refresh(&mut self, key: &SessionKey) -> Result<Option<bool>, redb::Error> {
        if self.number(key)?.is_none() {
            return Ok(None);
        }
        self.changed = true;
        Ok(Some(self.refreshes.insert(key.as_bytes(), ())?.is_none()))
    }

    /// Removes the mark of a refresh.
    pub(super) fn end_refresh(&mut self, key: &SessionKey) -> Result<(), redb::Error> {
        self.changed = true;
        self.refreshes.remove(key.as_bytes())?;
        Ok(())
    }

    /// Writes revocations, unless the same order was carried out before.
    pub(super) fn revoke(&mut self, entries: &Entries) -> Result<bool, redb::Error> {
        if let Some(once) = &entries.once
            && self.revocation(once.tag)?.is_some()
        {
            return Ok(false);
        }
        for entry in entries.revoked.iter().chain(&entries.once) {
            let known = self.revocation(entry.tag)?;
            let newer = known.map_or(*entry, |known| Entry {
                tag: entry.tag,
                at: entry.at.max(known.at),
                until: entry.until.max(known.until),
            });
            let list = self.list.as_mut().ok_or_else(unread)?;
            if let Some(known) = &known {
                list.take(known);
            }
            list.put(&newer);
            let row = (newer.until.as_millis(), newer.at.as_millis(), &list.code(&newer));
            self.revocations.insert(&newer.tag.0, row)?;
        }
        self.changed = true;
        Ok(true)
    }

    fn revocation(&self, tag: Tag) -> Result<Option<Entry>, redb::Error> {
        let list = self.list.as_ref().ok_or_else(unread)?;
        let Some(row) = self.revocations.get(&tag.0)? else { return Ok(None) };
        list.entry(tag.0, row.value()).map(Some).ok_or_else(|| damaged(CHANGED))
    }

    /// Reads the whole list of revocations, for sessions that live for `lifetime` milliseconds at most from now on.
    ///
    /// A new file gets an empty list.
    ///
    /// # Errors
    ///
    /// When the list is damaged; the inner error when it was written under another secret.
    pub(super) fn read_list(
        &mut self,
        mut list: List,
        lifetime: u64,
    ) -> Result<Result<Vec<Entry>, OtherSecret>, redb::Error> {
        let Some(head) = self.heads.get(())?.map(|head| *head.value()) else {
            if !self.records.is_empty()? || !self.revocations.is_empty()? {
                return Err(damaged("its head is missing"));
            }
            list.lengthen(lifetime);
            (self.list, self.changed) = (Some(list), true);
            return Ok(Ok(Vec::new()));
        };
        let (mut entries, mut changed) = (Vec::new(), false);
        for row in self.revocations.iter()? {
            let (tag, row) = row?;
            match list.entry(*tag.value(), row.value()) {
                Some(entry) => {
                    list.put(&entry);
                    entries.push(entry);
                }
                // Either of another secret, or changed: the head says which.
                None => changed = true,
            }
        }
        match list.believe(&head) {
            Err(Mistrust::OtherSecret) => return Ok(Err(OtherSecret)),
            Err(Mistrust::Damaged(_)) | Ok(()) if changed => return Err(damaged(CHANGED)),
            Err(Mistrust::Damaged(what)) => return Err(damaged(what)),
            Ok(()) => {}
        }
        self.changed |= list.lengthen(lifetime);
        self.list = Some(list);
        Ok(Ok(entries))
    }

    /// Removes revocations that cannot mean a session any more.
    pub(super) fn forget_revocations(&mut self, now: UnixTime) -> Result<(), redb::Error> {
        let over = |(until, ..): Row<'_>| until <= now.as_millis();
        let mut any = false;
        for entry in self.revocations.iter()? {
            // redb's iterator does not go on after an error.
            any = over(entry?.1.value());
            if any {
                break;
            }
        }
        if any {
            self.changed = true;
            let list = self.list.as_mut().ok_or_else(unread)?;
            self.revocations.retain(|tag, row| {
                let entry = list.entry(*tag, row).filter(|_| over(row));
                if let Some(entry) = &entry {
                    list.take(entry);
                }
                // An entry that does not authenticate stays, and the next reader of the list finds it.
                entry.is_none()
            })?;
        }
        Ok(())
    }
}

/// The list, and all else in the file, was written under another secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OtherSecret;

const CHANGED: &str = "an entry was changed";

fn damaged(what: &str) -> redb::Error {
    redb::Error::Corrupted(format!("the list of revocations: {what}"))
}

fn unread() -> redb::Error {
    damaged("it was not read")
}

const _: () = assert!(HEAD_LENGTH == 80, "part of the format");
