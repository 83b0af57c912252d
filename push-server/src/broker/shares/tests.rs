use std::collections::BTreeMap;

use super::*;
use crate::broker::SubscriptionId;

fn filter(text: &str) -> TopicFilter {
    TopicFilter::parse(text, 128).expect("a valid filter")
}

fn member(shard: u16, session: u32) -> Member {
    Member { shard, session }
}

fn at(qos: QoS) -> SubscriptionOptions {
    SubscriptionOptions { qos, ..SubscriptionOptions::default() }
}

/// The filters of the groups that a topic goes to, in order.
fn groups(shares: &Shares, topic: &str) -> Vec<String> {
    let topic = TopicName::parse(topic, 128).expect("a valid topic");
    let (mut search, mut found) = (GroupSearch::default(), Vec::new());
    while !shares.search(&topic, &mut search, &mut Budget::new(1), &mut found) {}
    let mut found: Vec<_> = found.iter().map(|group| group.filter().as_str().to_owned()).collect();
    found.sort();
    found
}

fn group(shares: &Shares, text: &str) -> Arc<Group> {
    shares.find(&filter(text)).expect("a group")
}

fn pick(
    shares: &Shares,
    group: &Arc<Group>,
    qos: QoS,
    packet_bytes: usize,
    round: &mut Round,
) -> Option<Member> {
    shares.pick(&mut Arc::clone(group), qos, packet_bytes, round)
}

/// How often each member is picked in `picks` messages.
fn turns(
    shares: &Shares,
    group: &Arc<Group>,
    qos: QoS,
    picks: usize,
) -> BTreeMap<(u16, u32), usize> {
    let mut turns = BTreeMap::new();
    for _ in 0..picks {
        if let Some(Member { shard, session }) = pick(shares, group, qos, 0, &mut Round::default())
        {
            *turns.entry((shard, session)).or_default() += 1;
        }
    }
    turns
}

/// [MQTT-4.8.2-1]; the filter behind the name matches as any other.
#[test]
fn a_topic_goes_to_every_group_whose_filter_matches() {
    let shares = Shares::default();
    assert!(groups(&shares, "a/b").is_empty());
    for text in ["$share/g/a/b", "$share/h/a/b", "$share/g/a/+", "$share/g/#", "$share/g//a"] {
        assert!(!shares.join(&filter(text), member(1, 1), at(QoS::AtMostOnce), true));
    }
    let all = ["$share/g/#", "$share/g/a/+", "$share/g/a/b", "$share/h/a/b"];
    assert_eq!(groups(&shares, "a/b"), all);
    assert_eq!(groups(&shares, "/a"), ["$share/g/#", "$share/g//a"]);
    assert_eq!(groups(&shares, "$SYS/x"), [""; 0], "hidden from a leading wildcard");
}

#[test]
fn a_search_in_steps_finds_each_group_once_while_others_come_and_go() {
    let shares = Shares::default();
    let all: Vec<_> = (0..100).map(|number| filter(&format!("$share/{number:03}/a/+"))).collect();
    for filter in &all {
        shares.join(filter, member(0, 1), at(QoS::AtMostOnce), true);
    }
    let topic = TopicName::parse("a/b", 128).expect("a valid topic");
    let (mut search, mut found, mut steps) = (GroupSearch::default(), Vec::new(), 0);
    while !shares.search(&topic, &mut search, &mut Budget::new(8), &mut found) {
        steps += 1;
        // Those of odd numbers go, one at either side of where the search stands.
        shares.leave(&all[(steps * 2 - 1) % 100], member(0, 1));
        shares.leave(&all[(99 + 100 - steps * 2) % 100], member(0, 1));
        shares.join(
            &filter(&format!("$share/new{steps}/a/+")),
            member(0, 1),
            at(QoS::AtMostOnce),
            true,
        );
    }
    assert!(steps >= 10, "{steps}");
    let mut texts: Vec<_> = found.iter().map(|group| group.filter().as_str()).collect();
    texts.sort();
    let len = texts.len();
    texts.dedup();
    assert_eq!(texts.len(), len, "none twice");
    for filter in all.iter().step_by(2) {
        assert!(texts.contains(&filter.as_str()), "{} was there all the time", filter.as_str());
    }
}

