use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;

use super::super::observed::tests::{observed, user_path};
use super::*;

/// Joins when told, or when the teller is gone.
struct Fake {
    stops: Arc<AtomicU32>,
    reloads: Arc<AtomicU32>,
    clock_sets: Arc<AtomicU32>,
    is_whole: bool,
    joined: mpsc::Receiver<Result<(), ShardError>>,
}

impl Service for Fake {
    fn stop(&self) {
        self.stops.fetch_add(1, Ordering::Relaxed);
    }

    fn reload(&self) -> impl FnOnce() + Send + 'static {
        self.reloads.fetch_add(1, Ordering::Relaxed);
        || ()
    }

    fn clock_was_set(&self) {
        self.clock_sets.fetch_add(1, Ordering::Relaxed);
    }

    fn is_whole(&self) -> bool {
        self.is_whole
    }

    fn join(self) -> Result<(), ShardError> {
        self.joined.recv().unwrap_or(Ok(()))
    }
}

fn fake() -> (Fake, Arc<AtomicU32>, mpsc::Sender<Result<(), ShardError>>) {
    let (join, joined) = mpsc::channel();
    let stops = Arc::new(AtomicU32::new(0));
    let fake = Fake {
        stops: Arc::clone(&stops),
        reloads: Arc::default(),
        clock_sets: Arc::default(),
        is_whole: true,
        joined,
    };
    (fake, stops, join)
}

/// Supervises with these requests and no further ones.
async fn supervised(service: Fake, timeout: Duration, requests: &[Request]) -> (Ending, bool) {
    let (observed, _) = observed(user_path(), Instant::now());
    let mut requests = requests.iter().copied();
    let next = async || match requests.next() {
        Some(request) => request,
        None => std::future::pending().await,
    };
    let ending = supervise(service, &observed, timeout, next).await;
    (ending, observed.is_stopping())
}

#[tokio::test]
async fn a_signal_stops_once_and_exits_with_0() {
    let (service, stops, join) = fake();
    join.send(Ok(())).expect("service");
    let (ending, is_stopping) =
        supervised(service, STOP_TIMEOUT, &[Request::Reload, Request::Stop(15)]).await;
    assert!(matches!(ending, Ending::Stopped), "{ending:?}");
    assert_eq!((ending.exit_code(), stops.load(Ordering::Relaxed)), (0, 1));
    assert!(is_stopping, "/readyz was told");
}

#[tokio::test]
async fn sighup_reloads_until_the_stop_begins() {
    let (service, _, join) = fake();
    let reloads = Arc::clone(&service.reloads);
    let requests =
        [Request::Reload, Request::Reload, Request::Stop(15), Request::Reload, Request::Stop(2)];
    supervised(service, STOP_TIMEOUT, &requests).await;
    assert_eq!(reloads.load(Ordering::Relaxed), 2);
    drop(join);
}

#[tokio::test]
async fn each_time_that_the_clock_is_set_is_passed_on() {
    let (service, _, join) = fake();
    join.send(Ok(())).expect("service");
    let clock_sets = Arc::clone(&service.clock_sets);
    let requests = [Request::ClockSet, Request::ClockSet, Request::Stop(15), Request::ClockSet];
    let (ending, _) = supervised(service, STOP_TIMEOUT, &requests).await;
    assert!(matches!(ending, Ending::Stopped), "{ending:?}");
    assert_eq!(clock_sets.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_second_signal_exits_at_once_with_its_number() {
    let (service, stops, join) = fake();
    let requests = [Request::Stop(15), Request::Reload, Request::Stop(2)];
    let (ending, _) = supervised(service, STOP_TIMEOUT, &requests).await;
    assert!(matches!(ending, Ending::Cut(2)), "{ending:?}");
    assert_eq!((ending.exit_code(), stops.load(Ordering::Relaxed)), (130, 1));
    drop(join);
}

#[tokio::test]
async fn shards_that_do_not_end_are_left_and_exit_with_1() {
    let (service, _, join) = fake();
    let timeout = Duration::from_millis(20);
    let (ending, _) = supervised(service, timeout, &[Request::Stop(15)]).await;
    assert!(matches!(ending, Ending::TimedOut), "{ending:?}");
    assert_eq!(ending.exit_code(), 1);
    drop(join);
}

#[tokio::test]
async fn a_failed_shard_exits_with_1() {
    let (service, _, join) = fake();
    let error = ShardError::Panicked { shard: 0 };
    join.send(Err(error)).expect("service");
    let (ending, _) = supervised(service, STOP_TIMEOUT, &[Request::Stop(15)]).await;
    assert!(matches!(ending, Ending::Failed(_)), "{ending:?}");
    assert_eq!(ending.exit_code(), 1);
}

#[tokio::test]
async fn a_shard_that_ends_by_itself_stops_the_server_with_1() {
    let (mut service, stops, join) = fake();
    service.is_whole = false;
    join.send(Err(ShardError::Panicked { shard: 1 })).expect("service");
    let (ending, is_stopping) = supervised(service, STOP_TIMEOUT, &[]).await;
    assert!(matches!(ending, Ending::Failed(ShardError::Panicked { shard: 1 })), "{ending:?}");
    assert_eq!((ending.exit_code(), stops.load(Ordering::Relaxed)), (1, 1));
    assert!(is_stopping, "/readyz was told");
}
