//! The stream under hyper. It tells [`Pace`] what passes, and closes in a way that the peer can read the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::frames::HeaderBlocks;
use super::pace::Pace;

/// The first bytes of an HTTP/2 client (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The bytes that are read and dropped after an early answer, so that a reset does not overtake the answer.
const LINGER_BYTES: usize = 1 << 20;
const LINGER_TIME: Duration = Duration::from_secs(1);

#[derive(Debug)]
enum Protocol {
    /// This many bytes of the preface have come.
    Unknown(usize),
    Http1,
    Http2(HeaderBlocks),
}

/// A stream and the pace of its connection.
#[derive(Debug)]
pub(super) struct Paced<S> {
    inner: S,
    pace: Arc<Pace>,
    protocol: Protocol,
    closed: bool,
    linger: Option<Pin<Box<Sleep>>>,
    lingered: usize,
}

impl<S> Paced<S> {
    pub(super) fn new(inner: S, pace: Arc<Pace>) -> Self {
        Self { inner, pace, protocol: Protocol::Unknown(0), closed: false, linger: None, lingered: 0 }
    }

    fn note_read(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let pace = &self.pace;
        match &mut self.protocol {
            Protocol::Unknown(matched) => {
                pace.first_byte();
                pace.begin_head();
                let common =
                    bytes.iter().zip(&PREFACE[*matched..]).take_while(|(byte, expected)| byte == expected).count();
                *matched += common;
                if *matched == PREFACE.len() {
                    pace.begin_http2();
                    self.protocol = Protocol::Http2(HeaderBlocks::default());
                    self.note_read(&bytes[common..]);
                } else if common < bytes.len() {
                    self.protocol = Protocol::Http1;
                }
            }
            // While a request is answered, these bytes are its body, or the next request, which waits anyway.
            Protocol::Http1 if pace.is_answering() => {}
            Protocol::Http1 => pace.begin_head(),
            Protocol::Http2(blocks) => {
                if blocks.pass(bytes) {
                    pace.end_head();
                }
                if blocks.in_block() {
                    pace.begin_head();
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> Paced<S> {
    /// Reads and drops what the peer still sends, for a short time.
    ///
    /// To close a socket with unread bytes resets the connection, and with a reset the peer may lose an answer that it has not read
    /// (RFC 9112 §9.6).
    fn poll_linger(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.pace.is_unread() {
            return Poll::Ready(());
        }
        let linger = self.linger.get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_TIME)));
        if linger.as_mut().poll(context).is_ready() {
            return Poll::Ready(());
        }
        let mut buffer = [0; 4096];
        while self.lingered < LINGER_BYTES {
            let mut buffer = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut self.inner).poll_read(context, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => self.lingered += buffer.filled().len(),
                Ok(()) | Err(_) => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(context, buffer))?;
        self.note_read(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        ready!(Pin::new(&mut self.inner).poll_flush(context))?;
        self.pace.flushed();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        if !self.closed {
            ready!(Pin::new(&mut self.inner).poll_shutdown(context))?;
            self.closed = true;
        }
        self.poll_linger(context).map(Ok)
    }
}
