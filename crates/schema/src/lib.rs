//! The type table and everything that it drives; the arena DOM.
