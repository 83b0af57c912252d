//! Whether clients may still be here, after the files have been read again: who is withdrawn goes, with DISCONNECT
//! 0x87, and those who stay have their rights by the new rules.
//!
//! A shard looks at its clients in slices, right after a reload. Those that have to go do so at a bounded rate,
//! because they come back. A subscription that is not allowed any more leaves the session at once, on disk as well:
//! like an UNSUBSCRIBE, only that nobody is answered.
//!
//! Sessions without a connection are looked at when their client comes back: before, nobody knows where it comes
//! from, and rules may depend on that. Until then nothing is delivered to it.

use std::sync::Arc;
use std::time::Duration;

use super::Shard;
use super::errand::Errand;
use crate::access::{Access, Origin, Rights, Withdrawal};
use crate::broker::TopicFilter;
use crate::mqtt::codec::Reason;
use crate::shard::clients::Client;
use crate::shard::counters::Counter;
use crate::shard::ports::{Ports, Socket};
use crate::shard::publish::Unsubscribing;
use crate::shard::reviews::{Reviews, Scope};

/// How long a turn looks at clients.
const REVIEW_BUDGET: Duration = Duration::from_millis(2);

/// Units that it costs to look at a client, to judge its certificate, and for each of its subscriptions.
const CLIENT_UNITS: u32 = 32;
const CERTIFICATE_UNITS: u32 = 1_024;
const FILTER_UNITS: u32 = 8;

impl<P: Ports> Shard<P> {
    /// Looks at clients, if there is a review; and lets those go that have to. Nothing while shards rest.
    pub(super) fn review_clients(&mut self) {
        let number = self.reviews().number();
        let reviewing = self.clients.reviewing();
        let is_new = number != reviewing.seen();
        let has_work = is_new || reviewing.is_under_way() || reviewing.has_leaving();
        if !has_work || self.agenda.is_resting() || self.stop.has_begun() {
            return;
        }
        if is_new {
            let scope = self.reviews().scope_since(reviewing.seen());
            self.clients.begin_review(number, scope);
        }
        self.go_on_reviewing();
        self.let_withdrawn_go();
    }

    /// Whether the next turn has clients to look at.
    pub(super) fn has_review(&self) -> bool {
        let reviewing = self.clients.reviewing();
        reviewing.is_under_way() || reviewing.seen() != self.reviews().number()
    }

    fn reviews(&self) -> &Reviews {
        self.here.shared().entrance.reviews()
    }

    fn go_on_reviewing(&mut self) {
        if !self.clients.reviewing().is_under_way() {
            return;
        }
        let access = self.here.shared().questions.access();
        let begun = self.agenda.read_clock();
        while let Some((index, scope)) = self.clients.reviewing_mut().next() {
            let units = self.review_by(index, &access, scope);
            if self.agenda.uses_up(units, begun, REVIEW_BUDGET) {
                break;
            }
        }
    }

    /// A client has connected that was judged when `begun` was the latest review: perhaps by what files said before.
    pub(super) fn review_newcomer(&mut self, index: u32, begun: u32) {
        if begun != self.reviews().number() {
            self.review(index, self.reviews().scope_since(begun));
        }
    }

    /// A client has come to another place, where a review may have been already.
    pub(super) fn review_moved(&mut self, index: u32) {
        if self.reviews().number() != 0 {
            self.review(index, self.reviews().scope_since(0));
        }
    }

    fn review(&mut self, index: u32, scope: Scope) {
        let access = self.here.shared().questions.access();
        self.review_by(index, &access, scope);
    }

    /// Looks at a client, by rules that hold now. Returns the units that this has cost.
    fn review_by(&mut self, index: u32, access: &Access, scope: Scope) -> u32 {
        let Some(client) = self.clients.get(index) else { return 1 };
        let Some(key) = client.session() else { return 1 };
        let Some(session) = self.sessions.session(key) else { return 1 };
        let mut units = CLIENT_UNITS;
        let token = client.token(index);
        let listener = &self.here.shared().entrance.listeners()[client.intake.listener()];
        let mut why = access.withdrawal(session.user(), client.warrant(), listener.name());
        if why.is_none() && scope.certificates && client.transport.client_chain().is_some() {
            units += CERTIFICATE_UNITS;
            let is_accepted = self.is_certificate_accepted(client);
            why = (!is_accepted).then_some(Withdrawal::Certificate);
        }
        let renewed = access.renew(session.subject(), || self.origin_of(client));
        if let Some(rights) = renewed {
            units = units.saturating_add(self.subscription_units(key));
            if let Some(session) = self.sessions.session_mut(key) {
                session.set_rights(rights);
            }
            if self.withdraw_subscriptions(key) > 0 {
                why = why.or(Some(Withdrawal::Subscription));
            }
        }
        if let Some(why) = why {
            self.clients.reviewing_mut().push(token, why);
        }
        units
    }

