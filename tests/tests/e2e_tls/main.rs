//! MQTT over TLS: clients of every kind against the real server, records cut and split anywhere, peers
//! that do not fit or break rules, and handshakes by the thousands.

mod foreign;
mod generator;
mod handshakes;
mod life;
mod path;
mod records;
mod refusals;
mod rig;

use push_tests::{both_paths, claims};

use foreign::{
    mbedtls_speaks_every_suite, mosquittos_clients_speak_both_versions, mqtt_js_does_all_of_it,
    openssl_speaks_every_suite, openssl_speaks_to_an_rsa_certificate, paho_does_all_of_it,
    rustls_speaks_every_suite,
};
use generator::the_load_generator_works_inside_all_layers;
use handshakes::{
    all_of_5000_handshakes_at_once_are_done_while_connected_clients_ping,
    handshakes_that_stall_keep_nobody_out,
};
use life::{
    a_session_is_taken_over_across_listeners, a_slow_reader_gets_all_of_it,
    expiry_and_goodbye_are_said_in_tls, messages_of_every_size_come_whole,
};
use path::{
    a_reply_to_a_key_update_holds_nobody_up, nonces_that_can_be_foretold_are,
    nonces_that_cannot_be_foretold_are_served_by_user_space, padded_pings_are_served_by_user_space,
    pings_of_every_version_take_the_path, websocket_inside_tls_is_served_by_user_space,
};
use records::{
    a_clients_goodbye_ends_the_connection, a_hello_may_be_cut_anywhere,
    keys_are_changed_by_openssl, keys_are_changed_by_rustls, records_may_come_byte_by_byte,
    renegotiation_is_refused, the_servers_goodbye_comes_before_its_fin,
};
use refusals::{
    broken_records_end_their_own_connection_only, other_protocols_are_named_and_counted,
    tls_1_1_is_refused,
};

both_paths! {
    messages_of_every_size_come_whole,
    a_slow_reader_gets_all_of_it,
    a_session_is_taken_over_across_listeners,
    expiry_and_goodbye_are_said_in_tls,
    records_may_come_byte_by_byte,
    keys_are_changed_by_rustls,
    keys_are_changed_by_openssl,
    renegotiation_is_refused,
    a_clients_goodbye_ends_the_connection,
    the_servers_goodbye_comes_before_its_fin,
    pings_of_every_version_take_the_path,
    nonces_that_can_be_foretold_are,
    nonces_that_cannot_be_foretold_are_served_by_user_space,
    padded_pings_are_served_by_user_space,
    a_reply_to_a_key_update_holds_nobody_up,
    websocket_inside_tls_is_served_by_user_space,
    openssl_speaks_every_suite,
    mbedtls_speaks_every_suite,
    rustls_speaks_every_suite,
    mosquittos_clients_speak_both_versions,
    paho_does_all_of_it,
    mqtt_js_does_all_of_it,
    broken_records_end_their_own_connection_only,
    the_load_generator_works_inside_all_layers,
    all_of_5000_handshakes_at_once_are_done_while_connected_clients_ping,
}

claims! {
    a_hello_may_be_cut_anywhere,
    openssl_speaks_to_an_rsa_certificate,
    tls_1_1_is_refused,
    other_protocols_are_named_and_counted,
    handshakes_that_stall_keep_nobody_out,
}
