//! HTTP/2 attacks, frame by frame.

use super::frames::*;
use super::*;

/// What a flood may add to the daemon's memory, whatever its length.
const FLOOD_MEMORY: u64 = 16 << 20;

/// Sends `floods` on a connection while others are served; gives what came of it.
async fn flood(target: &Target, floods: impl Iterator<Item = Vec<u8>> + Send + 'static) -> Vec<Event> {
    let before = target.memory("VmHWM");
    let peer = Peer::connect(target.http).await;
    let attack = tokio::spawn(peer.flood(floods));
    target.serves().await;
    let events = within(attack).await.unwrap();
    let grown = target.memory("VmHWM").saturating_sub(before);
    assert!(grown < FLOOD_MEMORY, "{grown} bytes more");
    events
}

/// The stream numbers of a client.
fn streams() -> impl Iterator<Item = u32> + Send {
    (1..).step_by(2)
}

/// A flood ends the connection with this error code.
async fn ends(target: &Target, floods: impl Iterator<Item = Vec<u8>> + Send + 'static, code: u32) {
    let last = flood(target, floods).await.pop();
    assert!(matches!(last, Some(Event::GoAway(_, last)) if last == code), "{last:?} is not {code}");
}

fn repeat(frame: Vec<u8>, times: usize) -> impl Iterator<Item = Vec<u8>> + Send {
    std::iter::repeat_n(frame, times)
}

/// A frame that is a mistake: the end of a flood that is merely endured, and the proof that it was read to its end.
fn goodbye() -> impl Iterator<Item = Vec<u8>> + Send {
    std::iter::once(frame(SETTINGS, 0, 1, &[]))
}

#[tokio::test(flavor = "multi_thread")]
async fn floods() {
    let target = Target::start(&[]).await;
    // Rapid reset (CVE-2023-44487), by us and provoked: a window update of zero makes the server reset.
    let reset = |stream| [get(stream, AUTH, &[]), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])].concat();
    ends(&target, streams().take(50_000).map(reset), ENHANCE_YOUR_CALM).await;
    let provoke = |stream| {
        let open = frame(HEADERS, END_HEADERS, stream, &question(AUTH));
        [open, frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    };
    ends(&target, streams().take(50_000).map(provoke), PROTOCOL_ERROR).await;
    // Header blocks without end.
    let open = || std::iter::once(frame(HEADERS, END_STREAM, 1, &question(AUTH)));
    ends(
        &target,
        open().chain(repeat(frame(CONTINUATION, 0, 1, &fields(&[("x", "y".repeat(1000))])), 100_000)),
        ENHANCE_YOUR_CALM,
    )
    .await;
    ends(&target, open().chain(repeat(frame(CONTINUATION, 0, 1, &[]), 100_000)), ENHANCE_YOUR_CALM).await;
    // Cheap frames that want an answer, and cheap frames that want none: endured at the pace of the reader.
    for cheap in [
        frame(SETTINGS, 0, 0, &[]),
        frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 255, 255]),
        frame(PING, 0, 0, &[0; 8]),
        frame(PING, 1, 0, &[0; 8]),
        frame(PRIORITY, 0, 1, &[0, 0, 0, 0, 1]),
        frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1]),
        frame(0xfe, 0, 0, &[0; 100]),
        frame(DATA, 0, 1, &[]),
    ] {
        ends(&target, repeat(cheap, 50_000).chain(goodbye()), PROTOCOL_ERROR).await;
    }
    target.end().await;
}

