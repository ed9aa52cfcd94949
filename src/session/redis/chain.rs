//! Authenticates the list of revocations in Redis.
//!
//! Entries are numbered, and each has a message authentication code (MAC) under the daemon's secret over its number and
//! content. The head, a key beside the list, has the first and the last number with a MAC of its own; one script changes head
//! and list. So a reader of the list finds a changed, added or removed entry. An older list that is restored together with its
//! head is found only by processes that knew the newer one.

use std::collections::VecDeque;

use crate::session::redis::client::{EntryId, RedisError};
use crate::session::revocation::vouched::{CODE_LENGTH, ListKey};
use crate::session::revocation::{Entry, TAG_LENGTH, Tag};
use crate::world::UnixTime;

const ENTRY: &str = "entry in Redis";
const HEAD: &str = "head in Redis";

const NUMBER_LENGTH: usize = 8;
const MEMBER_LENGTH: usize = TAG_LENGTH + 8;
const HEAD_LENGTH: usize = 2 * NUMBER_LENGTH;

/// The numbers on the list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// Earlier entries may be gone: they cannot mean a session any more.
    pub(super) first: u64,
    pub(super) last: u64,
}

/// The head before there is a list.
impl Default for Head {
    fn default() -> Self {
        Self { first: 1, last: 0 }
    }
}

impl Head {
    /// With one more entry.
    pub(super) const fn next(self) -> Self {
        Self { first: self.first, last: self.last.saturating_add(1) }
    }

    /// For a list that begins with the next entry.
    pub(super) const fn anew(self) -> Self {
        let number = self.last.saturating_add(1);
        Self { first: number, last: number }
    }

    /// The head with its MAC; empty before there is a list.
    pub(super) fn bytes(self, key: &ListKey) -> Vec<u8> {
        if self == Self::default() {
            return Vec::new();
        }
        let numbers = [self.first, self.last].map(u64::to_be_bytes);
        let code = key.short_code(HEAD, &[numbers.as_flattened()]);
        [numbers.as_flattened(), &code].concat()
    }

    /// Reads [`Head::bytes`].
    pub(super) fn read(bytes: &[u8], key: &ListKey) -> Result<Self, RedisError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let damaged = RedisError::Damaged("its head was changed");
        let Some((numbers, code)) = bytes.split_at_checked(HEAD_LENGTH) else { return Err(damaged) };
        let ([first, last], true) = (numbers_of(numbers), key.vouches(code, HEAD, &[numbers])) else {
            return Err(damaged);
        };
        Ok(Self { first, last })
    }
}

fn numbers_of(bytes: &[u8]) -> [u64; 2] {
    let mut numbers = bytes.as_chunks().0.iter().map(|number| u64::from_be_bytes(*number));
    [(); 2].map(|()| numbers.next().unwrap_or_default())
}

/// An entry with this number, for these tags and moments.
pub(super) fn written(number: u64, members: &[Entry], key: &ListKey) -> Vec<u8> {
    let mut bytes = number.to_be_bytes().to_vec();
    for member in members {
        bytes.extend_from_slice(&member.tag.0);
        bytes.extend_from_slice(&member.at.as_millis().to_be_bytes());
    }
    let code = key.short_code(ENTRY, &[&bytes]);
    bytes.extend_from_slice(&code);
    bytes
}

/// Reads [`written`]: the number and the tags; `told` is when the server got the entry.
fn read(bytes: &[u8], told: UnixTime, key: &ListKey) -> Option<(u64, Vec<Entry>)> {
    let (said, code) = bytes.split_at_checked(bytes.len().checked_sub(CODE_LENGTH)?)?;
    if !key.vouches(code, ENTRY, &[said]) {
        return None;
    }
    let (number, members) = said.split_first_chunk()?;
    let (members, []) = members.as_chunks::<MEMBER_LENGTH>() else { return None };
    let member = |member: &[u8; MEMBER_LENGTH]| {
        let (tag, at) = member.split_first_chunk()?;
        let at = UnixTime::from_millis(u64::from_be_bytes(at.try_into().ok()?));
        Some(Entry { tag: Tag(*tag), at, until: told })
    };
    Some((u64::from_be_bytes(*number), members.iter().map(member).collect::<Option<_>>()?))
}

/// The part of the list that was read.
#[derive(Default)]
pub(super) struct Chain {
    /// The first and the last number.
    read: Option<Head>,
    /// The ids of the entries, and their numbers.
    names: VecDeque<(EntryId, u64)>,
}

