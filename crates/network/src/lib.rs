//! Pod network: CNI plugin, address management.
