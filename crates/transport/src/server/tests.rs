//! Handshakes, round trips and limits over loopback.
