use super::*;

fn topic(text: &str) -> TopicName {
    TopicName::parse(text, 8).expect("valid")
}

/// Says it, as though every packet were sent. Returns the alias, and whether it was new.
fn say(outbound: &mut Outbound, text: &str, max: u16) -> Option<(u16, bool)> {
    match outbound.form(&topic(text), max) {
        TopicForm::Whole => None,
        TopicForm::Introduced(alias) => {
            outbound.introduced(&topic(text), alias);
            Some((alias.get(), true))
        }
        TopicForm::Alias(alias) => Some((alias.get(), false)),
    }
}

#[test]
fn topic_is_introduced_once_and_then_said_by_its_alias() {
    let mut outbound = Outbound::default();
    assert_eq!(say(&mut outbound, "a/long/topic", 2), Some((1, true)));
    assert_eq!(say(&mut outbound, "another/topic", 2), Some((2, true)));
    assert_eq!(say(&mut outbound, "a/long/topic", 2), Some((1, false)));
    assert_eq!(say(&mut outbound, "short/1", 2), None, "too short to pay");
    assert_eq!(say(&mut outbound, "a/long/topic", 0), None, "none is taken");
}

#[test]
fn introduction_that_was_not_sent_is_made_again() {
    let mut outbound = Outbound::default();
    for _ in 0..2 {
        let form = outbound.form(&topic("a/long/topic"), 1);
        assert_eq!(form, TopicForm::Introduced(NonZeroU16::MIN));
    }
    assert_eq!(say(&mut outbound, "another/topic", 1), Some((1, true)));
    assert_eq!(outbound.places.len(), 1);
}

#[test]
fn topics_said_once_do_not_drive_out_one_said_often() {
    let mut outbound = Outbound::default();
    say(&mut outbound, "said/often", 2);
    for number in 0..100 {
        let said = say(&mut outbound, "said/often", 2);
        assert_eq!(said, Some((1, false)));
        say(&mut outbound, &format!("said/once/{number}"), 2);
        assert!(outbound.places.len() <= 2);
    }
}

#[test]
fn topic_no_longer_said_gives_its_alias_up() {
    let mut outbound = Outbound::default();
    say(&mut outbound, "said/before", 1);
    say(&mut outbound, "said/before", 1);
    assert_eq!(say(&mut outbound, "said/now", 1), None, "the mark is taken away first");
    assert_eq!(say(&mut outbound, "said/now", 1), Some((1, true)));
    assert_eq!(say(&mut outbound, "said/before", 1), Some((1, true)), "not known any more");
}

#[test]
fn inbound_table_grows_by_aliases_within_the_maximum_only() {
    let mut inbound = Inbound::default();
    let said = |inbound: &mut Inbound, text: Option<&str>, alias| {
        inbound.resolve(text.map(topic), alias, 3).map(|topic| topic.as_str().to_owned())
    };
    assert_eq!(said(&mut inbound, Some("a"), 4), Err(Reason::TopicAliasInvalid));
    assert_eq!(said(&mut inbound, Some("a"), 0), Err(Reason::TopicAliasInvalid));
    assert_eq!(said(&mut inbound, None, 3), Err(Reason::ProtocolError));
    assert!(inbound.0.is_empty());
    assert_eq!(said(&mut inbound, Some("a"), 3), Ok("a".into()));
    assert_eq!(said(&mut inbound, None, 3), Ok("a".into()));
    assert_eq!(said(&mut inbound, None, 1), Err(Reason::ProtocolError));
    assert_eq!(said(&mut inbound, Some("b"), 3), Ok("b".into()));
    assert_eq!(said(&mut inbound, None, 3), Ok("b".into()), "an alias may change its meaning");
}

#[test]
fn topic_is_cut_behind_the_bytes_that_it_may_have_and_between_characters() {
    let cut = |text: &str, bytes_max| {
        let topic = TopicName::parse_any_depth(text).expect("valid");
        topic.cut_behind(bytes_max).as_str().to_owned()
    };
    assert_eq!(cut("a/b", 3), "a/b");
    assert_eq!(cut("a/bcdefgh", 3), "a/bc", "still too long");
    assert_eq!(cut("a/b€€€", 3), "a/b€");
}
