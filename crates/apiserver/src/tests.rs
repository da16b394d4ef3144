//! Requests and responses against a server in memory.

mod aggregation;
mod bad_input;
mod basics;
mod harness;
mod lists;
mod policies;
mod streams;
mod unauthenticated;
mod webhooks;
mod writes;
