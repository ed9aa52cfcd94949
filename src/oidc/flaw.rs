//! What is wrong with a token, and what to do about it.

use std::borrow::Cow;
use std::fmt;

/// What is wrong with a token, or with the answer of userinfo.
///
/// Its text is for the log and holds nothing secret. [`Flaw::remedy`] has what the operator can do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flaw {
    what: Cow<'static, str>,
    remedy: Remedy,
}

/// What an operator can do about a flaw.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// Nothing in particular.
    Compare,
    /// It is not a token at all, or one of a kind that is not understood.
    Format,
    /// It is encrypted.
    Encryption,
    /// `alg` is `none`.
    Unsigned,
    /// The algorithm is not supported.
    Algorithm,
    /// The algorithm is not announced.
    Announcement,
    /// The algorithm is not the configured one.
    Registration,
    /// There is no client secret to verify with.
    NoSecret,
    /// The client secret does not fit.
    Secret,
    /// No known key fits.
    Key,
    /// `iss`.
    Issuer,
    /// `aud`.
    Audience,
    /// `azp`.
    Party,
    /// Times: clocks.
    Clock,
    /// `exp` is missing or no date.
    Expiry,
    /// `iat` is missing or no date.
    IssuedAt,
    /// `nonce`.
    Nonce,
    /// `sub`.
    Subject,
    /// `at_hash`.
    AccessTokenHash,
    /// Userinfo speaks of another user.
    OtherSubject,
}

impl Remedy {
    /// What to do; whole sentences, for pages and logs.
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Compare => {
                "The token does not verify: look at issuer, client id, clock and signing keys. The command forepost check compares them."
            }
            Self::Format => "What came is not a signed token (JWT): look at what the provider sends as ID token.",
            Self::Encryption => {
                "The token is encrypted (JWE), which forepost does not support: switch off the encryption of ID tokens and of userinfo \
                 for this client at the provider."
            }
            Self::Unsigned => {
                "The token is not signed (alg is none): choose a signing algorithm for this client at the provider, RS256 or ES256."
            }
            Self::Algorithm => {
                "The token is signed with an algorithm (alg) that forepost does not support: choose RS256, PS256, ES256, ES384 or EdDSA \
                 for this client at the provider."
            }
            Self::Announcement => {
                "The token is signed with an algorithm (alg) that the provider's metadata do not announce \
                 (id_token_signing_alg_values_supported): choose another one there, or name it in \
                 identity_provider.id_token_signed_response_alg."
            }
            Self::Registration => {
                "The token is signed with another algorithm (alg) than identity_provider.id_token_signed_response_alg says: compare it with \
                 the registration at the provider."
            }
            Self::NoSecret => {
                "The token is signed with a client secret (HS256), and none is configured: set identity_provider.client_secret, or choose \
                 RS256 or ES256 for this client at the provider."
            }
            Self::Secret => {
                "The token is signed with a secret (HS256) that is not identity_provider.client_secret: compare the two. Keycloak signs so \
                 with a key of its own that no client knows: choose RS256 or ES256 for this client there."
            }
            Self::Key => {
                "No key in the provider's key set (jwks_uri) made the token's signature: the command forepost check shows what is \
                 published there. Forepost asks for the keys again by itself."
            }
            Self::Issuer => {
                "The claim iss of the token is not identity_provider.issuer, of which every character counts: the command forepost check \
                 compares it with the provider's metadata."
            }
            Self::Audience => {
                "The claim aud of the token does not name identity_provider.client_id: compare it with the registration at the provider."
            }
            Self::Party => {
                "The token was made for another client: its claim azp must be identity_provider.client_id, and must be there where aud \
                 names several."
            }
            Self::Clock => {
                "The token's times (exp, iat, nbf) and the clock here do not fit together: use NTP on both sides."
            }
            Self::Expiry => {
                "The claim exp of the token is missing or is not a date: OpenID Connect requires it of the provider."
            }
            Self::IssuedAt => {
                "The claim iat of the token is missing or is not a date: OpenID Connect requires it of the provider."
            }
            Self::Nonce => {
                "The claim nonce of the ID token is not that of this login: the answer belongs to another one, or the provider does not \
                 hand the nonce on. Try again; if it happens each time, look at the provider."
            }
            Self::Subject => {
                "The claim sub is missing or is not a string: the provider must say in the ID token, and in userinfo, who signed in."
            }
            Self::AccessTokenHash => {
                "The claim at_hash of the ID token does not fit the access token that came with it: look at the provider."
            }
            Self::OtherSubject => {
                "Userinfo speaks of another user than the ID token: the claim sub must be the same in both. Look at the provider's \
                 mapping of sub (pairwise in one of them?)."
            }
        }
    }
}

impl Flaw {
    pub(super) fn new(what: impl Into<Cow<'static, str>>, remedy: Remedy) -> Self {
        Self { what: what.into(), remedy }
    }

    /// What to do about it.
    #[must_use]
    pub const fn remedy(&self) -> Remedy {
        self.remedy
    }
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Flaw {}

impl From<&'static str> for Flaw {
    fn from(what: &'static str) -> Self {
        Self::new(what, Remedy::Compare)
    }
}

impl From<String> for Flaw {
    fn from(what: String) -> Self {
        Self::new(what, Remedy::Compare)
    }
}
