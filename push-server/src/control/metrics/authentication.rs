//! Who clients are, and what it took to find out.

use std::fmt;

use super::out::Out;
use crate::control::authenticator::AuthenticationCounts;

/// Writes it.
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
    out.gauge("push_tokens_waiting", "Tokens that wait to be checked", counts.tokens_waiting())
}
