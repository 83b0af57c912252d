//! Who clients are, and what it took to find out.

use std::fmt;

use super::super::authenticator::AuthenticationCounts;
use super::super::hook::{HOOK_REMEMBERED_MAX, HOOK_TIMEOUT, HookCounts};
use super::out::Out;
use crate::access::{HOOK_ANSWER_BYTES_MAX, VERIFIED_MAX};
use crate::shard::{HOOK_QUESTIONS_MAX, HOOK_UNDER_WAY_MAX, QUESTIONS_MAX, TOKEN_QUESTIONS_MAX};

/// What each source has done.
pub(super) fn write(out: &mut Out<'_>, counts: &AuthenticationCounts) -> fmt::Result {
    let help = "Clients let in, by what knew them; authentications on a live connection included";
    out.counters("push_authentications_accepted", help, Some("source"), counts.accepted())?;
    let help = "Passwords of users checked, by a hash or by the memory of an earlier one";
    out.counters("push_passwords_checked", help, Some("by"), counts.checked())?;
    let help = "Passwords that were right not long ago, and are remembered";
    out.gauge("push_passwords_remembered", help, counts.in_memory())?;
    out.gauge("push_passwords_waiting", "Passwords that wait to be hashed", counts.waiting())?;
    let help = "Tokens checked, by their signature or by the memory of an earlier check";
    out.counters("push_tokens_checked", help, Some("by"), counts.tokens_checked())?;
    let help = "Tokens whose signature was right not long ago, and that are remembered";
    out.gauge("push_tokens_remembered", help, counts.tokens_in_memory())?;
    out.gauge("push_tokens_waiting", "Tokens that wait to be checked", counts.tokens_waiting())?;
    hook(out, counts.hook())
}

/// The hook.
fn hook(out: &mut Out<'_>, counts: &HookCounts) -> fmt::Result {
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
pub(super) fn limits() -> [(&'static str, u64); 9] {
    [
        ("auth_queue", QUESTIONS_MAX.into()),
        ("auth_tokens", TOKEN_QUESTIONS_MAX.into()),
        ("passwords_remembered", VERIFIED_MAX as u64),
        ("tokens_remembered", VERIFIED_MAX as u64),
        ("auth_hook", HOOK_QUESTIONS_MAX.into()),
        ("auth_hook_under_way", HOOK_UNDER_WAY_MAX.into()),
        ("auth_hook_timeout_secs", HOOK_TIMEOUT.as_secs()),
        ("auth_hook_answer_bytes", HOOK_ANSWER_BYTES_MAX as u64),
        ("hook_remembered", HOOK_REMEMBERED_MAX),
    ]
}
