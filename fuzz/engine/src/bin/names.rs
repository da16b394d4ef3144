//! Packets of DNS and what configures it.
#![no_main]

engine::engine!(fuzz::names::TARGETS);