#[test]
fn the_last_member_takes_its_group_away() {
    let shares = Shares::default();
    let all = ["$share/g/a", "$share/h/a", "$share/g/+", "$share/h/+/#"].map(filter);
    for filter in &all {
        assert!(!shares.join(filter, member(1, 7), at(QoS::AtLeastOnce), true));
        assert!(shares.join(filter, member(1, 7), at(QoS::AtMostOnce), true), "again");
        assert!(!shares.join(filter, member(2, 7), at(QoS::AtMostOnce), false));
        assert_eq!(shares.members_len(filter), Some(2));
    }
    for filter in &all {
        assert!(!shares.leave(filter, member(3, 7)));
        assert!(shares.leave(filter, member(1, 7)));
        assert!(!shares.leave(filter, member(1, 7)));
        assert_eq!(shares.members_len(filter), Some(1));
        assert!(shares.leave(filter, member(2, 7)));
        assert_eq!(shares.members_len(filter), None);
        assert!(!shares.leave(filter, member(2, 7)));
    }
    assert_eq!(shares.groups.kept(), (0, 0, false));
    assert_eq!(shares.len.load(Ordering::Relaxed), 0);
}

#[test]
fn members_take_turns_over_all_shards() {
    let shares = Shares::default();
    let text = "$share/g/jobs";
    for shard in 0..3 {
        // Not as many members on each shard.
        for session in 0..=u32::from(shard) {
            shares.join(&filter(text), member(shard, session), at(QoS::AtMostOnce), true);
        }
    }
    let group = group(&shares, text);
    let turns = turns(&shares, &group, QoS::AtMostOnce, 600);
    assert_eq!(turns.len(), 6);
    assert!(turns.values().all(|&count| count == 100), "{turns:?}");
}

#[test]
fn members_without_connection_are_passed_over_while_any_has_one() {
    let shares = Shares::default();
    let text = filter("$share/g/jobs");
    for session in 0..4 {
        shares.join(&text, member(0, session), at(QoS::AtLeastOnce), true);
    }
    shares.set_online(&text, member(0, 1), false);
    shares.set_online(&text, member(0, 2), false);
    let group = group(&shares, text.as_str());
    let found = turns(&shares, &group, QoS::AtLeastOnce, 100);
    assert_eq!(found, BTreeMap::from([((0, 0), 50), ((0, 3), 50)]));
    shares.set_online(&text, member(0, 1), true);
    let found = turns(&shares, &group, QoS::AtLeastOnce, 90);
    assert_eq!(found, BTreeMap::from([((0, 0), 30), ((0, 1), 30), ((0, 3), 30)]));
}

#[test]
fn with_nobody_online_those_that_can_keep_a_message_take_turns() {
    let shares = Shares::default();
    let text = filter("$share/g/jobs");
    shares.join(&text, member(0, 0), at(QoS::AtLeastOnce), false);
    shares.join(&text, member(1, 1), at(QoS::ExactlyOnce), false);
    shares.join(&text, member(2, 2), at(QoS::AtMostOnce), false);
    let group = group(&shares, text.as_str());
    assert_eq!(turns(&shares, &group, QoS::AtMostOnce, 10), BTreeMap::new());
    let found = turns(&shares, &group, QoS::AtLeastOnce, 10);
    assert_eq!(found, BTreeMap::from([((0, 0), 5), ((1, 1), 5)]));
}

