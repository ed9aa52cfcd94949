//! The example configurations in their real proxies, between a browser, forepost, an application and a certified provider.

pub(crate) mod application;
mod compose;
mod connection;
mod cookies;
mod copies;
mod front;
mod further;
mod headers;
mod hosts;
mod login;
mod mcp;
mod own_paths;
pub(crate) mod proxy;
pub(crate) mod raw;
mod refusals;
pub(crate) mod replicas;
mod rewritten;
mod upgrades;
mod yaml;

/// Every scenario with every proxy, each a test of its own: `proxies::PROXY::SCENARIO`.
macro_rules! with_each_proxy {
    ($($name:ident: $proxy:ident),+ $(,)?) => {
        $(mod $name {
            use super::proxy::Proxy::$proxy;
            use super::{connection, cookies, further, headers, hosts, login, own_paths, refusals, upgrades};

            #[tokio::test]
            async fn a_login_comes_back_to_the_very_url() {
                login::comes_back_to_the_very_url($proxy).await;
            }

            #[tokio::test]
            async fn the_wrong_group_is_forbidden() {
                login::wrong_group_is_forbidden($proxy).await;
            }

            #[tokio::test]
            async fn sign_out_ends_the_session() {
                login::sign_out_ends_the_session($proxy).await;
            }

            #[tokio::test]
            async fn the_provider_can_log_out() {
                login::the_provider_can_log_out($proxy).await;
            }

            #[tokio::test]
            async fn spoofed_identity_never_reaches_the_application() {
                headers::spoofed_identity_never_reaches_the_application($proxy).await;
            }

            #[tokio::test]
            async fn presets_come_from_forepost_alone() {
                further::presets_come_from_forepost_alone($proxy).await;
            }

            #[tokio::test]
            async fn other_names_come_from_forepost_by_the_documented_lines() {
                further::other_names_come_from_forepost_by_the_documented_lines($proxy).await;
            }

            #[tokio::test]
            async fn what_only_a_proxy_may_say_is_removed() {
                headers::what_only_a_proxy_may_say_is_removed($proxy).await;
            }

            #[tokio::test]
            async fn connection_names_no_header() {
                connection::names_no_header($proxy).await;
            }

            #[tokio::test]
            async fn what_forepost_reads_is_never_the_clients() {
                own_paths::what_forepost_reads_is_never_the_clients($proxy).await;
            }

            #[tokio::test]
            async fn without_a_password_there_are_no_credentials() {
                further::without_a_password_there_are_no_credentials($proxy).await;
            }

            #[tokio::test]
            async fn the_application_gets_its_own_cookies() {
                cookies::the_application_gets_its_own($proxy).await;
            }

            #[tokio::test]
            async fn uploads_arrive() {
                headers::uploads_arrive($proxy).await;
            }

            #[tokio::test]
            async fn there_is_room_for_many_cookies() {
                headers::there_is_room_for_many_cookies($proxy).await;
            }

            #[tokio::test]
            async fn claims_about_the_request_are_ignored() {
                headers::claims_about_the_request_are_ignored($proxy).await;
            }

            #[tokio::test]
            async fn no_spelling_of_a_path_passes_for_a_public_one() {
                refusals::no_spelling_of_a_path_passes_for_a_public_one($proxy).await;
            }

            #[tokio::test]
            async fn no_spelling_of_a_denied_path_passes() {
                refusals::no_spelling_of_a_denied_path_passes($proxy).await;
            }

            #[tokio::test]
            async fn no_spelling_of_a_method_passes_for_another() {
                refusals::no_spelling_of_a_method_passes_for_another($proxy).await;
            }

            #[tokio::test(flavor = "multi_thread")]
            async fn no_spelling_of_a_host_passes_for_a_public_path() {
                hosts::no_spelling_of_a_host_passes_for_a_public_path($proxy).await;
            }

            #[tokio::test]
            async fn an_absolute_target_is_not_handed_on() {
                hosts::an_absolute_target_is_not_handed_on($proxy).await;
            }

            #[tokio::test]
            async fn another_applications_host_does_not_lead_here() {
                hosts::another_applications_host_does_not_lead_here($proxy).await;
            }

            #[tokio::test]
            async fn nothing_but_a_websocket_is_an_upgrade() {
                upgrades::nothing_but_a_websocket_is_an_upgrade($proxy).await;
            }

            #[tokio::test]
            async fn cookies_stay_apart_on_the_way() {
                cookies::stay_apart_on_the_way($proxy).await;
            }

            #[tokio::test]
            async fn only_navigations_are_redirected() {
                refusals::only_navigations_are_redirected($proxy).await;
            }

            #[tokio::test]
            async fn websockets_need_a_login() {
                refusals::websockets_need_a_login($proxy).await;
            }

            #[tokio::test]
            async fn no_request_passes_without_forepost() {
                refusals::no_request_passes_without_forepost($proxy).await;
            }
        })+
    };
}

with_each_proxy! {
    caddy: Caddy,
    caddy_of_the_distribution: DistroCaddy,
    envoy: Envoy,
    haproxy: Haproxy,
    nginx: Nginx,
    nginx_of_the_distribution: DistroNginx,
    traefik: Traefik,
}
