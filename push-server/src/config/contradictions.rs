//! Rules that concern several settings, each of which is valid by itself.

use std::fmt::Display;

use super::listeners::{Listener, ListenerOrigin};
use super::{
    Config, FILTERS_DENIED_MAX, INPUT_PACKETS_MIN, LISTEN_MAX, LISTENER_TABLES_MAX, ListenAddress,
};

/// A value that is valid by itself and contradicts another setting.
#[derive(Debug)]
pub(super) struct Contradiction {
    pub(super) key: &'static str,
    /// The `[[listener]]` table that has the key, counted from 0.
    pub(super) table: Option<usize>,
    /// The settings that it contradicts.
    pub(super) others: Vec<&'static str>,
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
        let listeners = config.listeners();
        found.look_at_numbers(config, &listeners);
        found.look_at_addresses(config, &listeners);
        found.look_at_tables(config, &listeners);
        found.look_at_limits(config);
        config.tls.look_for_contradictions(&listeners, &mut found);
        if config.scram_required && config.scram_users.is_none() {
            let allowed = "a file of users, by scram-users";
            found.refuse("scram-required", &["scram-users"], &true, allowed);
        }
        found.0
    }

    /// The value of `key` contradicts `others`. `allowed`: what it could be.
    pub(super) fn refuse(
        &mut self,
        key: &'static str,
        others: &[&'static str],
        value: &dyn Display,
        allowed: impl Into<String>,
    ) {
        let (value, allowed) = (value.to_string(), allowed.into());
        self.0.push(Contradiction { key, table: None, others: others.to_vec(), value, allowed });
    }

    /// The same for a key of a `[[listener]]` table.
    pub(super) fn refuse_in(
        &mut self,
        table: usize,
        (key, others): (&'static str, &[&'static str]),
        value: &dyn Display,
        allowed: impl Into<String>,
    ) {
        let (value, allowed) = (value.to_string(), allowed.into());
        self.0.push(Contradiction {
            key,
            table: Some(table),
            others: others.to_vec(),
            value,
            allowed,
        });
    }

    /// The same for the address of a listener, wherever it is set.
    pub(super) fn refuse_address(
        &mut self,
        listener: &Listener,
        others: &[&'static str],
        allowed: impl Into<String>,
    ) {
        let (value, allowed) = (listener.address.to_string(), allowed.into());
        let key = listener.origin.key();
        let table = match listener.origin {
            ListenerOrigin::List(_) => None,
            ListenerOrigin::Table(place) => Some(place),
        };
        self.0.push(Contradiction { key, table, others: others.to_vec(), value, allowed });
    }

    fn look_at_numbers(&mut self, config: &Config, listeners: &[Listener]) {
        // A table without an address has a contradiction of its own.
        if listeners.is_empty() && config.listener_tables.is_empty() {
            let allowed = "at least one address for clients";
            self.refuse("listen", &["listener"], &"0 addresses", allowed);
        }
        for key in super::listeners::ADDRESS_KEYS {
            let of_key = |one: &&Listener| one.origin == ListenerOrigin::List(key);
            let listed = listeners.iter().filter(of_key).count();
            if listed > LISTEN_MAX {
                let allowed = format!("at most {LISTEN_MAX} addresses");
                self.refuse(key, &[], &format_args!("{listed} addresses"), allowed);
            }
        }
        let tables = config.listener_tables.len();
        if tables > LISTENER_TABLES_MAX {
            let allowed = format!("at most {LISTENER_TABLES_MAX} tables");
            self.refuse("listener", &[], &format_args!("{tables} tables"), allowed);
        }
    }

    fn look_at_addresses(&mut self, config: &Config, listeners: &[Listener]) {
        for (place, listener) in listeners.iter().enumerate() {
            let earlier = &listeners[..place];
            let same = earlier.iter().find(|one| one.address.is_same(&listener.address));
            match same.map(|one| one.origin.key()) {
                Some(key) if key == listener.origin.key() => {
                    self.refuse_address(listener, &[], "each address once");
                }
                Some(key) => self.refuse_address(listener, &[key], not_one_of(key)),
                None => {}
            }
            if config.listen_dual
                && let Some(other) = earlier.iter().find(|one| one.serves_ipv4_of(listener))
            {
                let allowed = format!("no port of {}, by listen-dual", other.address);
                self.refuse_address(listener, &["listen-dual"], allowed);
            }
        }
        if let Some(http) = config.http {
            let http_address = ListenAddress::Tcp(http);
            let taken = listeners.iter().find(|one| one.address.is_same(&http_address));
            if let Some(taken) = taken {
                let key = taken.origin.key();
                self.refuse("http", &[key], &http, not_one_of(key));
            }
        }
    }

    fn look_at_tables(&mut self, config: &Config, listeners: &[Listener]) {
        for (place, table) in config.listener_tables.iter().enumerate() {
            if table.address.is_none() {
                let key = ("listener.address", &[] as &[_]);
                self.refuse_in(place, key, &"nothing", "an address, or a path, in each table");
            }
            if let Some(mode) = table.client_certificate.filter(|_| table.asks_without_tls()) {
                let key = ("listener.client-certificate", &["listener.tls"] as &[_]);
                self.refuse_in(place, key, &mode, "tls = true with it");
            }
        }
        for (at, listener) in listeners.iter().enumerate() {
            let is_named = |other: &Listener| other.is_named() && other.name == listener.name;
            if let ListenerOrigin::Table(place) = listener.origin
                && listener.is_named()
                && listeners[..at].iter().any(is_named)
            {
                let key = ("listener.name", &[] as &[_]);
                self.refuse_in(place, key, &listener.name, "each name once");
            }
        }
    }

    fn look_at_limits(&mut self, config: &Config) {
        let denied = config.limits.policy.filters_denied().count();
        if denied > FILTERS_DENIED_MAX {
            let allowed = format!("at most {FILTERS_DENIED_MAX} filters");
            let value = format_args!("{denied} filters");
            self.refuse("denied-filter", &[], &value, allowed);
        }
        let (outbox, packet) = (config.limits.outbox_bytes_max, config.limits.packet_bytes_max);
        if outbox < u64::from(packet) {
            let allowed = format!("at least max-packet-bytes, which is {packet}");
            self.refuse("outbox-bytes-max", &["max-packet-bytes"], &outbox, allowed);
        }
        let (input, least) = (config.input_bytes_max, INPUT_PACKETS_MIN * u64::from(packet));
        if input < least {
            let allowed =
                format!("at least {INPUT_PACKETS_MIN} times max-packet-bytes, which is {least}");
            self.refuse("input-bytes-max", &["max-packet-bytes"], &input, allowed);
        }
    }
}

fn not_one_of(key: &str) -> String {
    format!("an address that is not one of {key}")
}
