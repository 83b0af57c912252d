//! The subscriptions of one session, in the order of their filters' text: one is found among many
//! without a look at them all, and a list takes no more memory than its entries.

use super::Limits;
use crate::broker::{SHARE_PREFIX, SubscriptionOptions, TopicFilter, subscription_weight_bytes};

type Subscription = (TopicFilter, SubscriptionOptions);
type Shown<'a> = (&'a TopicFilter, &'a SubscriptionOptions);

/// Private, though named by the iterators.
#[derive(Clone, Debug)]
pub struct Entry {
    filter: TopicFilter,
    options: SubscriptionOptions,
    /// Counting a filter's levels takes longer than adding all of these up.
    weight_bytes: u32,
}

/// So many entries are moved, and their weights added up, for what a unit of work costs.
const ENTRIES_PER_UNIT: usize = 32;

/// The list.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionList(Vec<Entry>);

/// Why a subscription was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFull {
    /// `Limits::subscriptions_max` is reached.
    Number,
    /// `Limits::subscription_bytes_max` is.
    Bytes,
}

impl SubscriptionList {
    /// Adds a subscription, or gives it other options.
    ///
    /// # Errors
    /// It would be one more than the limits allow. The list is as it was.
    pub fn set(
        &mut self,
        filter: &TopicFilter,
        options: SubscriptionOptions,
        limits: &Limits,
    ) -> Result<(), ListFull> {
        let bytes_max = limits.subscription_bytes_max as usize;
        match self.find(filter) {
            Ok(index) => self.0[index].options = options,
            Err(_) if self.0.len() >= limits.subscriptions_max as usize => {
                return Err(ListFull::Number);
            }
            Err(index) => {
                let entry = Entry::new(filter.clone(), options);
                if self.bytes() + entry.weight_bytes as usize > bytes_max {
                    return Err(ListFull::Bytes);
                }
                self.0.insert(index, entry);
            }
        }
        Ok(())
    }

    /// Removes a subscription. Returns whether it was there.
    pub fn remove(&mut self, filter: &TopicFilter) -> bool {
        let found = self.find(filter);
        if let Ok(index) = found {
            self.0.remove(index);
        }
        found.is_ok()
    }

    /// Whether there is one with this filter.
    pub fn contains(&self, filter: &TopicFilter) -> bool {
        self.find(filter).is_ok()
    }

    /// The shared ones that come behind `behind`, or all of them. Found without a look at the others,
    /// since they have their beginning in common.
    pub fn shared_behind(
        &self,
        behind: Option<&TopicFilter>,
    ) -> impl Iterator<Item = &TopicFilter> {
        let first = self.0.partition_point(|have| match behind {
            Some(behind) => have.filter <= *behind,
            None => have.filter.as_str() < SHARE_PREFIX,
        });
        self.0[first..].iter().map(|have| &have.filter).take_while(|filter| filter.is_shared())
    }

    /// Whether there are shared ones.
    pub fn has_shared(&self) -> bool {
        self.shared_behind(None).next().is_some()
    }

    /// Removes one, whichever.
    pub fn pop(&mut self) -> Option<TopicFilter> {
        self.0.pop().map(|entry| entry.filter)
    }

    /// Units that it costs to add or remove one, beside what the tables cost: those behind it make room or
    /// move up, and what all of them weigh is added up. Nothing for a list as nearly all are.
    pub fn change_units(&self) -> u32 {
        u32::try_from(self.0.len() / ENTRIES_PER_UNIT).unwrap_or(u32::MAX)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Shown<'_>> {
        self.0.iter().map(Entry::show)
    }

    /// What all of them weigh. Added up when it is asked, because every session, nearly all of them with a
    /// filter or two, would have to have room for it.
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|entry| entry.weight_bytes as usize).sum()
    }

    fn find(&self, filter: &TopicFilter) -> Result<usize, usize> {
        self.0.binary_search_by(|have| have.filter.cmp(filter))
    }
}

impl Entry {
    fn new(filter: TopicFilter, options: SubscriptionOptions) -> Self {
        // A filter has at most 65,535 bytes.
        let weight_bytes = u32::try_from(subscription_weight_bytes(&filter)).unwrap_or(u32::MAX);
        Self { filter, options, weight_bytes }
    }

    fn show(&self) -> Shown<'_> {
        (&self.filter, &self.options)
    }
}

impl FromIterator<Subscription> for SubscriptionList {
    /// Of subscriptions whose filters differ, however many.
    fn from_iter<I: IntoIterator<Item = Subscription>>(subscriptions: I) -> Self {
        let entries =
            subscriptions.into_iter().map(|(filter, options)| Entry::new(filter, options));
        let mut list: Vec<_> = entries.collect();
        list.sort_unstable_by(|one, other| one.filter.cmp(&other.filter));
        Self(list)
    }
}

impl IntoIterator for SubscriptionList {
    type Item = Subscription;
    type IntoIter = std::iter::Map<std::vec::IntoIter<Entry>, fn(Entry) -> Subscription>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|entry| (entry.filter, entry.options))
    }
}

