//! How long tests wait, and how. None of this measures the server's speed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long a test waits for an event. Far more than any takes, for slow and busy machines: the
/// emulated ones of `cargo xtask test vm` are ten times slower than this one.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a test listens for something that must not come.
pub const SILENCE: Duration = Duration::from_millis(300);

/// Time between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Waits until `look` finds something.
///
/// # Panics
/// After [`PATIENCE`], naming `what`.
#[track_caller]
pub fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for {what}");
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Measures how late this machine wakes a sleeping thread while a test runs: the scheduler's part
/// of a measured delay.
#[derive(Debug)]
pub struct SchedulingWatch {
    stop: Arc<AtomicBool>,
    late_max_us: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl SchedulingWatch {
    /// Starts a thread that mostly sleeps.
    pub fn start() -> Self {
        const NAP: Duration = Duration::from_millis(2);
        let (stop, late_max_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, late) = (Arc::clone(&stop), Arc::clone(&late_max_us));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                std::thread::sleep(NAP);
                let late_us = begun.elapsed().saturating_sub(NAP).as_micros();
                late.fetch_max(u64::try_from(late_us).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Self { stop, late_max_us, thread: Some(thread) }
    }

    /// The latest wake-up seen so far.
    pub fn late_max(&self) -> Duration {
        Duration::from_micros(self.late_max_us.load(Ordering::Relaxed))
    }
}

impl Drop for SchedulingWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
