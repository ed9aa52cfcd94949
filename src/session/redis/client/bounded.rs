//! A stream that bounds the size of a server's answers.
//!
//! The client library collects an answer until it is complete, however long the server says that it is. This stream follows the
//! size as the bytes pass (RESP 2 and 3), and fails before more than the bound is read.

use std::io::{Error, ErrorKind, Result};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The bytes of one answer at most: a thousand entries of a stream, or a record with many groups, have far less.
const MOST_BYTES: u64 = 64 << 20;

/// The values in one answer at most: a map of all slots of a Cluster has some hundred thousand.
const MOST_VALUES: u64 = 500_000;

/// The bytes of a line at most: a number, or the text of an error.
const MOST_LINE: usize = 64 << 10;

/// A stream whose answers are bounded.
#[derive(Debug)]
pub(super) struct Bounded<S> {
    inner: S,
    answer: Answer,
}

/// The state of one answer.
#[derive(Debug, Default)]
struct Answer {
    /// Values still to come, without the one that is being read.
    outstanding: u64,
    values: u64,
    bytes: u64,
    part: Part,
}

#[derive(Debug, Default)]
enum Part {
    /// Before a value.
    #[default]
    Begin,
    /// In the line that begins a value: its kind, its length so far, and the number in it.
    Line { kind: u8, length: usize, number: Option<u64> },
    /// In a text, with this many bytes left, its end included.
    Text(u64),
}

impl Answer {
    fn pass(&mut self, mut bytes: &[u8]) -> Result<()> {
        while let Some((first, rest)) = bytes.split_first() {
            if let Part::Text(left) = &mut self.part {
                let take = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= take as u64;
                bytes = &bytes[take..];
                if *left == 0 {
                    self.end_value();
                }
                continue;
            }
            bytes = rest;
            self.bytes += 1;
            match &mut self.part {
                Part::Begin => {
                    self.values += 1;
                    self.part = Part::Line { kind: *first, length: 0, number: Some(0) };
                }
                Part::Line { kind, number, .. } if *first == b'\n' => {
                    let (kind, number) = (*kind, *number);
                    self.end_line(kind, number);
                }
                Part::Line { length, number, .. } => {
                    *length += 1;
                    if *length > MOST_LINE {
                        return Err(too_large());
                    }
                    if *first != b'\r' {
                        let digit = char::from(*first).to_digit(10);
                        *number = number
                            .zip(digit)
                            .map(|(number, digit)| number.saturating_mul(10).saturating_add(digit.into()));
                    }
                }
                Part::Text(_) => {}
            }
            if self.bytes > MOST_BYTES || self.values.saturating_add(self.outstanding) > MOST_VALUES {
                return Err(too_large());
            }
        }
        Ok(())
    }

    /// A line without a number, "-1" for instance, begins neither a text nor a list.
    fn end_line(&mut self, kind: u8, number: Option<u64>) {
        match (kind, number) {
            (b'$' | b'!' | b'=', Some(length)) => {
                self.bytes = self.bytes.saturating_add(length);
                self.part = Part::Text(length.saturating_add(2));
            }
            (b'*' | b'~' | b'>', Some(values)) => self.begin_list(values),
            (b'%', Some(pairs)) => self.begin_list(pairs.saturating_mul(2)),
            // Attributes stand before a value.
            (b'|', Some(pairs)) => self.begin_list(pairs.saturating_mul(2).saturating_add(1)),
            _ => self.end_value(),
        }
    }

    fn begin_list(&mut self, values: u64) {
        self.outstanding = self.outstanding.saturating_add(values);
        self.end_value();
    }

    fn end_value(&mut self) {
        self.part = Part::Begin;
        match self.outstanding.checked_sub(1) {
            Some(outstanding) => self.outstanding = outstanding,
            None => *self = Self::default(),
        }
    }
}

fn too_large() -> Error {
    Error::new(ErrorKind::InvalidData, "an answer is larger than any that is asked for")
}

impl<S> Bounded<S> {
    pub(super) fn new(inner: S) -> Self {
        Self { inner, answer: Answer::default() }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Bounded<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        Poll::Ready(self.answer.pass(&buffer.filled()[before..]))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Bounded<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In pieces of each size: whether it is accepted, and whether the next byte begins an answer.
    #[track_caller]
    fn check(bytes: &[u8], taken: bool, whole: bool) {
        for piece in [1, 2, 3, 7, 4096] {
            let mut answer = Answer::default();
            let passed = bytes.chunks(piece).try_for_each(|piece| answer.pass(piece));
            assert_eq!(passed.is_ok(), taken, "{} in pieces of {piece}", bytes.escape_ascii());
            let at_begin = matches!(answer.part, Part::Begin) && answer.outstanding == 0 && answer.values == 0;
            assert!(!taken || at_begin == whole, "{} in pieces of {piece}: {answer:?}", bytes.escape_ascii());
        }
    }

    #[test]
    fn answers_are_followed_to_their_end() {
        for whole in [
            "",
            "+OK\r\n",
            "-ERR no\r\n",
            ":-7\r\n",
            "$5\r\nhello\r\n",
            "$0\r\n\r\n",
            "$-1\r\n",
            "*-1\r\n",
            "*0\r\n",
            "*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            "%1\r\n+a\r\n:1\r\n",
            "|1\r\n+a\r\n:1\r\n+b\r\n",
            "_\r\n",
            "#t\r\n",
            "*1\r\n*1\r\n*1\r\n*0\r\n",
            "+OK\r\n$3\r\n*9\n\r\n:1\r\n",
        ] {
            check(whole.as_bytes(), true, true);
        }
        for part in ["+OK", "$5\r\nhello\r", "*2\r\n:1\r\n", "*1\r\n*1\r\n", "$67108000\r\n", "*499000\r\n"] {
            check(part.as_bytes(), true, false);
        }
        // Many small answers are not one large answer.
        check(
            &b"$1000\r\n".iter().copied().chain([b'x'; 1000]).chain(*b"\r\n").collect::<Vec<u8>>().repeat(100),
            true,
            true,
        );
    }

    #[test]
    fn what_is_too_large_is_refused_before_it_comes() {
        for large in
            ["$67108865\r\n", "$99999999999999999999999\r\n", "*500001\r\n", "*18446744073709551615\r\n", "%250001\r\n"]
        {
            check(large.as_bytes(), false, false);
        }
        check(&b"*400000\r\n".repeat(2), false, false);
        check(&[b"-", vec![b'x'; MOST_LINE + 1].as_slice()].concat(), false, false);
        check(&[b"*499999\r\n".as_slice(), &b"*2\r\n".repeat(3)].concat(), false, false);
    }
}
