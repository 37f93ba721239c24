//! The process's threads, also where the system allows only few.

use std::io;
use std::sync::mpsc::{self, Sender};
use std::thread::{Builder, JoinHandle};

use rayon::{ThreadBuilder, ThreadPoolBuilder};

/// Threads of a run beside those of the pool: the service's and the clock of the progress bar.
const OTHERS: usize = 2;

/// A thread that waits for its work.
type Waiting = (Sender<ThreadBuilder>, JoinHandle<()>);

/// Starts the pool with as many threads as there are cores and as the system allows, with room left for the others.
/// Where it allows none the pool is the calling thread: enough for work that needs no second party.
pub(crate) fn start() {
    let named = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|&n| n > 0);
    let wanted = named.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let mut waiting: Vec<Waiting> = (0..wanted + OTHERS).map_while(|_| wait().ok()).collect();
    let surplus = waiting.split_off(pool_size(waiting.len(), wanted));
    for (work, thread) in surplus {
        drop(work);
        // Its place is free only once it has ended.
        let _ = thread.join();
    }
    // Both fail only for a pool that is there already.
    let _ = if waiting.is_empty() {
        ThreadPoolBuilder::new().num_threads(1).use_current_thread().build_global()
    } else {
        let pool = ThreadPoolBuilder::new().num_threads(waiting.len());
        let mut threads = waiting.into_iter();
        pool.spawn_handler(move |worker| {
            let (work, _) = threads.next().ok_or(io::ErrorKind::WouldBlock)?;
            work.send(worker).map_err(|_| io::ErrorKind::WouldBlock.into())
        })
        .build_global()
    };
}

/// Threads of the pool, of those that the system allows.
fn pool_size(allowed: usize, wanted: usize) -> usize {
    allowed.saturating_sub(OTHERS).max(1).min(wanted).min(allowed)
}

fn wait() -> io::Result<Waiting> {
    let (work, waiting) = mpsc::channel::<ThreadBuilder>();
    let run = move || {
        if let Ok(worker) = waiting.recv() {
            worker.run();
        }
    };
    Ok((work, Builder::new().spawn(run)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_leaves_room_for_the_others() {
        for (allowed, wanted, size) in [(10, 8, 8), (9, 8, 7), (4, 8, 2), (3, 8, 1), (2, 8, 1), (1, 8, 1), (0, 8, 0)] {
            assert_eq!(pool_size(allowed, wanted), size, "{allowed} of {wanted}");
        }
    }
}
