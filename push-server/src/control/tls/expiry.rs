//! When to say that a certificate is about to expire: once a day, from two weeks before. The time is an
//! argument.

use std::time::{Duration, SystemTime};

/// How long before the end the warnings begin: two weeks, so that a renewal that failed can be looked
/// into.
const WARNED_SECS: u64 = 14 * DAY_SECS;
/// Time between two lines about the same certificate.
const DAY_SECS: u64 = 24 * 3_600;

/// How a certificate stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Validity {
    NotYet,
    Valid,
    /// For so many whole days.
    Ending {
        days: u64,
    },
    Expired,
}

impl Validity {
    /// At `now`; all in seconds since 1970. A certificate is valid in the last second that it names.
    pub(super) fn at(now: u64, valid_from: u64, valid_until: u64) -> Self {
        match valid_until.checked_sub(now) {
            None => Self::Expired,
            Some(_) if now < valid_from => Self::NotYet,
            Some(left) if left < WARNED_SECS => Self::Ending { days: left / DAY_SECS },
            Some(_) => Self::Valid,
        }
    }
}

/// Remembers when the last line about something was written.
#[derive(Debug, Default)]
pub(super) struct Reminder {
    /// When, in seconds since 1970, and about what state.
    told: Option<(u64, u8)>,
}

impl Reminder {
    /// Whether to write a line of a certificate that stands so.
    pub(super) fn is_due(&mut self, now: u64, validity: Validity) -> bool {
        let state = match validity {
            Validity::Valid => {
                self.told = None;
                return false;
            }
            Validity::NotYet => 0,
            Validity::Ending { .. } => 1,
            Validity::Expired => 2,
        };
        // A clock that was set back must not silence it.
        let is_recent = |at: u64| now >= at && now - at < DAY_SECS;
        let is_told = self.told.is_some_and(|(at, of)| of == state && is_recent(at));
        if !is_told {
            self.told = Some((now, state));
        }
        !is_told
    }
}

/// A time as log lines show it: `2026-11-29T18:50:00Z`.
pub(super) fn date(secs: u64) -> String {
    // Beyond it there is no calendar, as of certificates that are to hold for ever.
    const LAST: u64 = 253_402_300_799;
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs.min(LAST));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests;
