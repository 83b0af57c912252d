//! Wills on their way out of the records of their sessions.
//!
//! A will waits in its session's record. The session's next connection writes that record anew, and only requests
//! of the session's own shard keep the order of its records; but the will's publication is a write of several
//! shards, filed when the last of them has added its part. So the will is moved first: one request of the session's
//! shard writes the session's record without it, and the will as a record of its own. The publication removes that
//! record in the same write that puts the message into outboxes. After a crash the will is in one of three places:
//! in the session's record or in its own, and then the start publishes it, or in every outbox. So it is not lost,
//! even if its session has ended meanwhile, and at QoS 2, where messages leave only when they are safe, no receiver
//! gets it twice. (If the move fails and the disk is back for the publication, the session's record still has the
//! will. The store then fails the publication, too, as a promise in a session whose record has failed. When the will
//! is moved again, a record of its session without it is written before or with it.)
//!
//! A client sends a publish again when it fails. A will's client is gone, so the shard publishes it again, once a
//! second, unless it has QoS 0. It is not retained again: memory has retained it already, and a later message may
//! have replaced it.

use std::sync::Arc;

use super::Shard;
use crate::access::{Identity, Subject};
use crate::broker::{Message, QoS};
use crate::mqtt::{Session, Will};
use crate::shard::agenda::Flow;
use crate::shard::journal::{Done, Draft, Outgoing};
use crate::shard::ports::Ports;
use crate::shard::publish::{Author, Fanout};
use crate::store::{SessionNumber, WillNumber, Write};

impl<P: Ports> Shard<P> {
    /// Whether a will may still be published, now that its client has gone. The rules may be others than when it
    /// connected, and after a start only its user and id are known: then what depends on more is denied. A will that
    /// a start finds as a record of its own has been judged before.
    pub(super) fn may_publish_will(&self, session: &Session, message: &Message) -> bool {
        let access = self.here.shared().questions.access();
        let acl = access.acl.as_deref();
        let policy = &self.here.shared().config.limits.policy;
        let subject = session.subject();
        let judged = match acl.filter(|acl| !acl.gave(subject.rights)) {
            None => policy.will(&message.topic, subject),
            Some(acl) => {
                let identity = session.user().map(|user| Identity::of_user(user.into()));
                let identity = identity.unwrap_or_default();
                let rights = &acl.rights(&identity, session.client_id(), None);
                policy.will(&message.topic, Subject { rights, ..subject })
            }
        };
        let counters = self.here.counters();
        if judged.is_err() {
            counters.dropped_denied.add(1);
            counters.unauthorized_will.add(1);
            return false;
        }
        counters.authorized_will.add(u64::from(acl.is_some() || subject.rights.has_rules()));
        true
    }

    /// Publishes a will that is on disk. `record`: the session's record without it. `key`: the session's, now or
    /// before its end.
    pub(super) fn publish_will(
        &mut self,
        (session, key): (SessionNumber, Option<u32>),
        mut will: Will,
        record: Draft,
    ) {
        let number = WillNumber(self.here.shared().journal.take_number());
        let charge = will.charge.take();
        let message = Arc::new(will.into_message(self.agenda.now()));
        let will = Outgoing { number, session, key, message, charge };
        self.move_will(&will, record);
        self.send_will(will);
    }

    /// Publishes a will that is not on disk, of the session with this number. `from`: the session's key, if it has
    /// not ended.
    pub(super) fn publish_unwritten_will(
        &mut self,
        session: SessionNumber,
        from: Option<u32>,
        mut will: Will,
    ) {
        let flow = Flow::session(self.here.index(), session.into());
        let charge = will.charge.take();
        let message = Arc::new(will.into_message(self.agenda.now()));
        let author = Author::Will { key: from, _charge: charge };
        self.publish(flow, message, author, Draft::default());
    }

    /// Writes a will as a record of its own, before other shards file its publication.
    fn move_will(&mut self, will: &Outgoing, mut record: Draft) {
        let Outgoing { session, number, key: _, message, charge: _ } = will;
        let (session, number, message) = (*session, *number, Arc::clone(message));
        record.write(Write::PutWill { session, number, message });
        self.file(record);
        self.submit_draft();
    }

    /// Publishes a will that has a record of its own.
    pub(super) fn send_will(&mut self, mut will: Outgoing) {
        let _charge = will.charge.take();
        let flow = self.flow_of_will(&will);
        let (message, key, draft) = self.sent_out(will);
        self.publish(flow, message, Author::Will { key, _charge }, draft);
    }

    /// The session's flow, even after its end, so that no other session waits behind the will.
    fn flow_of_will(&self, will: &Outgoing) -> Flow {
        match will.key {
            Some(_) => Flow::session(self.here.index(), will.session.into()),
            None => Flow::nobody(self.here.index()),
        }
    }

    /// A will's message, its session's key, and the draft that goes with it.
    fn sent_out(&mut self, will: Outgoing) -> (Arc<Message>, Option<u32>, Draft) {
        let key = will.key.filter(|&key| self.sessions.is_there(key, will.session));
        (Arc::clone(&will.message), key, self.will_draft(will))
    }

    fn will_draft(&self, will: Outgoing) -> Draft {
        Draft::from(will.removal()).then(self.here.index(), Done::Will(will))
    }

    /// A will is safe in every outbox, or its write has failed.
    pub(super) fn on_will_published(&mut self, will: Outgoing, failed: bool) {
        if failed && !self.journal.retry_list_mut().push_will(will) {
            self.here.counters().limit_wills.add(1);
        }
    }

    /// Publishes again the first will whose write has failed.
    pub(super) fn retry_will(&mut self) {
        let Some(will) = self.journal.retry_list_mut().pop_will() else { return };
        if will.message.qos == QoS::AtMostOnce {
            let draft = self.will_draft(will);
            self.file(draft);
            return;
        }
        let record = self.mark_again(will.session);
        self.move_will(&will, record);
        let flow = self.flow_of_will(&will);
        let (message, key, draft) = self.sent_out(will);
        let author = Author::Will { key, _charge: None };
        self.queue_fanout(Fanout::published(flow, message, author, draft));
    }
}
