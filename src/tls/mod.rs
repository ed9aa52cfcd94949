//! TLS of forepost as a client: trusted authorities, and messages about failed connections.

use std::error::Error as StdError;
use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use chrono::DateTime;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{VerifierBuilderError, WebPkiServerVerifier, verify_server_name};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
};

/// The largest file of certificates of authorities, in bytes; more is not read.
const LARGEST_CA_FILE: u64 = 16 << 20;

/// Why TLS of a client cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The configured file cannot be used.
    #[error("{}", path.display())]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        cause: CaFileError,
    },
    /// The TLS library refuses its own defaults.
    #[error("TLS cannot be set up")]
    Setup(#[from] Error),
}

/// What is wrong with a file of certificates.
#[derive(Debug, thiserror::Error)]
pub enum CaFileError {
    /// The system does not let us read it.
    #[error("cannot be read ({0}); the user that runs forepost must be able to read it")]
    Unreadable(io::Error),
    /// It is not PEM.
    #[error("{}; expected is PEM text: -----BEGIN CERTIFICATE-----", pem_problem(.0))]
    NotPem(pem::Error),
    /// Nothing in it is a certificate that can be used.
    #[error("holds no usable certificate; expected is PEM text: -----BEGIN CERTIFICATE-----")]
    Unusable,
    /// The TLS library does not take it.
    #[error(transparent)]
    Refused(#[from] VerifierBuilderError),
}

/// A file with certificates of authorities, as it was when it was read: another file under the same path is not equal.
#[derive(Clone, PartialEq, Eq)]
pub struct CaFile(Arc<Pem>);

#[derive(PartialEq, Eq)]
struct Pem {
    path: PathBuf,
    /// `None`: it could not be read.
    text: Option<Vec<u8>>,
}

impl CaFile {
    /// Reads the file. What is wrong with it is the error of [`client_config`].
    #[must_use]
    pub fn read(path: PathBuf) -> Self {
        let mut text = Vec::new();
        let read = File::open(&path).and_then(|file| file.take(LARGEST_CA_FILE).read_to_end(&mut text));
        Self(Arc::new(Pem { path, text: read.is_ok().then_some(text) }))
    }

    fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let certificates = match &self.0.text {
            Some(text) => CertificateDer::pem_slice_iter(text).collect(),
            None => CertificateDer::pem_file_iter(&self.0.path).and_then(Iterator::collect),
        };
        certificates.map_err(|error| {
            let cause = match error {
                pem::Error::Io(error) => CaFileError::Unreadable(error),
                error => CaFileError::NotPem(error),
            };
            TlsError::CaFile { path: self.0.path.clone(), cause }
        })
    }
}

impl fmt::Debug for CaFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.path.fmt(f)
    }
}

/// A client that trusts the system's authorities, and those in the PEM file `ca_file`.
///
/// A server that presents a certificate of that file itself is trusted, too, whether or not this certificate may issue others: so
/// the file may hold a server's self-signed certificate. Its names and dates count all the same.
///
/// # Errors
///
/// When the file cannot be read or holds no usable certificate.
pub fn client_config(ca_file: Option<&CaFile>) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let Some(ca_file) = ca_file else {
        return Ok(builder.with_root_certificates(roots).with_no_client_auth());
    };
    let named = ca_file.certificates()?;
    let refuse = |cause| TlsError::CaFile { path: ca_file.0.path.clone(), cause };
    let (added, _) = roots.add_parsable_certificates(named.iter().cloned());
    if added == 0 {
        return Err(refuse(CaFileError::Unusable));
    }
    let authorities = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| refuse(error.into()))?;
    let verifier = Arc::new(NamedOrIssued { named, authorities });
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth())
}

/// What is wrong with a PEM file, without any part of it, as it may hold a key.
#[must_use]
pub const fn pem_problem(error: &pem::Error) -> &'static str {
    match error {
        pem::Error::NoItemsFound => "there is none in it",
        pem::Error::MissingSectionEnd { .. } => "a section has no end",
        pem::Error::Base64Decode(_) => "bad base64",
        _ => "not PEM",
    }
}

/// Trusts certificates that authorities issued, and the configured ones themselves.
#[derive(Debug)]
struct NamedOrIssued {
    named: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for NamedOrIssued {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let issued = self.authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match issued {
            // The library verifies dates before the issuer, and the name after it.
            Err(error) if self.named.contains(end_entity) && is_about_the_issuer(&error) => {
                verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
                Ok(ServerCertVerified::assertion())
            }
            issued => issued,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.authorities.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

/// Whether an error is about the issuer of a certificate and its signature, or about the right to issue others: that does not
/// matter for a certificate that is configured itself.
fn is_about_the_issuer(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer
            | CertificateError::BadSignature
            | CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. },
        ) => true,
        Error::InvalidCertificate(CertificateError::Other(other)) => other.to_string() == MAY_ISSUE,
        _ => false,
    }
}

/// The library's text for a server's certificate that may issue others; the library has no type for it here.
const MAY_ISSUE: &str = "CaUsedAsEndEntity";

