//! The device flow (RFC 8628).

use std::time::Duration;

use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::time::Instant;
use url::Url;

use super::client::{Client, Refusal, Tokens, seconds};
use super::discovery::address;
use super::show::Screen;
use crate::cli::command_error::CommandError;
use crate::oidc::HttpClient;

const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Where the provider names no interval (RFC 8628 §3.2).
const USUAL_INTERVAL: Duration = Duration::from_secs(5);
/// What a provider may ask for at the most often, whatever it says.
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);
/// By what each `slow_down` lengthens the interval (§3.5).
const SLOWER: Duration = Duration::from_secs(5);
/// Where the interval ends that grows while the provider does not answer.
const LONGEST_INTERVAL: Duration = Duration::from_mins(1);

/// Where the provider does not say how long codes live, although it must.
const USUAL_LIFETIME: Duration = Duration::from_mins(10);
/// No user waits longer.
const LONGEST_LIFETIME: Duration = Duration::from_hours(1);

/// What a login is asked for with.
pub(super) struct Request<'r> {
    pub(super) client: &'r Client<'r>,
    pub(super) device_endpoint: &'r Url,
    pub(super) token_endpoint: &'r Url,
    pub(super) scope: &'r str,
    /// The resource indicator (RFC 8707), where one is wanted.
    pub(super) resource: Option<&'r str>,
}

/// What the user is shown, and what the token is fetched with (RFC 8628 §3.2).
#[derive(Debug)]
pub(super) struct Codes {
    device_code: SecretString,
    pub(super) user_code: String,
    pub(super) address: Url,
    /// With the user code in it.
    pub(super) complete: Option<Url>,
    pub(super) lifetime: Duration,
    interval: Duration,
}

impl Codes {
    fn read(answer: &Map<String, Value>) -> Result<Self, String> {
        let text = |name: &str| answer.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
        let needed = |name: &str| text(name).ok_or_else(|| format!("{name} is missing"));
        let lifetime = answer.get("expires_in").and_then(seconds).unwrap_or(USUAL_LIFETIME);
        let interval = answer.get("interval").and_then(seconds).unwrap_or(USUAL_INTERVAL);
        // The second name is that of early drafts, which Google kept.
        let place = text("verification_uri").map_or_else(|| needed("verification_url"), Ok);
        let place = place.map_err(|_| "verification_uri is missing".to_owned())?;
        Ok(Self {
            device_code: SecretString::from(needed("device_code")?),
            user_code: needed("user_code")?.to_owned(),
            address: address(place, "verification_uri")?,
            complete: text("verification_uri_complete").and_then(|text| address(text, "").ok()),
            lifetime: lifetime.min(LONGEST_LIFETIME),
            interval: interval.clamp(SHORTEST_INTERVAL, LONGEST_INTERVAL),
        })
    }
}

/// What became of one question for the tokens.
#[derive(Debug)]
enum Step {
    Tokens(Tokens),
    Ended(CommandError),
    Pending,
    SlowDown,
    Away(String),
}

impl From<Result<Map<String, Value>, Refusal>> for Step {
    fn from(answer: Result<Map<String, Value>, Refusal>) -> Self {
        match answer {
            Ok(answer) => Tokens::read(&answer).map_or_else(Self::Ended, Self::Tokens),
            Err(Refusal::Away(why)) => Self::Away(why),
            Err(Refusal::Malformed(why)) => Self::Ended(CommandError::unavailable(why)),
            Err(Refusal::Error { code, words }) => match code.as_str() {
                "authorization_pending" => Self::Pending,
                "slow_down" => Self::SlowDown,
                "access_denied" | "authorization_declined" => {
                    Self::Ended(CommandError::denied("the login was denied at the provider"))
                }
                "expired_token" => Self::Ended(expired(None)),
                _ => Self::Ended(CommandError::unavailable(format!("the provider refuses: {words}"))),
            },
        }
    }
}

fn expired(away: Option<&str>) -> CommandError {
    match away {
        Some(why) => {
            CommandError::temporary(format!("the code has expired, and the provider was away: {why}; run this again"))
        }
        None => {
            CommandError::temporary("the code has expired before the login was confirmed; run this again for a new one")
        }
    }
}

/// How long to wait between questions.
struct Pace {
    interval: Duration,
    failures: u32,
}

impl Pace {
    const fn new(interval: Duration) -> Self {
        Self { interval, failures: 0 }
    }

    /// What `step` says about it (§3.5): slower for good when told to, doubled while the provider does not answer.
    fn take(&mut self, step: &Step) {
        match step {
            Step::SlowDown => {
                self.interval = self.interval.saturating_add(SLOWER);
                self.failures = 0;
            }
            Step::Away(_) => self.failures += 1,
            Step::Pending | Step::Tokens(_) | Step::Ended(_) => self.failures = 0,
        }
    }

    fn wait(&self) -> Duration {
        let doubled = self.interval.saturating_mul(1 << self.failures.min(6));
        doubled.min(LONGEST_INTERVAL.max(self.interval))
    }
}

/// Has the user confirm a login somewhere else, and waits for the tokens.
pub(super) async fn login(
    http: &HttpClient,
    request: &Request<'_>,
    screen: &mut Screen,
) -> Result<Tokens, CommandError> {
    let began = Instant::now();
    let codes = ask_for_codes(http, request).await?;
    screen.invite(&codes);
    let deadline = began + codes.lifetime;
    let mut pace = Pace::new(codes.interval);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        screen.waiting(left);
        tokio::time::sleep(pace.wait().min(left)).await;
        let last = Instant::now() >= deadline;
        let step = ask_for_tokens(http, request, &codes).await;
        pace.take(&step);
        match step {
            Step::Tokens(tokens) => return Ok(tokens),
            Step::Ended(failure) => return Err(failure),
            Step::Away(why) if last => return Err(expired(Some(&why))),
            Step::Pending | Step::SlowDown if last => return Err(expired(None)),
            Step::Away(why) => screen.trouble(&why),
            Step::Pending | Step::SlowDown => {}
        }
    }
}

