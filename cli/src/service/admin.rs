//! `/livez`, `/readyz` and `/metrics` over HTTP, one request a connection.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use blindvox_protocols::{Error, Result};

use super::admission::Places;
use super::metrics::Metrics;

/// The longest request that is read.
const MAX_REQUEST: usize = 4096;
const PATIENCE: Duration = Duration::from_secs(2);

/// Opens the socket.
///
/// # Errors
/// [`Error::Input`] naming the address.
pub(crate) fn bind(address: SocketAddr) -> Result<TcpListener> {
    TcpListener::bind(address).map_err(|e| Error::Input(format!("admin {address}: {e}")))
}

/// Answers until the process ends.
pub(crate) fn answer(listener: &TcpListener, metrics: &Metrics, places: &Arc<Places>) {
    for stream in listener.incoming().flatten() {
        // One after the other, each for a short time: nobody but this machine's own programs asks.
        let _ = one(stream, metrics, places);
    }
}

fn one(mut stream: TcpStream, metrics: &Metrics, places: &Arc<Places>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let (mut request, mut piece) = (Vec::new(), [0; 512]);
    while request.len() < MAX_REQUEST && !request.windows(4).any(|w| w == b"\r\n\r\n") {
        match stream.read(&mut piece)? {
            0 => break,
            n => request.extend_from_slice(&piece[..n]),
        }
    }
    let line = request.split(|b| *b == b'\r').next().unwrap_or_default();
    let (status, body) = match line {
        b"GET /livez HTTP/1.1" | b"GET /livez HTTP/1.0" => ("200 OK", "ok\n".to_owned()),
        b"GET /readyz HTTP/1.1" | b"GET /readyz HTTP/1.0" if places.is_draining() => {
            ("503 Service Unavailable", "draining\n".to_owned())
        }
        b"GET /readyz HTTP/1.1" | b"GET /readyz HTTP/1.0" => ("200 OK", "ready\n".to_owned()),
        b"GET /metrics HTTP/1.1" | b"GET /metrics HTTP/1.0" => ("200 OK", metrics.text(places)),
        _ => ("404 Not Found", "GET /livez, /readyz or /metrics\n".to_owned()),
    };
    let length = body.len();
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    stream.write_all(body.as_bytes())
}

/// Asks a service on this machine whether it is ready.
///
/// # Errors
/// [`Error::Connection`] with what it said.
pub(crate) fn ready(address: SocketAddr) -> Result<()> {
    let failed = |e: std::io::Error| Error::Connection(format!("{address}: {e}"));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(failed)?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(failed)?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").map_err(failed)?;
    let mut said = String::new();
    stream.take(MAX_REQUEST as u64).read_to_string(&mut said).map_err(failed)?;
    if said.starts_with("HTTP/1.1 200 ") {
        return Ok(());
    }
    let last = said.lines().last().unwrap_or("nothing").to_owned();
    Err(Error::Connection(format!("{address}: the service is not ready: {last}")))
}
