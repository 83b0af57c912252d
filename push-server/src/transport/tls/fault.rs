//! Why a connection over TLS ends, in words for whoever reads the log: what the peer did, or what the
//! two sides do not have in common. rustls's own errors are for programmers.

use std::fmt;

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsFault {
    /// The peer's alert.
    Alert(AlertDescription),
    /// It speaks no version that the server may speak.
    Version,
    /// No cipher suite, group of keys, or signature of both sides.
    Algorithms,
    /// It lacks an extension that the oldest version needs that is served.
    Extension,
    /// It names only other protocols than MQTT (ALPN).
    Protocol,
    /// It showed no certificate.
    NoCertificate,
    /// Its certificate is not valid.
    Certificate(BadCertificate),
    /// It does not send records of TLS.
    NotTls,
    /// It sends what does not belong into a message or its place.
    Message,
    /// It sends more of a handshake than there may be.
    TooLong,
    /// A record is too long.
    RecordTooLong,
    /// A record was changed under way, or sealed by other keys.
    Unopened,
    /// It breaks another rule.
    Rule,
    /// The keys of the connection have sealed as much as they may.
    KeysUsedUp,
    /// The server's own: no randomness, say, or no certificate.
    Server,
}

/// What is wrong with a client's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BadCertificate {
    Expired,
    NotYet,
    Revoked,
    Unsigned,
    NoList,
    OldList,
    Signature,
    Encoding,
    Purpose,
    Algorithm,
    Extension,
    Other,
}

impl TlsFault {
    /// Whether the peer did something wrong, or the two sides do not fit together.
    pub(crate) fn is_fault(self) -> bool {
        self != Self::KeysUsedUp && !self.is_farewell()
    }

    /// Whether the peer has only changed its mind.
    fn is_farewell(self) -> bool {
        use AlertDescription::{CloseNotify, UserCanceled};
        matches!(self, Self::Alert(CloseNotify | UserCanceled))
    }
}

impl From<&Error> for TlsFault {
    fn from(error: &Error) -> Self {
        match error {
            Error::AlertReceived(alert) => Self::Alert(*alert),
            Error::PeerIncompatible(what) => incompatible(what),
            Error::NoApplicationProtocol => Self::Protocol,
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::InvalidCertificate(what) => Self::Certificate(certificate(what)),
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::NotTls,
            Error::InvalidMessage(InvalidMessage::UnknownProtocolVersion) => Self::NotTls,
            Error::InvalidMessage(InvalidMessage::MessageTooLarge) => Self::RecordTooLong,
            Error::InvalidMessage(InvalidMessage::HandshakePayloadTooLarge) => Self::TooLong,
            Error::InvalidMessage(_)
            | Error::InappropriateMessage { .. }
            | Error::InappropriateHandshakeMessage { .. } => Self::Message,
            Error::DecryptError => Self::Unopened,
            Error::PeerSentOversizedRecord => Self::RecordTooLong,
            Error::PeerMisbehaved(_) => Self::Rule,
            _ => Self::Server,
        }
    }
}

fn incompatible(what: &PeerIncompatible) -> TlsFault {
    use PeerIncompatible as Lack;
    match what {
        Lack::ServerDoesNotSupportTls12Or13
        | Lack::ServerTlsVersionIsDisabledByOurConfig
        | Lack::SupportedVersionsExtensionRequired
        | Lack::Tls12NotOffered
        | Lack::Tls12NotOfferedOrEnabled => TlsFault::Version,
        Lack::NoCertificateRequestSignatureSchemesInCommon
        | Lack::NoCipherSuitesInCommon
        | Lack::NoEcPointFormatsInCommon
        | Lack::NoKxGroupsInCommon
        | Lack::NoSignatureSchemesInCommon
        | Lack::NullCompressionRequired
        | Lack::UncompressedEcPointsRequired => TlsFault::Algorithms,
        _ => TlsFault::Extension,
    }
}

