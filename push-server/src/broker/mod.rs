//! Topics and messages: names and filters, who is subscribed to what, which shard serves whom, and
//! which messages are retained. It knows no sockets, rings or clocks, and no wire format, except
//! that it keeps user properties in the bytes that they are sent in.

pub(crate) mod held;
pub(crate) mod holders;
pub(crate) mod memory;
pub(crate) mod message;
pub(crate) mod retained;
pub(crate) mod routing;
pub(crate) mod shares;
pub(crate) mod slip;
pub(crate) mod subscription;
pub(crate) mod subscriptions;
pub(crate) mod topic;
pub(crate) mod user_properties;
pub(crate) mod via;

mod arena;
mod budget;
mod filter_table;
mod level_names;
mod level_tree;
mod locked_filters;

pub use budget::Budget;
pub use held::Held;
pub use holders::{Holder, Holders, PeerNetwork, ShareMax, Tally};
pub(crate) use level_tree::{LevelTree, NodeId, ROOT, Vacant};
pub use memory::{
    Charge, MemoryBudget, NoMemory, SESSION_BYTES, SessionMemory, SessionMemoryMax,
    session_weight_bytes,
};
pub use message::{Message, MessageProperties, QoS, will_weight_bytes};
pub use retained::{Kept, Retained, RetainedChange, RetainedFull, Walk};
pub use routing::{Routing, ShardSearch, ShardSet};
pub use shares::{Group, GroupSearch, Member, Round, Shares};
pub use slip::{Fate, Slip, Slips};
pub use subscription::{SUBSCRIPTION_ID_MAX, SubscriptionId, SubscriptionOptions};
pub use subscriptions::{Match, Matching, Subscriptions, subscription_weight_bytes};
pub use topic::{SHARE_PREFIX, Share, TopicError, TopicFilter, TopicName};
pub use user_properties::{UserProperties, UserPropertiesBuilder, UserPropertyTooLong};
pub use via::{SubscriptionIds, Via, subscription_ids_weight_bytes};
