//! What outlives the server's process, an orderly case at a time: after SIGTERM and after kill -9.
//! What load and chance do to it is `crash`'s.
//!
//! All of it is skipped while the server does not know `--durability`.

mod damage;
mod disk;
mod hung;
mod life;
mod order;
mod removals;
mod retained;
mod sessions;
mod times;
mod wills;

use push_tests::claims;

use damage::{
    a_cut_off_file_is_told_or_refused, a_missing_file_is_missed_or_refused,
    a_torn_last_write_is_told_and_costs_nothing_else,
};
use disk::{
    a_directory_that_cannot_be_is_refused, a_full_disk_refuses_and_serves_again,
    a_read_only_directory_is_refused, a_second_server_on_the_directory_is_refused,
    durability_off_keeps_nothing, durable_writes_are_counted, what_had_left_is_written_later,
};
use hung::{
    a_client_that_begins_anew_does_not_wait_for_its_last_publish,
    a_disk_that_is_back_is_heard_while_others_are_served,
    a_disk_that_is_behind_holds_up_only_what_needs_it,
    a_member_that_leaves_while_a_message_comes_to_it_has_not_refused_it,
    a_publish_that_waits_for_the_disk_does_not_hold_up_the_stop,
    nobody_waits_for_the_disk_behind_the_will_of_another,
    one_id_used_again_and_again_is_not_taken_without_end,
    publishes_that_wait_for_the_disk_are_not_tried_all_the_time,
};
use order::{
    a_session_that_was_taken_over_is_a_living_one,
    what_a_member_leaves_is_in_one_outbox_wherever_the_end_met_it,
    what_an_ended_session_leaves_to_its_group_is_never_lost,
};
use removals::{
    a_session_begun_without_a_disk_is_written_before_its_first_publish,
    a_session_begun_without_a_disk_is_written_with_its_first_subscription,
    a_session_whose_end_failed_is_ended_when_the_disk_is_back,
    an_id_whose_release_failed_is_free_once_it_is_released_again,
    an_unsubscribe_that_failed_is_done_when_the_disk_is_back,
    an_unsubscribe_that_failed_is_told_and_done_when_repeated,
};
use retained::{
    expired_retained_messages_leave_the_disk, retained_messages_are_the_last_ones_after_a_restart,
};
use sessions::{
    an_unsubscribed_filter_stays_gone, clean_sessions_are_forgotten,
    exactly_once_publishes_are_known_again, options_of_subscriptions_survive,
    owed_messages_survive_in_order, retained_messages_survive,
    unacknowledged_messages_come_again_under_their_packet_ids,
    what_may_have_been_sent_before_a_crash_says_so, what_one_member_may_have_got_goes_to_no_other,
    what_was_sent_behind_owed_releases_says_so,
};
use times::{
    a_pending_will_is_published_after_a_restart, a_resumed_session_takes_its_will_back,
    a_will_that_fell_due_while_down_is_published, message_expiry_counts_while_down,
    session_expiry_counts_while_down,
};
use wills::{
    a_client_that_is_back_before_its_will_is_due_takes_it_back,
    a_goodbye_leaves_no_will_for_the_next_start,
    a_take_over_loses_no_will_wherever_the_crash_met_it,
    a_will_of_qos_2_comes_once_wherever_the_crash_met_it,
    a_will_that_the_disk_has_failed_comes_when_it_is_back,
    the_will_of_a_session_that_ends_with_its_connection_outlives_the_server,
};

claims! {
    owed_messages_survive_in_order,
    unacknowledged_messages_come_again_under_their_packet_ids,
    what_may_have_been_sent_before_a_crash_says_so,
    what_one_member_may_have_got_goes_to_no_other,
    what_was_sent_behind_owed_releases_says_so,
    exactly_once_publishes_are_known_again,
    an_unsubscribed_filter_stays_gone,
    options_of_subscriptions_survive,
    retained_messages_survive,
    retained_messages_are_the_last_ones_after_a_restart,
    expired_retained_messages_leave_the_disk,
    clean_sessions_are_forgotten,
    session_expiry_counts_while_down,
    message_expiry_counts_while_down,
    a_pending_will_is_published_after_a_restart,
    a_will_that_fell_due_while_down_is_published,
    a_resumed_session_takes_its_will_back,
    a_will_of_qos_2_comes_once_wherever_the_crash_met_it,
    a_take_over_loses_no_will_wherever_the_crash_met_it,
    a_will_that_the_disk_has_failed_comes_when_it_is_back,
    the_will_of_a_session_that_ends_with_its_connection_outlives_the_server,
    a_client_that_is_back_before_its_will_is_due_takes_it_back,
    a_goodbye_leaves_no_will_for_the_next_start,
    a_session_that_was_taken_over_is_a_living_one,
    what_a_member_leaves_is_in_one_outbox_wherever_the_end_met_it,
    what_an_ended_session_leaves_to_its_group_is_never_lost,
    a_full_disk_refuses_and_serves_again,
    what_had_left_is_written_later,
    a_disk_that_is_back_is_heard_while_others_are_served,
    a_disk_that_is_behind_holds_up_only_what_needs_it,
    a_member_that_leaves_while_a_message_comes_to_it_has_not_refused_it,
    a_publish_that_waits_for_the_disk_does_not_hold_up_the_stop,
    nobody_waits_for_the_disk_behind_the_will_of_another,
    a_client_that_begins_anew_does_not_wait_for_its_last_publish,
    one_id_used_again_and_again_is_not_taken_without_end,
    publishes_that_wait_for_the_disk_are_not_tried_all_the_time,
    an_id_whose_release_failed_is_free_once_it_is_released_again,
    an_unsubscribe_that_failed_is_told_and_done_when_repeated,
    an_unsubscribe_that_failed_is_done_when_the_disk_is_back,
    a_session_whose_end_failed_is_ended_when_the_disk_is_back,
    a_session_begun_without_a_disk_is_written_before_its_first_publish,
    a_session_begun_without_a_disk_is_written_with_its_first_subscription,
    a_read_only_directory_is_refused,
    a_directory_that_cannot_be_is_refused,
    a_second_server_on_the_directory_is_refused,
    durability_off_keeps_nothing,
    durable_writes_are_counted,
    a_torn_last_write_is_told_and_costs_nothing_else,
    a_missing_file_is_missed_or_refused,
    a_cut_off_file_is_told_or_refused,
}
