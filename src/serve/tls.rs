//! Reads and checks the certificate, and replaces it when its files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use aws_lc_rs::digest::{Digest, SHA256, digest};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs as aws_lc};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};

use super::Https;
use crate::lifecycle::Shutdown;
use crate::tls::{pem_problem, words};

/// Why a certificate and its key cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}; the user that runs forepost must be able to read it", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is not PEM, or does not contain what is expected.
    #[error("{path} holds no usable {wanted} ({reason}); expected is PEM text: -----BEGIN …", path = path.display())]
    NotPem {
        /// The file.
        path: PathBuf,
        /// What it should contain.
        wanted: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Certificate and key do not belong together.
    #[error(
        "the key in {key} is not the one of the first certificate in {certificate}; \
         put the server's own certificate first, and the key it was issued for",
        key = key.display(), certificate = certificate.display()
    )]
    Mismatch {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
    },
    /// The TLS library does not support the kind of the key or the certificate.
    #[error("cannot use {certificate} with {key}: {}", words(source), key = key.display(), certificate = certificate.display())]
    Unusable {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// What the TLS library said.
        source: Error,
    },
    /// The TLS library refuses its own settings.
    #[error("cannot set up TLS: {}", words(.0))]
    Setup(Error),
}

/// The current certificate, and the files of the next one.
#[derive(Debug)]
pub(super) struct Certificates {
    https: Https,
    provider: Arc<CryptoProvider>,
    current: ArcSwap<CertifiedKey>,
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current.load_full())
    }
}

/// The certificate, and the last state of its files: a digest of the contents, or the error.
pub(super) struct Watch {
    certificates: Arc<Certificates>,
    seen: Result<Digest, String>,
}

/// Reads and checks the pair that `https` names.
///
/// # Errors
///
/// If it cannot be read or served; the message names the file.
pub(super) async fn load(https: &Https) -> Result<(Arc<ServerConfig>, Watch), CertificateError> {
    let provider = Arc::new(aws_lc::default_provider());
    let files = Files::read(https).await?;
    let current = ArcSwap::from_pointee(files.certified(https, &provider)?);
    let certificates = Arc::new(Certificates { https: https.clone(), provider: provider.clone(), current });
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(CertificateError::Setup)?
        .with_no_client_auth()
        .with_cert_resolver(certificates.clone());
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok((Arc::new(config), Watch { certificates, seen: Ok(files.digest()) }))
}

impl Watch {
    /// Checks the files at intervals until the shutdown. Replaces the current pair only with one that can be served.
    pub(super) async fn run(mut self, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = tokio::time::sleep(self.certificates.https.reload_interval) => self.look().await,
            }
        }
    }

    async fn look(&mut self) {
        let Certificates { https, provider, current } = &*self.certificates;
        let files = Files::read(https).await;
        let found = files.as_ref().map(Files::digest).map_err(ToString::to_string);
        let same = match (&self.seen, &found) {
            (Ok(seen), Ok(found)) => seen.as_ref() == found.as_ref(),
            (Err(seen), Err(found)) => seen == found,
            (Ok(_), Err(_)) | (Err(_), Ok(_)) => false,
        };
        if same {
            return;
        }
        self.seen = found;
        match files.and_then(|files| files.certified(https, provider)) {
            Ok(certified) => {
                current.store(Arc::new(certified));
                tracing::info!(certificate = %https.certificate.display(), "serving a new certificate");
            }
            Err(error) => tracing::warn!(%error, "keeping the old certificate"),
        }
    }
}

struct Files {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Files {
    async fn read(https: &Https) -> Result<Self, CertificateError> {
        let read = async |path: &Path| {
            let unreadable = |source| CertificateError::Unreadable { path: path.to_owned(), source };
            tokio::fs::read(path).await.map_err(unreadable)
        };
        Ok(Self { certificate: read(&https.certificate).await?, key: read(&https.key).await? })
    }

    /// A digest of the contents, so that no copy of the key is kept for a comparison.
    fn digest(&self) -> Digest {
        let parts = [digest(&SHA256, &self.certificate), digest(&SHA256, &self.key)];
        digest(&SHA256, &[parts[0].as_ref(), parts[1].as_ref()].concat())
    }

    fn certified(&self, https: &Https, provider: &CryptoProvider) -> Result<CertifiedKey, CertificateError> {
        let not_pem = |path: &Path, wanted, error: pem::Error| CertificateError::NotPem {
            path: path.to_owned(),
            wanted,
            reason: pem_problem(&error).to_owned(),
        };
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .and_then(|chain: Vec<_>| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|error| not_pem(&https.certificate, "certificate", error))?;
        let key =
            PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| not_pem(&https.key, "private key", error))?;
        CertifiedKey::from_der(chain, key, provider).map_err(|source| {
            let (certificate, key) = (https.certificate.clone(), https.key.clone());
            if source == Error::InconsistentKeys(InconsistentKeys::KeyMismatch) {
                CertificateError::Mismatch { certificate, key }
            } else {
                CertificateError::Unusable { certificate, key, source }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    struct Fixture {
        folder: tempfile::TempDir,
        watch: Watch,
    }

    impl Fixture {
        async fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            write(folder.path(), &make());
            let https = Https {
                listen: ([127, 0, 0, 1], 0).into(),
                certificate: folder.path().join("cert"),
                key: folder.path().join("key"),
                reload_interval: Duration::from_secs(1),
            };
            let (_, watch) = load(&https).await.unwrap();
            Self { folder, watch }
        }

        fn served(&self) -> CertificateDer<'static> {
            self.watch.certificates.current.load().cert[0].clone()
        }

        /// After a check: whether the certificate changed, and whether the files changed.
        async fn look(&mut self) -> (bool, bool) {
            let (served, seen) = (self.served(), format!("{:?}", self.watch.seen));
            self.watch.look().await;
            (self.served() != served, format!("{:?}", self.watch.seen) != seen)
        }
    }

    fn make() -> rcgen::CertifiedKey<rcgen::KeyPair> {
        rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap()
    }

    fn write(folder: &Path, made: &rcgen::CertifiedKey<rcgen::KeyPair>) {
        std::fs::write(folder.join("cert"), made.cert.pem()).unwrap();
        std::fs::write(folder.join("key"), made.signing_key.serialize_pem()).unwrap();
    }

    #[tokio::test]
    async fn only_a_good_pair_replaces_what_is_served() {
        let mut fixture = Fixture::new().await;
        let path = fixture.folder.path().to_owned();
        assert_eq!(fixture.look().await, (false, false), "nothing changed");

        let next = make();
        std::fs::write(path.join("cert"), next.cert.pem()).unwrap();
        assert_eq!(fixture.look().await, (false, true), "the key is still the old one");
        assert_eq!(fixture.look().await, (false, false), "said once");
        write(&path, &next);
        assert_eq!(fixture.look().await, (true, true), "now they fit");
        assert_eq!(fixture.served(), *next.cert.der());

        std::fs::write(path.join("cert"), "garbage").unwrap();
        assert_eq!(fixture.look().await, (false, true), "no certificate");
        std::fs::remove_file(path.join("key")).unwrap();
        assert_eq!(fixture.look().await, (false, true), "no key file");
        assert_eq!(fixture.look().await, (false, false), "said once");

        write(&path, &make());
        assert_eq!(fixture.look().await, (true, true), "good again");
    }
}