    /// Where rules say that a client has come from.
    pub(super) fn origin_of(&self, client: &Client<P>) -> Origin<'_> {
        let listener = &self.here.shared().entrance.listeners()[client.intake.listener()];
        Origin {
            address: client.address().map(|peer| peer.ip()),
            listener: client.socket.local_address().ok(),
            listener_name: Some(listener.name()),
        }
    }

    /// Whether a new handshake would accept the certificate that a client has shown.
    fn is_certificate_accepted(&self, client: &Client<P>) -> bool {
        let chain = client.transport.client_chain().unwrap_or_default();
        let source = self.here.shared().entrance.tls_source(client.intake.listener());
        source.is_some_and(|source| source.accepts(chain))
    }

    fn subscription_units(&self, key: u32) -> u32 {
        let subscriptions = self.sessions.session(key).map_or(0, |one| one.subscriptions().len());
        u32::try_from(subscriptions).unwrap_or(u32::MAX).saturating_mul(FILTER_UNITS)
    }

    /// A client is back, whose session has had other rights `before`: it may have subscriptions that are not allowed
    /// any more. The session goes on without them.
    pub(super) fn review_return(&mut self, key: u32, before: &Rights) {
        let Some(session) = self.sessions.session(key) else { return };
        let is_judged = session.rights().has_rules() && session.rights().are_same(before);
        if !is_judged && !session.subscriptions().is_empty() {
            self.withdraw_subscriptions(key);
        }
    }

    /// Begins to remove the subscriptions of a session that its client may not have. Returns how many.
    fn withdraw_subscriptions(&mut self, key: u32) -> usize {
        let policy = &self.here.shared().config.limits.policy;
        let Some(session) = self.sessions.session(key) else { return 0 };
        let is_denied =
            |filter: &&TopicFilter| policy.subscribe(filter, session.subject()).is_err();
        let filters = session.subscriptions().iter().map(|(filter, _)| filter);
        let denied: Vec<_> = filters.filter(is_denied).cloned().collect();
        let withdrawn = denied.len();
        if withdrawn > 0 {
            self.here.counters().unauthorized_subscribe.add(withdrawn as u64);
            let session = (key, self.sessions.number(key));
            let removing = Box::new(Unsubscribing::withdrawing(session, denied));
            self.agenda.push(self.flow_of_session(key), Errand::Unsubscribe(removing));
        }
        withdrawn
    }

    /// Lets clients go that have to, as many as may.
    fn let_withdrawn_go(&mut self) {
        let shared = Arc::clone(self.here.shared());
        while let Some((token, why)) = self.clients.reviewing().first() {
            let index = self.resolve(token).filter(|index| self.clients[*index].is_served());
            if let Some(index) = index {
                if shared.entrance.reviews().take_leave(self.agenda.now()).is_none() {
                    let waiting = self.clients.reviewing_mut().wait();
                    self.here.counters().limit_withdrawals.add(waiting);
                    return;
                }
                self.count_withdrawal(why).add(1);
                self.close_client_for(index, Reason::NotAuthorized, &why.to_string());
            }
            self.clients.reviewing_mut().pop();
        }
    }

    fn count_withdrawal(&self, why: Withdrawal) -> &Counter {
        let counters = self.here.counters();
        match why {
            Withdrawal::Anonymous => &counters.withdrawn_anonymous,
            Withdrawal::User => &counters.withdrawn_user,
            Withdrawal::Password => &counters.withdrawn_password,
            Withdrawal::Certificate => &counters.withdrawn_certificate,
            Withdrawal::Subscription => &counters.withdrawn_subscription,
        }
    }
}
