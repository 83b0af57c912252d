//! The subscriptions of one session, sorted by filter, so that finding one does not read them all.
//! A list takes no more memory than its entries.

use super::Limits;
use crate::broker::{SHARE_PREFIX, SubscriptionOptions, TopicFilter, subscription_weight_bytes};

type Subscription = (TopicFilter, SubscriptionOptions);
type Shown<'a> = (&'a TopicFilter, &'a SubscriptionOptions);

/// Public only because the iterators name it.
#[derive(Clone, Debug)]
pub struct ListedSubscription {
    filter: TopicFilter,
    options: SubscriptionOptions,
    /// Kept here, since weighing a filter takes longer than adding up all of these.
    weight_bytes: u32,
}

/// How many entries one unit of work moves and adds up.
const ENTRIES_PER_UNIT: usize = 32;

/// Sorted by filter.
#[derive(Clone, Debug, Default)]
pub struct SubscriptionList(Vec<ListedSubscription>);

/// Why a subscription was not added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFull {
    /// `Limits::subscriptions_max` is reached.
    Number,
    /// `Limits::subscription_bytes_max` is reached.
    Bytes,
}

impl SubscriptionList {
    /// Adds a subscription, or changes its options.
    ///
    /// # Errors
    /// The limits allow no more. The list stays as it was.
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

    /// Whether the list has this filter.
    pub fn contains(&self, filter: &TopicFilter) -> bool {
        self.find(filter).is_ok()
    }

    /// Shared subscriptions after `behind`; `None`: all. They begin with the same text, so this
    /// reads no others.
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

    /// Removes some subscription.
    pub fn pop(&mut self) -> Option<TopicFilter> {
        self.0.pop().map(|entry| entry.filter)
    }

    /// Units of work to add or remove one, beside what the tables cost: later entries move, and all
    /// weights are added up. 0 for a list as short as nearly all are.
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

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = Shown<'_>> {
        self.0.iter().map(ListedSubscription::show)
    }

    /// Bytes that all of them weigh. Added up at each call: a stored sum would cost every session
    /// memory, and nearly all have a filter or two.
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
    /// From subscriptions with distinct filters, in any number.
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
