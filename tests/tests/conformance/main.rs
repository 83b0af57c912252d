//! What MQTT says of every packet, held against the sans-I/O core: in virtual time, and with the
//! input cut at every byte offset.

mod alias;
mod allowed;
mod answers;
mod authenticate;
mod codes;
mod connect;
mod connect_form;
mod end;
mod features;
mod flow;
mod limits;
mod policy;
mod problem_information;
mod publish_in;
mod publish_out;
mod redirect;
mod response_information;
mod resume;
mod scram;
mod server;
mod subscribe;
mod text;
mod v31;
mod v5;
mod violations;
mod wire;