/// One block, and what comes of its stream.
async fn block_is(target: &Target, fields: Vec<u8>, expected: Event) {
    let mut peer = Peer::connect(target.http).await;
    assert!(peer.try_send(block(1, &fields)).await);
    let event = within(peer.event()).await;
    assert_eq!(event, expected, "{}", fields.get(..200).unwrap_or(&fields).escape_ascii());
    if !matches!(event, Event::GoAway(..)) {
        peer.send(get(3, AUTH, &[])).await;
        assert_eq!(within(peer.event()).await, Event::Status(3, 302), "the same connection goes on");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_too_large() {
    let target = Target::start(&[]).await;
    let and = |more: Vec<u8>| [question(AUTH), more].concat();
    let many = |count: usize| and(fields(&vec![("x", "y"); count]));
    block_is(&target, many(90), Event::Status(1, 302)).await;
    block_is(&target, many(100), Event::Status(1, 431)).await;
    block_is(&target, many(3000), Event::Status(1, 431)).await;
    block_is(&target, and(fields(&[("x", "y".repeat(60_000))])), Event::Status(1, 302)).await;
    block_is(&target, and(fields(&[("x", "y".repeat(110_000))])), Event::Status(1, 431)).await;
    block_is(
        &target,
        fields(&[
            (":method", "GET"),
            (":scheme", "http"),
            (":authority", "a"),
            (":path", &format!("/{}", "y".repeat(66_000))),
        ]),
        Event::Reset(1, PROTOCOL_ERROR),
    )
    .await;
    // A bomb: one entry of the table of 4,000 bytes, named by single bytes (RFC 7541 §7.3).
    let mut entry = vec![0x40];
    entry.extend(&fields(&[("x", "y".repeat(3_900))])[1..]);
    entry.extend(vec![0x80 + 62; 16_000]);
    block_is(&target, and(entry.clone()), Event::GoAway(0, ENHANCE_YOUR_CALM)).await;
    let bombs = streams().take(300).map(move |stream| block(stream, &[question(AUTH), entry.clone()].concat()));
    ends(&target, bombs, ENHANCE_YOUR_CALM).await;
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn malformed_blocks() {
    let target = Target::start(&[]).await;
    let pseudo = [(":method", "GET"), (":scheme", "http"), (":authority", "outpost"), (":path", AUTH)];
    let and = |more: &[(&str, &str)]| [question(AUTH), fields(more)].concat();
    // Not even fields: the whole connection is not believed any more.
    for bad in [("Upper", "x"), ("x\0", "x"), ("x", "a\r\nb"), ("x", "a\0b"), ("", "x"), (":unknown", "x")] {
        block_is(&target, and(&[bad]), Event::GoAway(0, PROTOCOL_ERROR)).await;
    }
    for bad in [
        and(&[("connection", "close")]),
        and(&[("transfer-encoding", "chunked")]),
        and(&[("upgrade", "websocket")]),
        and(&[("te", "gzip")]),
        and(&[(":path", "/")]),
        and(&[(":status", "200")]),
        and(&[("content-length", "5")]),
        fields(&pseudo[1..]),
        fields(&pseudo[..3]),
        fields(&[pseudo[0], pseudo[1], pseudo[2], (":path", "")]),
        fields(&[pseudo[0], pseudo[1], pseudo[2], (":path", "outpost")]),
        fields(&[pseudo[0], pseudo[1], pseudo[2], pseudo[3], pseudo[3]]),
        fields(&[(":method", "CONNECT"), pseudo[1], pseudo[2], pseudo[3], (":protocol", "websocket")]),
        fields(&[(":method", "CONNECT"), pseudo[1], pseudo[2], pseudo[3]]),
    ] {
        block_is(&target, bad, Event::Reset(1, PROTOCOL_ERROR)).await;
    }
    for bad in [fields(&[(":method", "CONNECT"), pseudo[2]]), and(&[("host", "a"), ("host", "b")])] {
        block_is(&target, bad, Event::Status(1, 400)).await;
    }
    target.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn broken_frames_end_the_connection() {
    let target = Target::start(&[]).await;
    for bad in [
        frame(DATA, 0, 0, b"x"),
        frame(DATA, 0, 7, b"x"),
        frame(HEADERS, END_STREAM | END_HEADERS, 0, &question(AUTH)),
        frame(HEADERS, END_STREAM | END_HEADERS, 2, &question(AUTH)),
        frame(HEADERS, END_STREAM | END_HEADERS, 1, &[0xff; 20]),
        frame(HEADERS, END_STREAM | END_HEADERS | 8, 1, &[200]),
        frame(CONTINUATION, END_HEADERS, 1, &[]),
        frame(PUSH_PROMISE, END_HEADERS, 1, &[0, 0, 0, 2]),
        frame(SETTINGS, 0, 0, &[0; 5]),
        frame(SETTINGS, 1, 0, &[0; 6]),
        frame(SETTINGS, 0, 0, &[0, 4, 255, 255, 255, 255]),
        frame(SETTINGS, 0, 0, &[0, 5, 0, 0, 0, 0]),
        frame(PING, 0, 0, &[0; 7]),
        frame(WINDOW_UPDATE, 0, 0, &[0; 4]),
        frame(WINDOW_UPDATE, 0, 0, &[0x7f, 0xff, 0xff, 0xff]),
        frame(RST_STREAM, 0, 0, &[0; 4]),
        frame(0xfe, 0, 0, &vec![0; 20_000]),
        [frame(HEADERS, END_STREAM, 1, &question(AUTH)), frame(PING, 0, 0, &[0; 8])].concat(),
        b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
    ] {
        let mut peer = Peer::connect(target.http).await;
        peer.send(&bad).await;
        let events = peer.rest().await;
        assert!(matches!(events[..], [Event::GoAway(_, code)] if code != 0), "{events:?} for {}", bad.escape_ascii());
    }
    target.end().await;
}

/// More streams than allowed are refused, the others answered.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_at_once() {
    let target = Target::start(&[]).await;
    let mut peer = Peer::connect(target.http).await;
    let all: Vec<u8> = streams().take(1000).flat_map(|stream| get(stream, AUTH, &[])).collect();
    peer.send(all).await;
    let mut open: std::collections::BTreeSet<_> = streams().take(1000).collect();
    let mut refused = 0;
    while !open.is_empty() {
        let stream = match within(peer.event()).await {
            Event::Status(stream, 302) => stream,
            Event::Reset(stream, REFUSED_STREAM) => {
                refused += 1;
                stream
            }
            other => panic!("{other:?}"),
        };
        assert!(open.remove(&stream), "{stream} twice");
    }
    assert!((1..=800).contains(&refused), "{refused} refused");
    peer.send(get(2001, AUTH, &[])).await;
    assert_eq!(within(peer.event()).await, Event::Status(2001, 302));
    target.end().await;
}

/// A client that gives no room for an answer's body blocks its own streams only.
#[tokio::test(flavor = "multi_thread")]
async fn answers_without_room() {
    let target = Target::start(&[]).await;
    let closed = std::iter::once(frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]));
    let pages = streams().take(20_000).map(|stream| get(stream, "/nowhere", &[]));
    ends(&target, closed.chain(pages), ENHANCE_YOUR_CALM).await;
    target.end().await;
}
