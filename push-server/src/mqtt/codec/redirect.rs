//! Sends clients to another server [MQTT5 4.11], for the time being (0x9C): a server that stops
//! does not know whether it will come back. 3.1.1 cannot say this.

use bytes::BytesMut;
use mqttbytes::v5;

use super::encode::{Audience, connack_refusal, disconnect};
use super::{Reason, Version};

/// Writes the DISCONNECT with `reference`. If that is too long for the client, writes one that says
/// the server stops.
pub(in crate::mqtt) fn disconnect_to(out: &mut BytesMut, audience: Audience, reference: &str) {
    if audience.version != Version::V5 {
        return;
    }
    let start = out.len();
    audience.write(out, Some(Reason::UseAnotherServer.to_string()), |out, reason_string| {
        let reason_code = v5::DisconnectReasonCode::UseAnotherServer;
        let properties = Some(v5::DisconnectProperties {
            reason_string,
            server_reference: Some(reference.to_owned()),
            ..v5::DisconnectProperties::new()
        });
        v5::Disconnect { reason_code, properties }.write(out)
    });
    if out.len() - start > audience.packet_len_max {
        out.truncate(start);
        disconnect(out, audience, Reason::ServerShuttingDown);
    }
}

/// Writes the CONNACK with `reference`; if that is too long, the one that says unavailable.
pub(in crate::mqtt) fn connack_to(out: &mut BytesMut, audience: Audience, reference: &str) {
    let start = out.len();
    if audience.version == Version::V5 {
        audience.write(out, Some(Reason::UseAnotherServer.to_string()), |out, reason_string| {
            let code = v5::ConnectReturnCode::UseAnotherServer;
            let properties = Some(v5::ConnAckProperties {
                reason_string,
                server_reference: Some(reference.to_owned()),
                ..v5::ConnAckProperties::new()
            });
            v5::ConnAck { session_present: false, code, properties }.write(out)
        });
        if out.len() - start <= audience.packet_len_max {
            return;
        }
        out.truncate(start);
    }
    connack_refusal(out, audience, Reason::ServerUnavailable);
}
