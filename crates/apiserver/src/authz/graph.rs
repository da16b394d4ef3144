//! Which objects a node has to do with, because its pods name them.
//!
//! Example: pod a/web on node n1 names secret "tls" and claim "data"; volume "pv1" serves the
//! claim and names secret a/"disk". Then n1 reaches secret a/tls (by the pod), claim a/data, pv1
//! (by the claim), and secret a/disk (by pv1, its claim, the pod).
//! Source: kubernetes v1.36.3 plugin/pkg/auth/authorizer/node/graph.go, pkg/api/v1/pod/util.go.

use std::collections::{HashMap, HashSet};

use schema::Ref;

type Place = (String, String);

/// What a pod can name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    Secret,
    ConfigMap,
    Claim,
    ResourceClaim,
    ServiceAccount,
}

type Named = (Kind, String, String);

#[derive(Debug, Default)]
struct Pod {
    node: String,
    names: HashSet<Named>,
}

#[derive(Debug, Default)]
struct Volume {
    claim: Place,
    secrets: Vec<Place>,
}

/// Pods, volumes and what they name.
#[derive(Debug, Default)]
pub(super) struct Graph {
    pods: HashMap<Place, Pod>,
    /// How many pods of which node name it.
    named: HashMap<Named, HashMap<String, usize>>,
    volumes: HashMap<String, Volume>,
    volumes_by_secret: HashMap<Place, HashSet<String>>,
    /// Attachments, slices and certificate requests by resource and place: their node.
    nodes: HashMap<(&'static str, Place), String>,
}

impl Graph {
    /// Enters, replaces or (`None`) removes an object; resources that do not matter are ignored.
    pub(super) fn set(
        &mut self,
        resource: &str,
        namespace: &str,
        name: &str,
        object: Option<Ref<'_>>,
    ) {
        let place = (namespace.to_owned(), name.to_owned());
        let spec = object.and_then(|object| object.get("spec"));
        match resource {
            "pods" => self.set_pod(place, object),
            "persistentvolumes" => self.set_volume(name, spec),
            "volumeattachments" => self.set_node("volumeattachments", place, spec),
            "resourceslices" => self.set_node("resourceslices", place, spec),
            "podcertificaterequests" => self.set_node("podcertificaterequests", place, spec),
            _ => {}
        }
    }

    fn set_node(&mut self, resource: &'static str, place: Place, spec: Option<Ref<'_>>) {
        match spec
            .map(|spec| spec.str("nodeName"))
            .filter(|node| !node.is_empty())
        {
            Some(node) => self.nodes.insert((resource, place), node.to_owned()),
            None => self.nodes.remove(&(resource, place)),
        };
    }

    fn set_pod(&mut self, place: Place, object: Option<Ref<'_>>) {
        if let Some(old) = self.pods.remove(&place) {
            for name in old.names {
                let Some(nodes) = self.named.get_mut(&name) else {
                    continue;
                };
                if let Some(count) = nodes.get_mut(&old.node) {
                    *count -= 1;
                    if *count == 0 {
                        nodes.remove(&old.node);
                    }
                }
                if nodes.is_empty() {
                    self.named.remove(&name);
                }
            }
        }
        let Some(object) = object else {
            return;
        };
        let node = object.at(&["spec", "nodeName"]).map_or("", Ref::text);
        if node.is_empty() {
            return;
        }
        let annotations = object.at(&["metadata", "annotations"]);
        let mirror =
            annotations.is_some_and(|all| all.get("kubernetes.io/config.mirror").is_some());
        let mut names = HashSet::new();
        // A node must not gain rights by a pod that it makes itself.
        if !mirror {
            names_of(object, &place, &mut |kind, name| {
                if !name.is_empty() {
                    names.insert((kind, place.0.clone(), name.to_owned()));
                }
            });
        }
        for name in &names {
            let nodes = self.named.entry(name.clone()).or_default();
            *nodes.entry(node.to_owned()).or_default() += 1;
        }
        let node = node.to_owned();
        self.pods.insert(place, Pod { node, names });
    }

