//! Contracts of a node: CRI messages and services, the CNI trait.