async fn ask_for_codes(http: &HttpClient, request: &Request<'_>) -> Result<Codes, CommandError> {
    let mut parameters = vec![("scope", request.scope)];
    parameters.extend(request.resource.map(|resource| ("resource", resource)));
    let answer = request.client.post(http, request.device_endpoint, &parameters).await;
    let answer = answer.map_err(|refusal| {
        let hint = match &refusal {
            Refusal::Error { code, .. } if code == "invalid_client" || code == "unauthorized_client" => {
                "; may this client use the device flow there? (--client-id, --client-secret-file)"
            }
            Refusal::Error { code, .. } if code == "invalid_scope" => "; --scope asks for others",
            _ => "",
        };
        CommandError::unavailable(format!("the provider begins no login: {refusal}{hint}"))
    })?;
    Codes::read(&answer).map_err(|why| CommandError::unavailable(format!("{}: {why}", request.device_endpoint)))
}

async fn ask_for_tokens(http: &HttpClient, request: &Request<'_>, codes: &Codes) -> Step {
    let mut parameters = vec![("grant_type", GRANT_TYPE), ("device_code", codes.device_code.expose_secret())];
    parameters.extend(request.resource.map(|resource| ("resource", resource)));
    request.client.post(http, request.token_endpoint, &parameters).await.into()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_pace(interval: u64, answers: &str, expected: u64) {
        let mut pace = Pace::new(Duration::from_secs(interval));
        for answer in answers.chars() {
            pace.take(&match answer {
                'p' => Step::Pending,
                's' => Step::SlowDown,
                _ => Step::Away(String::new()),
            });
        }
        assert_eq!(pace.wait().as_secs(), expected, "{interval} {answers}");
    }

    #[test]
    fn the_pace_is_the_providers() {
        check_pace(5, "", 5);
        check_pace(5, "ppp", 5);
        check_pace(5, "s", 10);
        check_pace(1, "sps", 11);
        check_pace(5, "a", 10);
        check_pace(5, "aa", 20);
        check_pace(5, "aaaaaaaaaaaa", 60);
        check_pace(1, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 60);
        check_pace(5, "aap", 5);
        check_pace(5, "aasa", 20);
        check_pace(60, "s", 65);
        check_pace(60, "sa", 65);
    }

    #[track_caller]
    fn check_step(code: &str, expected: &str) {
        let step = Step::from(Err(Refusal::Error { code: code.to_owned(), words: format!("{code} (why)") }));
        assert!(format!("{step:?}").contains(expected), "{code}: {step:?}");
    }

    #[test]
    fn errors_say_how_it_goes_on() {
        check_step("authorization_pending", "Pending");
        check_step("slow_down", "SlowDown");
        check_step("access_denied", "status: 77");
        check_step("expired_token", "status: 75");
        check_step("invalid_grant", "invalid_grant (why)");
        check_step("invalid_client", "status: 69");
    }

    #[track_caller]
    fn check_codes(change: Value, expected: Result<&str, &str>) {
        let mut answer = json!({
            "device_code": "d", "user_code": "U", "verification_uri": "https://idp.test/device",
            "expires_in": 60, "interval": 2,
        });
        for (name, value) in change.as_object().unwrap() {
            answer[name] = value.clone();
        }
        let codes = Codes::read(answer.as_object().unwrap());
        let got = codes.map(|it| {
            let complete = it.complete.map(|url| format!(" {url}")).unwrap_or_default();
            format!("{}{complete} {} {}", it.address, it.lifetime.as_secs(), it.interval.as_secs())
        });
        assert_eq!(got.as_deref(), expected.map_err(str::to_owned).as_ref().map(|it| *it), "{change}");
    }

    #[test]
    fn codes_are_read_with_care() {
        check_codes(json!({}), Ok("https://idp.test/device 60 2"));
        check_codes(json!({"expires_in": "120", "interval": "7"}), Ok("https://idp.test/device 120 7"));
        check_codes(json!({"expires_in": null, "interval": null}), Ok("https://idp.test/device 600 5"));
        check_codes(json!({"expires_in": 1e300, "interval": 0}), Ok("https://idp.test/device 600 1"));
        check_codes(json!({"expires_in": 1e9, "interval": 1e9}), Ok("https://idp.test/device 3600 60"));
        check_codes(
            json!({"verification_uri_complete": "https://idp.test/device?c=U"}),
            Ok("https://idp.test/device https://idp.test/device?c=U 60 2"),
        );
        check_codes(json!({"verification_uri_complete": "javascript:x"}), Ok("https://idp.test/device 60 2"));
        check_codes(
            json!({"verification_uri": null, "verification_url": "https://g.test/"}),
            Ok("https://g.test/ 60 2"),
        );
        check_codes(json!({"verification_uri": null}), Err("verification_uri is missing"));
        check_codes(json!({"device_code": ""}), Err("device_code is missing"));
        check_codes(json!({"user_code": 7}), Err("user_code is missing"));
        check_codes(
            json!({"verification_uri": "http://idp.test/"}),
            Err("verification_uri has to begin with https:// (http:// will do on this machine)"),
        );
    }
}
