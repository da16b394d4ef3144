//! What the controllers of nodes share: facts of nodes and of the pods on them, and how a pod is
//! marked before it is deleted.

mod mark;
mod node;
mod placed;

pub(crate) use mark::{Condition, delete, mark};
pub(crate) use node::{Node, Taint, nodes};
pub(crate) use placed::{Placed, Toleration, placed};

#[cfg(test)]
mod tests;