impl<'a> IntoIterator for &'a SubscriptionList {
    type Item = Shown<'a>;
    type IntoIter = std::iter::Map<std::slice::Iter<'a, Entry>, fn(&'a Entry) -> Shown<'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(Entry::show)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::QoS;

    fn filter(text: &str) -> TopicFilter {
        TopicFilter::parse(text, 8).expect("valid")
    }

    fn with_qos(qos: QoS) -> SubscriptionOptions {
        SubscriptionOptions { qos, ..SubscriptionOptions::default() }
    }

    fn texts(list: &SubscriptionList) -> Vec<&str> {
        list.iter().map(|(filter, _)| filter.as_str()).collect()
    }

    #[test]
    fn shared_ones_are_found_from_any_of_them_on() {
        let limits = Limits::default();
        let mut list = SubscriptionList::default();
        for text in ["b", "$share/g/a", "#", "$share/h/#", "$shard/x", "$SYS/a", "$t", "+"] {
            list.set(&filter(text), with_qos(QoS::AtMostOnce), &limits).expect("has room");
        }
        let behind = |behind: Option<&str>| {
            let behind = behind.map(filter);
            let found = list.shared_behind(behind.as_ref());
            found.map(|filter| filter.as_str().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(behind(None), ["$share/g/a", "$share/h/#"]);
        assert_eq!(behind(Some("$share/g/a")), ["$share/h/#"]);
        assert_eq!(behind(Some("$share/g/b")), ["$share/h/#"], "one that is gone");
        assert_eq!(behind(Some("$share/h/#")), [""; 0]);
    }

    #[test]
    fn what_is_added_in_any_order_is_found_changed_and_removed() {
        let limits = Limits::default();
        let mut list = SubscriptionList::default();
        for text in ["b", "d", "a/+", "c", "#"] {
            assert_eq!(list.set(&filter(text), with_qos(QoS::AtMostOnce), &limits), Ok(()));
        }
        assert_eq!(list.set(&filter("c"), with_qos(QoS::ExactlyOnce), &limits), Ok(()));
        assert_eq!(texts(&list), ["#", "a/+", "b", "c", "d"]);
        assert_eq!(list.iter().map(|(_, options)| options.qos as u8).sum::<u8>(), 2);
        assert!(list.remove(&filter("b")) && !list.remove(&filter("never/was")));
        assert!(list.contains(&filter("c")) && !list.contains(&filter("b")));
        let again: SubscriptionList = list.clone().into_iter().rev().collect();
        assert_eq!(texts(&again), ["#", "a/+", "c", "d"]);
    }

    #[test]
    fn a_change_costs_by_how_many_there_are() {
        let list = |count: u32| -> SubscriptionList {
            (0..count).map(|n| (filter(&n.to_string()), SubscriptionOptions::default())).collect()
        };
        assert_eq!(
            [0, 10, 1_000, 64_000].map(|count| list(count).change_units()),
            [0, 0, 31, 2_000]
        );
    }

    #[test]
    fn one_too_many_is_refused_and_a_known_one_is_not() {
        let limits = Limits { subscriptions_max: 2, ..Limits::default() };
        let mut list = SubscriptionList::default();
        let options = SubscriptionOptions::default();
        assert_eq!(list.set(&filter("a"), options, &limits), Ok(()));
        assert_eq!(list.set(&filter("b"), options, &limits), Ok(()));
        assert_eq!(list.set(&filter("c"), options, &limits), Err(ListFull::Number));
        assert_eq!(list.set(&filter("a"), options, &limits), Ok(()));
        assert_eq!(texts(&list), ["a", "b"]);
    }

    #[test]
    fn filters_have_only_so_many_bytes_together() {
        let own_bytes = subscription_weight_bytes(&filter("x")) as u32 - 1;
        let limits = Limits { subscription_bytes_max: 3 * own_bytes + 10, ..Limits::default() };
        let mut list = SubscriptionList::default();
        let mut set = |text| list.set(&filter(text), SubscriptionOptions::default(), &limits);
        assert_eq!(set("12345"), Ok(()));
        assert_eq!(set("1234"), Ok(()));
        assert_eq!(set("12"), Err(ListFull::Bytes));
        assert_eq!(set("12345"), Ok(()), "it is there already");
        assert_eq!(set("x"), Ok(()));
        assert_eq!(set("y"), Err(ListFull::Bytes));
        list.remove(&filter("1234"));
        assert_eq!(list.set(&filter("y"), SubscriptionOptions::default(), &limits), Ok(()));
    }

    #[test]
    fn levels_of_wildcard_filters_count_against_the_bytes() {
        let limits = Limits { subscription_bytes_max: 4_096, ..Limits::default() };
        let mut list = SubscriptionList::default();
        let mut set = |text: &str| {
            let filter = TopicFilter::parse(text, 128).expect("valid");
            list.set(&filter, SubscriptionOptions::default(), &limits)
        };
        assert_eq!(set(&"/".repeat(100)), Ok(()), "without wildcards it is in no tree");
        assert_eq!(set(&format!("{}+", "/".repeat(100))), Err(ListFull::Bytes));
        assert_eq!(set("a/b/+"), Ok(()));
    }

    #[test]
    fn a_thousand_ordinary_subscriptions_are_within_the_default() {
        let limits = Limits::default();
        let mut list = SubscriptionList::default();
        for number in 0..limits.subscriptions_max {
            let text = format!("company/site-{number:04}/building/floor/room/device/+/state/#");
            let filter = TopicFilter::parse(&text, 128).expect("valid");
            assert_eq!(list.set(&filter, SubscriptionOptions::default(), &limits), Ok(()));
        }
    }
}
