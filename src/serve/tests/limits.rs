use tokio::time::Instant;

use super::*;

const SHORT: Duration = Duration::from_millis(200);
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Sends `start`, then `more` again and again, until the server closes; gives the time that took.
async fn drip(server: &Running, start: &[u8], more: &[u8]) -> Duration {
    let begun = Instant::now();
    let (mut read, mut write) = server.connect().await.0.into_split();
    write.write_all(start).await.unwrap();
    let closed = async {
        let mut buffer = [0; 1024];
        while read.read(&mut buffer).await.is_ok_and(|bytes| bytes > 0) {}
    };
    let drip = async {
        let mut interval = tokio::time::interval(SHORT / 20);
        loop {
            interval.tick().await;
            if write.write_all(more).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    };
    within(async {
        tokio::select! { () = closed => {}, () = drip => {} }
    })
    .await;
    begun.elapsed()
}

#[tokio::test]
async fn slow_headers_are_cut() {
    let server = Running::start(Server { header_timeout: SHORT, ..http() }).await;
    let starts: [(&[u8], u8); 5] = [
        (b"G", b'x'),
        (b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ", b'x'),
        (b"PRI ", b'x'),
        // HEADERS without an end, and a frame of 16 kB that arrives byte by byte.
        (&[PREFACE, b"\0\x40\0\x01\0\0\0\0\x01"].concat(), 0),
        (&[PREFACE, b"\0\x40\0\x01\x04\0\0\0\x01"].concat(), 0),
    ];
    for (start, byte) in starts {
        let took = drip(&server, start, &[byte]).await;
        assert!(took >= SHORT, "{took:?} for {}", start.escape_ascii());
    }
}

#[tokio::test]
async fn slow_headers_are_cut_on_a_used_connection() {
    let server = Running::start(Server { header_timeout: SHORT, ..http() }).await;
    drip(&server, [GET, "GET / HT"].concat().as_bytes(), b"x").await;
    let mut client = server.connect().await;
    client.get().await;
    client.send("GET / HT").await;
    client.assert_closed().await;
}

#[tokio::test]
async fn silence_from_the_start_is_cut_and_idleness_is_not() {
    let server = Running::start(Server { header_timeout: SHORT, ..http() }).await;
    let mut used = server.connect().await;
    let (mut http2, _connection) = http2(server.connect().await.0).await;
    used.get().await;
    http2_get(&mut http2, "/").await;
    // Opened later, so that the others are idle for longer than its whole life.
    for _ in 0..2 {
        server.connect().await.assert_closed().await;
    }
    assert_answer(&used.get().await, 200, "before=1 cookie=0");
    assert_eq!(http2_get(&mut http2, "/").await.0, 200);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = Running::start(Server { idle_timeout: SHORT, ..http() }).await;
    let mut used = server.connect().await;
    let (mut client, connection) = http2(server.connect().await.0).await;
    used.get().await;
    http2_get(&mut client, "/").await;
    used.assert_closed().await;
    within(connection).await.unwrap().unwrap();
}

/// Frames that ask for nothing do not keep a connection, whatever else came over it before.
#[tokio::test]
async fn frames_without_a_request_are_no_use_of_a_connection() {
    let server = Running::start(Server { idle_timeout: SHORT, ..http() }).await;
    // HEADERS of `GET /` at the authority `a`.
    let request = b"\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    let frames: [&[u8]; 7] = [
        b"\0\0\x08\x06\0\0\0\0\0pingping",
        b"\0\0\x08\x06\x01\0\0\0\0pingping",
        b"\0\0\0\x04\0\0\0\0\0",
        b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff",
        b"\0\0\x03\xfe\0\0\0\0\0any",
        b"\0\0\x04\x08\0\0\0\0\0\0\0\0\x01",
        b"\0\0\x05\x02\0\0\0\0\x03\0\0\0\0\0",
    ];
    for start in [PREFACE.to_vec(), [PREFACE, request].concat()] {
        for frame in frames {
            let took = drip(&server, &start, frame).await;
            assert!((SHORT..SHORT * 50).contains(&took), "{took:?} of {}", frame.escape_ascii());
        }
    }
}

#[tokio::test]
async fn slow_answers_are_replaced() {
    let server = Running::start(Server { request_timeout: SHORT, ..http() }).await;
    let mut client = server.connect().await;
    client.send("GET /wait?secret HTTP/1.1\r\nhost: a\r\n\r\n").await;
    let answer = client.receive().await;
    assert_answer(&answer, 503, "\r\n\r\n/wait TimedOut");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    client.assert_closed().await;

    let (mut client, _connection) = http2(server.connect().await.0).await;
    assert_eq!(http2_get(&mut client, "/wait").await, (503, "/wait TimedOut".to_owned()));
    assert_eq!(http2_get(&mut client, "/").await.0, 200);
}

#[tokio::test]
async fn answers_that_a_peer_does_not_read_are_cut() {
    let mut server = Running::start(Server { request_timeout: SHORT, ..http() }).await;
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(within(server.closed.recv()).await, Some(1));

    let mut server = Running::start(Server { idle_timeout: SHORT, ..http() }).await;
    let (mut client, _connection) = http2(server.connect().await.0).await;
    let _unread =
        within(client.send_request(Request::get("http://a/large").body(Full::default()).unwrap())).await.unwrap();
    assert_eq!(within(server.closed.recv()).await, Some(1));
}

#[tokio::test]
async fn panics_are_answered_and_leave_no_trace() {
    let server = Running::start(Server { max_connections: 1, ..http() }).await;
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send("GET /panic HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert_answer(&client.receive().await, 503, "/panic Panicked");
    }
    let (mut client, _connection) = http2(server.connect().await.0).await;
    assert_eq!(http2_get(&mut client, "/panic").await, (503, "/panic Panicked".to_owned()));
    assert_eq!(http2_get(&mut client, "/").await.0, 200);
}

#[tokio::test]
async fn large_cookies_pass() {
    let server = Running::start(http()).await;
    let cookie = "a".repeat(40 * 1024);
    let mut client = server.connect().await;
    for before in 0..2 {
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\ncookie: {cookie}\r\n\r\n")).await;
        assert_answer(&client.receive().await, 200, &format!("before={before} cookie=40960"));
    }

    let (mut client, _connection) = http2(server.connect().await.0).await;
    let whole = Request::get("http://a/").header("cookie", cookie);
    assert_eq!(http2_send(&mut client, whole).await.1, "HTTP/2.0 tls=false before=0 cookie=40960");
    let crumbs = (0..150).fold(Request::get("http://a/"), |request, _| request.header("cookie", "a=b"));
    assert_eq!(http2_send(&mut client, crumbs).await.1, "HTTP/2.0 tls=false before=1 cookie=450");
}

#[tokio::test]
async fn too_large_headers_are_refused() {
    let server = Running::start(http()).await;
    let fields = "x: y\r\n".repeat(101);
    // Longer than the buffers of both sockets may hold, so that the client is still sending when the answer comes.
    let cases =
        [format!("cookie: {}\r\n", "a".repeat(66 * 1024)), format!("cookie: {}\r\n", "a".repeat(900_000)), fields];
    for fields in cases {
        let mut client = server.connect().await;
        client.send(format!("GET / HTTP/1.1\r\nhost: a\r\n{fields}\r\n")).await;
        assert_answer(&String::from_utf8(client.rest().await).unwrap(), 431, "\r\n\r\n");
    }

    let (mut client, _connection) = http2(server.connect().await.0).await;
    let bytes = Request::get("http://a/").header("cookie", "a".repeat(70 * 1024));
    assert_eq!(http2_send(&mut client, bytes).await.0, 431);
    let fields = (0..101).fold(Request::get("http://a/"), |request, _| request.header("x", "y"));
    assert_eq!(http2_send(&mut client, fields).await.0, 431);
    assert_eq!(http2_get(&mut client, "/").await.0, 200);
}

#[tokio::test]
async fn heads_are_refused() {
    let server = Running::start(Server { max_header_bytes: 10_000, ..http() }).await;
    let long = |bytes: usize| format!("GET / HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "a".repeat(bytes));
    for (head, status) in [
        (long(9_900), 200),
        (long(10_000), 431),
        ("GET / HTTP/1.0\r\n\r\n".to_owned(), 200),
        ("GET / HTTP/1.0\r\nhost: a\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost: a\r\nhost: a\r\n\r\n".to_owned(), 400),
        ("GET / HTTP/1.1\r\nhost:\r\n\r\n".to_owned(), 200),
        ("CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n".to_owned(), 400),
    ] {
        let mut client = server.connect().await;
        client.send(&head).await;
        let answer = client.receive().await;
        assert!(answer[8..].starts_with(&format!(" {status} ")), "{answer} for {head}");
        if status != 200 {
            assert!(answer.contains("connection: close\r\n"), "{answer}");
            client.assert_closed().await;
        }
    }
}

#[tokio::test]
async fn a_half_closed_connection_gets_its_answer() {
    let server = Running::start(http()).await;
    let mut client = server.connect().await;
    client.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.0.shutdown().await.unwrap();
    server.waiting().await;
    server.script.release.add_permits(1);
    assert_answer(&client.receive().await, 200, "before=0 cookie=0");
    client.assert_closed().await;
}

#[tokio::test]
async fn answers_come_before_unread_bodies() {
    let mut server = Running::start(http()).await;
    let mut client = server.connect().await;
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello").await;
    assert_answer(&client.receive().await, 200, "before=0 cookie=0");
    client.send("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n").await;
    let answer = String::from_utf8(client.rest().await).unwrap();
    assert_answer(&answer, 200, "before=1 cookie=0");
    // The peer is no longer heard, yet its bytes cause no reset that could overtake the answer.
    for _ in 0..5 {
        client.send("a".repeat(100_000)).await;
    }
    drop(client);
    assert_eq!(within(server.closed.recv()).await, Some(2));
}

#[tokio::test]
async fn connections_beyond_the_limit_wait() {
    let metrics = Some(([127, 0, 0, 1], 0).into());
    let server = Running::start(Server { max_connections: 1, metrics, ..http() }).await;
    let mut first = server.connect().await;
    first.get().await;
    let mut second = server.connect().await;
    second.send("GET /wait HTTP/1.1\r\nhost: a\r\n\r\n").await;
    for _ in 0..3 {
        first.get().await;
    }
    let mut metrics = Wire(TcpStream::connect(server.metrics.unwrap()).await.unwrap());
    assert_answer(&metrics.get().await, 200, "before=0 cookie=0");
    assert_eq!(server.script.waiting.available_permits(), 0);
    drop(first);
    server.waiting().await;
    server.script.release.add_permits(1);
    assert_answer(&second.receive().await, 200, "before=0 cookie=0");
}
