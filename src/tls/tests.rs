use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::*;
use crate::telemetry::WithCauses;

const NAME: &str = "id.example.com";

/// 2030, when all of these certificates but two are valid.
const NOW: UnixTime = UnixTime::since_unix_epoch(Duration::from_secs(1_893_456_000));

/// A certificate with its key and the one that issued it.
struct Made {
    own: CertificateDer<'static>,
    pem: String,
    authority: String,
    key: KeyPair,
}

fn made(change: impl FnOnce(&mut CertificateParams), issued: bool) -> Made {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2090, 1, 1));
    change(&mut params);
    let authority_key = KeyPair::generate().unwrap();
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root = authority.self_signed(&authority_key).unwrap();
    let own = if issued {
        params.signed_by(&key, &Issuer::new(authority, authority_key)).unwrap()
    } else {
        params.self_signed(&key).unwrap()
    };
    Made { own: own.der().clone(), pem: own.pem(), authority: root.pem(), key }
}

/// As `openssl req -x509` makes them.
fn may_issue(params: &mut CertificateParams) {
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
}

fn config(pem: &str) -> ClientConfig {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem).unwrap();
    client_config(Some(&CaFile::read(file))).unwrap()
}

fn verifier(pem: &str) -> NamedOrIssued {
    let named: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(named.iter().cloned());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
    NamedOrIssued { named, authorities }
}

#[track_caller]
fn check(made: &Made, ca_file: &str, name: &str, expected: &str) {
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let result = verifier(ca_file).verify_server_cert(&made.own, &[], &name, &[], NOW);
    let got = result.map_or_else(|error| words(&error), |_| "trusted".to_owned());
    assert!(got.contains(expected), "{got:?} does not say {expected:?}");
    // What is said is a sentence, not the name of a variant.
    assert!(!got.contains("Other") && !got.contains("CaUsed"), "{got:?}");
}

#[test]
fn a_named_certificate_is_trusted_and_its_names_and_dates_count() {
    for change in [|_: &mut CertificateParams| (), may_issue] {
        let made = made(change, false);
        check(&made, &made.pem, NAME, "trusted");
        check(&made, &made.pem, "other.example.com", "it is for id.example.com, and not for other.example.com");
        check(&made, &made.pem, "sub.id.example.com", "and not for sub.id.example.com");
        check(&made, &made.pem, "192.0.2.1", "and not for 192.0.2.1");
        check(&made, &made.authority, NAME, "ca_file");
    }
    let dated = |years: (i32, i32), authority: bool| {
        made(
            |params| {
                (params.not_before, params.not_after) = (date_time_ymd(years.0, 1, 1), date_time_ymd(years.1, 1, 1));
                if authority {
                    may_issue(params);
                }
            },
            false,
        )
    };
    for authority in [false, true] {
        let expired = dated((2020, 2021), authority);
        check(&expired, &expired.pem, NAME, "it expired on 2021-01-01");
        let early = dated((2089, 2090), authority);
        check(&early, &early.pem, NAME, "it is valid from 2089-01-01 on");
    }
    // One that an authority issued may be named, too, without that authority.
    let issued = made(|_| (), true);
    check(&issued, &issued.pem, NAME, "trusted");
    check(&issued, &issued.pem, "other.example.com", "and not for other.example.com");
    check(&issued, &issued.authority, NAME, "trusted");
    check(&issued, &issued.authority, "other.example.com", "and not for other.example.com");
    // Another one of the same names is not.
    let other = made(may_issue, false);
    for named in [may_issue, |_: &mut CertificateParams| ()] {
        check(&other, &made(named, false).pem, NAME, "ca_file");
    }
    check(&other, &format!("{}{}", issued.pem, other.pem), NAME, "trusted");
}

#[test]
fn what_is_wrong_with_a_certificate_is_said_in_words() {
    let nameless = made(|params| params.subject_alt_names.clear(), false);
    check(&nameless, &nameless.pem, NAME, "names no host in subjectAltName");
    let clients = made(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth], true);
    check(&clients, &clients.authority, NAME, "serverAuth");
    let renewed = made(|_| (), true);
    check(&renewed, &made(|_| (), true).authority, NAME, "authority");
    for (error, expected) in [
        (Error::AlertReceived(AlertDescription::UnrecognisedName), "no certificate for this name"),
        (Error::AlertReceived(AlertDescription::CertificateRequired), "certificate of the client"),
        (Error::AlertReceived(AlertDescription::ProtocolVersion), "TLS 1.2 or 1.3"),
        (Error::AlertReceived(AlertDescription::HandshakeFailure), "no cipher"),
        (Error::AlertReceived(AlertDescription::InternalError), "InternalError"),
        (Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType), "does not speak TLS"),
        (Error::NoCertificatesPresented, "no certificate"),
        (Error::InvalidCertificate(CertificateError::BadEncoding), "cannot be read"),
    ] {
        // As the layers above wrap it.
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        let got = cause(&wrapped);
        assert!(got.contains(expected), "{got:?} does not say {expected:?}");
    }
    assert_eq!(cause(&io::Error::other("one\ntwo")), "one two");
    assert!(cause(&io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof")).contains("does TLS belong"));
}

#[test]
fn what_is_wrong_with_a_file_is_said_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    let refused = || WithCauses(&client_config(Some(&CaFile::read(file.clone()))).unwrap_err()).to_string();
    assert!(refused().contains("cannot be read"), "{}", refused());
    for text in ["", "no PEM", "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n"] {
        std::fs::write(&file, text).unwrap();
        assert!(refused().contains("-----BEGIN CERTIFICATE-----"), "{text}: {}", refused());
    }
    for text in ["-----BEGIN CERTIFICATE-----\nMAA=\n", "-----BEGIN CERTIFICATE-----\n%\n-----END CERTIFICATE-----\n"] {
        std::fs::write(&file, text).unwrap();
        assert!(refused().contains("expected is PEM text"), "{text}: {}", refused());
    }
}

/// Presents a certificate whatever key there is for it.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// How a handshake ends with a server that presents `certificate` and signs with `key`.
fn handshake(
    certificate: &Made,
    key: &KeyPair,
    version: &'static SupportedProtocolVersion,
    client: ClientConfig,
) -> Result<(), Error> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let key = provider.key_provider.load_private_key(key).unwrap();
    let presents = Arc::new(Presents(Arc::new(CertifiedKey::new(vec![certificate.own.clone()], key))));
    let server = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    let server = server.with_no_client_auth().with_cert_resolver(presents);
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), ServerName::try_from(NAME).unwrap()).unwrap();
    while client.is_handshaking() || server.is_handshaking() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        server.read_tls(&mut &*sent).unwrap();
        server.process_new_packets()?;
        let mut sent = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut sent).unwrap();
        }
        client.read_tls(&mut &*sent).unwrap();
        client.process_new_packets()?;
    }
    Ok(())
}

#[test]
fn who_presents_a_named_certificate_must_have_its_key() {
    for change in [|_: &mut CertificateParams| (), may_issue] {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let (named, stranger) = (made(change, false), made(change, false));
            handshake(&named, &named.key, version, config(&named.pem)).unwrap();
            let error = handshake(&named, &stranger.key, version, config(&named.pem)).unwrap_err();
            assert_eq!(error, Error::InvalidCertificate(CertificateError::BadSignature), "{version:?}");
            handshake(&stranger, &stranger.key, version, config(&named.pem)).unwrap_err();
        }
    }
}
