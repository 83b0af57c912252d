use rustix::process::{Signal, getpid, kill_process};

use super::*;

#[tokio::test]
async fn each_signal_is_its_request() {
    let mut signals = Signals::new().expect("signals");
    for (signal, request) in [
        (Signal::TERM, Request::Stop(15)),
        (Signal::INT, Request::Stop(2)),
        (Signal::HUP, Request::Reload),
    ] {
        kill_process(getpid(), signal).expect("signal to ourselves");
        assert_eq!(signals.next().await, request);
    }
}
