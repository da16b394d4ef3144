//! Rows of networking, discovery of endpoints, flow control.

use crate::columns;
use crate::defaults;
use crate::resource::{Resource, Selectable};
use crate::strategy::Strategy;
use crate::validation::{core, flow, network};

pub(super) fn rows() -> Vec<Resource> {
    let net = "networking.k8s.io";
    let flows = "flowcontrol.apiserver.k8s.io";
    vec![
        Resource::namespaced("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice")
            .columns(columns::endpoint_slice())
            .strategy(Strategy {
                default: defaults::endpoint_slice,
                validate: network::endpoint_slice,
                warn: crate::warnings::endpoint_slice,
                validate_update: network::endpoint_slice_update,
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::namespaced(net, "v1", "ingresses", "Ingress")
            .short(&["ing"])
            .prefix("ingress")
            .status()
            .columns(columns::ingress())
            .strategy(Strategy {
                validate: network::ingress,
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(net, "v1", "ingressclasses", "IngressClass")
            .columns(columns::ingress_class())
            .strategy(Strategy {
                default: defaults::ingress_class,
                validate: network::ingress_class,
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::namespaced(net, "v1", "networkpolicies", "NetworkPolicy")
            .short(&["netpol"])
            .columns(columns::network_policy())
            .strategy(Strategy {
                default: defaults::network_policy,
                validate: network::network_policy,
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(net, "v1", "ipaddresses", "IPAddress")
            .short(&["ip"])
            .columns(columns::ip_address())
            .select(Selectable::code("spec.parentRef", |_| String::new()))
            .strategy(Strategy {
                name: api::names::name_is_path_segment,
                validate: network::ip_address,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(net, "v1", "servicecidrs", "ServiceCIDR")
            .status()
            .columns(columns::service_cidr())
            .strategy(Strategy {
                validate: network::service_cidr,
                validate_update: network::service_cidr_update,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(flows, "v1", "flowschemas", "FlowSchema")
            .status()
            .columns(columns::flow_schema())
            .strategy(Strategy {
                default: defaults::flow_schema,
                validate: flow::schema,
                generation: true,
                ..Strategy::DEFAULT
            }),
        Resource::cluster(
            flows,
            "v1",
            "prioritylevelconfigurations",
            "PriorityLevelConfiguration",
        )
        .status()
        .columns(columns::priority_level())
        .strategy(Strategy {
            default: defaults::priority_level,
            validate: flow::priority_level,
            generation: true,
            ..Strategy::DEFAULT
        }),
        Resource::cluster(
            "certificates.k8s.io",
            "v1",
            "certificatesigningrequests",
            "CertificateSigningRequest",
        )
        .short(&["csr"])
        .subresource(crate::Subresource::own("approval"))
        .status()
        .columns(columns::certificate())
        .select(Selectable::path("spec.signerName"))
        .strategy(Strategy {
            prepare_create: core::prepare_certificate,
            prepare_update: core::prepare_certificate_update,
            prepare_status: core::prepare_certificate_status,
            validate: core::certificate,
            ..Strategy::DEFAULT
        }),
    ]
}
