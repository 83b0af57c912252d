//! What a served client has used of its rates, and its places among the connections of its address and its user. The
//! clock is an argument; nothing here reads or closes.

use push_common::clock::Monotonic;

use crate::access::ClientLimits;
use crate::shard::addresses::{AddressPlace, UserPlace};

/// How long reading may pause for a client that publishes too much. One that has not caught up then is disconnected
/// (`limit="publish_rate_closed"`).
const PAUSE_MILLIS: u64 = 10_000;

/// The part of the burst of filters for which no time is kept: a client has that many at most, and an idle one is to
/// stay small.
const FEW_FILTERS_PART: u32 = 64;

/// One client's. An idle client pays 8 bytes, and for the rest only where a limit is on or it subscribes to many filters.
#[derive(Debug, Default)]
pub(crate) struct Account(Option<Box<Limited>>);

/// What few clients need.
#[derive(Debug)]
struct Limited {
    /// The limits of this client.
    limits: ClientLimits,
    /// When the next filter is due. `None`: it has subscribed to few.
    filter_due: Option<Monotonic>,
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
        let is_limited = !is_plain || address.is_some() || user.is_some();
        Self(is_limited.then(|| Box::new(Limited { address, user, ..Limited::new(limits) })))
    }

    /// The place of its address.
    pub(crate) fn address(&self) -> Option<&AddressPlace> {
        self.0.as_deref()?.address.as_ref()
    }

    /// The place of its user.
    pub(crate) fn user(&self) -> Option<&UserPlace> {
        self.0.as_deref()?.user.as_ref()
    }

    /// It subscribes to one more filter. Returns whether it may. `few` counts its first ones, from 0 on.
    pub(crate) fn take_filter(
        &mut self,
        few: &mut u8,
        servers: &ClientLimits,
        now: Monotonic,
    ) -> bool {
        let limits = *self.0.as_deref().map_or(servers, |limited| &limited.limits);
        let rate = limits.subscribe;
        let is_counted = self.0.as_deref().is_some_and(|limited| limited.filter_due.is_some());
        if rate.is_off() {
            return true;
        }
        if !is_counted && u32::from(*few) < (rate.burst / FEW_FILTERS_PART).min(u8::MAX.into()) {
            *few += 1;
            return true;
        }
        let limited = self.0.get_or_insert_with(|| Box::new(Limited::new(limits)));
        // The first ones count as if they had come now, so the burst is never exceeded.
        let due = limited.filter_due.unwrap_or(rate.spent(Monotonic(0), (*few).into(), now));
        let may = rate.opens_at(due) <= now;
        limited.filter_due = Some(if may { rate.spent(due, 1, now) } else { due });
        may
    }

    /// It has published, with so many bytes.
    pub(crate) fn publish(&mut self, bytes: u64, now: Monotonic) {
        let Some(limited) = self.0.as_deref_mut() else { return };
        limited.publish_due = limited.limits.publish.spent(limited.publish_due, 1, now);
        limited.byte_due = limited.limits.publish_bytes.spent(limited.byte_due, bytes, now);
    }

    /// Whether it has published so much that reading has to pause.
    pub(crate) fn has_to_pause(&self, now: Monotonic) -> bool {
        self.0.as_deref().is_some_and(|limited| limited.opens_at() > now)
    }

    /// Reading pauses. Returns whether it had caught up before.
    pub(crate) fn pause(&mut self, now: Monotonic) -> bool {
        let Some(limited) = self.0.as_deref_mut() else { return false };
        limited.is_paused = true;
        let is_new = limited.over_since.is_none();
        limited.over_since.get_or_insert(now);
        is_new
    }

    /// All that it has sent is read.
    pub(crate) fn catch_up(&mut self) {
        if let Some(limited) = self.0.as_deref_mut() {
            limited.over_since = None;
        }
    }

    /// Whether it has not caught up since it published too much.
    pub(crate) fn is_over(&self) -> bool {
        self.0.as_deref().is_some_and(|limited| limited.over_since.is_some())
    }

    /// When its pause is to be looked at. `None`: it has none.
    pub(crate) fn pause_deadline(&self) -> Option<Monotonic> {
        let limited = self.0.as_deref().filter(|limited| limited.is_paused)?;
        Some(limited.opens_at().min(limited.too_long_at()?))
    }

    /// What its pause has come to.
    pub(crate) fn look_at_pause(&mut self, now: Monotonic) -> Pause {
        let Some(limited) = self.0.as_deref_mut().filter(|limited| limited.is_paused) else {
            return Pause::Over;
        };
        if limited.too_long_at().is_some_and(|at| at <= now) {
            return Pause::TooLong;
        }
        match limited.opens_at() {
            opens_at if opens_at <= now => {
                limited.is_paused = false;
                Pause::Over
            }
            opens_at => Pause::Until(opens_at),
        }
    }
}

impl Limited {
    /// Of a client that has used nothing, and has no places.
    fn new(limits: ClientLimits) -> Self {
        Self {
            limits,
            filter_due: None,
            publish_due: Monotonic(0),
            byte_due: Monotonic(0),
            over_since: None,
            is_paused: false,
            address: None,
            user: None,
        }
    }

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
