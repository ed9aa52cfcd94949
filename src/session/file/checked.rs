//! Checksums below redb, which find damage to the file when a block is read.
//!
//! redb has checksums of its own, but verifies them only after some crashes, and a damaged page can make it panic in a way that
//! ends the process. So each block has a checksum here, and a changed block is an I/O error. redb uses one sector of its first
//! block, and overwrites only that in place; its checksum is in the same sector.
//!
//! ```text
//! group 0                                       group 1
//! block 0   checksums of 0 to 255   1 to 255    block 256   checksums of 256 to 511   257 to 511   …
//! ```
//!
//! A block and its checksum are not written in one step. Between the two, a crash finds only blocks that redb does not use yet:
//! it writes to no other blocks, and waits until both are on the disk before it uses them.

use std::io::{Error, ErrorKind, Result};
use std::ops::{Bound, Range};

use aws_lc_rs::digest::{Context, SHA256};
use redb::{BackendError, StorageBackend};

const BLOCK: usize = 4096;
const CHECKSUM: usize = 16;
/// The number of blocks whose checksums fill a block.
const GROUP: u64 = (BLOCK / CHECKSUM) as u64;
/// The size that a disk writes in one step.
const SECTOR: usize = 512;
/// The part of the first sector that redb may write.
const HEADER: usize = SECTOR - CHECKSUM;

/// A backend that finds changes in the backend below it.
#[derive(Debug)]
pub(super) struct Checked<B>(pub(super) B);

type Checksum = [u8; CHECKSUM];

fn checksum(block: u64, content: &[u8]) -> Checksum {
    let mut hash = Context::new(&SHA256);
    // The number is part of the hash, so a block in the place of another one is found.
    hash.update(&block.to_be_bytes());
    hash.update(content);
    let (hash, mut checksum) = (hash.finish(), Checksum::default());
    checksum.copy_from_slice(&hash.as_ref()[..CHECKSUM]);
    checksum
}

fn changed(block: u64) -> Error {
    Error::new(ErrorKind::InvalidData, format!("block {block} is not as it was written"))
}

/// The number of a block in the file below.
const fn place(block: u64) -> u64 {
    let (group, within) = (block / GROUP, block % GROUP);
    group * (GROUP + 1) + if within == 0 { 0 } else { within + 1 }
}

/// The offset of a block's checksum in the file below, in bytes.
const fn place_of_checksum(block: u64) -> u64 {
    let (group, within) = (block / GROUP, block % GROUP);
    (group * (GROUP + 1) + 1) * BLOCK as u64 + within * CHECKSUM as u64
}

/// The number of blocks in the file below for this number of redb's blocks.
const fn blocks_below(blocks: u64) -> u64 {
    let (groups, rest) = (blocks / GROUP, blocks % GROUP);
    groups * (GROUP + 1) + if rest == 0 { 0 } else { rest + 1 }
}

const fn blocks_above(blocks: u64) -> u64 {
    let (groups, rest) = (blocks / (GROUP + 1), blocks % (GROUP + 1));
    groups * GROUP + rest.saturating_sub(1)
}

/// Splits `length` bytes from `offset` on into parts that are contiguous below, as are their checksums: blocks and byte ranges.
fn runs(offset: u64, length: usize) -> Result<Vec<(Range<u64>, Range<usize>)>> {
    let odd = || Error::new(ErrorKind::InvalidInput, "only whole blocks are read and written");
    let size = BLOCK as u64;
    if !offset.is_multiple_of(size) || !length.is_multiple_of(BLOCK) {
        return Err(odd());
    }
    let (mut block, mut from, mut runs) = (offset / size, 0, Vec::new());
    while from < length {
        // The first block of a group is not contiguous with the others.
        let within = block % GROUP;
        let together = if within == 0 { 1 } else { GROUP - within };
        let count = together.min(((length - from) / BLOCK) as u64);
        let bytes = usize::try_from(count).map_err(|_| odd())? * BLOCK;
        runs.push((block..block + count, from..from + bytes));
        (block, from) = (block + count, from + bytes);
    }
    Ok(runs)
}

impl<B: StorageBackend> Checked<B> {
    fn read_header(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        let mut sector = [0; SECTOR];
        self.0.read(0, &mut sector)?;
        let (header, found) = sector.split_at(HEADER);
        if checksum(0, header) != found {
            return Err(changed(0));
        }
        let wanted = header.get(offset..offset + out.len()).ok_or(ErrorKind::InvalidInput)?;
        out.copy_from_slice(wanted);
        Ok(())
    }

    fn write_header(&self, data: &[u8]) -> Result<()> {
        let mut sector = [0; SECTOR];
        sector[..data.len()].copy_from_slice(data);
        let checksum = checksum(0, &sector[..HEADER]);
        sector[HEADER..].copy_from_slice(&checksum);
        self.0.write(0, &sector)
    }
}

