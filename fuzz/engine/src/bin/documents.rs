//! Documents and patches.
#![no_main]

engine::engine!(fuzz::documents::TARGETS, fuzz::patches::TARGETS);
