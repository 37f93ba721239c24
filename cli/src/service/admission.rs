//! Which runs begin: so many at a time, within so much memory by estimate; the others wait in a queue, in their order.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use blindvox_net::{Code, Refusal};
use blindvox_protocols::{Error, Result};

/// How often who waits looks whether its client is still there.
const LOOK: Duration = Duration::from_millis(200);

#[derive(Default)]
struct State {
    running: usize,
    reserved: u64,
    /// Tickets of those that wait.
    waiting: VecDeque<u64>,
    next: u64,
    draining: bool,
    /// Of the last runs, for who is sent away.
    seconds: f64,
}

/// All places.
pub(crate) struct Places {
    sessions: usize,
    queue: usize,
    memory: u64,
    state: Mutex<State>,
    changed: Condvar,
}

/// A place that is held by a run, and given back when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    bytes: u64,
    begun: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.running -= 1;
        state.reserved -= self.bytes;
        let seconds = self.begun.elapsed().as_secs_f64();
        state.seconds = if state.seconds == 0.0 { seconds } else { 0.8 * state.seconds + 0.2 * seconds };
        self.places.changed.notify_all();
    }
}

/// Takes a ticket out of the queue, whatever ended the waiting.
struct Ticket<'a>(&'a Places, u64);

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting.retain(|t| *t != self.1);
        self.0.changed.notify_all();
    }
}

/// Bytes for people.
pub(crate) fn gib(bytes: u64) -> String {
    let gib = bytes as f64 / f64::from(1 << 30);
    if gib >= 10.0 { format!("{gib:.0} GiB") } else { format!("{gib:.1} GiB") }
}

impl Places {
    /// So many runs, so many that wait, so many bytes.
    pub(crate) fn new(sessions: usize, queue: usize, memory: u64) -> Arc<Self> {
        Arc::new(Self { sessions, queue, memory, state: Mutex::default(), changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// Waits for a place for a run that takes so many bytes; `what` it is, for who is refused. `queued` hears how many come
    /// first; its error ends the waiting.
    ///
    /// # Errors
    /// A refusal, or what `queued` said.
    pub(crate) fn enter(
        self: &Arc<Self>,
        what: &str,
        bytes: u64,
        queued: &mut dyn FnMut(u32) -> Result<()>,
    ) -> Result<Place> {
        if bytes > self.memory {
            let (needed, given) = (gib(bytes), gib(self.memory));
            let text = format!("{what} need about {needed} here, the service gives {given}; a smaller grid would fit");
            return Err(Error::Refused(Refusal::new(Code::TooLarge, text)));
        }
        let mut state = self.lock();
        if state.draining {
            return Err(draining());
        }
        let fits = |state: &State| state.running < self.sessions && state.reserved + bytes <= self.memory;
        if state.waiting.len() >= self.queue && !(state.waiting.is_empty() && fits(&state)) {
            let (waiting, seconds) = (state.waiting.len(), state.seconds.max(1.0));
            let wait = seconds * (waiting + 1) as f64 / self.sessions as f64;
            let text = format!("busy, {waiting} runs wait; try again in about {wait:.0} s");
            return Err(Error::Refused(Refusal::new(Code::Busy, text)));
        }
        let ticket = Ticket(self, state.next);
        state.next += 1;
        state.waiting.push_back(ticket.1);
        loop {
            if state.draining {
                drop(state);
                return Err(draining());
            }
            let ahead = state.waiting.iter().take_while(|t| **t != ticket.1).count();
            if ahead == 0 && fits(&state) {
                state.running += 1;
                state.reserved += bytes;
                drop(state);
                return Ok(Place { places: self.clone(), bytes, begun: Instant::now() });
            }
            drop(state);
            queued(ahead as u32 + 1)?;
            state = self.changed.wait_timeout(self.lock(), LOOK).unwrap_or_else(|e| e.into_inner()).0;
        }
    }

    /// Lets nobody in any more.
    pub(crate) fn drain(&self) {
        self.lock().draining = true;
        self.changed.notify_all();
    }

    /// Whether it does that.
    pub(crate) fn is_draining(&self) -> bool {
        self.lock().draining
    }

    /// Runs that run, that wait, and bytes that are held.
    pub(crate) fn now(&self) -> (usize, usize, u64) {
        let state = self.lock();
        (state.running, state.waiting.len(), state.reserved)
    }

    /// Waits until no run runs; false if that takes longer.
    pub(crate) fn emptied(&self, within: Duration) -> bool {
        let waited = self.changed.wait_timeout_while(self.lock(), within, |state| state.running > 0);
        waited.unwrap_or_else(|e| e.into_inner()).0.running == 0
    }
}

fn draining() -> Error {
    Error::Refused(Refusal::new(Code::Draining, "the service is about to end; try again later or elsewhere"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(result: Result<Place>) -> String {
        result.err().expect("a refusal").to_string()
    }

    #[test]
    fn runs_wait_in_order_within_places_and_memory() {
        let places = Places::new(2, 2, 10 << 30);
        let enter = |bytes: u64| places.enter("model \"m\": 8x8x8 voxels", bytes << 30, &mut |_| Ok(()));
        let found = text(enter(61));
        assert_eq!(
            found,
            "refused: model \"m\": 8x8x8 voxels need about 61 GiB here, the service gives 10 GiB; a smaller grid would fit"
        );
        let (a, b) = (enter(6).unwrap(), enter(4).unwrap());
        assert_eq!(places.now(), (2, 0, 10 << 30));
        let order = Mutex::new(Vec::new());
        std::thread::scope(|scope| {
            for i in 0..2u32 {
                let (places, order) = (&places, &order);
                scope.spawn(move || {
                    let place = places.enter("m", 8 << 30, &mut |_| Ok(())).unwrap();
                    order.lock().unwrap().push(i);
                    drop(place);
                });
                while places.now().1 <= i as usize {
                    std::thread::yield_now();
                }
            }
            let found = text(enter(1));
            assert!(found.contains("busy, 2 runs wait; try again in about"), "{found}");
            drop(a);
            // The first of those that wait needs both places' memory.
            assert_eq!(places.now().1, 2);
            drop(b);
        });
        assert_eq!((places.now(), order.into_inner().unwrap()), ((0, 0, 0), vec![0, 1]));
    }

    #[test]
    fn who_leaves_the_queue_or_comes_to_an_end_holds_nothing() {
        let places = Places::new(1, 1, 1 << 30);
        let held = places.enter("m", 1, &mut |_| Ok(())).unwrap();
        let left = places.enter("m", 1, &mut |_| Err(Error::Cancelled));
        assert!(matches!(left, Err(Error::Cancelled)) && places.now().1 == 0);
        assert!(!places.emptied(Duration::from_millis(1)));
        places.drain();
        assert!(text(places.enter("m", 1, &mut |_| Ok(()))).contains("about to end"));
        drop(held);
        assert!(places.emptied(Duration::ZERO));
    }
}
