//! Which headers an application gets.

use http::HeaderName;

use super::ClaimPath;

/// A further header, beside the twelve. It is on every 200, and empty without a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherHeader {
    /// Its name, which is not one of the twelve and not one that HTTP uses.
    pub(crate) name: HeaderName,
    /// The source of its value.
    pub(crate) source: HeaderSource,
}

/// The source of the value of a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HeaderSource {
    /// A claim: a text, a number, or a list with commas between its elements.
    Claim(ClaimPath),
    /// The same for every user.
    Text(String),
    /// The value of the first group that the user is in.
    Groups {
        /// Group and value.
        groups: Vec<(String, String)>,
        /// For users who are in none.
        default: String,
    },
    /// A part of the identity, which one of the twelve headers has too.
    Identity(IdentityField),
    /// The value of the header's name, in any case, in authentik's attributes of users and groups
    /// (`ak_proxy.user_attributes.additionalHeaders`).
    Attribute,
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IdentityField {
    /// The user name.
    Username,
    /// The e-mail address.
    Email,
    /// The full name.
    Name,
    /// The groups, with commas between them.
    Groups,
}

/// The claims of `Authorization: Basic` (authentik's `basic_auth_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The claim with the user name. If it is not a text, the e-mail address is the user name.
    pub(crate) username: ClaimPath,
    /// The claim with the password. If it is not a text, there is no password.
    pub(crate) password: ClaimPath,
}

/// Which identity headers an application gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSwitches {
    /// Whether `X-authentik-jwt` has the ID token; otherwise it is empty.
    pub jwt: bool,
    /// The size of the header block, in bytes, above which forepost logs a warning, because proxies have small buffers.
    pub(crate) warn_bytes: usize,
}
