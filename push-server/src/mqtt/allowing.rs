//! What a server does about events that allows everything, for tests and fuzz targets.

use super::codec::Reason;
use super::{Connection, Event, Session};

/// Does what such a server does about an event. Gives back those about which there is more to say.
pub(super) fn allow(
    connection: &mut Connection,
    session: &mut Session,
    event: Event,
) -> Option<Event> {
    match event {
        Event::Publish(_, Some(receipt)) | Event::PublishRefused(_, Some(receipt)) => {
            connection.publish_done(session, receipt, Reason::Success);
        }
        Event::Subscribe(subscribe) => {
            let entries = subscribe.entries.iter();
            let results: Vec<_> = entries
                .map(|entry| entry.as_ref().map(|entry| entry.options.qos).map_err(|r| *r))
                .collect();
            connection.subscribed(subscribe.packet_id, &results);
        }
        Event::Unsubscribe(unsubscribe) => {
            let results = vec![Reason::Success; unsubscribe.filters.len()];
            connection.unsubscribed(unsubscribe.packet_id, &results);
        }
        other => return Some(other),
    }
    None
}
