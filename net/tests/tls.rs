//! Connections between hosts: who gets through, who doesn't and why, and what passes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use blindvox_net::identity::{Identity, Trust, keygen};
use blindvox_net::transport::CHUNK;
use blindvox_net::transport::tcp::Limits;
use blindvox_net::transport::tls::{Client, Secured, Server};
use blindvox_net::{Channel, Error};
use rcgen::{CertificateParams, KeyPair};
use time::{Duration as Days, OffsetDateTime};

const SOON: Duration = Duration::from_secs(10);

fn write(folder: &tempfile::TempDir, name: &str, text: &str) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

fn identity(name: &str) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    Identity::load(&write(&folder, "a.pem", &keygen(name, 30).unwrap().private)).unwrap()
}

/// One that ended yesterday, for a host that doesn't look at its own.
fn expired(usage: rcgen::ExtendedKeyUsagePurpose) -> (Vec<rustls::pki_types::CertificateDer<'static>>, KeyPair) {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(vec!["old".to_owned()]).unwrap();
    params.extended_key_usages = vec![usage];
    params.not_before = OffsetDateTime::now_utc() - Days::days(9);
    params.not_after = OffsetDateTime::now_utc() - Days::days(1);
    (vec![params.self_signed(&key).unwrap().der().clone()], key)
}

/// Two ends of a socket.
fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (client, listener.accept().unwrap().0)
}

/// What each of both ends makes of the other.
fn meet(client: Client, server: &Server) -> (Result<Secured, Error>, Result<Secured, Error>) {
    let (near, far) = sockets();
    thread::scope(|scope| {
        let there = scope.spawn(|| server.meet(far, SOON));
        (client.meet(near, SOON), there.join().unwrap())
    })
}

fn pair() -> (Channel, Channel) {
    let (hospital, service) = (identity("hospital"), identity("service"));
    let client = Client::new(&hospital, &Trust::Pin(service.certificate.pin)).unwrap();
    let (near, far) = meet(client, &Server::new(&service, None).unwrap());
    let (near, far) = (near.unwrap(), far.unwrap());
    assert_eq!((near.peer, far.peer), (service.certificate.pin, hospital.certificate.pin));
    let channel = |secured| Channel::tls(secured, Limits::between_hosts()).unwrap();
    (channel(near), channel(far))
}

#[test]
fn both_ends_may_send_much_at_once() {
    let (mut near, mut far) = pair();
    let exchange = |channel: &mut Channel, own: u8| {
        for i in 0..20 {
            channel.send(vec![own ^ i; CHUNK]).unwrap();
        }
        for i in 0..20 {
            assert!(channel.recv_exact(CHUNK).unwrap().iter().all(|&b| b == own ^ 0xff ^ i));
        }
        channel.finish().unwrap();
    };
    thread::scope(|scope| {
        scope.spawn(|| exchange(&mut near, 0));
        exchange(&mut far, 0xff);
    });
    // What is derived is bound to this connection, alike at both ends.
    let binding = |mut channel: Channel| {
        channel.bind_connection();
        *channel.binding()
    };
    let [a, b] = [near, far].map(binding);
    assert_eq!(a, b);
    let (other, _far) = pair();
    assert_ne!(a, binding(other));
}

#[test]
fn who_is_not_expected_is_told_why() {
    let (hospital, service, other) = (identity("hospital"), identity("service"), identity("other"));
    let server = Server::new(&service, None).unwrap();
    let text = |result: Result<Secured, Error>| result.err().expect("a refusal").to_string();
    // Another service than the one that is trusted.
    let client = Client::new(&hospital, &Trust::Pin(other.certificate.pin)).unwrap();
    let found = text(meet(client, &server).0);
    let expected = format!(
        "presented {}, expected {}: not the service you trust, or it changed its key (ask it for its new .crt)",
        service.certificate.pin, other.certificate.pin
    );
    assert_eq!(found, expected);
    // A client whose certificate has ended.
    let raw = |auth: Option<(Vec<rustls::pki_types::CertificateDer<'static>>, KeyPair)>| {
        let (mut near, far) = sockets();
        let there = thread::spawn({
            let server = server.clone();
            move || server.meet(far, SOON).err().map(|e| e.to_string())
        });
        let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Anybody));
        let mut config = match auth {
            Some((chain, key)) => {
                let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
            None => builder.with_no_client_auth(),
        };
        config.alpn_protocols = vec![b"blindvox/3".to_vec()];
        let mut connection = rustls::ClientConnection::new(Arc::new(config), "a.invalid".try_into().unwrap()).unwrap();
        let _ = connection.complete_io(&mut near);
        let _ = rustls::Stream::new(&mut connection, &mut near).read(&mut [0]);
        there.join().unwrap().expect("a refusal")
    };
    let found = raw(Some(expired(rcgen::ExtendedKeyUsagePurpose::ClientAuth)));
    assert!(found.contains("certificate has expired"), "{found}");
    // One without any.
    assert_eq!(raw(None), "the peer presented no certificate");
    // A service whose certificate has ended, though the key is the trusted one.
    let (chain, key) = expired(rcgen::ExtendedKeyUsagePurpose::ServerAuth);
    let folder = tempfile::tempdir().unwrap();
    let pem = format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", base64(&chain[0]));
    let pin = blindvox_net::identity::Certificate::load(&write(&folder, "old.crt", &pem)).unwrap().pin;
    let key = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = vec![b"blindvox/3".to_vec()];
    let (near, mut far) = sockets();
    let there = thread::spawn(move || {
        let mut connection = rustls::ServerConnection::new(Arc::new(config)).unwrap();
        let _ = connection.complete_io(&mut far);
    });
    let found = text(Client::new(&hospital, &Trust::Pin(pin)).unwrap().meet(near, SOON));
    assert!(found.contains("the peer's certificate has expired"), "{found}");
    there.join().unwrap();
    // An identity that has ended is noticed where it is read.
    let (chain, key) = expired(rcgen::ExtendedKeyUsagePurpose::ClientAuth);
    let pem = format!(
        "{}-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        key.serialize_pem(),
        base64(&chain[0])
    );
    let found = Identity::load(&write(&folder, "old.pem", &pem)).err().unwrap().to_string();
    assert!(found.contains("old.pem: its certificate has expired"), "{found}");
}

