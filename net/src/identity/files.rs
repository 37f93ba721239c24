//! Identities as files: `NAME.pem` holds the key and the certificate and is its owner's alone, `NAME.crt` is for others.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use time::{Duration, OffsetDateTime};
use webpki::EndEntityCert;
use zeroize::Zeroizing;

use super::checks::{Usage, in_words, self_signed};
use super::pin::{ED25519, Pin};
use crate::error::{Error, Result};

/// The largest file that is read as an identity or a certificate, in bytes.
const MAX_FILE: u64 = 1 << 20;
/// How much a clock may be late, so that a new certificate is valid at once elsewhere.
const CLOCK_SKEW: Duration = Duration::hours(1);
/// What precedes the 32 secret bytes of an Ed25519 key in PKCS #8 (RFC 8410), from the algorithm on.
const ED25519_SECRET: [u8; 11] = [0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// The text of an identity's two files.
pub struct Generated {
    /// Key and certificate, PEM: its owner's alone.
    pub private: Zeroizing<String>,
    /// The certificate, PEM.
    pub public: String,
    /// Its fingerprint.
    pub pin: Pin,
}

/// Makes an identity that is valid for `days`.
///
/// # Errors
/// [`Error::Identity`] for a name that isn't 1 to 63 letters, digits, `.`, `_` and `-`, for no or too many days, and where
/// the system gives no randomness.
pub fn keygen(name: &str, days: u32) -> Result<Generated> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if !(1..=63).contains(&name.len()) || !name.chars().all(plain) || name.starts_with(['.', '-']) {
        return Err(Error::Identity(format!(
            "the name {name:?}: expected 1 to 63 letters, digits, dots, _ and -, the first a letter or digit"
        )));
    }
    if !(1..=36_500).contains(&days) {
        return Err(Error::Identity(format!("{days} days: expected 1 to 36500")));
    }
    let failed = |e: rcgen::Error| Error::Identity(format!("{name}: no identity could be made: {e}"));
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).map_err(failed)?;
    let mut params = CertificateParams::new(vec![name.to_owned()]).map_err(failed)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let now = OffsetDateTime::now_utc();
    params.not_before = now - CLOCK_SKEW;
    params.not_after = now + Duration::days(days.into());
    let certificate = params.self_signed(&key).map_err(failed)?;
    let public = certificate.pem();
    let private = Zeroizing::new([&*Zeroizing::new(key.serialize_pem()), public.as_str()].concat());
    let pin = Certificate::from_der(certificate.der().clone(), name)?.pin;
    Ok(Generated { private, public, pin })
}

/// A certificate that was read, and what it says of its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    pub(crate) der: CertificateDer<'static>,
    /// The key's fingerprint.
    pub pin: Pin,
}

impl Certificate {
    /// Reads `FILE.crt`.
    ///
    /// # Errors
    /// [`Error::Identity`] naming the file.
    pub fn load(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let text = read(path)?;
        let der = CertificateDer::from_pem_slice(&text).map_err(|_| {
            Error::Identity(format!(
                "{shown}: found no certificate, expected one in PEM form (a .crt of `blindvox keygen`)"
            ))
        })?;
        Self::from_der(der, &shown)
    }

    pub(crate) fn from_der(der: CertificateDer<'static>, shown: &str) -> Result<Self> {
        let parsed = EndEntityCert::try_from(&der)
            .map_err(|e| Error::Identity(format!("{shown}: a certificate that can't be read: {e}")))?;
        let pin = Pin::of(&parsed.subject_public_key_info());
        Ok(Self { der, pin })
    }

    /// The key itself, where it is one of Ed25519.
    pub fn ed25519(&self) -> Option<[u8; 32]> {
        let parsed = EndEntityCert::try_from(&self.der).ok()?;
        parsed.subject_public_key_info().strip_prefix(&ED25519)?.try_into().ok()
    }

    /// DNS names that it states.
    pub fn names(&self) -> Vec<String> {
        let parsed = EndEntityCert::try_from(&self.der);
        parsed.map_or_else(|_| Vec::new(), |c| c.valid_dns_names().map(str::to_owned).collect())
    }
}

/// A key and its certificates. The key is cleared when it is dropped.
pub struct Identity {
    /// Its own certificate.
    pub certificate: Certificate,
    /// Its own, and those up to an authority where there are any.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    /// The file, for messages.
    pub path: PathBuf,
}

