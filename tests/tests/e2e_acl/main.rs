//! Rules that say what clients may do (`--acl`), with the real binary.

mod commands;
mod delivery;
mod mosquitto;
mod outcomes;
mod rig;
mod whom;
mod wills;

use push_tests::{both_paths, claims};

use commands::{
    a_file_with_mistakes_stops_the_start_and_the_check, an_imported_file_says_what_is_different,
    the_check_says_the_verdict_and_its_line,
};
use delivery::{
    denied_messages_of_a_granted_filter_are_taken_out_retained_ones_too,
    denied_messages_that_waited_on_disk_are_taken_out,
    of_a_group_a_member_gets_the_message_that_may_have_it,
};
use mosquitto::mosquitto_admits_and_denies_the_same_200_cases;
use outcomes::{
    a_client_that_publishes_where_it_may_not_is_closed_if_asked_for,
    a_denied_publish_is_told_where_the_protocol_can_and_reaches_nobody,
    each_filter_of_a_subscribe_is_granted_or_refused,
    without_rules_all_is_allowed_but_reading_sys_and_the_start_says_so,
};
use whom::{
    a_name_with_a_wildcard_or_a_slash_gets_nothing_by_its_name,
    addresses_and_listeners_tell_clients_apart, rules_are_read_again_on_sighup_all_or_nothing,
    users_and_groups_tell_clients_apart,
};
use wills::{
    a_will_is_checked_again_when_it_goes_out, a_will_that_may_not_be_published_refuses_the_connect,
    wills_that_a_start_finds_are_checked,
};

both_paths! {
    a_denied_publish_is_told_where_the_protocol_can_and_reaches_nobody,
    denied_messages_of_a_granted_filter_are_taken_out_retained_ones_too,
}

claims! {
    each_filter_of_a_subscribe_is_granted_or_refused,
    a_client_that_publishes_where_it_may_not_is_closed_if_asked_for,
    without_rules_all_is_allowed_but_reading_sys_and_the_start_says_so,
    denied_messages_that_waited_on_disk_are_taken_out,
    of_a_group_a_member_gets_the_message_that_may_have_it,
    a_will_that_may_not_be_published_refuses_the_connect,
    a_will_is_checked_again_when_it_goes_out,
    wills_that_a_start_finds_are_checked,
    users_and_groups_tell_clients_apart,
    addresses_and_listeners_tell_clients_apart,
    a_name_with_a_wildcard_or_a_slash_gets_nothing_by_its_name,
    rules_are_read_again_on_sighup_all_or_nothing,
    a_file_with_mistakes_stops_the_start_and_the_check,
    the_check_says_the_verdict_and_its_line,
    an_imported_file_says_what_is_different,
    mosquitto_admits_and_denies_the_same_200_cases,
}
