//! Requests to the letter, as no browser would send them.

use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Sends a request and returns the status of its answer.
///
/// # Errors
///
/// When there is no answer, or none of HTTP/1.
pub(crate) async fn status(address: SocketAddr, request: &str) -> io::Result<u16> {
    let (mut stream, head) = exchange(address, request).await?;
    // An answer counts when it is whole, so that a server that dies halfway is noticed.
    stream.read_to_end(&mut Vec::new()).await?;
    Ok(head.0)
}

/// Reads the head of a request or of an answer.
///
/// # Errors
///
/// When the connection ends within it.
pub(super) async fn head(stream: &mut TcpStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await?);
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Sends a request; returns the connection behind the answer's head, and that head.
///
/// # Errors
///
/// As [`status`].
pub(super) async fn exchange(address: SocketAddr, request: &str) -> io::Result<(TcpStream, (u16, String))> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(request.as_bytes()).await?;
    let head = head(&mut stream).await?;
    let status = head.get(9..12).and_then(|digits| digits.parse().ok());
    let status = status.ok_or_else(|| io::Error::other(format!("not HTTP/1: {head}")))?;
    Ok((stream, (status, head)))
}
