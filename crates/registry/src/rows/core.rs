//! Rows of the core group, leases and nodes' kinds.

use api::names;

use crate::columns;
use crate::resource::{Resource, Selectable, Subresource, Text, Verb, Verbs, View};
use crate::strategy::Strategy;
use crate::validation::{config, core, namespace, node, pod, service};
use crate::{convert, defaults, warnings};

fn connect(name: &'static str, kind: &'static str, verbs: &[Verb]) -> Subresource {
    Subresource::of(name, ("", "v1", kind), verbs)
}

const TUNNEL: &[Verb] = &[Verb::Create, Verb::Get];
const PROXY: &[Verb] = &[
    Verb::Create,
    Verb::Delete,
    Verb::Get,
    Verb::Patch,
    Verb::Update,
];

fn pods() -> Resource {
    let mut row = Resource::namespaced("", "v1", "pods", "Pod")
        .short(&["po"])
        .category("all")
        .subresource(connect("attach", "PodAttachOptions", TUNNEL))
        .subresource(connect("binding", "Binding", &[Verb::Create]))
        .subresource(Subresource::own("ephemeralcontainers"))
        .subresource(Subresource::of(
            "eviction",
            ("policy", "v1", "Eviction"),
            &[Verb::Create],
        ))
        .subresource(connect("exec", "PodExecOptions", TUNNEL))
        .subresource(Subresource {
            verbs: Verbs::of(&[Verb::Get]),
            ..Subresource::own("log")
        })
        .subresource(connect("portforward", "PodPortForwardOptions", TUNNEL))
        .subresource(connect("proxy", "PodProxyOptions", PROXY))
        .subresource(Subresource::own("resize"))
        .status()
        .columns(columns::pod())
        .strategy(Strategy {
            default: defaults::pod::pod,
            prepare_create: pod::prepare_create,
            prepare_update: pod::prepare_update,
            prepare_status: pod::prepare_status,
            validate: pod::validate,
            validate_create: pod::validate_create,
            validate_update: pod::validate_update,
            warn: warnings::pod,
            graceful: Some(pod::grace),
            generation: true,
            ..Strategy::DEFAULT
        });
    for name in [
        "spec.nodeName",
        "spec.restartPolicy",
        "spec.schedulerName",
        "spec.serviceAccountName",
        "status.phase",
        "status.podIP",
        "status.nominatedNodeName",
    ] {
        row.selectable.push(Selectable::path(name));
    }
    row.selectable
        .push(Selectable::or("spec.hostNetwork", "false"));
    row.selectable
        .push(Selectable::code("status.podIPs", |pod| {
            let ips = pod
                .get("status")
                .into_iter()
                .flat_map(|status| status.items("podIPs"));
            ips.map(|ip| ip.str("ip")).collect::<Vec<_>>().join(",")
        }));
    row
}

fn events() -> Resource {
    let mut row = Resource::namespaced("", "v1", "events", "Event")
        .short(&["ev"])
        .columns(columns::event())
        .strategy(Strategy {
            validate: core::event,
            name: names::name_is_path_segment,
            create_on_update: true,
            relaxed: true,
            ttl_seconds: 3600,
            ..Strategy::DEFAULT
        });
    let mut other = View::stored("events.k8s.io", "v1");
    other.convert = Some((convert::event_to_core, convert::event_from_core));
    row.views.push(other);
    for key in [
        "kind",
        "namespace",
        "name",
        "uid",
        "apiVersion",
        "resourceVersion",
        "fieldPath",
    ] {
        row.selectable
            .push(Selectable::path(format!("involvedObject.{key}")));
        let path = vec![Text::Borrowed("involvedObject"), Text::Borrowed(key)];
        row.selectable.push(Selectable {
            name: format!("regarding.{key}").into(),
            field: crate::Field::Path(path, "".into()),
        });
    }
    for key in ["reason", "type", "reportingComponent"] {
        row.selectable.push(Selectable::path(key));
    }
    row.selectable
        .push(Selectable::code("reportingController", |e| {
            e.str("reportingComponent").to_owned()
        }));
    row.selectable.push(Selectable::code("source", |event| {
        let source = event
            .at(&["source", "component"])
            .and_then(schema::Ref::as_str);
        match source {
            Some(source) if !source.is_empty() => source.to_owned(),
            _ => event.str("reportingComponent").to_owned(),
        }
    }));
    row
}

fn namespaces() -> Resource {
    let mut row = Resource::cluster("", "v1", "namespaces", "Namespace")
        .short(&["ns"])
        .subresource(Subresource {
            verbs: Verbs::of(&[Verb::Update]),
            ..Subresource::own("finalize")
        })
        .status()
        .columns(columns::namespace())
        .select(Selectable::path("status.phase"))
        .select(Selectable::code("name", |o| {
            api::meta::of(o).name().to_owned()
        }))
        .strategy(Strategy {
            default: defaults::namespace,
            prepare_create: namespace::prepare_create,
            prepare_update: namespace::prepare_update,
            prepare_status: namespace::prepare_status,
            name: names::name_is_label,
            ..Strategy::DEFAULT
        });
    row.verbs = Verbs::NO_COLLECTION;
    row
}

