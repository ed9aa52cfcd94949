//! HTTP/2 by hand: frames to attack with, and as much reading as tells what came of it (RFC 9113, RFC 7541).

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use super::within;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// Flags of HEADERS.
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// Error codes (RFC 9113 §7).
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What the other side made of our frames.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A stream was answered.
    Status(u32, u16),
    /// A stream was reset, with an error code.
    Reset(u32, u32),
    /// The connection ends: the last stream that was looked at, and an error code.
    GoAway(u32, u32),
    /// A question whether we are there.
    Ping([u8; 8]),
    /// It has ended.
    Closed,
}

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Fields without compression: "literal without indexing", new name, no Huffman code.
pub(crate) fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(fields: &[(N, V)]) -> Vec<u8> {
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        for text in [name.as_ref(), value.as_ref()] {
            integer(&mut block, text.len());
            block.extend(text);
        }
    }
    block
}

/// An integer behind a zero bit (RFC 7541 §5.1).
fn integer(block: &mut Vec<u8>, value: usize) {
    let Some(mut rest) = value.checked_sub(127) else {
        return block.push(u8::try_from(value).unwrap());
    };
    block.push(127);
    while rest >= 128 {
        block.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    block.push(u8::try_from(rest).unwrap());
}

/// The pseudo-header fields of a GET, and the forwarded ones of a question.
pub(super) fn question(path: &str) -> Vec<u8> {
    fields(&[
        (":method", "GET"),
        (":scheme", "http"),
        (":authority", "outpost"),
        (":path", path),
        ("x-forwarded-method", "GET"),
        ("x-forwarded-proto", "https"),
        ("x-forwarded-host", "app.example.com"),
        ("x-forwarded-uri", "/"),
    ])
}

/// A whole GET on a stream.
pub(super) fn get(stream: u32, path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &[question(path), fields(more)].concat())
}

/// One header block in as many frames as it needs.
pub(super) fn block(stream: u32, block: &[u8]) -> Vec<u8> {
    let mut chunks = block.chunks(16_384).peekable();
    let mut frames = Vec::new();
    let (mut kind, mut flags) = (HEADERS, END_STREAM);
    while let Some(chunk) = chunks.next() {
        flags |= if chunks.peek().is_none() { END_HEADERS } else { 0 };
        frames.extend(frame(kind, flags, stream, chunk));
        (kind, flags) = (CONTINUATION, 0);
    }
    frames
}

/// A connection that has said that it speaks HTTP/2.
pub(crate) struct Peer {
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
}

impl Peer {
    /// Wants no dynamic table in answers, so that a status can be read without keeping one.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let (read, write) = within(TcpStream::connect(address)).await.unwrap().into_split();
        let mut peer = Self { read, write };
        peer.send([PREFACE, &frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 0, 0])].concat()).await;
        peer
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes).await);
    }

    /// Whether the other side is still there to take it.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        within(self.write.write_all(bytes.as_ref())).await.is_ok()
    }

    /// Sends all of `floods`, or as many as the other side takes, and tells what came back until the end.
    ///
    /// A side that is done with us may close while we still send.
    pub(super) async fn flood(self, floods: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Vec<Event> {
        let Self { mut read, mut write } = self;
        let sending = tokio::spawn(async move {
            for bytes in floods {
                if write.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            write
        });
        let mut events = Vec::new();
        loop {
            match within(event(&mut read)).await {
                Event::Closed => break,
                event => events.push(event),
            }
        }
        // The other half lives until here, so that its end closes nothing early.
        drop(within(sending).await.unwrap());
        events
    }

    /// The next event, pings answered.
    pub(crate) async fn event(&mut self) -> Event {
        loop {
            match event(&mut self.read).await {
                Event::Ping(payload) => {
                    self.try_send(frame(PING, 1, 0, &payload)).await;
                }
                event => return event,
            }
        }
    }

    /// All events until the connection ends.
    pub(super) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            match within(self.event()).await {
                Event::Closed => return events,
                event => events.push(event),
            }
        }
    }
}

async fn event(read: &mut OwnedReadHalf) -> Event {
    loop {
        let mut header = [0; 9];
        if read.read_exact(&mut header).await.is_err() {
            return Event::Closed;
        }
        let [a, b, c, kind, flags, stream @ ..] = header;
        let mut payload = vec![0; usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c)];
        if read.read_exact(&mut payload).await.is_err() {
            return Event::Closed;
        }
        let stream = u32::from_be_bytes(stream);
        let number = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        match kind {
            HEADERS => return Event::Status(stream, status(&payload)),
            RST_STREAM => return Event::Reset(stream, number(0)),
            GOAWAY => return Event::GoAway(number(0), number(4)),
            PING if flags == 0 => return Event::Ping(payload.try_into().unwrap()),
            _ => {}
        }
    }
}

/// The indexed ones, from 8 on (RFC 7541 appendix A).
const INDEXED: [u16; 7] = [200, 204, 206, 304, 400, 404, 500];

/// The status in the first field of a block, for an encoder that keeps no dynamic table.
fn status(mut block: &[u8]) -> u16 {
    while block[0] & 0xe0 == 0x20 {
        block = &block[1..];
    }
    if block[0] & 0x80 != 0 {
        return INDEXED[usize::from(block[0] & 0x7f) - 8];
    }
    // A literal, whose name is one of those.
    let is_literal = [0x00, 0x10, 0x40].contains(&(block[0] & 0xf0)) && (8..15).contains(&(block[0] & 0x0f));
    assert!(is_literal, "no status first: {}", block.escape_ascii());
    let (huffman, value) = (block[1] & 0x80 != 0, &block[2..2 + usize::from(block[1] & 0x7f)]);
    if !huffman {
        return std::str::from_utf8(value).unwrap().parse().unwrap();
    }
    // Appendix B: 0 to 2 have codes of five bits, the other digits of six.
    let bits = value.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (32 - 8 * value.len());
    let (mut status, mut at) = (0, 0);
    for _ in 0..3 {
        let (five, six) = (bits << at >> 27, bits << at >> 26);
        let (digit, length) = if five < 3 { (five, 5) } else { (six - 0x19 + 3, 6) };
        status = status * 10 + digit;
        at += length;
    }
    u16::try_from(status).unwrap()
}
