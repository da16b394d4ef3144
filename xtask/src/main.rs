//! Automation: `cargo xtask codegen|tidy|sim|node-test|conformance|bench|dist`.

fn main() {}