#[test]
fn standing_says_whether_another_could_take_it() {
    let shares = Shares::default();
    let text = filter("$share/g/jobs");
    let id = SubscriptionId::new(5);
    let options = SubscriptionOptions { id, ..at(QoS::AtLeastOnce) };
    shares.join(&text, member(0, 0), options, false);
    let group = group(&shares, text.as_str());
    let standing = |session| group.standing(member(0, session));
    assert_eq!(standing(9), None);
    let alone = Standing { options, others: 0, is_passed_over: false, is_online: false };
    assert_eq!(standing(0), Some(alone));
    shares.join(&text, member(0, 1), at(QoS::AtLeastOnce), false);
    assert_eq!(standing(0).map(|standing| standing.others), Some(1));
    shares.join(&text, member(0, 2), at(QoS::AtMostOnce), false);
    assert_eq!(standing(0).map(|standing| standing.others), Some(1), "QoS 0 keeps nothing");
    shares.set_online(&text, member(0, 2), true);
    assert_eq!(standing(0).map(|standing| standing.others), Some(1), "the one online");
    assert!(standing(0).is_some_and(|standing| standing.is_passed_over));
    assert_eq!(standing(2).map(|standing| standing.others), Some(0), "nobody else is");
}

#[test]
fn turns_survive_members_that_come_and_go() {
    let shares = Shares::default();
    let text = filter("$share/g/jobs");
    for session in 0..10 {
        shares.join(&text, member(0, session), at(QoS::AtMostOnce), true);
    }
    let group = group(&shares, text.as_str());
    for session in 0..9 {
        assert!(pick(&shares, &group, QoS::AtMostOnce, 0, &mut Round::default()).is_some());
        assert!(shares.leave(&text, member(0, session)));
        let left = 9 - session as usize;
        let found = turns(&shares, &group, QoS::AtMostOnce, left * 3);
        assert_eq!(found.len(), left);
        assert!(found.values().all(|&count| count == 3), "{found:?}");
        assert!(found.keys().all(|&(_, left)| left > session));
    }
}

#[test]
fn a_group_made_anew_serves_those_that_hold_the_old_one() {
    let shares = Shares::default();
    let text = filter("$share/g/jobs");
    shares.join(&text, member(0, 0), at(QoS::AtLeastOnce), true);
    let old = group(&shares, text.as_str());
    shares.leave(&text, member(0, 0));
    assert_eq!(pick(&shares, &old, QoS::AtLeastOnce, 0, &mut Round::default()), None);
    shares.join(&text, member(0, 1), at(QoS::AtLeastOnce), true);
    let (mut held, round) = (Arc::clone(&old), &mut Round::default());
    let picked = shares.pick(&mut held, QoS::AtLeastOnce, 0, round);
    assert_eq!(picked, Some(member(0, 1)));
    assert!(old.standing(member(0, 1)).is_none());
    assert!(held.standing(member(0, 1)).is_some(), "who holds it has the new one");
}

#[test]
fn shards_change_groups_at_the_same_time() {
    let shares = Shares::default();
    std::thread::scope(|scope| {
        for shard in 0..8 {
            let shares = &shares;
            scope.spawn(move || {
                for number in 0..300 {
                    let texts = [format!("$share/g/{number}"), format!("$share/g/{number}/+")];
                    for text in texts.map(|text| filter(&text)) {
                        shares.join(&text, member(shard, number), at(QoS::AtLeastOnce), true);
                        shares.set_online(&text, member(shard, number), false);
                        let group = shares.find(&text).expect("I am in it");
                        let round = &mut Round::default();
                        assert!(pick(shares, &group, QoS::AtLeastOnce, 0, round).is_some());
                        if number >= 100 {
                            assert!(shares.leave(&text, member(shard, number)));
                        }
                    }
                }
            });
        }
    });
    assert_eq!(shares.len.load(Ordering::Relaxed), 200);
    assert_eq!(shares.members_len(&filter("$share/g/99/+")), Some(8));
    assert_eq!(shares.members_len(&filter("$share/g/100")), None);
}

