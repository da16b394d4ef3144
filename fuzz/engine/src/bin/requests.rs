//! What a server looks at before it knows who asks.
#![no_main]

engine::engine!(fuzz::requests::TARGETS);
