//! Role based access control without IO: rules, who is bound to them, and what a cluster starts
//! with.
//!
//! Owns the meaning of Role, ClusterRole and their bindings. Knows neither requests nor the store:
//! `apiserver::authz` feeds an [`Index`] with watch events and asks it; a write hook builds one
//! from its `Lookup` to check for escalation.
//! Source: kubernetes v1.36.3 pkg/registry/rbac/validation, pkg/apis/rbac/v1/evaluation_helpers.go,
//! plugin/pkg/auth/authorizer/rbac.

mod bootstrap;
mod escalation;
mod index;
mod rule;

pub use bootstrap::{BootstrapObject, bootstrap, bootstrap_rules};
pub use escalation::{confirm_no_escalation, covers};
pub use index::{Index, Source, Verdict};
pub use rule::{Action, Rule};

#[cfg(test)]
mod tests;
