//! Where a client is told to have its responses.

use crate::server::at_every_split;
use crate::wire::Connect;

/// Request Response Information 1.
const ASKING: &[u8] = &[0x19, 1];

/// The Response Information of a CONNACK, which comes last here.
fn told(connack: &[u8]) -> Option<&str> {
    let at = connack.windows(2).position(|bytes| bytes == [0x1A, 0])?;
    std::str::from_utf8(&connack[at + 3..]).ok()
}

/// [MQTT-3.1.2-28] [MQTT5 4.10.1]
#[test]
fn client_that_asks_is_told_a_part_of_the_topic_tree_of_its_own() {
    at_every_split(|server| {
        server.limits.response_topic_prefix = Some("response/to".into());
        server.connect(&Connect::v5().property(ASKING).bytes());
        assert_eq!(told(&server.received()), Some("response/to/client"));
        let nameless = Connect { client_id: "", ..Connect::v5() }.property(ASKING);
        server.connect(&nameless.bytes());
        assert_eq!(told(&server.received()), Some("response/to/assigned"));
    });
}

/// [MQTT-3.1.2-28]
#[test]
fn client_that_does_not_ask_is_told_none_nor_is_one_where_there_is_none() {
    let (asking, not_asking) = (Connect::v5().property(ASKING), Connect::v5().property(&[0x19, 0]));
    for (prefix, connect) in [
        (None, asking),
        (Some("r"), not_asking),
        (Some("r"), Connect::v5()),
        (Some("r"), Connect::v311()),
    ] {
        at_every_split(|server| {
            server.limits.response_topic_prefix = prefix.map(Into::into);
            server.connect(&connect.bytes());
            assert_eq!(told(&server.received()), None);
        });
    }
}

#[test]
fn client_id_that_cannot_be_part_of_a_topic_has_none() {
    for client_id in ["a#", "+", "1/2/3"] {
        at_every_split(|server| {
            server.limits.topic_levels_max = 3;
            server.limits.response_topic_prefix = Some("r".into());
            server.connect(&Connect { client_id, ..Connect::v5() }.property(ASKING).bytes());
            assert_eq!(told(&server.received()), None, "{client_id}");
        });
    }
}

/// [MQTT-3.1.2-24]
#[test]
fn response_information_is_left_out_where_it_does_not_fit() {
    at_every_split(|server| {
        server.limits.response_topic_prefix = Some("response/to".into());
        let taking = |bytes| Connect::v5().property(ASKING).property(&[0x27, 0, 0, 0, bytes]);
        server.connect(&taking(200).bytes());
        let len = server.received().len() as u8;
        server.connect(&taking(len).bytes());
        assert_eq!(told(&server.received()), Some("response/to/client"));
        server.connect(&taking(len - 1).bytes());
        let connack = server.received();
        assert_eq!((connack[3], told(&connack)), (0, None), "accepted without");
    });
}
