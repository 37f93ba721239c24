//! Messages over TCP: a little-endian u32 length, then the bytes. One thread reads and one writes, so
//! that a protocol thread only ever waits on its queues.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use super::queue::{Popper, Pusher, queue};
use crate::channel::MAX_MESSAGE;
use crate::error::{Error, Result};

/// The writer looks this often whether the channel is gone.
const FOREVER: Duration = Duration::from_secs(u32::MAX as u64);

/// Puts a connected socket behind a pair of queues.
pub fn connect(stream: TcpStream) -> Result<(Pusher, Popper)> {
    let refused = |e: std::io::Error| Error::Connection(e.to_string());
    stream.set_nodelay(true).map_err(refused)?;
    let reader = stream.try_clone().map_err(refused)?;
    let (out_push, out_pop) = queue();
    let (in_push, in_pop) = queue();
    thread::spawn(move || write_messages(stream, &out_pop));
    thread::spawn(move || read_messages(reader, &in_push));
    Ok((out_push, in_pop))
}

fn write_messages(mut stream: TcpStream, queue: &Popper) {
    while let Ok(message) = queue.pop(FOREVER) {
        let length = (message.len() as u32).to_le_bytes();
        if let Err(e) = stream.write_all(&length).and_then(|()| stream.write_all(&message)) {
            queue.close(&e.to_string());
            break;
        }
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
    let _ = stream.shutdown(Shutdown::Both);
}

/// Reads one frame. The length is checked before anything is allocated.
fn read_message(stream: &mut impl Read) -> std::result::Result<Vec<u8>, String> {
    let mut length = [0u8; 4];
    stream.read_exact(&mut length).map_err(|e| describe(&e))?;
    let length = u32::from_le_bytes(length) as usize;
    if length > MAX_MESSAGE {
        return Err(format!("the peer announced a message of {length} bytes, at most {MAX_MESSAGE} are allowed"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message).map_err(|e| describe(&e))?;
    Ok(message)
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
                prop_assert!(message.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn an_oversized_announcement_is_refused() {
        let bytes = u32::MAX.to_le_bytes();
        assert!(read_message(&mut &bytes[..]).unwrap_err().contains("at most"));
    }
}
