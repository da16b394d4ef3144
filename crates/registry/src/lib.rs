//! RESOURCES: one row a resource, and the hooks that a table cannot express.
