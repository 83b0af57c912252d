//! Attacks on a server, as anybody on the internet can begin them: what a bystander notices, what the
//! server counts and says meanwhile, and what is left of it in memory. docs/abuse.md lists them.

mod bombs;
mod connects;
mod crowd;
mod guesses;
mod half_open;
mod promises;
mod retained;
mod slow;
mod withstand;

push_tests::claims! {
    a_connect_byte_by_byte,
    an_upgrade_byte_by_byte,
    a_tls_hello_byte_by_byte,
    a_proxy_header_byte_by_byte,
    an_http_request_byte_by_byte,
    ten_thousand_that_say_nothing,
    a_thousand_of_one_address,
    handshakes_of_tls_left_half_way,
    a_storm_of_connects,
    connects_without_end,
    guessed_passwords,
    topics_without_end,
    filters_without_end,
    aliases_without_end,
    properties_without_end,
    retained_messages_without_end,
    publishes_that_are_never_finished,
    wills_that_are_never_due,
}

use bombs::{
    aliases_without_end, connects_without_end, filters_without_end, properties_without_end,
    topics_without_end,
};
use connects::a_storm_of_connects;
use guesses::guessed_passwords;
use half_open::{
    a_thousand_of_one_address, handshakes_of_tls_left_half_way, ten_thousand_that_say_nothing,
};
use promises::{publishes_that_are_never_finished, wills_that_are_never_due};
use retained::retained_messages_without_end;
use slow::{
    a_connect_byte_by_byte, a_proxy_header_byte_by_byte, a_tls_hello_byte_by_byte,
    an_http_request_byte_by_byte, an_upgrade_byte_by_byte,
};
