//! Shared subscriptions: each message goes to one member of each group, over all shards, and what a
//! member that leaves was owed goes to another.

mod leaving;
mod refusals;
mod rig;
mod turns;

use push_tests::claims;

use leaving::{
    a_message_that_its_member_refused_is_over,
    a_qos_2_flow_goes_on_with_its_member_when_it_is_back,
    a_session_that_ends_leaves_its_messages_to_others,
    a_whole_outbox_goes_to_others_in_turns_and_every_member_is_asked,
    the_last_member_keeps_what_it_was_owed, what_was_sent_at_qos_2_goes_to_nobody_else,
    who_unsubscribes_leaves_unsent_messages_to_others,
};
use refusals::{
    a_member_that_has_no_room_is_passed_over, a_message_too_large_for_every_member_is_dropped,
    a_message_too_large_for_one_member_goes_to_another,
    every_member_is_asked_before_a_message_is_dropped,
    members_beyond_the_tries_are_not_asked_and_that_is_counted,
    what_turns_out_too_large_for_its_member_goes_to_another,
    who_is_left_with_what_others_were_owed_stays_connected,
    who_publishes_to_a_full_group_is_told_where_that_is_asked_for,
};
use turns::{
    every_group_and_every_own_subscription_gets_each_message, members_get_what_they_subscribed_for,
    members_on_all_shards_take_turns, members_that_come_and_go_lose_and_repeat_nothing,
    members_without_connection_are_passed_over, mosquitto_sub_takes_part,
    shared_subscriptions_are_announced_and_their_faults_answered,
    with_nobody_online_persistent_members_keep_the_messages,
};

claims! {
    members_on_all_shards_take_turns,
    every_group_and_every_own_subscription_gets_each_message,
    members_without_connection_are_passed_over,
    with_nobody_online_persistent_members_keep_the_messages,
    a_member_that_has_no_room_is_passed_over,
    every_member_is_asked_before_a_message_is_dropped,
    members_beyond_the_tries_are_not_asked_and_that_is_counted,
    who_publishes_to_a_full_group_is_told_where_that_is_asked_for,
    who_is_left_with_what_others_were_owed_stays_connected,
    a_whole_outbox_goes_to_others_in_turns_and_every_member_is_asked,
    a_message_too_large_for_one_member_goes_to_another,
    what_turns_out_too_large_for_its_member_goes_to_another,
    a_message_too_large_for_every_member_is_dropped,
    a_session_that_ends_leaves_its_messages_to_others,
    what_was_sent_at_qos_2_goes_to_nobody_else,
    a_qos_2_flow_goes_on_with_its_member_when_it_is_back,
    a_message_that_its_member_refused_is_over,
    who_unsubscribes_leaves_unsent_messages_to_others,
    the_last_member_keeps_what_it_was_owed,
    members_get_what_they_subscribed_for,
    shared_subscriptions_are_announced_and_their_faults_answered,
    members_that_come_and_go_lose_and_repeat_nothing,
    mosquitto_sub_takes_part,
}
