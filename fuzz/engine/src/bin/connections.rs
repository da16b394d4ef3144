//! Bytes of a peer on a connection.
#![no_main]

engine::engine!(fuzz::connections::TARGETS);
