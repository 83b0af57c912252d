//! Rules that concern several settings, each of which is valid by itself.

use std::fmt::Display;
use std::net::SocketAddr;

use super::listeners::ListenerKind;
use super::{Config, FILTERS_DENIED_MAX, INPUT_PACKETS_MIN, LISTEN_MAX};

/// A value that is valid by itself and contradicts another setting.
#[derive(Debug)]
pub(super) struct Contradiction {
    pub(super) key: &'static str,
    /// The other setting; `key` itself if there is none.
    pub(super) other: &'static str,
    pub(super) value: String,
    /// The values that would be allowed.
    pub(super) allowed: String,
}

/// Those that were found.
#[derive(Debug, Default)]
pub(super) struct Contradictions(Vec<Contradiction>);

impl Contradictions {
    /// All of these settings.
    pub(super) fn of(config: &Config) -> Vec<Contradiction> {
        let mut found = Self::default();
        found.look_at_addresses(config);
        found.look_at_limits(config);
        let tls_listener = config.listeners().find(|(listener, _)| listener.has_tls());
        config.tls.look_for_contradictions(tls_listener, &mut found);
        if config.scram_required && config.scram_users.is_none() {
            let allowed = "a file of users, by scram-users";
            found.refuse("scram-required", "scram-users", &true, allowed);
        }
        found.0
    }

    /// The value of `key` contradicts `other`. `allowed`: what it could be.
    pub(super) fn refuse(
        &mut self,
        key: &'static str,
        other: &'static str,
        value: &dyn Display,
        allowed: impl Into<String>,
    ) {
        self.0.push(Contradiction {
            key,
            other,
            value: value.to_string(),
            allowed: allowed.into(),
        });
    }

    fn look_at_addresses(&mut self, config: &Config) {
        let mut taken: Vec<(&'static str, SocketAddr)> = Vec::new();
        if config.listeners().next().is_none() {
            self.refuse("listen", "listen", &"0 addresses", "at least one address for clients");
        }
        for (key, addresses) in
            ListenerKind::ALL.map(|listener| (listener.key(), config.addresses_of(listener)))
        {
            let listed = addresses.len();
            if listed > LISTEN_MAX {
                let allowed = format!("at most {LISTEN_MAX} addresses");
                self.refuse(key, key, &format_args!("{listed} addresses"), allowed);
            }
            for address in addresses.iter().filter(|address| address.port() != 0) {
                match taken.iter().find(|(_, other)| other == address) {
                    Some(&(other, _)) if other == key => {
                        self.refuse(key, key, address, "each address once");
                    }
                    Some(&(other, _)) => self.refuse(key, other, address, not_one_of(other)),
                    None => taken.push((key, *address)),
                }
            }
        }
        if let Some(http) = config.http
            && let Some(&(key, _)) = taken.iter().find(|(_, address)| *address == http)
        {
            self.refuse("http", key, &http, not_one_of(key));
        }
    }

    fn look_at_limits(&mut self, config: &Config) {
        let denied = config.limits.policy.filters_denied().count();
        if denied > FILTERS_DENIED_MAX {
            let allowed = format!("at most {FILTERS_DENIED_MAX} filters");
            let value = format_args!("{denied} filters");
            self.refuse("denied-filter", "denied-filter", &value, allowed);
        }
        let (outbox, packet) = (config.limits.outbox_bytes_max, config.limits.packet_bytes_max);
        if outbox < u64::from(packet) {
            let allowed = format!("at least max-packet-bytes, which is {packet}");
            self.refuse("outbox-bytes-max", "max-packet-bytes", &outbox, allowed);
        }
        let (input, least) = (config.input_bytes_max, INPUT_PACKETS_MIN * u64::from(packet));
        if input < least {
            let allowed =
                format!("at least {INPUT_PACKETS_MIN} times max-packet-bytes, which is {least}");
            self.refuse("input-bytes-max", "max-packet-bytes", &input, allowed);
        }
    }
}

fn not_one_of(key: &str) -> String {
    format!("an address that is not one of {key}")
}
