//! CONTROLLERS: pure plans and their shells.
