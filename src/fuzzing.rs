//! The invariants of all parsers and codecs, grouped as `fuzz/` runs them.
//!
//! Each group takes any bytes and panics when an invariant does not hold. The same functions are called by the property
//! tests beside the parsers, and here with the committed inputs.

use crate::{access, cookie, forwarded, host, identity, login, oidc, session, settings};

/// Takes any input.
pub type Invariants = fn(&[u8]);

/// All groups by the name of their fuzz target.
pub const GROUPS: [(&str, Invariants); 8] = [
    ("claims", claims),
    ("cookies", cookies),
    ("hosts", hosts),
    ("logins", logins),
    ("paths", paths),
    ("providers", providers),
    ("questions", questions),
    ("settings", configurations),
];

/// Claims, the identity in them and its header block.
pub fn claims(input: &[u8]) {
    identity::invariants::hold(&String::from_utf8_lossy(input));
}

/// Cookie headers, session tokens, sealed values and records of sessions.
pub fn cookies(input: &[u8]) {
    cookie::invariants::hold(input);
    session::invariants::hold(input);
}

/// Hosts, authorities and cookie domains.
pub fn hosts(input: &[u8]) {
    host::invariants::hold(&String::from_utf8_lossy(input));
}

/// Return targets, start links, states and callbacks.
pub fn logins(input: &[u8]) {
    login::invariants::hold(&String::from_utf8_lossy(input));
}

/// Path readings and public paths.
pub fn paths(input: &[u8]) {
    access::invariants::hold(&String::from_utf8_lossy(input));
}

/// Key sets and metadata of providers.
pub fn providers(input: &[u8]) {
    oidc::invariants::hold(input);
}

/// Original requests in every dialect, client addresses and routes.
pub fn questions(input: &[u8]) {
    forwarded::invariants::hold(input);
}

/// Configurations from files and from the environment.
pub fn configurations(input: &[u8]) {
    settings::invariants::hold(&String::from_utf8_lossy(input));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_hold_for_the_committed_inputs() {
        for (name, hold) in GROUPS {
            let corpus = format!("{}/fuzz/corpus/{name}", env!("CARGO_MANIFEST_DIR"));
            let inputs: Vec<_> = std::fs::read_dir(corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(inputs.len() >= 12, "{name} has seeds");
            for input in inputs {
                println!("{}", input.display());
                hold(&std::fs::read(input).unwrap());
            }
        }
    }
}
