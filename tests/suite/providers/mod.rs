//! Independent providers as they are, and the cases of the OpenID Connect certification of relying parties.

mod certification;
mod dex;
mod glewlwyd;
mod habits;
mod hydra;
mod keycloak;
mod lasting;
mod refresh;
mod scene;
mod suite;
mod tokens;
mod whole;
mod with_dex;
mod with_hydra;
mod with_keycloak;

/// Every scenario with every provider, each a test of its own: `providers::PROVIDER::SCENARIO`.
macro_rules! with_each_provider {
    ($($name:ident: $kind:expr;)+) => {
        $(mod $name {
            use super::scene::{Claims, Kind};
            use super::suite;

            #[tokio::test]
            async fn a_login_tells_who_it_is() {
                suite::a_login_tells_who_it_is($kind, Claims::IdToken).await;
            }

            #[tokio::test]
            async fn userinfo_tells_the_rest() {
                suite::a_login_tells_who_it_is($kind, Claims::Userinfo).await;
            }

            #[tokio::test]
            async fn sign_out_ends_both_sessions() {
                suite::sign_out_ends_both_sessions($kind).await;
            }

            #[tokio::test]
            async fn new_keys_are_found_when_a_token_needs_them() {
                suite::new_keys_are_found_when_a_token_needs_them($kind).await;
            }

            #[tokio::test]
            async fn a_provider_may_go_and_come_back() {
                suite::a_provider_may_go_and_come_back($kind).await;
            }
        })+
    };
}

with_each_provider! {
    glewlwyd_rs256: Kind::Glewlwyd;
    oidc_provider_eddsa_public: Kind::OpenId { algorithm: "EdDSA", method: "none" };
    oidc_provider_es256_post: Kind::OpenId { algorithm: "ES256", method: "client_secret_post" };
    oidc_provider_ps256_basic: Kind::OpenId { algorithm: "PS256", method: "client_secret_basic" };
    oidc_provider_rs256_basic: Kind::OpenId { algorithm: "RS256", method: "client_secret_basic" };
}
