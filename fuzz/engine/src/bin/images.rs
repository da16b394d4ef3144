//! What registries and archives send.
#![no_main]

engine::engine!(fuzz::images_::TARGETS);
