//! What a served client has used of its rates, and its places among the connections of its address and its user. The
//! clock is an argument; nothing here reads or closes.

use push_common::clock::Monotonic;

use crate::access::ClientLimits;
use crate::shard::addresses::{AddressPlace, UserPlace};

/// How long reading may pause for a client that publishes too much. One that has not caught up then is disconnected
/// (`limit="publish_rate_closed"`).
const PAUSE_MILLIS: u64 = 10_000;

/// One client's. An idle client pays 16 bytes, and for the rest only where a limit is on.
#[derive(Debug, Default)]
pub(crate) struct Account {
    /// When the next filter is due.
    filter_due: Monotonic,
    more: Option<Box<More>>,
}

/// What few servers limit.
#[derive(Debug)]
struct More {
    /// The limits of this client.
    limits: ClientLimits,
    /// When the next publish is due, and the next byte of one.
    publish_due: Monotonic,
    byte_due: Monotonic,
    /// Since when it has published too much, without having caught up.
    over_since: Option<Monotonic>,
    /// Its input waits for the rate.
    is_paused: bool,
    address: Option<AddressPlace>,
    user: Option<UserPlace>,
}

/// What a pause has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pause {
    /// Reading goes on.
    Over,
    /// Not before then.
    Until(Monotonic),
    /// It has lasted too long.
    TooLong,
}

impl Account {
    /// Of a client with these limits and places, where the server's limits are these.
    pub(crate) fn new(
        limits: ClientLimits,
        servers: &ClientLimits,
        address: Option<AddressPlace>,
        user: Option<UserPlace>,
    ) -> Self {
        let is_plain =
            limits == *servers && limits.publish.is_off() && limits.publish_bytes.is_off();
        let more = (!is_plain || address.is_some() || user.is_some()).then(|| {
            let (publish_due, byte_due) = (Monotonic(0), Monotonic(0));
            let (over_since, is_paused) = (None, false);
            Box::new(More { limits, publish_due, byte_due, over_since, is_paused, address, user })
        });
        Self { filter_due: Monotonic(0), more }
    }

    /// The place of its address.
    pub(crate) fn address(&self) -> Option<&AddressPlace> {
        self.more.as_deref()?.address.as_ref()
    }

    /// The place of its user.
    pub(crate) fn user(&self) -> Option<&UserPlace> {
        self.more.as_deref()?.user.as_ref()
    }

    /// It subscribes to one more filter. Returns whether it may.
    pub(crate) fn take_filter(&mut self, servers: &ClientLimits, now: Monotonic) -> bool {
        let rate = self.more.as_deref().map_or(servers, |more| &more.limits).subscribe;
        let may = rate.opens_at(self.filter_due) <= now;
        if may {
            self.filter_due = rate.spent(self.filter_due, 1, now);
        }
        may
    }

    /// It has published, with so many bytes.
    pub(crate) fn publish(&mut self, bytes: u64, now: Monotonic) {
        let Some(more) = self.more.as_deref_mut() else { return };
        more.publish_due = more.limits.publish.spent(more.publish_due, 1, now);
        more.byte_due = more.limits.publish_bytes.spent(more.byte_due, bytes, now);
    }

    /// Whether it has published so much that reading has to pause.
    pub(crate) fn has_to_pause(&self, now: Monotonic) -> bool {
        self.more.as_deref().is_some_and(|more| more.opens_at() > now)
    }

    /// Reading pauses. Returns whether it had caught up before.
    pub(crate) fn pause(&mut self, now: Monotonic) -> bool {
        let Some(more) = self.more.as_deref_mut() else { return false };
        more.is_paused = true;
        let is_new = more.over_since.is_none();
        more.over_since.get_or_insert(now);
        is_new
    }

    /// All that it has sent is read.
    pub(crate) fn catch_up(&mut self) {
        if let Some(more) = self.more.as_deref_mut() {
            more.over_since = None;
        }
    }

    /// Whether it has not caught up since it published too much.
    pub(crate) fn is_over(&self) -> bool {
        self.more.as_deref().is_some_and(|more| more.over_since.is_some())
    }

    /// When its pause is to be looked at. `None`: it has none.
    pub(crate) fn pause_deadline(&self) -> Option<Monotonic> {
        let more = self.more.as_deref().filter(|more| more.is_paused)?;
        Some(more.opens_at().min(more.too_long_at()?))
    }

    /// What its pause has come to.
    pub(crate) fn look_at_pause(&mut self, now: Monotonic) -> Pause {
        let Some(more) = self.more.as_deref_mut().filter(|more| more.is_paused) else {
            return Pause::Over;
        };
        if more.too_long_at().is_some_and(|at| at <= now) {
            return Pause::TooLong;
        }
        match more.opens_at() {
            opens_at if opens_at <= now => {
                more.is_paused = false;
                Pause::Over
            }
            opens_at => Pause::Until(opens_at),
        }
    }
}

impl More {
    /// When it is within both rates again.
    fn opens_at(&self) -> Monotonic {
        let ClientLimits { publish, publish_bytes, .. } = self.limits;
        publish.opens_at(self.publish_due).max(publish_bytes.opens_at(self.byte_due))
    }

    fn too_long_at(&self) -> Option<Monotonic> {
        self.over_since.map(|since| since.after_millis(PAUSE_MILLIS))
    }
}

#[cfg(test)]
mod tests;
