//! What is held against a peer's certificate.
//!
//! By pin: its key's fingerprint, in constant time, its dates, and that it signed itself; host names and issuers say
//! nothing then. By authority: a path of signatures up to a certificate that is trusted, and a name.

use std::path::Path;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

use super::checks::{Usage, provider, self_signed};
use super::files::Certificate;
use super::pin::Pin;
use crate::error::{Error, Result};

/// Whom a client trusts to be its service.
#[derive(Clone, Debug)]
pub enum Trust {
    /// Who holds this key.
    Pin(Pin),
    /// Who has this DNS name, as one of these authorities says.
    Authority(Arc<RootCertStore>, ServerName<'static>),
}

impl Trust {
    /// `bv1:...`, `FILE.crt`, or `ca:FILE` with a DNS name.
    ///
    /// # Errors
    /// [`Error::Identity`] naming what was given.
    pub fn parse(text: &str, name: Option<&str>) -> Result<Self> {
        match (text.strip_prefix("ca:"), name) {
            (Some(file), Some(name)) => {
                let dns = ServerName::try_from(name.to_owned())
                    .map_err(|_| Error::Identity(format!("--name {name:?}: expected a DNS name")))?;
                Ok(Self::Authority(authorities(Path::new(file))?, dns))
            }
            (Some(_), None) => Err(Error::Identity(format!(
                "--trust {text}: expected --name DNS with it, the service's name in its certificate"
            ))),
            (None, Some(_)) => Err(Error::Identity(format!("--name goes with --trust ca:FILE, found --trust {text}"))),
            (None, None) if text.starts_with("bv1:") => Ok(Self::Pin(text.parse()?)),
            (None, None) => Ok(Self::Pin(Certificate::load(Path::new(text))?.pin)),
        }
    }
}

/// The authorities of a file in PEM form.
///
/// # Errors
/// [`Error::Identity`] naming the file.
pub fn authorities(path: &Path) -> Result<Arc<RootCertStore>> {
    let wrong = |what: String| Error::Identity(format!("{}: {what}", path.display()));
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| wrong(e.to_string()))? {
        let certificate = certificate.map_err(|e| wrong(e.to_string()))?;
        store.add(certificate).map_err(|e| wrong(format!("a certificate that can't be trusted: {e}")))?;
    }
    if store.is_empty() {
        return Err(wrong("found no certificate, expected those of authorities".to_owned()));
    }
    Ok(Arc::new(store))
}

fn refused(e: webpki::Error) -> rustls::Error {
    rustls::Error::InvalidCertificate(match e {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::UnknownIssuer => CertificateError::UnknownIssuer,
        e => CertificateError::Other(OtherError(Arc::new(e))),
    })
}

fn pin_of(der: &CertificateDer<'_>) -> std::result::Result<Pin, rustls::Error> {
    let parsed = EndEntityCert::try_from(der).map_err(refused)?;
    Ok(Pin::of(&parsed.subject_public_key_info()))
}

/// How a peer proves that it holds its certificate's key: the same for either side.
macro_rules! signatures {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
            verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.provider.signature_verification_algorithms.supported_schemes()
        }
    };
}

/// What a client holds against its service's certificate.
#[derive(Debug)]
pub(crate) struct PinnedServer {
    pub(crate) pin: Pin,
    pub(crate) provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedServer {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let presented = pin_of(end_entity)?;
        if presented != self.pin {
            return Err(rustls::Error::General(format!(
                "presented {presented}, expected {}: not the service you trust, or it changed its key (ask it for its new .crt)",
                self.pin
            )));
        }
        self_signed(end_entity, now, Usage::Server).map_err(refused)?;
        Ok(ServerCertVerified::assertion())
    }

    signatures!();
}

/// What a service holds against a client's certificate: that it signed itself or that an authority did. Whether the client
/// is one of its own, its list says, after the handshake: who isn't gets a line that says so.
#[derive(Debug)]
pub(crate) struct AnyClient {
    pub(crate) authorities: Option<Arc<RootCertStore>>,
    pub(crate) provider: Arc<CryptoProvider>,
}

/// The DNS names that an authority of these vouches for in a certificate; none where none does.
pub(crate) fn vouched(
    chain: &[CertificateDer<'_>],
    authorities: Option<&RootCertStore>,
    now: UnixTime,
) -> std::result::Result<Vec<String>, webpki::Error> {
    let (Some(roots), Some((own, between))) = (authorities, chain.split_first()) else {
        return Err(webpki::Error::UnknownIssuer);
    };
    let algorithms = provider().signature_verification_algorithms.all;
    let parsed = EndEntityCert::try_from(own)?;
    parsed.verify_for_usage(algorithms, &roots.roots, between, now, KeyUsage::client_auth(), None, None)?;
    Ok(parsed.valid_dns_names().map(str::to_owned).collect())
}

impl ClientCertVerifier for AnyClient {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> std::result::Result<ClientCertVerified, rustls::Error> {
        let itself = self_signed(end_entity, now, Usage::Client);
        if let (Err(e), Some(roots)) = (&itself, &self.authorities)
            && !matches!(e, webpki::Error::CertExpired { .. } | webpki::Error::CertNotValidYet { .. })
        {
            let chain: Vec<_> = std::iter::once(end_entity).chain(intermediates).cloned().collect();
            vouched(&chain, Some(roots), now).map_err(refused)?;
            return Ok(ClientCertVerified::assertion());
        }
        itself.map_err(refused)?;
        Ok(ClientCertVerified::assertion())
    }

    signatures!();
}

/// The verifier of a client that trusts so.
pub(crate) fn of_server(trust: &Trust, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>> {
    Ok(match trust {
        Trust::Pin(pin) => Arc::new(PinnedServer { pin: *pin, provider }),
        Trust::Authority(roots, _) => WebPkiServerVerifier::builder_with_provider(roots.clone(), provider)
            .build()
            .map_err(|e| Error::Identity(format!("these authorities can't be trusted: {e}")))?,
    })
}
