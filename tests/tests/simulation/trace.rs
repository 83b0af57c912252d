//! What happens in a run, line by line, for who reads a failure: `PUSH_SIMULATION_TRACE=1`.

use std::sync::LazyLock;

static IS_ASKED: LazyLock<bool> =
    LazyLock::new(|| std::env::var_os("PUSH_SIMULATION_TRACE").is_some());

pub(crate) fn is_asked() -> bool {
    *IS_ASKED
}

pub(crate) fn trace(line: impl FnOnce() -> String) {
    if is_asked() {
        println!("  {}", line());
    }
}
