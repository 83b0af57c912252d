//! Listeners: what differs from one to the next, Unix sockets, one address for both families, and
//! proxies and web pages in front of them.

mod browser;
mod dual;
mod haproxy;
mod proxied;
mod tables;
mod unix;
