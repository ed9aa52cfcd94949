use super::*;

const WAIT: &str = "GET /wait HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn requests_in_flight_are_answered_and_new_connections_refused() {
    let server = Running::start(http()).await;
    let address = server.http.unwrap();
    let mut http1 = server.connect().await;
    let (mut client, connection) = http2(server.connect().await.0).await;
    http1.send(WAIT).await;
    server.waiting().await;
    let pending = tokio::spawn(async move { http2_get(&mut client, "/wait").await });
    server.waiting().await;
    let mut partial = server.connect().await;
    partial.get().await;
    partial.send("GET / HT").await;

    server.shutdown.begin();
    within(async { while TcpStream::connect(address).await.is_ok() {} }).await;
    partial.send("TP/1.1\r\nhost: a\r\n\r\n").await;
    assert!(partial.receive().await.contains("connection: close\r\n"));
    server.script.release.add_permits(2);

    let answer = http1.receive().await;
    assert_answer(&answer, 200, "before=0 cookie=0");
    assert!(answer.contains("connection: close\r\n"), "{answer}");
    http1.assert_closed().await;
    assert_eq!(within(pending).await.unwrap().0, 200);
    within(connection).await.unwrap().unwrap();
    assert_eq!(server.stop().await, Drained::InTime);
}

#[tokio::test]
async fn idle_connections_do_not_hold_the_drain_up() {
    let server = Running::start(http()).await;
    let mut used = server.connect().await;
    used.get().await;
    let (mut client, _connection) = http2(server.connect().await.0).await;
    http2_get(&mut client, "/").await;
    // An HTTP/2 peer that never answers a ping, and one that says nothing at all.
    let mut mute = server.connect().await;
    mute.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    within(mute.0.read_u8()).await.unwrap();
    let _silent = server.connect().await;
    // Accepted in order: when this one is answered, so are the others.
    server.connect().await.get().await;
    assert_eq!(server.stop().await, Drained::InTime);
    used.assert_closed().await;
}

#[tokio::test]
async fn connections_that_wait_to_be_accepted_are_served() {
    let server = Running::start(Server { max_connections: 1, ..http() }).await;
    let mut first = server.connect().await;
    first.send(WAIT).await;
    server.waiting().await;
    let mut second = server.connect().await;
    second.send(GET).await;
    server.shutdown.begin();
    assert!(second.receive().await.contains("connection: close\r\n"));
    server.script.release.add_permits(1);
    assert!(first.receive().await.contains("connection: close\r\n"));
    assert_eq!(server.stop().await, Drained::InTime);
}

#[tokio::test]
async fn the_deadline_ends_what_is_left() {
    let server = Running::start(Server { shutdown_timeout: Duration::from_millis(50), ..http() }).await;
    let mut http1 = server.connect().await;
    http1.send(WAIT).await;
    server.waiting().await;
    let (mut client, _connection) = http2(server.connect().await.0).await;
    tokio::spawn(async move { client.send_request(Request::new(Full::default())).await });
    tokio::spawn(async move { http1.rest().await });
    server.connect().await.get().await;
    let outcome = server.stop().await;
    assert!(matches!(outcome, Drained::Cut(1 | 2)), "{outcome:?}");
}

#[tokio::test]
async fn nothing_to_do_is_done_at_once() {
    assert_eq!(Running::start(http()).await.stop().await, Drained::InTime);
    assert_eq!(Running::start(nowhere()).await.stop().await, Drained::InTime);
}
