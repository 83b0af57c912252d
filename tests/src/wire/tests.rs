use super::*;

#[test]
fn a_publish_survives_encoding_and_every_split() {
    for version in VERSIONS {
        let sent = Publish {
            topic: "a/b".to_owned(),
            payload: vec![7; 300],
            qos: 2,
            retain: true,
            packet_id: 9,
            properties: match version {
                Version::V31 | Version::V311 => Properties::default(),
                Version::V5 => Properties(vec![
                    (property::USER_PROPERTY, Value::Pair("k".into(), "v".into())),
                    (property::MESSAGE_EXPIRY_INTERVAL, Value::Number(70_000)),
                ]),
            },
            ..Publish::default()
        };
        let bytes = publish(version, &sent);
        for split in 0..bytes.len() {
            assert_eq!(decode(version, &bytes[..split]), None);
        }
        assert_eq!(decode(version, &bytes), Some((Packet::Publish(sent), bytes.len())));
    }
}
