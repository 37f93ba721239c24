//! Messages over TCP: their length and number as little-endian u32, then the bytes. One thread reads and one writes, so
//! that a protocol thread only ever waits on its queues.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use super::queue::{Message, Popper, Pusher, queue};
use super::recycle;
use crate::channel::{DEFAULT_TIMEOUT, MAX_MESSAGE};
use crate::error::{Error, Result};

/// The writer looks this often whether the channel is gone.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Puts a connected socket behind a pair of queues.
pub fn connect(stream: TcpStream) -> Result<(Pusher, Popper)> {
    let refused = |e: std::io::Error| Error::Connection(e.to_string());
    stream.set_nodelay(true).map_err(refused)?;
    // A peer that stops reading must not keep the writing thread for ever.
    stream.set_write_timeout(Some(DEFAULT_TIMEOUT)).map_err(refused)?;
    let reader = stream.try_clone().map_err(refused)?;
    let (out_push, out_pop) = queue();
    let (in_push, in_pop) = queue();
    thread::spawn(move || write_messages(stream, &out_pop));
    thread::spawn(move || read_messages(reader, &in_push));
    Ok((out_push, in_pop))
}

fn write_messages(mut stream: TcpStream, queue: &Popper) {
    while let Ok(message) = queue.pop(FOREVER) {
        let length = message.bytes.len() as u64;
        let header = (u64::from(message.number) << 32 | length).to_le_bytes();
        if let Err(e) = stream.write_all(&header).and_then(|()| stream.write_all(&message.bytes)) {
            queue.close(&e.to_string());
            break;
        }
        recycle::give(message.bytes);
    }
    // The channel is gone or broken: end the reading half too, or its thread would outlive it.
    let _ = stream.shutdown(Shutdown::Both);
}

fn read_messages(mut stream: TcpStream, queue: &Pusher) {
    let why = loop {
        match read_message(&mut stream) {
            Ok(message) => {
                if queue.push(message, FOREVER).is_err() {
                    break "closed".to_owned();
                }
            }
            Err(why) => break why,
        }
    };
    queue.close(&why);
    // Not the writing half: sends go on until the next receive, which tells the cause.
    let _ = stream.shutdown(Shutdown::Read);
}

/// Reads one frame. The length is checked before anything is allocated.
fn read_message(stream: &mut impl Read) -> std::result::Result<Message, String> {
    let mut header = [0u8; 8];
    stream.read_exact(&mut header).map_err(|e| describe(&e))?;
    let header = u64::from_le_bytes(header);
    let (length, number) = (header as u32 as usize, (header >> 32) as u32);
    if length > MAX_MESSAGE {
        return Err(format!("the peer announced a message of {length} bytes, at most {MAX_MESSAGE} are allowed"));
    }
    let mut bytes = recycle::with_capacity(length);
    bytes.resize(length, 0);
    stream.read_exact(&mut bytes).map_err(|e| describe(&e))?;
    Ok(Message { number, bytes })
}

fn describe(e: &std::io::Error) -> String {
    match e.kind() {
        ErrorKind::UnexpectedEof => "the peer closed the connection".to_owned(),
        _ => e.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_decode_or_fail_without_a_large_allocation(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut stream = &bytes[..];
            while let Ok(message) = read_message(&mut stream) {
                prop_assert!(message.bytes.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn an_oversized_announcement_is_refused() {
        let bytes = u64::MAX.to_le_bytes();
        assert!(read_message(&mut &bytes[..]).unwrap_err().contains("at most"));
    }
}
