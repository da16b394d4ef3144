//! Tokens and certificates.
#![no_main]

engine::engine!(fuzz::credentials::TARGETS);
