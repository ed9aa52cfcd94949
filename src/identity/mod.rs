//! Who a valid credential stands for: claims in, header block out.

mod claim_path;

pub use claim_path::ClaimPath;