impl<B: StorageBackend> StorageBackend for Checked<B> {
    fn len(&self) -> Result<u64> {
        let below = self.0.len()?;
        let above = blocks_above(below / BLOCK as u64) * BLOCK as u64;
        // The file grows and shrinks in one step. A file that is not empty must not be taken for a new one.
        if !below.is_multiple_of(BLOCK as u64) || (above == 0 && below > 0) {
            return Err(Error::new(ErrorKind::InvalidData, "its end is missing"));
        }
        Ok(above)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<()> {
        if let Ok(offset @ 0..HEADER) = usize::try_from(offset)
            && offset + out.len() <= HEADER
        {
            return self.read_header(offset, out);
        }
        for (blocks, bytes) in runs(offset, out.len())? {
            let out = &mut out[bytes];
            self.0.read(place(blocks.start) * BLOCK as u64, out)?;
            let mut checksums = vec![0; out.len() / BLOCK * CHECKSUM];
            self.0.read(place_of_checksum(blocks.start), &mut checksums)?;
            let contents = out.chunks(BLOCK).zip(checksums.chunks(CHECKSUM));
            for (block, (content, found)) in blocks.zip(contents) {
                let is_new = || found.iter().chain(content).all(|byte| *byte == 0);
                if checksum(block, content) != found && !is_new() {
                    return Err(changed(block));
                }
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<()> {
        self.0.set_len(blocks_below(len.div_ceil(BLOCK as u64)) * BLOCK as u64)
    }

    fn sync_data(&self) -> Result<()> {
        self.0.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<()> {
        if offset == 0 && data.len() <= HEADER {
            return self.write_header(data);
        }
        for (blocks, bytes) in runs(offset, data.len())? {
            let (data, start) = (&data[bytes], blocks.start);
            self.0.write(place(start) * BLOCK as u64, data)?;
            let checksums: Vec<u8> =
                blocks.zip(data.chunks(BLOCK)).flat_map(|(block, content)| checksum(block, content)).collect();
            self.0.write(place_of_checksum(start), &checksums)?;
        }
        Ok(())
    }

    fn close(&self) -> Result<()> {
        self.0.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, BackendError> {
        self.0.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, BackendError> {
        self.0.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.0.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.0.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<(), BackendError> {
        self.0.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> std::result::Result<bool, BackendError> {
        self.0.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use redb::backends::InMemoryBackend;

    use super::*;

    const SIZE: u64 = BLOCK as u64;

    #[test]
    fn each_block_and_each_checksum_has_a_place_of_its_own() {
        let mut places: Vec<u64> = (0..1000).map(place).collect();
        places.extend((0..1000).map(|block| place_of_checksum(block) / SIZE));
        places.sort_unstable();
        places.dedup();
        assert_eq!(places.len(), 1000 + 4, "each is taken once");
        for blocks in 0..1000 {
            assert_eq!(blocks_above(blocks_below(blocks)), blocks);
            let last = blocks_below(blocks);
            assert!((0..blocks).all(|block| place(block) < last && place_of_checksum(block) < last * SIZE), "{blocks}");
        }
    }

    /// Reads and writes of any size, anywhere.
    #[test]
    fn what_is_written_is_read_and_what_is_changed_is_noticed() {
        let backend = Checked(InMemoryBackend::new());
        backend.set_len(600 * SIZE).unwrap();
        assert_eq!(backend.len().unwrap(), 600 * SIZE);
        let content: Vec<u8> = (0..600 * BLOCK).map(|at| u8::try_from(at / 7 % 251).unwrap()).collect();
        for (first, count) in [(1, 1), (2, 3), (5, 300), (305, 295)] {
            let (from, to) = (first * BLOCK, (first + count) * BLOCK);
            backend.write(from as u64, &content[from..to]).unwrap();
        }
        backend.write(0, &content[..320]).unwrap();
        let mut out = vec![0; 599 * BLOCK];
        backend.read(SIZE, &mut out).unwrap();
        assert!(out == content[BLOCK..]);
        backend.read(0, &mut out[..320]).unwrap();
        assert_eq!(out[..320], content[..320]);
        backend.read(100, &mut out[..20]).unwrap();
        assert_eq!(out[..20], content[100..120]);
        for at in [0, 7, 319, 400, 511].into_iter().chain((SECTOR..603 * BLOCK).step_by(1009)) {
            let block = at / BLOCK;
            if block == 0 && at >= SECTOR {
                continue;
            }
            let mut byte = [0];
            backend.0.read(at as u64, &mut byte).unwrap();
            backend.0.write(at as u64, &[byte[0] ^ 4]).unwrap();
            let whole = backend.read(0, &mut out[..320]).and_then(|()| backend.read(SIZE, &mut out));
            let unused =
                (at % BLOCK) / CHECKSUM >= 600 % 256 && block == 2 * 257 + 1 || block == 1 && at % BLOCK < CHECKSUM;
            assert_eq!(whole.is_err(), !unused, "byte {at}");
            backend.0.write(at as u64, &byte).unwrap();
        }
        for length in [1, SIZE - 1, SIZE, SIZE + 1, 3 * SIZE + 7] {
            backend.0.set_len(length).unwrap();
            assert!(backend.len().is_err(), "{length}");
        }
        for (offset, length) in [(1, BLOCK), (SIZE, 5), (500, BLOCK)] {
            assert!(backend.read(offset, &mut out[..length]).is_err(), "{offset}");
            assert!(backend.write(offset, &out[..length]).is_err(), "{offset}");
        }
    }
}
