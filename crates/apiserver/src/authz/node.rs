//! What a kubelet may do: its own node, its pods, and what these name.
//!
//! Which content a node may write is for the NodeRestriction admission to say.
//! Source: kubernetes v1.36.3 plugin/pkg/auth/authorizer/node/node_authorizer.go,
//! pkg/auth/nodeidentifier/default.go.

use registry::rbac::Rule;

use super::graph::{Graph, Kind};
use crate::{RequestInfo, UserInfo};

/// The node whose kubelet the user is.
pub(super) fn name_of(user: &UserInfo) -> Option<&str> {
    let name = user.name.strip_prefix("system:node:")?;
    (user.is_in("system:nodes") && !name.is_empty()).then_some(name)
}

/// `Err` is upstream's reason, possibly empty.
pub(super) fn authorize(
    graph: &Graph,
    rules: &[Rule],
    node: &str,
    info: &RequestInfo,
) -> Result<(), String> {
    if info.is_resource {
        let asked = Asked { graph, node, info };
        let decision = match (info.group.as_str(), info.resource.as_str()) {
            ("", "secrets") => Some(asked.read(Kind::Secret)),
            ("", "configmaps") => Some(asked.read(Kind::ConfigMap)),
            ("", "persistentvolumeclaims") => Some(asked.claim()),
            ("", "persistentvolumes") => Some(asked.get(|| graph.uses(node, &info.name))),
            ("resource.k8s.io", "resourceclaims") => {
                Some(asked.get(|| asked.named(Kind::ResourceClaim)))
            }
            ("storage.k8s.io", "volumeattachments") => {
                Some(asked.get(|| graph.belongs(node, "volumeattachments", "", &info.name)))
            }
            ("", "serviceaccounts") => Some(asked.service_account()),
            ("coordination.k8s.io", "leases") => Some(asked.lease()),
            ("storage.k8s.io", "csinodes") => Some(asked.csi_node()),
            ("resource.k8s.io", "resourceslices") => Some(asked.resource_slice()),
            ("", "nodes") => Some(asked.own_node()),
            ("", "pods") => Some(asked.pod()),
            ("certificates.k8s.io", "podcertificaterequests") => Some(Err(String::new())),
            _ => None,
        };
        if let Some(decision) = decision {
            return decision;
        }
    }
    let action = super::action(info);
    if rules.iter().any(|rule| rule.allows(&action)) {
        Ok(())
    } else {
        Err(String::new())
    }
}

struct Asked<'a> {
    graph: &'a Graph,
    node: &'a str,
    info: &'a RequestInfo,
}

type Answer = Result<(), String>;

fn no(reason: &str) -> Answer {
    Err(reason.to_owned())
}

