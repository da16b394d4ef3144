//! Scenarios, simulation, node tests.
