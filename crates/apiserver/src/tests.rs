//! Requests and responses against a server in memory.

mod basics;
mod harness;
mod webhooks;