#[test]
fn members_that_take_no_packet_so_large_are_passed_by() {
    let shares = Shares::default();
    let shared = filter("$share/g/a");
    for session in 0..3 {
        shares.join(&shared, member(0, session), at(QoS::AtLeastOnce), true);
    }
    shares.set_packet_bytes_max(&shared, member(0, 0), 100);
    shares.set_packet_bytes_max(&shared, member(0, 2), 100);
    let group = shares.find(&shared).expect("a group");
    let pick =
        |bytes| super::tests::pick(&shares, &group, QoS::AtMostOnce, bytes, &mut Round::default());
    assert_eq!([101; 3].map(pick), [Some(member(0, 1)); 3]);
    let turns = [2, 0, 1].map(|session| Some(member(0, session)));
    assert_eq!([100; 3].map(pick), turns, "small ones take their turns");
    // Of a client that has gone nothing is known.
    shares.set_online(&shared, member(0, 0), false);
    shares.set_online(&shared, member(0, 0), true);
    let picked: Vec<_> =
        [101; 4].into_iter().filter_map(pick).map(|member| member.session).collect();
    assert!(picked.contains(&0) && picked.contains(&1) && !picked.contains(&2), "{picked:?}");
    // Nobody takes it: whoever is picked says so.
    shares.leave(&shared, member(0, 0));
    shares.leave(&shared, member(0, 1));
    assert_eq!(pick(101), Some(member(0, 2)));
}

#[test]
fn a_message_that_is_refused_comes_to_each_member_once_whatever_other_messages_do() {
    let shares = Shares::default();
    let shared = filter("$share/g/a");
    for session in 0..20 {
        shares.join(&shared, member(0, session), at(QoS::AtLeastOnce), true);
    }
    let group = group(&shares, shared.as_str());
    let mut round = Round::default();
    let mut asked = Vec::new();
    for number in 0..20 {
        asked.extend(pick(&shares, &group, QoS::AtLeastOnce, 0, &mut round));
        turns(&shares, &group, QoS::AtLeastOnce, number % 3);
    }
    asked.sort_unstable_by_key(|member| member.session);
    assert_eq!(asked, (0..20).map(|session| member(0, session)).collect::<Vec<_>>());
}

/// Else a message could come twice to one that refuses it, and never to one that would take it.
#[test]
fn who_moves_into_the_place_of_a_member_that_left_is_asked() {
    let shares = Shares::default();
    let all = [member(0, 1), member(1, 2), member(0, 3)];
    for member in all {
        shares.join(&filter("$share/g/t"), member, at(QoS::AtMostOnce), true);
    }
    let group = group(&shares, "$share/g/t");
    for first in 0..all.len() {
        let mut round = Round::default();
        let picks = |round: &mut Round| pick(&shares, &group, QoS::AtMostOnce, 0, round);
        let mut asked = vec![picks(&mut round).expect("a member")];
        let gone = picks(&mut round).expect("a member");
        shares.leave(&filter("$share/g/t"), gone);
        round.member_left();
        asked.push(picks(&mut round).expect("a member"));
        asked.push(gone);
        asked.sort_unstable_by_key(|member| member.session);
        assert_eq!(asked, all, "the round that began at {first}");
        shares.join(&filter("$share/g/t"), gone, at(QoS::AtMostOnce), true);
        picks(&mut Round::default());
    }
}

#[test]
fn a_member_that_is_renamed_keeps_its_turn_and_its_subscription() {
    let shares = Shares::default();
    let shared = filter("$share/g/a");
    let (first, second, renamed) = (member(0, 1), member(0, 2), member(1, 7));
    for one in [first, second] {
        shares.join(&shared, one, at(QoS::AtLeastOnce), true);
    }
    shares.rename(&shared, first, renamed);
    let group = group(&shares, "$share/g/a");
    let pick = || pick(&shares, &group, QoS::AtMostOnce, 10, &mut Round::default());
    assert_eq!([pick(), pick(), pick()], [Some(renamed), Some(second), Some(renamed)]);
    let standing = group.standing(renamed).expect("it is a member");
    assert_eq!(standing.options, at(QoS::AtLeastOnce));
    assert!(shares.leave(&shared, renamed) && !shares.leave(&shared, first));
}
