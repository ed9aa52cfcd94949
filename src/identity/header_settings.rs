//! Which headers an application gets.

use http::HeaderName;

use super::ClaimPath;

/// A header besides the contract's; it is sent to everybody, and empty where nobody is signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FurtherHeader {
    /// Its name, which is none of the contract's nor of HTTP's own.
    pub name: HeaderName,
    /// Where its value comes from.
    pub source: HeaderSource,
}

/// Where the value of a header comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeaderSource {
    /// A claim: a text, a number, or a list with commas between its elements.
    Claim(ClaimPath),
    /// The same for every user.
    Text(String),
    /// That of the first group that the user is in.
    Groups {
        /// Group and value.
        groups: Vec<(String, String)>,
        /// For users who are in none.
        default: String,
    },
    /// What the contract's headers say, in another form.
    Identity(IdentityField),
    /// What authentik's attributes of users and groups say under the header's name, in any case
    /// (`ak_proxy.user_attributes.additionalHeaders`).
    Attribute,
}

/// A part of an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityField {
    /// The name that applications show.
    Username,
    /// The e-mail address.
    Email,
    /// The full name.
    Name,
    /// The groups, with commas between them.
    Groups,
}

/// What `Authorization: Basic` is made of (the contract's `basic_auth_*`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BasicAuth {
    /// The claim with the user name; the e-mail address where it holds no text.
    pub username: ClaimPath,
    /// The claim with the password; empty where it holds no text.
    pub password: ClaimPath,
}

/// Which identity headers an application gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderSwitches {
    /// Send the ID token as `X-authentik-jwt` (empty when off).
    pub jwt: bool,
    /// Bytes of the header block above which a warning is given; proxies have small buffers.
    pub warn_bytes: usize,
}
