//! Rules that concern several settings, each of which is valid by itself.

use super::contradictions::{Contradiction, Contradictions};
use super::listeners::{ADDRESS_KEYS, Listener, ListenerForm};
use super::{
    Config, FILTERS_DENIED_MAX, INPUT_PACKETS_MIN, LISTEN_MAX, LISTENER_TABLES_MAX, ListenAddress,
    TRUSTED_PROXIES_MAX, TrustedProxy, WS_ORIGINS_MAX, WebOrigin,
};

/// What contradicts what in these settings.
pub(super) fn contradictions(config: &Config) -> Vec<Contradiction> {
    let mut found = Contradictions::default();
    let listeners = config.listeners();
    look_at_numbers(&mut found, config, &listeners);
    look_at_addresses(&mut found, config, &listeners);
    look_at_tables(&mut found, config, &listeners);
    look_at_origins(&mut found, config, &listeners);
    look_at_limits(&mut found, config);
    config.tls.look_for_contradictions(&listeners, &mut found);
    config.authentication.look_for_contradictions(&listeners, &mut found);
    found.into_vec()
}

fn look_at_numbers(found: &mut Contradictions, config: &Config, listeners: &[Listener]) {
    // A table without an address has a contradiction of its own.
    if listeners.is_empty() && config.listener_tables.is_empty() {
        let allowed = "at least one address for clients";
        found.refuse("listen", &["listener"], &"0 addresses", allowed);
    }
    for key in ADDRESS_KEYS {
        let of_key = |one: &&Listener| one.form == ListenerForm::List(key);
        let listed = listeners.iter().filter(of_key).count();
        if listed > LISTEN_MAX {
            let allowed = format!("at most {LISTEN_MAX} addresses");
            found.refuse(key, &[], &format_args!("{listed} addresses"), allowed);
        }
    }
    let tables = config.listener_tables.len();
    if tables > LISTENER_TABLES_MAX {
        let allowed = format!("at most {LISTENER_TABLES_MAX} tables");
        found.refuse("listener", &[], &format_args!("{tables} tables"), allowed);
    }
}

fn look_at_addresses(found: &mut Contradictions, config: &Config, listeners: &[Listener]) {
    for (place, listener) in listeners.iter().enumerate() {
        let earlier = &listeners[..place];
        let same = earlier.iter().find(|one| one.address.is_same(&listener.address));
        match same.map(|one| one.form.key()) {
            Some(key) if key == listener.form.key() => {
                found.refuse_address(listener, &[], "each address once");
            }
            Some(key) => found.refuse_address(listener, &[key], not_one_of(key)),
            None => {}
        }
        if config.listen_dual
            && let Some(other) = earlier.iter().find(|one| one.serves_ipv4_of(listener))
        {
            let allowed = format!("no port of {}, by listen-dual", other.address);
            found.refuse_address(listener, &["listen-dual"], allowed);
        }
    }
    if let Some(http) = config.http {
        let http_address = ListenAddress::Tcp(http);
        let taken = listeners.iter().find(|one| one.address.is_same(&http_address));
        if let Some(taken) = taken {
            let key = taken.form.key();
            found.refuse("http", &[key], &http, not_one_of(key));
        }
    }
}

