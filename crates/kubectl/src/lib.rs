//! A small client: tables of resources and raw requests, for people without kubectl at hand.
//!
//! The server renders the tables; this crate asks for them and lines the cells up. Reads the same
//! kubeconfig as every other client.

mod commands;
mod config;
#[doc(hidden)]
pub mod fuzz;
mod table;

pub use commands::{Command, run};
pub use config::{Connection, connect};
pub use table::{align, print_table};
