//! Finds the begin and the end of HTTP/2 header blocks in the bytes of a connection.

/// Length of a frame's header (RFC 9113 §4.1).
const FRAME_HEADER: usize = 9;
/// Frame types and a flag of RFC 9113 §6.2 and §6.10.
const HEADERS: u8 = 0x1;
const CONTINUATION: u8 = 0x9;
const END_HEADERS: u8 = 0x4;

/// Follows the frames of one direction. It checks nothing; the HTTP/2 implementation does.
#[derive(Debug, Default)]
pub(super) struct HeaderBlocks {
    header: [u8; FRAME_HEADER],
    header_len: usize,
    payload_left: usize,
    block: Block,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Block {
    #[default]
    None,
    /// Begun, with more frames to come.
    Open,
    /// In its last frame.
    Last,
}

impl HeaderBlocks {
    /// Reads the next bytes, and returns whether a header block ended in them.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> bool {
        let mut ended = false;
        loop {
            let take = self.payload_left.min(bytes.len());
            self.payload_left -= take;
            bytes = bytes.get(take..).unwrap_or_default();
            if self.payload_left > 0 {
                return ended;
            }
            if self.block == Block::Last {
                self.block = Block::None;
                ended = true;
            }
            if bytes.is_empty() {
                return ended;
            }
            bytes = self.frame_header(bytes);
        }
    }

    /// Whether a header block has begun and not ended.
    pub(super) fn in_block(&self) -> bool {
        self.block != Block::None
    }

    /// Collects the header of a frame, and returns the bytes after it.
    fn frame_header<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (head, rest) = bytes.split_at(bytes.len().min(FRAME_HEADER - self.header_len));
        for byte in head {
            self.header[self.header_len] = *byte;
            self.header_len += 1;
        }
        if self.header_len == FRAME_HEADER {
            self.header_len = 0;
            let [a, b, c, kind, flags, ..] = self.header;
            self.payload_left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
            if kind == HEADERS || kind == CONTINUATION {
                self.block = if flags & END_HEADERS == 0 { Block::Open } else { Block::Last };
            }
        }
        rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(FRAME_HEADER + payload, 0);
        frame
    }

    /// The result does not depend on how the bytes are split.
    #[track_caller]
    fn check(bytes: &[u8], ended: usize, in_block: bool) {
        for piece in [1, 2, 8, 9, 10, 1000] {
            let mut blocks = HeaderBlocks::default();
            let count = bytes.chunks(piece).filter(|bytes| blocks.pass(bytes)).count();
            assert_eq!(blocks.in_block(), in_block, "pieces of {piece}");
            if piece == 1 {
                assert_eq!(count, ended);
            } else {
                assert_eq!(count > 0, ended > 0, "pieces of {piece}");
            }
        }
    }

    #[test]
    fn header_blocks() {
        check(&[], 0, false);
        check(&frame(4, 0, 12), 0, false);
        check(&frame(HEADERS, END_HEADERS, 20), 1, false);
        check(&frame(HEADERS, END_HEADERS, 0), 1, false);
        check(&frame(HEADERS, END_HEADERS, 20)[..28], 0, true);
        check(&frame(HEADERS, 0, 20), 0, true);
        check(&[frame(HEADERS, 0, 20), frame(CONTINUATION, 0, 300)].concat(), 0, true);
        check(&[frame(HEADERS, 0, 20), frame(CONTINUATION, END_HEADERS, 3)].concat(), 1, false);
        check(&[frame(HEADERS, END_HEADERS, 5), frame(0, END_HEADERS, 70_000)].concat(), 1, false);
        check(&[frame(HEADERS, END_HEADERS, 5), frame(HEADERS, 0, 5)].concat(), 1, true);
        check(&[frame(HEADERS, END_HEADERS, 5), frame(HEADERS, END_HEADERS, 5)].concat(), 2, false);
    }
}