    fn set_volume(&mut self, name: &str, spec: Option<Ref<'_>>) {
        if let Some(old) = self.volumes.remove(name) {
            for secret in old.secrets {
                if let Some(volumes) = self.volumes_by_secret.get_mut(&secret) {
                    volumes.remove(name);
                    if volumes.is_empty() {
                        self.volumes_by_secret.remove(&secret);
                    }
                }
            }
        }
        let Some(claim) = spec.and_then(|spec| spec.get("claimRef")) else {
            return;
        };
        let claim = (
            claim.str("namespace").to_owned(),
            claim.str("name").to_owned(),
        );
        let mut secrets = Vec::new();
        for (source, of) in spec.into_iter().flat_map(|spec| spec.map()) {
            // csi has several kinds, of which the kubelet reads these; the others have one.
            for key in [
                "secretRef",
                "nodePublishSecretRef",
                "nodeStageSecretRef",
                "nodeExpandSecretRef",
            ] {
                let Some(secret) = of.get(key) else {
                    continue;
                };
                let own = Some(secret.str("namespace")).filter(|own| !own.is_empty());
                secrets.push((
                    own.unwrap_or(&claim.0).to_owned(),
                    secret.str("name").to_owned(),
                ));
            }
            if source == "azureFile" {
                let own = Some(of.str("secretNamespace")).filter(|own| !own.is_empty());
                secrets.push((
                    own.unwrap_or(&claim.0).to_owned(),
                    of.str("secretName").to_owned(),
                ));
            }
        }
        for secret in &secrets {
            let volumes = self.volumes_by_secret.entry(secret.clone()).or_default();
            volumes.insert(name.to_owned());
        }
        self.volumes
            .insert(name.to_owned(), Volume { claim, secrets });
    }

    /// Whether a pod of `node` names it.
    pub(super) fn names(&self, node: &str, kind: Kind, namespace: &str, name: &str) -> bool {
        let named = (kind, namespace.to_owned(), name.to_owned());
        if self
            .named
            .get(&named)
            .is_some_and(|nodes| nodes.contains_key(node))
        {
            return true;
        }
        let place = (named.1, named.2);
        kind == Kind::Secret
            && self
                .volumes_by_secret
                .get(&place)
                .is_some_and(|volumes| volumes.iter().any(|volume| self.uses(node, volume)))
    }

    /// Whether a pod of `node` uses the volume.
    pub(super) fn uses(&self, node: &str, volume: &str) -> bool {
        self.volumes.get(volume).is_some_and(|volume| {
            let (namespace, name) = &volume.claim;
            self.names(node, Kind::Claim, namespace, name)
        })
    }

    /// Whether the pod is on `node`.
    pub(super) fn runs(&self, node: &str, namespace: &str, name: &str) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.pods.get(&place).is_some_and(|pod| pod.node == node)
    }

    /// Whether the object says that it belongs to `node`.
    pub(super) fn belongs(
        &self,
        node: &str,
        resource: &'static str,
        namespace: &str,
        name: &str,
    ) -> bool {
        let place = (namespace.to_owned(), name.to_owned());
        self.nodes
            .get(&(resource, place))
            .is_some_and(|own| own == node)
    }
}

/// Every object of its namespace that a pod names.
fn names_of(pod: Ref<'_>, place: &Place, found: &mut dyn FnMut(Kind, &str)) {
    let spec = pod.get("spec").unwrap_or(Ref::null());
    found(Kind::ServiceAccount, spec.str("serviceAccountName"));
    for secret in spec.items("imagePullSecrets") {
        found(Kind::Secret, secret.str("name"));
    }
    let name_at = |of: Ref<'_>, path: &[&str], kind, found: &mut dyn FnMut(Kind, &str)| {
        if let Some(reference) = of.at(path) {
            found(kind, reference.str("name"));
        }
    };
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        for container in spec.items(list) {
            for from in container.items("envFrom") {
                name_at(from, &["secretRef"], Kind::Secret, found);
                name_at(from, &["configMapRef"], Kind::ConfigMap, found);
            }
            for variable in container.items("env") {
                name_at(
                    variable,
                    &["valueFrom", "secretKeyRef"],
                    Kind::Secret,
                    found,
                );
                name_at(
                    variable,
                    &["valueFrom", "configMapKeyRef"],
                    Kind::ConfigMap,
                    found,
                );
            }
        }
    }
    for volume in spec.items("volumes") {
        for (source, of) in volume.map() {
            match source {
                "secret" | "azureFile" => found(Kind::Secret, of.str("secretName")),
                "configMap" => found(Kind::ConfigMap, of.str("name")),
                "persistentVolumeClaim" => found(Kind::Claim, of.str("claimName")),
                "ephemeral" => found(Kind::Claim, &format!("{}-{}", place.1, volume.str("name"))),
                "projected" => {
                    for part in of.items("sources") {
                        name_at(part, &["secret"], Kind::Secret, found);
                        name_at(part, &["configMap"], Kind::ConfigMap, found);
                    }
                }
                _ => {
                    name_at(of, &["secretRef"], Kind::Secret, found);
                    name_at(of, &["nodePublishSecretRef"], Kind::Secret, found);
                }
            }
        }
    }
    for claim in spec.items("resourceClaims") {
        found(Kind::ResourceClaim, claim.str("resourceClaimName"));
    }
    let status = pod.get("status").unwrap_or(Ref::null());
    for claim in status.items("resourceClaimStatuses") {
        found(Kind::ResourceClaim, claim.str("resourceClaimName"));
    }
    if let Some(claim) = status.get("extendedResourceClaimStatus") {
        found(Kind::ResourceClaim, claim.str("resourceClaimName"));
    }
}
