//! Short texts with a grammar.
#![no_main]

engine::engine!(fuzz::texts::TARGETS);
