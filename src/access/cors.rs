//! Pages of other origins.

/// Cross-origin access (<https://fetch.spec.whatwg.org/#http-cors-protocol>).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins whose pages may read our 401, as `https://host[:port]`.
    pub(crate) allowed_origins: Vec<String>,
    /// Let preflight requests of those origins through to the application.
    pub(crate) pass_preflight: bool,
}