impl Identity {
    /// Reads `NAME.pem` and checks that it is its owner's alone, and valid today.
    ///
    /// # Errors
    /// [`Error::Identity`] naming the file, what was found and what is expected.
    pub fn load(path: &Path) -> Result<Self> {
        let wrong = |what: &str| Error::Identity(format!("{}: {what}", path.display()));
        check_mode(path)?;
        let text = Zeroizing::new(read(path)?);
        let key = PrivateKeyDer::from_pem_slice(&text)
            .map_err(|_| wrong("found no private key, expected an identity (a .pem of `blindvox keygen`)"))?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&text)
            .collect::<std::result::Result<_, _>>()
            .map_err(|_| wrong("found a certificate that is no PEM"))?;
        let own = chain.first().ok_or_else(|| wrong("found no certificate beside the key, expected both"))?;
        let certificate = Certificate::from_der(own.clone(), &path.display().to_string())?;
        if chain.len() == 1 {
            self_signed(own, now(), Usage::Client).map_err(|e| wrong(&format!("its certificate {}", in_words(&e))))?;
        }
        Ok(Self { certificate, chain, key, path: path.to_owned() })
    }

    /// The 32 bytes that its key is derived from, where it is one of Ed25519: for signatures beside those of TLS.
    pub fn ed25519_seed(&self) -> Option<Zeroizing<[u8; 32]>> {
        // SEQUENCE, its length, INTEGER 0 or 1, then the algorithm.
        let rest = self.key.secret_der().get(5..)?.strip_prefix(&ED25519_SECRET)?;
        rest.first_chunk().map(|seed| Zeroizing::new(*seed))
    }
}

pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let failed = |what: String| Error::Identity(format!("{}: {what}", path.display()));
    let len = std::fs::metadata(path).map_err(|e| failed(e.to_string()))?.len();
    if len > MAX_FILE {
        return Err(failed(format!("{len} bytes, at most {MAX_FILE} are expected")));
    }
    std::fs::read(path).map_err(|e| failed(e.to_string()))
}

/// A key that others may read is not its owner's alone.
#[cfg(unix)]
fn check_mode(path: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mode = std::fs::metadata(path).map(|m| m.permissions().mode() & 0o777);
    match mode {
        Ok(mode) if mode & 0o077 != 0 => Err(Error::Identity(format!(
            "{}: others may read or write this key (mode {mode:04o}), expected 0600 (chmod 600 {})",
            path.display(),
            path.display()
        ))),
        // What else is wrong, reading tells.
        _ => Ok(()),
    }
}

#[cfg(not(unix))]
fn check_mode(_: &Path) -> Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, text: &str, mode: u32) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn identities_read_back_and_are_their_owners_alone() {
        let folder = tempfile::tempdir().unwrap();
        let made = keygen("hospital-a", 825).unwrap();
        let pem = write(folder.path(), "a.pem", &made.private, 0o600);
        let crt = write(folder.path(), "a.crt", &made.public, 0o644);
        let identity = Identity::load(&pem).unwrap();
        assert_eq!((identity.certificate.pin, Certificate::load(&crt).unwrap().pin), (made.pin, made.pin));
        assert_eq!(identity.certificate.names(), ["hospital-a"]);
        let key = identity.certificate.ed25519().unwrap();
        assert_eq!(Certificate::load(&crt).unwrap().ed25519(), Some(key));
        assert_eq!(Pin::of_ed25519(&key), made.pin);
        let seed = identity.ed25519_seed().unwrap();
        let pair = ring::signature::Ed25519KeyPair::from_seed_and_public_key(&*seed, &key);
        assert!(pair.is_ok(), "the seed is another key's");
        assert!(!made.public.contains("PRIVATE"));
        let error = |path: &Path| Identity::load(path).err().unwrap().to_string();
        assert!(error(&write(folder.path(), "b.pem", &made.private, 0o640)).contains("mode 0640"));
        assert!(error(&write(folder.path(), "c.pem", &made.public, 0o600)).contains("no private key"));
        assert!(error(&folder.path().join("none.pem")).contains("none.pem"));
        let key = made.private.split("-----BEGIN CERT").next().unwrap();
        assert!(error(&write(folder.path(), "d.pem", key, 0o600)).contains("no certificate"));
        assert!(
            Certificate::load(&write(folder.path(), "e.crt", "nothing", 0o600))
                .unwrap_err()
                .to_string()
                .contains("no certificate")
        );
    }

    #[test]
    fn strange_names_and_times_are_refused() {
        for (name, days) in [("", 1), ("../a", 1), (".a", 1), ("a b", 1), ("a", 0), ("a", 40_000)] {
            assert!(matches!(keygen(name, days), Err(Error::Identity(_))), "{name:?}");
        }
    }
}
