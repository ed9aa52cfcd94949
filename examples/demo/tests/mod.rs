//! The parts of the demo, each driven over HTTP.

mod provider;
mod proxy;
mod whole;

use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{COOKIE, HOST, LOCATION, SET_COOKIE};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use url::Url;

use super::web;

/// What came back.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("the body is JSON")
    }

    #[track_caller]
    fn location(&self) -> Url {
        let location = self.headers.get(LOCATION);
        let location = location.unwrap_or_else(|| panic!("no Location: {self:?}"));
        Url::parse(location.to_str().unwrap()).expect("the Location is absolute")
    }

    /// A parameter of the `Location`.
    #[track_caller]
    fn parameter(&self, name: &str) -> Option<String> {
        let location = self.location();
        let mut pairs = location.query_pairs();
        pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }
}

/// A client that connects to one address, whatever the host, and follows nothing by itself.
struct Visitor {
    client: Client<HttpConnector, Full<Bytes>>,
    address: SocketAddr,
    /// The last cookie that was set.
    cookie: Option<String>,
}

impl Visitor {
    fn new(address: SocketAddr) -> Self {
        Self { client: Client::builder(TokioExecutor::new()).build_http(), address, cookie: None }
    }

    async fn send(&mut self, method: Method, path: &str, headers: &[(&str, &str)], body: String) -> Reply {
        let mut request = Request::builder().method(method).uri(format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let request = request.body(Full::new(Bytes::from(body))).unwrap();
        let response = self.client.request(request).await.expect("there is an answer");
        let (head, body) = response.into_parts();
        for line in head.headers.get_all(SET_COOKIE) {
            let pair = line.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        let body = web::read(body).await.expect("the body is whole");
        Reply { status: head.status, headers: head.headers, body: String::from_utf8(body.to_vec()).unwrap() }
    }

    async fn get(&mut self, path: &str) -> Reply {
        self.send(Method::GET, path, &[], String::new()).await
    }

    async fn get_at(&mut self, host: &str, path: &str) -> Reply {
        let headers = [(HOST.as_str(), host)];
        self.send(Method::GET, path, &headers, String::new()).await
    }

    async fn post(&mut self, path: &str, form: &[(&str, &str)], headers: &[(&str, &str)]) -> Reply {
        let form = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        self.send(Method::POST, path, headers, form).await
    }
}
