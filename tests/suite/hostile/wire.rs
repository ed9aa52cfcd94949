//! HTTP/1 by hand, so that everything can be sent.

use std::net::{IpAddr, SocketAddr};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::within;

/// An answer as it came.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) head: String,
}

/// A connection, and what was read and not yet taken.
pub(super) struct Wire {
    pub(super) stream: TcpStream,
    read: Vec<u8>,
}

impl Wire {
    pub(super) async fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).await.unwrap()
    }

    pub(super) async fn try_connect(address: SocketAddr) -> std::io::Result<Self> {
        Ok(Self { stream: within(TcpStream::connect(address)).await?, read: Vec::new() })
    }

    /// The same from another address of this machine, which has ports of its own.
    pub(super) async fn connect_from(source: IpAddr, address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((source, 0).into()).unwrap();
        Self { stream: within(socket.connect(address)).await.unwrap(), read: Vec::new() }
    }

    pub(super) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(self.stream.write_all(bytes.as_ref())).await.unwrap();
    }

    /// The next answer, which must be whole.
    pub(super) async fn receive(&mut self) -> Answer {
        within(self.next()).await.unwrap_or_else(|| panic!("closed: {}", self.read.escape_ascii()))
    }

    /// All answers until the connection ends, orderly or not.
    pub(super) async fn rest(&mut self) -> Vec<Answer> {
        let mut answers = Vec::new();
        while let Some(answer) = within(self.next()).await {
            answers.push(answer);
        }
        answers
    }

    /// The next answer; `None` when the connection ended before its first byte.
    pub(super) async fn next(&mut self) -> Option<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.read) {
                self.read.drain(..length);
                return Some(answer);
            }
            if self.stream.read_buf(&mut self.read).await.unwrap_or(0) == 0 {
                assert!(self.read.is_empty(), "ended within an answer: {}", self.read.escape_ascii());
                return None;
            }
        }
    }
}

/// An answer to anything but HEAD, and how long it is.
fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let status = head.strip_prefix("HTTP/1.1 ").or_else(|| head.strip_prefix("HTTP/1.0 "));
    let status = status.unwrap_or_else(|| panic!("no HTTP: {head}"))[..3].parse().unwrap();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = end + length.map_or(0, |it| it.parse::<usize>().unwrap());
    (length <= bytes.len()).then_some((Answer { status, head }, length))
}
