//! Topics and messages: names and filters, who is subscribed to what, which shard serves them, and
//! what is retained. It knows neither sockets, rings, clocks nor the wire format.

pub mod message;
pub mod retained;
pub mod routing;
pub mod shares;
pub mod subscriptions;
pub mod topic;
pub mod via;

mod filter_table;
mod level_tree;
mod locked_filters;

pub use message::{Message, MessageProperties, QoS};
pub use retained::{Kept, Retained, RetainedFull, Walk};
pub use routing::{Routing, ShardSet};
pub use shares::{Group, Member, Shares};
pub use subscriptions::{Match, SubscriptionOptions, Subscriptions};
pub use topic::{Share, TopicError, TopicFilter, TopicName};
pub use via::{SubscriptionId, Via};
