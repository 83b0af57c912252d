//! What stores keep (`behaviour`, `retained` and `totals` hold every implementation to it), and of the durable
//! one on real disks what it does when they are full or damaged, and what `kill -9` leaves. Without a
//! server: `push_server::store` by itself.
//!
//! `PUSH_STORE_ROUNDS`: how many rounds of `kill -9` (a few otherwise). `PUSH_STORE_FIGURES`: print
//! what a full start and full load cost (`cargo test --release -p push-tests --test store figures --
//! --nocapture`).
mod behaviour;
mod clock;
mod crash;
mod damage;
mod disk;
mod embedded;
mod figures;
mod retained;
mod rig;
mod totals;
