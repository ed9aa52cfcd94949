//! Logouts: by the provider's word, by way of its page, and by the user, here or everywhere.

mod audit;
mod back_channel;
mod clocks;
mod dropped;
mod front_channel;
mod http2;
mod nested;
mod order;
mod real;
mod replica;
mod requests;
mod sign_out;
mod together;

use forepost::world::World;
use http::Method;

use crate::provider::LogoutToken;
use crate::support::{Browser, Reply, Stage};

const APP: &str = "https://app.example.com/page";
const ADMIN: &str = "https://admin.example.com/sub/page";
const DOMAIN: &str = "https://wiki.example.test/page";

/// Where providers send logout tokens; the host belongs to no application.
const BACK_CHANNEL: &str = "http://forepost.internal:9000/outpost.goauthentik.io/backchannel-logout";

/// The user's sessions end.
fn of_user(login: &str) -> LogoutToken {
    LogoutToken { subject: Some(format!("id-{login}")), ..LogoutToken::default() }
}

/// One session of the provider ends.
fn of_session(session: &str) -> LogoutToken {
    LogoutToken { session: Some(session.to_owned()), ..LogoutToken::default() }
}

/// A logout token for the client that all stages have.
fn made(stage: &Stage, token: &LogoutToken) -> String {
    stage.provider.logout_token("proxy", token).unwrap()
}

/// Sends a logout token as a provider does.
async fn send(stage: &Stage, token: &str) -> Reply {
    stage.browser().post(BACK_CHANNEL, &format!("logout_token={token}")).await
}

/// A user who is signed in.
async fn visitor(stage: &Stage, url: &str, user: &str) -> Browser {
    let mut browser = stage.browser();
    stage.sign_in(&mut browser, url, user).await.is(200);
    browser
}

/// Whether the browser is let in; if not, it is sent to a login.
async fn is_in(stage: &Stage, browser: &Browser, url: &str) -> bool {
    let reply = stage.check("traefik", &mut browser.clone(), url).await;
    assert!(reply.status == 200 || reply.location().path() == "/authorize", "{reply:#?}");
    reply.status == 200
}

/// The value of a metric whose line begins like this; 0 where there is none.
async fn metric(stage: &Stage, line: &str) -> u64 {
    let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
    let metrics = operator.send(Method::GET, "http://metrics/metrics", &[], None).await.body;
    let value = metrics.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

async fn logout_tokens(stage: &Stage, identity_provider: &str, result: &str) -> u64 {
    let labels = format!("{{identity_provider=\"{identity_provider}\",result=\"{result}\"}}");
    metric(stage, &format!("forepost_logout_tokens_total{labels}")).await
}