fn look_at_tables(found: &mut Contradictions, config: &Config, listeners: &[Listener]) {
    for (place, table) in config.listener_tables.iter().enumerate() {
        if table.address.is_none() {
            let key = ("listener.address", &[] as &[_]);
            found.refuse_in(place, key, &"nothing", "an address, or a path, in each table");
        }
        if let Some(mode) = table.client_certificate.filter(|_| table.asks_without_tls()) {
            let key = ("listener.client-certificate", &["listener.tls"] as &[_]);
            found.refuse_in(place, key, &mode, "tls = true with it");
        }
    }
    for (place, table) in config.listener_tables.iter().enumerate() {
        let key = ("listener.origins", &["listener.protocol"] as &[_]);
        if let Some(WebOrigin(origin)) = table.origins_without_pages() {
            found.refuse_in(place, key, origin, "protocol = \"ws\" with it");
        }
        let origins = table.origins.as_ref().map_or(0, Vec::len);
        if origins > WS_ORIGINS_MAX {
            let allowed = format!("at most {WS_ORIGINS_MAX} origins");
            found.refuse_in(place, key, &format_args!("{origins} origins"), allowed);
        }
    }
    for listener in listeners.iter().filter(|listener| listener.proxy_protocol) {
        look_at_proxies(found, config, listener);
    }
    for (at, listener) in listeners.iter().enumerate() {
        let is_named = |other: &Listener| other.is_named() && other.name == listener.name;
        if let ListenerForm::Table(place) = listener.form
            && listener.is_named()
            && listeners[..at].iter().any(is_named)
        {
            let key = ("listener.name", &[] as &[_]);
            found.refuse_in(place, key, &listener.name, "each name once");
        }
    }
}

/// Origins of pages are for listeners that pages can connect to.
fn look_at_origins(found: &mut Contradictions, config: &Config, listeners: &[Listener]) {
    let origins = config.ws_origins.len();
    if origins > WS_ORIGINS_MAX {
        let allowed = format!("at most {WS_ORIGINS_MAX} origins");
        found.refuse("ws-origins", &[], &format_args!("{origins} origins"), allowed);
    }
    let has_websocket = listeners.iter().any(|listener| listener.kind.has_websocket());
    if let Some(origin) = config.ws_origins.first().filter(|_| !has_websocket) {
        let others =
            &["ws-listen", "wss-listen", "listener", "listener.protocol", "listener.address"];
        let allowed = "a listener with it, by ws-listen or wss-listen";
        found.refuse("ws-origins", others, origin, allowed);
    }
}

/// A listener for proxies is for some.
fn look_at_proxies(found: &mut Contradictions, config: &Config, listener: &Listener) {
    let ListenerForm::Table(place) = listener.form else { return };
    let is_unix = |proxy: &TrustedProxy| *proxy == TrustedProxy::Unix;
    let comes_by_unix = listener.address.path().is_some();
    if config.trusted_proxies.iter().any(|proxy| is_unix(proxy) == comes_by_unix) {
        return;
    }
    let allowed = match comes_by_unix {
        true => "unix among trusted-proxies",
        false => "networks that proxies connect from, by trusted-proxies",
    };
    let key = ("listener.proxy-protocol", &["trusted-proxies"] as &[_]);
    found.refuse_in(place, key, &true, allowed);
}

fn look_at_limits(found: &mut Contradictions, config: &Config) {
    let proxies = config.trusted_proxies.len();
    if proxies > TRUSTED_PROXIES_MAX {
        let allowed = format!("at most {TRUSTED_PROXIES_MAX} networks");
        found.refuse("trusted-proxies", &[], &format_args!("{proxies} networks"), allowed);
    }
    let denied = config.limits.policy.filters_denied().count();
    if denied > FILTERS_DENIED_MAX {
        let allowed = format!("at most {FILTERS_DENIED_MAX} filters");
        let value = format_args!("{denied} filters");
        found.refuse("denied-filter", &[], &value, allowed);
    }
    let (outbox, packet) = (config.limits.outbox_bytes_max, config.limits.packet_bytes_max);
    if outbox < u64::from(packet) {
        let allowed = format!("at least max-packet-bytes, which is {packet}");
        found.refuse("outbox-bytes-max", &["max-packet-bytes"], &outbox, allowed);
    }
    let (input, least) = (config.input_bytes_max, INPUT_PACKETS_MIN * u64::from(packet));
    if input < least {
        let allowed =
            format!("at least {INPUT_PACKETS_MIN} times max-packet-bytes, which is {least}");
        found.refuse("input-bytes-max", &["max-packet-bytes"], &input, allowed);
    }
}

fn not_one_of(key: &str) -> String {
    format!("an address that is not one of {key}")
}
