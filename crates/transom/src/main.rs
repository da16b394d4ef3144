//! The one binary: argv[0] or a subcommand chooses an applet.

fn main() {}
