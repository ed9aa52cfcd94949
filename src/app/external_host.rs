//! Where browsers reach an application.

use crate::host::{Host, Scheme};

/// An external address: scheme, host, port and the path that an application lives under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalHost {
    /// `http` or `https`.
    pub scheme: Scheme,
    /// The host.
    pub host: Host<'static>,
    /// The port, when it is not the scheme's own.
    pub port: Option<u16>,
    /// Empty, or a path that begins with a slash and ends without one.
    pub base_path: String,
}

impl ExternalHost {
    /// `scheme://host[:port]`, without a slash behind it.
    #[must_use]
    pub fn origin(&self) -> String {
        match self.port {
            Some(port) => format!("{}://{}:{port}", self.scheme, self.host),
            None => format!("{}://{}", self.scheme, self.host),
        }
    }

    /// The whole address, with a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("{}{}/", self.origin(), self.base_path)
    }
}