#[derive(Debug)]
struct Anybody;

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }
    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ED25519]
    }
}

fn base64(bytes: &[u8]) -> String {
    data_encoding::BASE64.encode(bytes)
}

#[test]
fn an_authority_vouches_for_both_ends_by_name() {
    let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let folder = tempfile::tempdir().unwrap();
    let issued = |name: &str| {
        let key = KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        let pem = format!("{}{}{}", key.serialize_pem(), certificate.pem(), root.pem());
        Identity::load(&write(&folder, name, &pem)).unwrap()
    };
    let (hospital, service) = (issued("hospital.example"), issued("seg.example"));
    let ca = format!("ca:{}", write(&folder, "ca.crt", &root.pem()).display());
    let authorities = blindvox_net::identity::trust::authorities(&folder.path().join("ca.crt")).unwrap();
    let server = Server::new(&service, Some(authorities)).unwrap();
    let trust = |name| Trust::parse(&ca, Some(name)).unwrap();
    let (near, far) = meet(Client::new(&hospital, &trust("seg.example")).unwrap(), &server);
    assert!(near.is_ok());
    assert_eq!(far.unwrap().names, ["hospital.example"]);
    let (near, _) = meet(Client::new(&hospital, &trust("other.example")).unwrap(), &server);
    assert!(near.err().unwrap().to_string().contains("certificate is not one to trust"));
    // Nobody vouches for an identity of one's own; it is known by its key alone.
    let (_, far) = meet(Client::new(&identity("hospital.example"), &trust("seg.example")).unwrap(), &server);
    assert!(far.unwrap().names.is_empty());
    assert!(Trust::parse(&ca, None).is_err() && Trust::parse("bv1:A", None).is_err());
}

#[test]
fn an_older_tls_and_other_talk_are_refused_in_time() {
    let server = Server::new(&identity("service"), None).unwrap();
    let found = |bytes: &[u8], timeout| {
        let (mut near, far) = sockets();
        near.write_all(bytes).unwrap();
        let start = Instant::now();
        let text = server.meet(far, timeout).err().unwrap().to_string();
        assert!(start.elapsed() < SOON);
        text
    };
    // A hello of TLS 1.2 with one suite and no extension.
    let mut hello = vec![22, 3, 1, 0, 45, 1, 0, 0, 41, 3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
    let text = found(&hello, SOON);
    assert!(text.contains("no TLS 1.3"), "{text}");
    assert!(found(b"GET / HTTP/1.1\r\n\r\n", SOON).contains("TLS"));
    assert!(found(&hello[..20], Duration::from_millis(100)).contains("did not finish its greeting"));
}

/// Carries bytes one way, the `at`-th of them changed; ends after `end`.
fn spoil(mut from: TcpStream, mut to: TcpStream, at: usize, end: usize) {
    let (mut bytes, mut passed) = (vec![0; 4096], 0);
    while let Ok(n @ 1..) = from.read(&mut bytes) {
        if (passed..passed + n).contains(&at) {
            bytes[at - passed] ^= 1;
        }
        passed += n;
        if passed > end || to.write_all(&bytes[..n]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(std::net::Shutdown::Both), to.shutdown(std::net::Shutdown::Both));
}

#[test]
fn a_changed_byte_and_a_cut_end_the_connection_and_its_threads() {
    let (hospital, service) = (identity("hospital"), identity("service"));
    for (at, end, expected) in [(200_000, usize::MAX, "TLS: "), (usize::MAX, 150_000, "connection")] {
        let ((near, relay_near), (relay_far, far)) = (sockets(), sockets());
        let clone = |s: &TcpStream| s.try_clone().unwrap();
        let ways = [
            thread::spawn({
                let (a, b) = (clone(&relay_near), clone(&relay_far));
                move || spoil(a, b, at, end)
            }),
            thread::spawn(move || spoil(relay_far, relay_near, usize::MAX, usize::MAX)),
        ];
        let server = Server::new(&service, None).unwrap();
        let client = Client::new(&hospital, &Trust::Pin(service.certificate.pin)).unwrap();
        let there = thread::spawn(move || {
            let mut channel = Channel::tls(server.meet(far, SOON).unwrap(), Limits::between_hosts()).unwrap();
            loop {
                if let Err(e) = channel.recv() {
                    return e.to_string();
                }
            }
        });
        let mut channel = Channel::tls(client.meet(near, SOON).unwrap(), Limits::between_hosts()).unwrap();
        while channel.send(vec![1; 10_000]).is_ok() {
            thread::sleep(Duration::from_millis(1));
        }
        let found = there.join().unwrap();
        assert!(found.contains(expected), "{found}");
        drop(channel);
        ways.into_iter().for_each(|way| way.join().unwrap());
    }
}