impl Chain {
    /// Reads the next entry. The `until` of its members is when the server got it; they count for some time longer.
    pub(super) fn pass(&mut self, id: EntryId, bytes: &[u8], key: &ListKey) -> Result<Vec<Entry>, RedisError> {
        let entry = read(bytes, UnixTime::from_millis(id.millis()), key);
        let (number, members) = entry.ok_or(RedisError::Damaged("an entry was changed"))?;
        self.read = match self.read {
            Some(Head { last, .. }) if number != last.wrapping_add(1) => {
                return Err(RedisError::Damaged("an entry is missing"));
            }
            Some(read) => Some(Head { last: number, ..read }),
            None => Some(Head { first: number, last: number }),
        };
        self.names.push_back((id, number));
        Ok(members)
    }

    /// Whether all that `head` names was read.
    pub(super) fn agrees(&self, head: Head) -> Result<(), RedisError> {
        let whole = match self.read {
            Some(read) => read.first <= head.first && read.last == head.last,
            // All of the list is outdated and gone.
            None => head.first == head.last.wrapping_add(1),
        };
        if whole { Ok(()) } else { Err(RedisError::Damaged("entries are missing, or what vouches for them is")) }
    }

    /// The first id and the head that remain without the entries that the server got before `oldest`; `None` where all remain.
    pub(super) fn without_those_before(&self, oldest: u64, head: Head) -> Option<(EntryId, Head)> {
        let outdated = self.names.iter().take_while(|(id, _)| id.millis() < oldest).last();
        let (id, number) = outdated.filter(|(_, number)| (head.first..=head.last).contains(number))?;
        Some((id.next(), Head { first: number.saturating_add(1), last: head.last }))
    }

    /// Forgets the ids of entries that are gone.
    pub(super) fn forget_before(&mut self, first: u64) {
        while self.names.pop_front_if(|(_, number)| *number < first).is_some() {}
    }

    /// The last number that was read.
    pub(super) fn last(&self) -> u64 {
        self.read.map_or(0, |read| read.last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ListKey {
        ListKey::new(b"a secret")
    }

    fn entry(number: u64) -> Vec<u8> {
        let members = [1, 2].map(|tag| Entry {
            tag: Tag([tag; TAG_LENGTH]),
            at: UnixTime::from_secs(number),
            until: UnixTime::default(),
        });
        written(number, &members, &key())
    }

    fn damage(result: Result<impl Sized, RedisError>) -> &'static str {
        match result {
            Err(RedisError::Damaged(what)) => what,
            Err(other) => panic!("{other}"),
            Ok(_) => "",
        }
    }

    /// Reads entries with these numbers, and compares with a head.
    #[track_caller]
    fn check(numbers: &[u64], head: (u64, u64), expected: &str) {
        let mut chain = Chain::default();
        let passed =
            numbers.iter().try_for_each(|number| chain.pass(EntryId::default(), &entry(*number), &key()).map(drop));
        let found = damage(passed.and_then(|()| chain.agrees(Head { first: head.0, last: head.1 })));
        assert!(
            found.starts_with(expected) && found.is_empty() == expected.is_empty(),
            "{numbers:?} {head:?}: {found}"
        );
    }

    #[test]
    fn a_list_is_whole_or_damaged() {
        check(&[], (1, 0), "");
        check(&[1, 2, 3], (1, 3), "");
        check(&[3, 4], (3, 4), "");
        check(&[2, 3, 4], (3, 4), "");
        check(&[], (5, 4), "");
        check(&[1, 3], (1, 3), "an entry is missing");
        check(&[1, 1], (1, 1), "an entry is missing");
        check(&[2, 1], (1, 2), "an entry is missing");
        check(&[2, 3], (1, 3), "entries are missing");
        check(&[1, 2], (1, 3), "entries are missing");
        check(&[1, 2, 3], (1, 2), "entries are missing");
        check(&[], (1, 3), "entries are missing");
        check(&[1], (1, 0), "entries are missing");
    }

    #[test]
    fn what_was_changed_is_damaged() {
        let head = Head { first: 3, last: 9 };
        let whole = head.bytes(&key());
        assert_eq!(Head::read(&whole, &key()).unwrap(), head);
        assert_eq!(Head::read(&[], &key()).unwrap(), Head::default());
        assert!(Head::default().bytes(&key()).is_empty());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_ne!(damage(Head::read(&changed, &key())), "", "byte {at}");
            assert!(at == 0 || !damage(Head::read(&whole[..at], &key())).is_empty(), "{at} bytes");
        }
        assert_ne!(damage(Head::read(&whole, &ListKey::new(b"another secret"))), "");
        let whole = entry(1);
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x80;
            assert_eq!(damage(Chain::default().pass(EntryId::default(), &changed, &key())), "an entry was changed");
            assert_eq!(damage(Chain::default().pass(EntryId::default(), &whole[..at], &key())), "an entry was changed");
        }
    }
}