/// The same for a certificate of X.509 version 1, which has no names.
const FIRST_VERSION: &str = "UnsupportedCertVersion";

/// The deepest cause of a failed connection; for TLS in words, with what to do about it.
///
/// The text is one line. It may hold names from the server's certificate.
#[must_use]
pub fn cause(error: &(dyn StdError + 'static)) -> String {
    let mut deepest = error;
    loop {
        if let Some(error) = deepest.downcast_ref::<Error>() {
            return words(error);
        }
        // An error of the system that wraps another one does not show it as its source.
        let wrapped = deepest.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        let next = wrapped.map(|it| it as &(dyn StdError + 'static)).or_else(|| deepest.source());
        match next {
            Some(next) => deepest = next,
            None => return plain(deepest),
        }
    }
}

fn plain(error: &(dyn StdError + 'static)) -> String {
    let text = error.to_string();
    match &*text {
        "tls handshake eof" => {
            "the connection was closed during the TLS handshake: does TLS belong to this port?".into()
        }
        _ => one_line(&text),
    }
}

/// What is wrong with TLS, with what to do about it; one line.
#[must_use]
pub fn words(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(error) => format!("the certificate is refused: {}", certificate_words(error)),
        Error::InvalidMessage(_) => {
            "what answers there does not speak TLS: the port is one for plain HTTP, or the address should begin with http://"
                .into()
        }
        Error::NoCertificatesPresented => "the server presents no certificate".into(),
        Error::PeerIncompatible(_) | Error::AlertReceived(AlertDescription::ProtocolVersion) => {
            format!("the server and forepost have no TLS in common ({error}): TLS 1.2 or 1.3 is needed")
        }
        Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::InsufficientSecurity) => {
            format!("the server refuses the TLS handshake ({error}): it finds no cipher or key in common")
        }
        Error::AlertReceived(AlertDescription::UnrecognisedName) => {
            "the server has no certificate for this name: compare the address with its configuration".into()
        }
        Error::AlertReceived(AlertDescription::CertificateRequired | AlertDescription::AccessDenied) => {
            "the server asks for a certificate of the client, which forepost has not".into()
        }
        Error::AlertReceived(alert) => format!("the server refuses the TLS handshake ({alert:?})"),
        error => one_line(&error.to_string()),
    }
}

fn certificate_words(error: &CertificateError) -> String {
    match error {
        CertificateError::UnknownIssuer => {
            "no trusted authority issued it; name the file of that authority's certificate, or of this certificate itself, \
             in ca_file"
                .into()
        }
        CertificateError::Other(other) if other.to_string() == MAY_ISSUE => {
            "it is self-signed and may issue others (CA:TRUE); name the file of this very certificate in ca_file".into()
        }
        CertificateError::Other(other) if other.to_string() == FIRST_VERSION => {
            "it is of X.509 version 1, which has no subjectAltName; make one of version 3".into()
        }
        CertificateError::ExpiredContext { not_after, .. } => {
            format!("it expired on {}; renew it, or set the clock here right", date(*not_after))
        }
        CertificateError::Expired => "it has expired; renew it, or set the clock here right".into(),
        CertificateError::NotValidYetContext { not_before, .. } => {
            format!("it is valid from {} on; set the clocks right", date(*not_before))
        }
        CertificateError::NotValidForNameContext { expected, presented } if presented.is_empty() => {
            let expected = one_line(&expected.to_str());
            format!("it names no host in subjectAltName, so it is not for {expected}; its common name does not count")
        }
        CertificateError::NotValidForNameContext { expected, presented } => {
            let (expected, names) = (one_line(&expected.to_str()), presented.iter().map(|name| host(name)));
            let names = one_line(&names.collect::<Vec<_>>().join(", "));
            format!("it is for {names}, and not for {expected}; use one of its names, or make one with that name")
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            "it is not one for servers (extendedKeyUsage without serverAuth)".into()
        }
        CertificateError::BadSignature => {
            "it is not signed with the key of the authority that it names; was that authority renewed? Then ca_file is the \
             old one"
                .into()
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            "it, or one above it, is signed in a way that is too weak or not known here (SHA-1, a short key)".into()
        }
        CertificateError::Revoked => "it was revoked".into(),
        CertificateError::BadEncoding => "it cannot be read as a certificate (DER, X.509)".into(),
        other => one_line(&other.to_string()),
    }
}

/// The library writes `DnsName("id.example.com")`.
fn host(presented: &str) -> &str {
    presented.strip_prefix("DnsName(\"").and_then(|name| name.strip_suffix("\")")).unwrap_or(presented)
}

fn date(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
    seconds.map_or_else(|| "a day beyond the calendar".to_owned(), |date| date.format("%Y-%m-%d").to_string())
}

fn one_line(text: &str) -> String {
    const LONGEST: usize = 200;
    text.chars().map(|it| if it.is_control() { ' ' } else { it }).take(LONGEST).collect()
}

#[cfg(test)]
mod tests;
