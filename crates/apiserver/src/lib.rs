//! Authentication, filters, verbs, watch cache, discovery.
//!
//! Owns the way from an HTTP request to the store and back: who asks and whether they may
//! (`access`), what they ask for (`request`), which encoding (`negotiate`), and the generic verbs
//! over the rows of `registry`. Knows no kind by name except where upstream has a subresource of
//! its own. It is the only crate that sees the store.

pub mod access;
mod admission;
mod aggregation;
mod answer;
pub mod authn;
pub mod authz;
pub mod bootstrap;
mod catalog;
mod codec;
mod custom;
mod discovery;
mod filters;
mod flight;
mod follow;
mod frames;
#[doc(hidden)]
pub mod fuzz;
mod headers;
mod health;
mod lookup;
mod marks;
mod negotiate;
mod object;
mod openapi;
mod options;
mod outbound;
pub mod request;
mod server;
mod subresource;
mod table;
mod tokens;
mod verbs;

#[cfg(test)]
mod tests;

pub use access::{Authenticator, Authorizer, Decision};
pub use aggregation::FrontProxy;
pub use marks::marks;
pub use registry::User as UserInfo;
pub use request::RequestInfo;
pub use server::{Config, Front, InitialObject, Server, Tokens};
pub use tokens::SignedTokens;
