//! Listeners: what differs from one to the next, Unix sockets, one address for both families.

mod dual;
mod tables;
mod unix;
