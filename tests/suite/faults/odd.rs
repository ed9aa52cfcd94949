//! An endpoint below HTTP: answers as no HTTP library would.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Bytes of a body that forepost should not read.
const HUGE: usize = 50 << 20;

/// Between two drops.
const DRIP: Duration = Duration::from_millis(20);

/// What it does once the head of a request is there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Manner {
    /// Nothing at all.
    Silent,
    /// 50 MB, announced.
    Huge,
    /// 50 MB, in chunks.
    HugeChunks,
    /// A body, one byte after the other, without end.
    DripBody,
    /// A head, one byte after the other, without end.
    DripHead,
    /// Half of the body that was announced, then no more.
    HalfClosed,
    /// A chunk that does not end as it must.
    BrokenChunk,
    /// Another protocol.
    NotHttp,
    /// Interim answers without end.
    Continue,
    /// A thousand headers.
    ManyHeaders,
    /// 200 and an empty object.
    Object,
}

/// A listener that stops with it.
pub(super) struct Odd {
    address: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

/// What happened.
#[derive(Default)]
pub(super) struct Seen {
    requests: AtomicU64,
    written: AtomicU64,
}

impl Seen {
    /// Requests that came.
    pub(super) fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Bytes that the peer took.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }
}

impl Odd {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen = Arc::new(Seen::default());
        let mut tasks = JoinSet::new();
        let noting = Arc::clone(&seen);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(connection(stream, manner, Arc::clone(&noting)));
            }
        });
        Self { address, seen, _tasks: tasks }
    }

    /// Its address.
    pub(super) fn url(&self) -> String {
        format!("http://{}/odd", self.address)
    }

    pub(super) fn seen(&self) -> Arc<Seen> {
        Arc::clone(&self.seen)
    }
}

/// Ends when the other side has had enough.
async fn connection(mut stream: TcpStream, manner: Manner, seen: Arc<Seen>) {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return,
            Ok(count) => head.extend_from_slice(&piece[..count]),
        }
    }
    seen.requests.fetch_add(1, Ordering::Relaxed);
    // An error only means that the other side has gone.
    let _ = answer(&mut stream, manner, &seen).await;
    let mut rest = [0; 4096];
    while stream.read(&mut rest).await.is_ok_and(|count| count > 0) {}
}

async fn answer(stream: &mut TcpStream, manner: Manner, seen: &Seen) -> std::io::Result<()> {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    let begin = |rest: &str| format!("{HEAD}{rest}\r\n");
    match manner {
        Manner::Silent => Ok(()),
        Manner::Huge => {
            stream.write_all(begin(&format!("content-length: {HUGE}\r\n")).as_bytes()).await?;
            flood(stream, &vec![b' '; 1 << 16], seen).await
        }
        Manner::HugeChunks => {
            stream.write_all(begin("transfer-encoding: chunked\r\n").as_bytes()).await?;
            let chunk = [b"10000\r\n".as_slice(), &vec![b' '; 1 << 16], b"\r\n"].concat();
            flood(stream, &chunk, seen).await
        }
        Manner::DripBody => {
            stream.write_all(begin("transfer-encoding: chunked\r\n").as_bytes()).await?;
            drip(stream, b"1\r\n \r\n").await
        }
        Manner::DripHead => {
            stream.write_all(HEAD.as_bytes()).await?;
            drip(stream, b"a").await
        }
        Manner::HalfClosed => {
            stream.write_all(begin("content-length: 100\r\n").as_bytes()).await?;
            stream.write_all(b"{\"access_token\":").await?;
            stream.shutdown().await
        }
        Manner::BrokenChunk => {
            stream.write_all(begin("transfer-encoding: chunked\r\n").as_bytes()).await?;
            stream.write_all(b"2\r\n{}oops").await
        }
        Manner::NotHttp => stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").await,
        Manner::Continue => loop {
            stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
            tokio::time::sleep(DRIP).await;
        },
        Manner::ManyHeaders => {
            let headers = "x-one: of many\r\n".repeat(1000);
            stream.write_all(begin(&format!("content-length: 2\r\n{headers}")).as_bytes()).await?;
            stream.write_all(b"{}").await
        }
        Manner::Object => {
            stream.write_all(begin("content-length: 2\r\n").as_bytes()).await?;
            stream.write_all(b"{}").await
        }
    }
}

async fn flood(stream: &mut TcpStream, piece: &[u8], seen: &Seen) -> std::io::Result<()> {
    for _ in 0..HUGE / piece.len() {
        stream.write_all(piece).await?;
        seen.written.fetch_add(piece.len() as u64, Ordering::Relaxed);
    }
    Ok(())
}

async fn drip(stream: &mut TcpStream, drop: &[u8]) -> std::io::Result<()> {
    loop {
        stream.write_all(drop).await?;
        tokio::time::sleep(DRIP).await;
    }
}
