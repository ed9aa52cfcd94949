use serde_json::{Map, Value};

use super::Logins;
use crate::app::Application;
use crate::identity::ClaimNames;
use crate::identity::{Identity, unusable};
use crate::telemetry::warn_throttled;

impl Logins {
    /// Writes into the log what the claims of a login do not say although the settings look for it there.
    pub(super) fn tell_of_claims(
        &self,
        app: &Application,
        names: &ClaimNames,
        identity: &Identity,
        claims: &Map<String, Value>,
    ) {
        let unusable: Vec<String> = unusable(claims, names).iter().map(ToString::to_string).collect();
        if !unusable.is_empty() {
            warn_throttled!(
                self.unusable_claims_log,
                application = %app.id,
                identity_provider = app.provider.name(),
                user = identity.label(),
                claims = unusable.join(", "),
                "claims have a type that cannot be used and count as absent"
            );
        }
        if identity.username.is_empty() {
            warn_throttled!(
                self.nameless_user_log,
                application = %app.id,
                identity_provider = app.provider.name(),
                user = identity.label(),
                claim = %names.username,
                "a user has no user name: applications get an empty one (identity_provider.claims.username)"
            );
        }
    }
}
