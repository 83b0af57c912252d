//! How much a client may do, beside where: rates, and how many connections its user may have. A
//! file of rules may give groups of users limits of their own.

use push_common::rate::Rate;

/// The limits of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientLimits {
    /// `--publish-rate`, `--publish-burst`: PUBLISH packets.
    pub publish: Rate,
    /// `--publish-bytes-rate`, `--publish-bytes-burst`: bytes of PUBLISH packets.
    pub publish_bytes: Rate,
    /// `--subscribe-rate`, `--subscribe-burst`: filters of SUBSCRIBE packets.
    pub subscribe: Rate,
    /// `--user-connections-max`: connections of one user; 0: no limit.
    pub user_connections_max: u32,
}

/// What a group says of these limits; `None`: nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupLimits {
    /// See [`ClientLimits::publish`]; so are the others.
    pub publish_rate: Option<u32>,
    /// A burst without a rate of the group's is one of the server's rate.
    pub publish_burst: Option<u32>,
    /// In bytes.
    pub publish_bytes_rate: Option<u32>,
    /// In bytes.
    pub publish_bytes_burst: Option<u32>,
    /// Filters.
    pub subscribe_rate: Option<u32>,
    /// Filters.
    pub subscribe_burst: Option<u32>,
    /// Connections of each of its users.
    pub user_connections_max: Option<u32>,
}

impl Default for ClientLimits {
    fn default() -> Self {
        Self {
            publish: Rate { per_sec: 0, burst: 1_000 },
            publish_bytes: Rate { per_sec: 0, burst: 1 << 20 },
            subscribe: Rate { per_sec: 100, burst: 1_000 },
            user_connections_max: 0,
        }
    }
}

impl ClientLimits {
    /// The same, with what the groups of a client's user say.
    #[must_use]
    pub fn of_groups(mut self, groups: &GroupLimits) -> Self {
        let set = |limit: &mut u32, said: Option<u32>| *limit = said.unwrap_or(*limit);
        set(&mut self.publish.per_sec, groups.publish_rate);
        set(&mut self.publish.burst, groups.publish_burst);
        set(&mut self.publish_bytes.per_sec, groups.publish_bytes_rate);
        set(&mut self.publish_bytes.burst, groups.publish_bytes_burst);
        set(&mut self.subscribe.per_sec, groups.subscribe_rate);
        set(&mut self.subscribe.burst, groups.subscribe_burst);
        set(&mut self.user_connections_max, groups.user_connections_max);
        self
    }
}

impl GroupLimits {
    /// What two groups of one user say together: of each limit the one that allows more.
    #[must_use]
    pub fn or_more(self, other: &Self) -> Self {
        // 0 stands for no limit, which allows the most.
        let rate = |one: Option<u32>, other: Option<u32>| {
            [one, other].into_iter().flatten().max_by_key(|limit| limit.wrapping_sub(1))
        };
        Self {
            publish_rate: rate(self.publish_rate, other.publish_rate),
            publish_burst: self.publish_burst.max(other.publish_burst),
            publish_bytes_rate: rate(self.publish_bytes_rate, other.publish_bytes_rate),
            publish_bytes_burst: self.publish_bytes_burst.max(other.publish_bytes_burst),
            subscribe_rate: rate(self.subscribe_rate, other.subscribe_rate),
            subscribe_burst: self.subscribe_burst.max(other.subscribe_burst),
            user_connections_max: rate(self.user_connections_max, other.user_connections_max),
        }
    }
}

#[cfg(test)]
mod tests;
