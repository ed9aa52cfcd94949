//! The device flow (RFC 8628): a program shows a code, and a user confirms it in a browser.

use aws_lc_rs::error::Unspecified;
use http::StatusCode;
use serde_json::{Map, Value, json};
use url::form_urlencoded::Serializer;

use super::state::{Device, DeviceAnswer, Grant, SignOn};
use super::token::{Refusal, refuse};
use super::web::{self, Answer};
use super::{Asked, Client, Endpoint, keys, pages};

pub(super) const GRANT_TYPE: &str = "urn:ietf:params:oauth:grant-type:device_code";

/// Seconds that codes are valid.
const LIFETIME: u64 = 600;

/// No vowels and nothing that looks like something else (RFC 8628 §6.1).
const LETTERS: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// What a form makes something else of.
const AWKWARD: &str = "+&=%41 %2B;/?#";

impl Asked<'_> {
    pub(super) fn device_authorization(&self) -> Result<Answer, Unspecified> {
        let client = match self.client() {
            Ok(client) => client,
            Err(error) => return Ok(refuse(error)),
        };
        let behaviour = &self.behaviour.device;
        let letters = keys::token::<8>()?;
        let letters = letters.bytes().take(8).map(|byte| char::from(LETTERS[usize::from(byte) % LETTERS.len()]));
        let mut user_code: String = letters.collect();
        user_code.insert(4, '-');
        let mut device_code = keys::token::<24>()?;
        if behaviour.awkward_codes {
            device_code.insert_str(7, AWKWARD);
        }
        let lifetime = behaviour.lifetime.unwrap_or(LIFETIME);
        let page = self.shared.url(Endpoint::Device);
        let query = Serializer::new(String::new()).append_pair("user_code", &user_code).finish();
        let members = [
            ("device_code", json!(device_code)),
            ("user_code", json!(user_code)),
            ("verification_uri", json!(page)),
            ("verification_uri_complete", json!(format!("{page}?{query}"))),
            ("expires_in", json!(lifetime)),
            ("interval", json!(1)),
        ];
        let mut answer: Map<String, Value> =
            members.map(|(name, value)| (name.to_owned(), value)).into_iter().collect();
        behaviour.codes.apply(&mut answer);
        let device = Device {
            user_code,
            client: client.id,
            scope: self.seen.form.get("scope").unwrap_or_default().to_owned(),
            until: self.shared.now() + lifetime,
            answer: None,
            asked: 0,
        };
        self.shared.state().add_device(device_code, device);
        Ok(web::json(StatusCode::OK, &Value::Object(answer)))
    }

    /// The grant of a device code (RFC 8628 §3.5), once the user has confirmed it.
    pub(super) fn confirmed(&self, client: &Client) -> Result<Grant, Refusal> {
        let code = self.seen.form.get("device_code").ok_or("invalid_request")?;
        let mut state = self.shared.state();
        let device = state.device(code).filter(|device| device.client == client.id).ok_or("invalid_grant")?;
        if let Some(error) = self.behaviour.device.errors.get(device.asked - 1) {
            return Err(error);
        }
        if self.shared.now() >= device.until {
            return Err("expired_token");
        }
        let sign_on = match device.answer {
            None => return Err("authorization_pending"),
            Some(DeviceAnswer::Denied) => return Err("access_denied"),
            Some(DeviceAnswer::Confirmed(sign_on)) => sign_on,
        };
        state.remove_device(code);
        Ok(Grant {
            acr: None,
            client: device.client,
            redirect_uri: String::new(),
            scope: device.scope,
            nonce: None,
            challenge: None,
            sign_on,
            session: keys::s256(code),
            family: code.to_owned(),
            until: device.until,
        })
    }

    /// Where a user types the code, a name, and a password that is not looked at.
    pub(super) fn device_page(&self, mistake: &str) -> Answer {
        pages::device(&pages::Device {
            style: web::STYLE,
            action: self.shared.url(Endpoint::Device),
            user_code: self.seen.parameters().get("user_code").unwrap_or_default().to_owned(),
            mistake: mistake.to_owned(),
            logins: self.shared.state().logins(),
        })
    }

    pub(super) fn confirm_device(&self) -> Answer {
        // No user confirms by another site's form.
        if self.seen.headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return pages::bad_request("This form was sent by another site.");
        }
        let form = &self.seen.form;
        let code = form.get("user_code").unwrap_or_default().trim().to_ascii_uppercase();
        let login = form.get("login").unwrap_or_default().trim();
        let answer = match form.get("deny") {
            Some(_) => DeviceAnswer::Denied,
            None if self.shared.state().knows(login) => {
                DeviceAnswer::Confirmed(SignOn { login: login.to_owned(), since: self.shared.now() })
            }
            None => return self.device_page("No user has that name here."),
        };
        if !self.shared.state().answer_device(&code, self.shared.now(), answer) {
            return self.device_page("No program waits for this code.");
        }
        pages::device_answered()
    }
}
