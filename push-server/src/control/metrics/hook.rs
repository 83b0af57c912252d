//! The hook that says who clients are: what it was asked, and its limits.

use std::fmt;

use super::super::hook::{HOOK_REMEMBERED_MAX, HOOK_TIMEOUT, HookCounts};
use super::out::Out;
use crate::access::HOOK_ANSWER_BYTES_MAX;
use crate::shard::{HOOK_QUESTIONS_MAX, HOOK_UNDER_WAY_MAX};

/// The counters.
pub(super) fn hook(out: &mut Out<'_>, counts: &HookCounts) -> fmt::Result {
    let help = "Requests to the hook of --auth-http that have ended, by what came of them";
    out.counters("push_auth_hook_requests", help, Some("result"), counts.requests())?;
    let help = "Clients judged without a request to the hook, by why";
    out.counters("push_auth_hook_unasked", help, Some("by"), counts.unasked())?;
    let help = "Clients that wait until the hook is asked";
    out.gauge("push_auth_hook_waiting", help, counts.waiting())?;
    out.gauge("push_auth_hook_under_way", "Requests to the hook under way", counts.under_way())?;
    let help = "1 while the hook rests because it has failed, and clients are refused";
    out.gauge("push_auth_hook_resting", help, counts.is_resting())?;
    let help = "Times that the hook began to rest, because it had failed";
    out.counters("push_auth_hook_rests", help, None, [("", counts.rests())])?;
    let help = "Answers of the hook that are remembered";
    out.gauge("push_auth_hook_remembered", help, counts.in_memory())
}

/// The limits, by their labels.
pub(super) fn limits() -> [(&'static str, u64); 5] {
    [
        ("auth_hook", HOOK_QUESTIONS_MAX.into()),
        ("auth_hook_under_way", HOOK_UNDER_WAY_MAX.into()),
        ("auth_hook_timeout_secs", HOOK_TIMEOUT.as_secs()),
        ("auth_hook_answer_bytes", HOOK_ANSWER_BYTES_MAX as u64),
        ("hook_remembered", HOOK_REMEMBERED_MAX),
    ]
}
