//! The user of a session: claims in, identity headers out.

mod assurance;
mod claim_names;
mod claim_path;
mod claims;
mod further;
mod header_block;
mod header_settings;
#[cfg(any(test, fuzzing))]
pub(crate) mod invariants;
mod packed;
mod wanted;

pub use assurance::Assurance;
pub use claim_names::ClaimNames;
pub use claim_path::ClaimPath;
pub(crate) use claim_path::PathForm;
pub use claims::{Identity, InvalidIdentity};
pub(crate) use claims::{held, unusable};
pub use further::FurtherHeaders;
pub use header_block::HeaderTemplate;
pub(crate) use header_block::{Meta, header_value, wire_bytes};
pub use header_settings::{BasicAuth, FurtherHeader, HeaderSwitches};
pub(crate) use header_settings::{HeaderSource, IdentityField};
pub use packed::PackedIdentity;
pub(crate) use wanted::replace_flag_with_address;
pub use wanted::{Kept, WantedClaims};
