//! What people write, and large crates read.
#![no_main]

engine::engine!(fuzz::files::TARGETS);
