//! How slowly a peer may read.

use std::time::Duration;

/// What a reader may still keep its writer waiting: used up by waiting, earned by the bytes that it takes.
///
/// A reader may stop for the whole `window`, and on average must take `rate` bytes a second while there are any.
#[derive(Clone, Debug)]
pub struct Pace {
    rate: u64,
    window: Duration,
    credit: Duration,
}

impl Pace {
    /// A reader of at least `rate` bytes a second (at least 1), averaged over `window`.
    pub fn new(rate: u64, window: Duration) -> Self {
        Self { rate: rate.max(1), window, credit: window }
    }

    /// Counts a wait in which the reader took `bytes`; false if it is too slow.
    pub fn count(&mut self, waited: Duration, bytes: usize) -> bool {
        let earned = Duration::from_secs_f64(bytes as f64 / self.rate as f64);
        let left = self.credit.saturating_add(earned).checked_sub(waited);
        self.credit = left.unwrap_or_default().min(self.window);
        left.is_some_and(|left| !left.is_zero())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_reader_may_stop_for_the_window_and_no_longer() {
        let mut pace = Pace::new(100, 10 * SECOND);
        assert!((0..9).all(|_| pace.count(SECOND, 0)));
        assert!(!pace.count(SECOND, 0));
    }

    #[test]
    fn a_trickle_is_too_slow_however_often_it_comes() {
        let mut pace = Pace::new(100, 10 * SECOND);
        // Half the rate: a second of each two is lost.
        let seconds = (0..1000).take_while(|_| pace.count(SECOND, 50)).count();
        assert_eq!(seconds, 19);
    }

    #[test]
    fn a_reader_at_the_rate_is_served_for_ever_and_saves_up_no_more_than_the_window() {
        let mut pace = Pace::new(100, 10 * SECOND);
        assert!((0..10_000).all(|_| pace.count(SECOND, 100)));
        assert!(pace.count(SECOND, 1 << 40));
        assert!((0..9).all(|_| pace.count(SECOND, 0)));
        assert!(!pace.count(SECOND, 0));
    }
}