impl Asked<'_> {
    fn verb(&self) -> &str {
        &self.info.verb
    }

    fn sub(&self) -> &str {
        &self.info.subresource
    }

    fn named(&self, kind: Kind) -> bool {
        self.graph
            .names(self.node, kind, &self.info.namespace, &self.info.name)
    }

    fn related(&self, is: impl FnOnce() -> bool) -> Answer {
        if self.info.name.is_empty() {
            return no("No Object name found");
        }
        if is() {
            return Ok(());
        }
        let node = self.node;
        Err(format!(
            "no relationship found between node '{node}' and this object"
        ))
    }

    fn get(&self, is: impl FnOnce() -> bool) -> Answer {
        if self.verb() != "get" {
            return no("can only get individual resources of this type");
        }
        if !self.sub().is_empty() {
            return no("cannot get subresource");
        }
        self.related(is)
    }

    fn read(&self, kind: Kind) -> Answer {
        if !["get", "list", "watch"].contains(&self.verb()) {
            return no("can only read resources of this type");
        }
        if !self.sub().is_empty() {
            return no("cannot read subresource");
        }
        if self.info.namespace.is_empty() {
            return no("can only read namespaced object of this type");
        }
        self.related(|| self.named(kind))
    }

    fn claim(&self) -> Answer {
        if self.sub() != "status" {
            return self.get(|| self.named(Kind::Claim));
        }
        if !["update", "patch"].contains(&self.verb()) {
            return no("can only get/update/patch this type");
        }
        self.related(|| self.named(Kind::Claim))
    }

    fn service_account(&self) -> Answer {
        if self.verb() == "get" && self.sub().is_empty() {
            return self.read(Kind::ServiceAccount);
        }
        if self.verb() != "create" || self.info.name.is_empty() {
            return no("can only create tokens for individual service accounts");
        }
        if self.sub() != "token" {
            return no("can only create token subresource of serviceaccount");
        }
        self.related(|| self.named(Kind::ServiceAccount))
    }

    fn lease(&self) -> Answer {
        if !["get", "create", "update", "patch", "delete"].contains(&self.verb()) {
            return no("can only get, create, update, patch, or delete a node lease");
        }
        if self.info.namespace != "kube-node-lease" {
            return no("can only access leases in the \"kube-node-lease\" system namespace");
        }
        if self.verb() != "create" && self.info.name != self.node {
            return no("can only access node lease with the same name as the requesting node");
        }
        Ok(())
    }

    fn csi_node(&self) -> Answer {
        if !["get", "create", "update", "patch", "delete"].contains(&self.verb()) {
            return no("can only get, create, update, patch, or delete a CSINode");
        }
        if !self.sub().is_empty() {
            return no("cannot authorize CSINode subresources");
        }
        if self.verb() != "create" && self.info.name != self.node {
            return no("can only access CSINode with the same name as the requesting node");
        }
        Ok(())
    }

    /// Whether the field selector holds the request to this node.
    fn selects(&self, field: &str) -> bool {
        let wanted = |one: &str| {
            let pair = one.split_once("==").or_else(|| one.split_once('='));
            pair == Some((field, self.node))
        };
        self.info.field_selector.split(',').any(wanted)
    }

    fn resource_slice(&self) -> Answer {
        if !self.sub().is_empty() {
            return no("cannot authorize ResourceSlice subresources");
        }
        match self.verb() {
            "create" => Ok(()),
            "get" | "update" | "patch" | "delete" => self.related(|| {
                self.graph
                    .belongs(self.node, "resourceslices", "", &self.info.name)
            }),
            "watch" | "list" | "deletecollection" if self.selects("spec.nodeName") => Ok(()),
            "watch" | "list" | "deletecollection" => no(
                "can only list/watch/deletecollection resourceslices with nodeName field selector",
            ),
            _ => no(
                "only the following verbs are allowed for a ResourceSlice: get, watch, list, create, update, patch, delete, deletecollection",
            ),
        }
    }

    fn own_node(&self) -> Answer {
        match (self.sub(), self.verb()) {
            ("", "create" | "update" | "patch") | ("status", "update" | "patch") => Ok(()),
            ("", "get" | "list" | "watch") => {
                let (node, name) = (self.node, &self.info.name);
                if name == node {
                    Ok(())
                } else if name.is_empty() {
                    Err(format!(
                        "node '{node}' cannot read all nodes, only its own Node object"
                    ))
                } else {
                    Err(format!(
                        "node '{node}' cannot read '{name}', only its own Node object"
                    ))
                }
            }
            _ => no(""),
        }
    }

    fn pod(&self) -> Answer {
        let runs = || {
            self.graph
                .runs(self.node, &self.info.namespace, &self.info.name)
        };
        match (self.sub(), self.verb()) {
            ("", "get") => self.get(runs),
            ("", "list" | "watch") if self.selects("spec.nodeName") => Ok(()),
            ("", "list" | "watch") if !self.info.name.is_empty() => self.related(runs),
            ("", "list" | "watch") => {
                no("can only list/watch pods with spec.nodeName field selector")
            }
            ("", "create" | "delete") | ("status", "update" | "patch") | ("eviction", "create") => {
                Ok(())
            }
            _ => no(""),
        }
    }
}
