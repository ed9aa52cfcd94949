//! One of each page, for tests.

use super::{BadRequest, LoginFailure, Page, ProviderRefusal};
use crate::access::Because;

impl<'a> Page<'a> {
    /// One of each page, with made-up names.
    #[must_use]
    pub(super) fn samples() -> [Page<'static>; 13] {
        Page::each(|text| text)
    }

    /// One of each page; each text is what `text` makes of an example.
    pub(super) fn each(text: impl Fn(&'static str) -> &'a str) -> [Self; 13] {
        let application = text("Grafana");
        let home_url = text("https://grafana.example.test/");
        let retry_url = text("/outpost.goauthentik.io/start?rd=https%3A%2F%2Fgrafana.example.test%2F");
        let sign_out_url = text("/outpost.goauthentik.io/sign_out");
        let everywhere_url = text("/outpost.goauthentik.io/sign_out?everywhere=true");
        [
            Self::LoginFailed { application, failure: LoginFailure::Refused(ProviderRefusal::Other), retry_url },
            Self::Forbidden {
                application,
                username: text("bob"),
                because: Because::NotEntitled,
                required: text("staff, admins"),
                login_url: retry_url,
                sign_out_url,
            },
            Self::Forbidden {
                application,
                username: text("alice"),
                because: Because::NotAssured,
                required: "",
                login_url: retry_url,
                sign_out_url,
            },
            Self::Forbidden {
                application,
                username: "",
                because: Because::Denied,
                required: "",
                login_url: retry_url,
                sign_out_url,
            },
            Self::SignedOut { application, home_url },
            Self::NotSignedOut { application, sign_out_url },
            Self::NotSignedOutEverywhere { application, login_url: retry_url },
            Self::ConfirmSignOut { application, action_url: sign_out_url, everywhere_url: Some(everywhere_url) },
            Self::ProviderAway { application, retry_url },
            Self::Unconfirmed { application, retry_url: home_url, login_url: retry_url },
            Self::CookieMissing { application, retry_url },
            Self::BadRequest { reason: BadRequest::UnknownHost },
            Self::LoginLoop { application, home_url },
        ]
    }
}
