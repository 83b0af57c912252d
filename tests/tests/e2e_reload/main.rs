//! Reloads, by SIGHUP and by `push-server reload`, with the real binary: everything is put into force or nothing, and
//! of the clients that are connected those go who may not be here any more.

mod clients;
mod command;
mod crowd;
mod faults;
mod rig;

use push_tests::{both_paths, claims};

use clients::{
    a_revoked_certificate_ends_its_connection,
    a_subscription_that_is_denied_ends_the_connection_and_is_gone,
    users_that_are_gone_or_changed_go_and_others_stay, who_may_not_be_anonymous_any_more_goes,
    whoever_is_away_comes_back_without_what_is_denied_now,
};
use command::{
    a_setting_that_needs_a_restart_is_named_and_the_rest_applies,
    a_socket_of_a_living_server_is_an_error_and_a_dead_ones_is_replaced,
    the_command_says_what_is_wrong_and_exits_with_1, the_log_level_changes_while_the_server_runs,
};
use crowd::of_ten_thousand_exactly_those_go_that_should_and_nobody_else_misses_a_message;
use faults::{
    each_fault_of_each_file_changes_nothing, nothing_opens_because_a_file_cannot_be_read,
};

both_paths! {
    users_that_are_gone_or_changed_go_and_others_stay,
}

claims! {
    a_revoked_certificate_ends_its_connection,
    a_setting_that_needs_a_restart_is_named_and_the_rest_applies,
    a_socket_of_a_living_server_is_an_error_and_a_dead_ones_is_replaced,
    a_subscription_that_is_denied_ends_the_connection_and_is_gone,
    each_fault_of_each_file_changes_nothing,
    nothing_opens_because_a_file_cannot_be_read,
    of_ten_thousand_exactly_those_go_that_should_and_nobody_else_misses_a_message,
    the_command_says_what_is_wrong_and_exits_with_1,
    the_log_level_changes_while_the_server_runs,
    who_may_not_be_anonymous_any_more_goes,
    whoever_is_away_comes_back_without_what_is_denied_now,
}
