//! Ports for programs that cannot be asked which one they took.

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};

/// An address on which no process listens, and which the system gives to no process that asks for a free port.
///
/// A connection that its listener's side closed first stays in TIME-WAIT for a minute (RFC 9293 §3.6.1). So long its port counts as
/// taken, but not for a program that asks for this very port with `SO_REUSEADDR`, as servers do.
pub(crate) fn reserved_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut client = TcpStream::connect(address).unwrap();
    let (server, _) = listener.accept().unwrap();
    drop(server);
    // The client closes once it has heard that the server did.
    assert_eq!(client.read(&mut [0]).unwrap(), 0);
    address
}

#[test]
fn no_other_process_is_given_a_reserved_port() {
    let reserved = reserved_address();
    // More than there are ports in the range of the system.
    for _ in 0..40_000 {
        assert_ne!(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap(), reserved);
    }
    TcpListener::bind(reserved).unwrap();
}
