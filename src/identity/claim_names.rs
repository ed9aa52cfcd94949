//! Which claims have the parts of an identity.

use super::ClaimPath;

/// Names or dotted paths of claims (`realm_access.roles`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimNames {
    /// For `X-authentik-username`.
    pub username: ClaimPath,
    /// For `X-authentik-email`.
    pub email: ClaimPath,
    /// For `X-authentik-name`.
    pub name: ClaimPath,
    /// For `X-authentik-groups` and `required_groups`.
    pub groups: ClaimPath,
    /// For `X-authentik-entitlements`.
    pub entitlements: ClaimPath,
    /// For `X-authentik-uid`.
    pub uid: ClaimPath,
}
