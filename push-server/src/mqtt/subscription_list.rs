//! The subscriptions of one session, in the order of their filters' text: one is found among many
//! without a look at them all, and a list takes no more memory than its entries.

use super::Limits;
use crate::broker::{SHARE_PREFIX, SubscriptionOptions, TopicFilter, subscription_weight_bytes};

type Subscription = (TopicFilter, SubscriptionOptions);
type Shown<'a> = (&'a TopicFilter, &'a SubscriptionOptions);

/// Private, though named by the iterators.
#[derive(Clone, Debug)]
pub struct ListedSubscription {
    filter: TopicFilter,
    options: SubscriptionOptions,
    /// Counting a filter's levels takes longer than adding all of these up.
    weight_bytes: u32,
}

/// So many entries are moved, and their weights added up, for what a unit of work costs.
const ENTRIES_PER_UNIT: usize = 32;

/// The list.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionList(Vec<ListedSubscription>);

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
                let entry = ListedSubscription::new(filter.clone(), options);
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

    /// Removes any one of them.
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
        self.0.iter().map(ListedSubscription::show)
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

impl ListedSubscription {
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
        let entries = subscriptions
            .into_iter()
            .map(|(filter, options)| ListedSubscription::new(filter, options));
        let mut list: Vec<_> = entries.collect();
        list.sort_unstable_by(|one, other| one.filter.cmp(&other.filter));
        Self(list)
    }
}

impl IntoIterator for SubscriptionList {
    type Item = Subscription;
    type IntoIter = std::iter::Map<
        std::vec::IntoIter<ListedSubscription>,
        fn(ListedSubscription) -> Subscription,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter().map(|entry| (entry.filter, entry.options))
    }
}

impl<'a> IntoIterator for &'a SubscriptionList {
    type Item = Shown<'a>;
    type IntoIter = std::iter::Map<
        std::slice::Iter<'a, ListedSubscription>,
        fn(&'a ListedSubscription) -> Shown<'a>,
    >;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter().map(ListedSubscription::show)
    }
}

#[cfg(test)]
mod tests;
