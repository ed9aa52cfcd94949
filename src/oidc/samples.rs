//! Providers for tests.

use std::sync::Arc;

use tokio::time::Instant;

use super::{IdentityProvider, Keys, Metadata, Observer, Provider, Ready};
use crate::world::World;

impl Provider {
    /// A provider of which everything is known, without a network.
    pub(crate) fn known(name: &str, settings: IdentityProvider, world: World, observer: Arc<dyn Observer>) -> Self {
        let issuer = settings.issuer.clone();
        let document = serde_json::json!({
            "issuer": issuer,
            "authorization_endpoint": format!("{issuer}/authorize"),
            "token_endpoint": format!("{issuer}/token"),
            "jwks_uri": format!("{issuer}/jwks"),
            "end_session_endpoint": format!("{issuer}/end-session"),
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        });
        let metadata = Metadata::parse(&issuer, document.to_string().as_bytes()).unwrap();
        let keys = Keys::parse(b"{}", &http::HeaderMap::new()).unwrap();
        let provider = Self::new(name, settings, world, observer).unwrap();
        let jwks_header = crate::identity::header_value(metadata.jwks_uri());
        provider.source().learn(Instant::now(), Ready { metadata, keys, jwks_header });
        provider
    }
}
