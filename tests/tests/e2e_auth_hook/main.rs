//! Clients whom an HTTP hook knows (`--auth-http`): what it is asked, what its answers mean, and what becomes of
//! clients while it fails. The hook is a small server of the tests, and the server asks it as it would any other.

mod answers;
mod faults;
mod hook;
mod limits;
