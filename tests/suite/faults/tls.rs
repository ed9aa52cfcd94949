//! The provider behind TLS: certificates of the wrong name, the wrong time, the wrong issuer.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use forepost::world::World;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

use super::{APP, AWAY, opens_nothing, side_by_side};
use crate::provider::{Config, Provider};
use crate::support::{APPLICATIONS, Browser, Stage, client};

#[derive(Clone, Copy)]
enum Certificate {
    /// Of our authority, for these names and from year to year.
    Issued(&'static str, i32, i32),
    /// Of itself, for this name and from year to year.
    SelfSigned(&'static str, i32, i32),
    /// The same, and it may issue others, as `openssl req -x509` makes them.
    Authority(&'static str, i32, i32),
}

#[derive(Clone, Copy, PartialEq)]
enum Trust {
    System,
    Authority,
    Certificate,
}

/// A certificate with its key, and the PEM files of authority and certificate.
fn make(certificate: Certificate) -> (CertificateDer<'static>, PrivateKeyDer<'static>, [String; 2]) {
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let (Certificate::Issued(name, from, to)
    | Certificate::SelfSigned(name, from, to)
    | Certificate::Authority(name, from, to)) = certificate;
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(from, 1, 1), date_time_ymd(to, 1, 1));
    let own = match certificate {
        Certificate::Issued(..) => params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap(),
        Certificate::SelfSigned(..) => params.self_signed(&key).unwrap(),
        Certificate::Authority(..) => {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.self_signed(&key).unwrap()
        }
    };
    let pem = [root.pem(), own.pem()];
    (own.der().clone(), PrivatePkcs8KeyDer::from(key.serialize_der()).into(), pem)
}

/// Ends TLS before a provider that speaks HTTP, which browsers of these tests need.
struct Terminator {
    /// Handshakes that failed.
    refused: watch::Receiver<u64>,
    _tasks: JoinSet<()>,
}

fn terminate(listener: TcpListener, tls: ServerConfig, behind: SocketAddr) -> Terminator {
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    let (refusals, refused) = watch::channel(0);
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut connections = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, refusals) = (acceptor.clone(), refusals.clone());
            connections.spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    return refusals.send_modify(|count| *count += 1);
                };
                let mut provider = TcpStream::connect(behind).await.unwrap();
                // Ends when either side does.
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut provider).await;
            });
        }
    });
    Terminator { refused, _tasks: tasks }
}

async fn start(certificate: Certificate, trust: Trust, directory: &Path) -> (Stage, Terminator) {
    let (der, key, [authority, own]) = make(certificate);
    let versions = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions();
    let tls = versions.unwrap().with_no_client_auth().with_single_cert(vec![der], key).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let issuer = format!("https://idp.localhost:{}", listener.local_addr().unwrap().port());
    let clients = vec![client("proxy", Some("proxy-secret"), &["https://app.example.com"])];
    let provider = Provider::start(Config { clients, issuer: Some(issuer), ..Config::default() }).await.unwrap();
    let terminator = terminate(listener, tls, provider.address());
    let ca_file = directory.join("ca.pem");
    std::fs::write(&ca_file, if trust == Trust::Certificate { own } else { authority }).unwrap();
    let keys = match trust {
        Trust::System => String::new(),
        Trust::Authority | Trust::Certificate => format!("ca_file = \"{}\"", ca_file.display()),
    };
    let stage = Stage::waiting(provider, "proxy-secret", &keys, APPLICATIONS).await;
    (stage, terminator)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_a_certificate_that_is_right_is_believed() {
    use Certificate::{Authority, Issued, SelfSigned};
    let cases = [
        ("right", Issued("idp.localhost", 2020, 2090), Trust::Authority, true),
        ("of itself, and trusted", SelfSigned("idp.localhost", 2020, 2090), Trust::Certificate, true),
        ("of itself, an authority, and trusted", Authority("idp.localhost", 2020, 2090), Trust::Certificate, true),
        ("trusted, for another name", SelfSigned("other.localhost", 2020, 2090), Trust::Certificate, false),
        ("an authority for another name", Authority("other.localhost", 2020, 2090), Trust::Certificate, false),
        ("an authority that is trusted and expired", Authority("idp.localhost", 2020, 2021), Trust::Certificate, false),
        ("an authority that is not valid yet", Authority("idp.localhost", 2089, 2090), Trust::Certificate, false),
        ("another authority is trusted", Authority("idp.localhost", 2020, 2090), Trust::Authority, false),
        ("an authority that is not trusted", Authority("idp.localhost", 2020, 2090), Trust::System, false),
        ("another name", Issued("other.localhost", 2020, 2090), Trust::Authority, false),
        ("the name in front of another", Issued("idp.localhost.evil.test", 2020, 2090), Trust::Authority, false),
        ("expired", Issued("idp.localhost", 2020, 2021), Trust::Authority, false),
        ("not valid yet", Issued("idp.localhost", 2089, 2090), Trust::Authority, false),
        ("of an unknown authority", Issued("idp.localhost", 2020, 2090), Trust::System, false),
        ("of itself", SelfSigned("idp.localhost", 2020, 2090), Trust::System, false),
        ("of itself, and another is trusted", SelfSigned("idp.localhost", 2020, 2090), Trust::Authority, false),
    ];
    side_by_side(cases.into_iter().map(|(name, certificate, trust, good)| {
        (name, async move {
            let directory = tempfile::tempdir().unwrap();
            let (stage, mut terminator) = start(certificate, trust, directory.path()).await;
            let mut browser = stage.browser();
            if good {
                stage.daemon.ready().await;
                stage.sign_in(&mut browser, APP, "alice").await.is(200);
                return;
            }
            terminator.refused.wait_for(|count| *count > 0).await.unwrap();
            let mut operator = Browser::new().route("*", stage.daemon.metrics_address().unwrap());
            operator.get("http://x/ready").await.is(503);
            AWAY.check(&stage.check("traefik", &mut browser, APP).await, true);
            opens_nothing(&stage, &mut browser).await;
            assert_eq!(stage.provider.requests(crate::provider::Endpoint::Discovery), 0, "{name}");
        })
    }))
    .await;
}

/// A provider that is found first and presents another certificate later, as if another server stood there.
#[tokio::test]
async fn a_token_endpoint_behind_the_wrong_certificate_gets_no_code() {
    let (der, key, _) = make(Certificate::Issued("idp.localhost", 2020, 2090));
    let versions = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions();
    let tls = versions.unwrap().with_no_client_auth().with_single_cert(vec![der], key).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let token_endpoint = format!("https://idp.localhost:{}/token", listener.local_addr().unwrap().port());
    let stage = Stage::tuned(
        World::system(),
        |b| {
            b.metadata.set("token_endpoint", token_endpoint);
        },
        |_| (),
    )
    .await;
    stage.daemon.ready().await;
    let mut terminator = terminate(listener, tls, stage.provider.address());
    let mut browser = stage.browser();
    AWAY.check(&stage.sign_in(&mut browser, APP, "alice").await, true);
    opens_nothing(&stage, &mut browser).await;
    terminator.refused.wait_for(|count| *count > 0).await.unwrap();
    assert_eq!(stage.provider.requests(crate::provider::Endpoint::Token), 0);
}
