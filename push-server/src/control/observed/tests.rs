use super::*;
use crate::config::Listener;

/// Its listeners as they are set.
pub(crate) fn listening(config: &Config) -> Vec<Listening> {
    let bound = |listener: Listener| Listening { address: listener.address.clone(), listener };
    config.listeners().into_iter().map(bound).collect()
}

/// A server of two shards that serves nobody.
pub(crate) fn observed(path: PingPath, now: Instant) -> (Observed, Vec<Arc<ShardCounters>>) {
    let mut config = Config::default();
    config.totals = config.totals.within(1 << 30);
    let config = Arc::new(config);
    let facts = Facts {
        listening: listening(&config),
        http: config.http,
        connections_max: 19_000,
        path,
        generations: Arc::default(),
        waited: Waited::default(),
        store: None,
        door_counts: Arc::default(),
        tls: None,
        reload: Arc::default(),
        authentication: Arc::default(),
        lines_lost: LinesLost::default(),
        memory: SessionMemory::new(config.totals.into()),
        config,
        started: SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000),
    };
    let counters = vec![Arc::default(), Arc::default()];
    (Observed::new(facts, counters.clone(), now), counters)
}

pub(crate) fn user_path() -> PingPath {
    PingPath::User { reason: "CAP_BPF is missing".into() }
}

pub(crate) fn kernel_path(counters: Vec<KernelCounter>) -> PingPath {
    let counters = Box::new(move || counters.clone());
    PingPath::Kernel { interfaces: vec!["lo".into(), "eth0".into()], counters, doubt: None }
}

#[test]
fn a_shard_stalls_only_when_its_own_loop_stands_still() {
    let start = Instant::now();
    let (observed, counters) = observed(user_path(), start);
    let later = start + SHARD_STALL_MAX + Duration::from_millis(1);
    counters[0].loop_turns.add(1);
    assert_eq!(observed.stalled_shard(later), Some((1, later - start)));
    counters[1].loop_turns.add(1);
    assert_eq!(observed.stalled_shard(later), None);
    assert_eq!(observed.stalled_shard(later + SHARD_STALL_MAX), None);
}

#[test]
fn sums_go_over_all_shards() {
    let (observed, counters) = observed(user_path(), Instant::now());
    counters[0].connections.add(2);
    counters[1].connections.add(3);
    assert_eq!(observed.sum(|shard| &shard.connections), 5);
}