fn certificate(what: &CertificateError) -> BadCertificate {
    use CertificateError as Problem;
    match what {
        Problem::Expired | Problem::ExpiredContext { .. } => BadCertificate::Expired,
        Problem::NotValidYet | Problem::NotValidYetContext { .. } => BadCertificate::NotYet,
        Problem::Revoked => BadCertificate::Revoked,
        Problem::UnknownIssuer => BadCertificate::Unsigned,
        Problem::UnknownRevocationStatus => BadCertificate::NoList,
        Problem::ExpiredRevocationList | Problem::ExpiredRevocationListContext { .. } => {
            BadCertificate::OldList
        }
        Problem::BadSignature => BadCertificate::Signature,
        Problem::BadEncoding => BadCertificate::Encoding,
        Problem::InvalidPurpose | Problem::InvalidPurposeContext { .. } => BadCertificate::Purpose,
        Problem::UnsupportedSignatureAlgorithmContext { .. }
        | Problem::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            BadCertificate::Algorithm
        }
        Problem::UnhandledCriticalExtension => BadCertificate::Extension,
        _ => BadCertificate::Other,
    }
}

impl fmt::Display for BadCertificate {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Expired => "it has expired",
            Self::NotYet => "it is not valid yet",
            Self::Revoked => "it is revoked",
            Self::Unsigned => "no CA of --tls-client-ca has signed it",
            Self::NoList => "no list of --tls-client-crl is its issuer's",
            Self::OldList => "the list of its issuer in --tls-client-crl is out of date",
            Self::Signature => "its signature is wrong",
            Self::Encoding => "it is no certificate",
            Self::Purpose => "it is not for clients (extended key usage)",
            Self::Algorithm => "its algorithms are not supported",
            Self::Extension => "it has a critical extension that is not supported",
            Self::Other => "it is not valid",
        })
    }
}

impl fmt::Display for TlsFault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Alert(alert) => return alert_text(alert, formatter),
            Self::Certificate(why) => {
                return write!(formatter, "its certificate is refused: {why}");
            }
            Self::Version => "it speaks no version of TLS that the server may speak (--tls-min)",
            Self::Algorithms => "no cipher suite, group or signature that both sides know",
            Self::Extension => {
                "its hello lacks an extension that TLS 1.2 needs: it speaks an older version, say"
            }
            Self::Protocol => "it names only protocols that are not served here (ALPN)",
            Self::NoCertificate => "it shows no certificate (--tls-client-auth)",
            Self::NotTls => "it does not speak TLS",
            Self::Message => "it sent a message that is malformed or out of place",
            Self::TooLong => "its handshake is too long",
            Self::RecordTooLong => "it sent a record that is too long",
            Self::Unopened => "it sent a record that does not decrypt",
            Self::Rule => "it broke a rule of TLS",
            Self::KeysUsedUp => "the keys of TLS 1.2 are used up: it may connect again",
            Self::Server => "the server has no certificate for it, or no randomness",
        };
        formatter.write_str(text)
    }
}

/// What the peer meant by its alert.
fn alert_text(alert: AlertDescription, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
    use AlertDescription as Alert;
    let text = match alert {
        Alert::CloseNotify | Alert::UserCanceled => "it gave up the handshake",
        Alert::UnknownCA => "it does not know the CA of the server's certificate",
        Alert::CertificateExpired => "it takes the server's certificate for expired",
        Alert::CertificateRevoked => "it takes the server's certificate for revoked",
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            "it refuses the server's certificate: another host's, say"
        }
        Alert::ProtocolVersion => "it refuses the version of TLS",
        Alert::HandshakeFailure | Alert::InsufficientSecurity => {
            "it refuses what the server offers"
        }
        _ => "it ended the connection",
    };
    let code = u8::from(alert);
    match alert.as_str() {
        Some(name) => write!(formatter, "{text} (alert {code}, {name})"),
        None => write!(formatter, "{text} (alert {code})"),
    }
}
