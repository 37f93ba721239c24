//! What is checked of any certificate, and by which algorithms.

use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls_pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

/// The ciphers of TLS 1.3, the fastest first.
pub(crate) fn provider() -> &'static Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| {
        use ring::cipher_suite::{TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256};
        let cipher_suites = vec![TLS13_AES_128_GCM_SHA256, TLS13_AES_256_GCM_SHA384, TLS13_CHACHA20_POLY1305_SHA256];
        Arc::new(CryptoProvider { cipher_suites, ..ring::default_provider() })
    })
}

/// What a certificate is presented as.
#[derive(Clone, Copy)]
pub(crate) enum Usage {
    Client,
    Server,
}

/// Checks a certificate that signed itself: its form, its dates, its signature.
pub(crate) fn self_signed(
    der: &CertificateDer<'_>,
    now: UnixTime,
    usage: Usage,
) -> std::result::Result<(), webpki::Error> {
    let anchor = anchor_from_trusted_cert(der)?;
    let usage = match usage {
        Usage::Client => KeyUsage::client_auth(),
        Usage::Server => KeyUsage::server_auth(),
    };
    let algorithms = provider().signature_verification_algorithms.all;
    EndEntityCert::try_from(der)?.verify_for_usage(algorithms, &[anchor], &[], now, usage, None, None).map(drop)
}

/// What is wrong with a certificate.
pub(crate) fn in_words(e: &webpki::Error) -> String {
    match e {
        webpki::Error::CertExpired { .. } => "has expired (`blindvox keygen` makes a new one)".to_owned(),
        webpki::Error::CertNotValidYet { .. } => "is not valid yet (is a clock wrong?)".to_owned(),
        e => format!("is not one of `blindvox keygen`: {e}"),
    }
}
