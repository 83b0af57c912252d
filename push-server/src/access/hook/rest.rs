//! When a hook that fails is asked again. After some failures in a row it rests; then one question tries it, and
//! while that is under way, nobody else asks.

use std::time::Duration;

use push_common::clock::Monotonic;

/// Failures in a row after which a hook rests.
pub const HOOK_FAILURES_MAX: u32 = 5;

/// How long it rests.
pub const HOOK_REST: Duration = Duration::from_secs(5);

/// Whether a hook may be asked.
#[derive(Debug, Default)]
pub struct HookRest {
    /// Since the last valid answer.
    failures: u32,
    state: State,
}

#[derive(Clone, Copy, Debug, Default)]
enum State {
    /// Everybody asks.
    #[default]
    Awake,
    /// Nobody asks until then.
    Rests(Monotonic),
    /// One question is under way that tries it.
    Tried,
}

/// A question that may be asked. Tell how it went.
#[derive(Debug)]
#[must_use]
pub struct HookAttempt {
    tries: bool,
}

impl HookRest {
    /// Takes leave to ask now. `None`: it rests.
    pub fn ask(&mut self, now: Monotonic) -> Option<HookAttempt> {
        if !self.may_ask(now) {
            return None;
        }
        let tries = !matches!(self.state, State::Awake);
        if tries {
            self.state = State::Tried;
        }
        Some(HookAttempt { tries })
    }

    /// Whether it could be asked now.
    pub fn may_ask(&self, now: Monotonic) -> bool {
        match self.state {
            State::Awake => true,
            State::Rests(until) => now >= until,
            State::Tried => false,
        }
    }

    /// Whether it rests, or only one question may try it.
    pub fn is_resting(&self) -> bool {
        !matches!(self.state, State::Awake)
    }

    /// It gave a valid answer. Returns whether it had rested until now.
    pub fn has_answered(&mut self, _: HookAttempt) -> bool {
        std::mem::take(self).is_resting()
    }

    /// It did not. Returns whether it begins to rest now, for the first time or again.
    #[expect(clippy::needless_pass_by_value, reason = "an attempt is used up")]
    pub fn has_failed(&mut self, attempt: HookAttempt, now: Monotonic) -> bool {
        self.failures = self.failures.saturating_add(1);
        let begins = match self.state {
            State::Awake => self.failures >= HOOK_FAILURES_MAX,
            // Those fail, too, that were asked before.
            State::Rests(_) | State::Tried => attempt.tries,
        };
        if begins {
            self.state = State::Rests(now.after(HOOK_REST));
        }
        begins
    }
}

#[cfg(test)]
mod tests;