fn services() -> Resource {
    Resource::namespaced("", "v1", "services", "Service")
        .short(&["svc"])
        .category("all")
        .prefix("services/specs")
        .subresource(connect("proxy", "ServiceProxyOptions", PROXY))
        .status()
        .columns(columns::service())
        .select(Selectable::path("spec.clusterIP"))
        .select(Selectable::path("spec.type"))
        .strategy(Strategy {
            default: defaults::service,
            prepare_create: service::prepare_create,
            prepare_update: service::prepare_update,
            validate_create: service::validate_create,
            validate_update: service::validate_update,
            validate_status: service::validate_status,
            warn: warnings::service,
            create_on_update: true,
            allocate: Some(service::allocate),
            // RelaxedServiceNameValidation, on by default in v1.36.
            name: names::name_is_label,
            ..Strategy::DEFAULT
        })
}

fn nodes() -> Resource {
    Resource::cluster("", "v1", "nodes", "Node")
        .short(&["no"])
        .prefix("minions")
        .subresource(connect("proxy", "NodeProxyOptions", PROXY))
        .status()
        .columns(columns::node())
        .select(Selectable::or("spec.unschedulable", "false"))
        .strategy(Strategy {
            default: defaults::node,
            status_on_create: true,
            warn: warnings::node,
            validate: node::validate,
            validate_update: node::validate_update,
            ..Strategy::DEFAULT
        })
}

pub(super) fn rows() -> Vec<Resource> {
    let mut rows = vec![pods(), events(), namespaces(), services(), nodes()];
    rows.push(
        Resource::namespaced("", "v1", "configmaps", "ConfigMap")
            .short(&["cm"])
            .columns(columns::config_map())
            .strategy(Strategy {
                validate: config::config_map,
                validate_update: config::config_map_update,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "secrets", "Secret")
            .columns(columns::secret())
            .select(Selectable::path("type"))
            .strategy(Strategy {
                default: defaults::secret,
                validate: config::secret,
                validate_update: config::secret_update,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "serviceaccounts", "ServiceAccount")
            .short(&["sa"])
            .columns(columns::Columns::new("Name|Age", |_, o, now| {
                vec![columns::name(o), columns::age(o, now)]
            }))
            .subresource(Subresource::of(
                "token",
                ("authentication.k8s.io", "v1", "TokenRequest"),
                &[Verb::Create],
            )),
    );
    rows.push(
        Resource::namespaced("", "v1", "endpoints", "Endpoints")
            .short(&["ep"])
            .prefix("services/endpoints")
            .columns(columns::endpoints())
            .strategy(Strategy {
                default: defaults::endpoints,
                validate: service::endpoints,
                deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "limitranges", "LimitRange")
            .short(&["limits"])
            .strategy(Strategy {
                default: defaults::limit_range,
                validate: core::limit_range,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "resourcequotas", "ResourceQuota")
            .short(&["quota"])
            .status()
            .columns(columns::resource_quota())
            .strategy(Strategy {
                validate: core::resource_quota,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "podtemplates", "PodTemplate")
            .columns(columns::pod_template())
            .strategy(Strategy {
                default: defaults::pod_template,
                validate: core::pod_template,
                generation: true,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "replicationcontrollers", "ReplicationController")
            .short(&["rc"])
            .category("all")
            .prefix("controllers")
            .subresource(Subresource::scale())
            .status()
            .columns(columns::replica_set())
            .select(Selectable::or("status.replicas", "0"))
            .strategy(Strategy {
                default: defaults::workload::replication_controller,
                validate: crate::validation::workload::replication_controller,
                warn: warnings::template,
                generation: true,
                orphan_by_default: true,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
            .short(&["pvc"])
            .status()
            .columns(columns::claim())
            .strategy(Strategy {
                default: defaults::claim,
                validate: core::claim,
                validate_update: core::claim_update,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::cluster("", "v1", "persistentvolumes", "PersistentVolume")
            .short(&["pv"])
            .status()
            .columns(columns::volume())
            .select(Selectable::code("name", |o| {
                api::meta::of(o).name().to_owned()
            }))
            .strategy(Strategy {
                default: defaults::volume,
                prepare_create: core::prepare_volume,
                prepare_status: core::prepare_volume_status,
                validate: core::volume,
                ..Strategy::DEFAULT
            }),
    );
    let mut statuses = Resource::cluster("", "v1", "componentstatuses", "ComponentStatus")
        .short(&["cs"])
        .prefix("");
    statuses.verbs = Verbs::of(&[Verb::Get, Verb::List]);
    statuses.strategy.deprecated = "v1 ComponentStatus is deprecated in v1.19+";
    rows.push(statuses);
    let mut bindings = Resource::namespaced("", "v1", "bindings", "Binding").prefix("");
    bindings.verbs = Verbs::CREATE;
    rows.push(bindings);
    rows.push(
        Resource::namespaced("coordination.k8s.io", "v1", "leases", "Lease")
            .columns(columns::lease())
            .strategy(Strategy {
                validate: core::lease,
                create_on_update: true,
                unconditional_update: false,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::cluster("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass")
            .columns(columns::runtime_class())
            .strategy(Strategy {
                validate: core::runtime_class,
                validate_update: core::runtime_class_update,
                unconditional_update: false,
                ..Strategy::DEFAULT
            }),
    );
    rows.push(
        Resource::cluster(
            "scheduling.k8s.io",
            "v1",
            "priorityclasses",
            "PriorityClass",
        )
        .short(&["pc"])
        .columns(columns::priority_class())
        .strategy(Strategy {
            default: defaults::priority_class,
            validate: core::priority_class,
            validate_update: core::priority_class_update,
            generation: true,
            ..Strategy::DEFAULT
        }),
    );
    rows
}
