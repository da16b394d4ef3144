//! Rows of RBAC, admission, custom resource definitions and API services.

use crate::columns;
use crate::defaults;
use crate::resource::Resource;
use crate::strategy::Strategy;
use crate::validation::{api_service, extension, policy, rbac};

fn admission(plural: &'static str, kind: &'static str) -> Resource {
    Resource::cluster("admissionregistration.k8s.io", "v1", plural, kind).category("api-extensions")
}

pub(super) fn rows() -> Vec<Resource> {
    let group = "rbac.authorization.k8s.io";
    let segment = api::names::name_is_path_segment;
    let family = Strategy {
        default: defaults::admission_policy,
        unconditional_update: false,
        generation: true,
        ..Strategy::DEFAULT
    };
    let binding = Strategy {
        default: defaults::admission_binding,
        unconditional_update: false,
        generation: true,
        ..Strategy::DEFAULT
    };
    let webhook = Strategy {
        default: defaults::webhooks,
        validate: extension::webhooks,
        unconditional_update: false,
        generation: true,
        ..Strategy::DEFAULT
    };
    let role = Strategy {
        name: segment,
        validate: rbac::role,
        create_on_update: true,
        ..Strategy::DEFAULT
    };
    let bound = Strategy {
        name: segment,
        default: defaults::role_binding,
        validate: rbac::binding,
        validate_update: rbac::binding_update,
        create_on_update: true,
        ..Strategy::DEFAULT
    };
    vec![
        Resource::cluster(group, "v1", "clusterroles", "ClusterRole")
            .columns(columns::role())
            .strategy(role),
        Resource::cluster(group, "v1", "clusterrolebindings", "ClusterRoleBinding")
            .columns(columns::role_binding())
            .strategy(bound),
        Resource::namespaced(group, "v1", "roles", "Role")
            .columns(columns::role())
            .strategy(role),
        Resource::namespaced(group, "v1", "rolebindings", "RoleBinding")
            .columns(columns::role_binding())
            .strategy(bound),
        admission(
            "mutatingwebhookconfigurations",
            "MutatingWebhookConfiguration",
        )
        .columns(columns::webhooks())
        .strategy(Strategy {
            default: defaults::mutating_webhooks,
            ..webhook
        }),
        admission(
            "validatingwebhookconfigurations",
            "ValidatingWebhookConfiguration",
        )
        .columns(columns::webhooks())
        .strategy(webhook),
        admission("validatingadmissionpolicies", "ValidatingAdmissionPolicy")
            .status()
            .columns(columns::validating_policy())
            .strategy(Strategy {
                validate: policy::validating,
                ..family
            }),
        admission(
            "validatingadmissionpolicybindings",
            "ValidatingAdmissionPolicyBinding",
        )
        .columns(columns::admission_binding())
        .strategy(Strategy {
            validate: policy::validating_binding,
            ..binding
        }),
        admission("mutatingadmissionpolicies", "MutatingAdmissionPolicy")
            .columns(columns::mutating_policy())
            .strategy(Strategy {
                validate: policy::mutating,
                ..family
            }),
        admission(
            "mutatingadmissionpolicybindings",
            "MutatingAdmissionPolicyBinding",
        )
        .columns(columns::admission_binding())
        .strategy(Strategy {
            validate: policy::mutating_binding,
            ..binding
        }),
        Resource::cluster(
            "apiextensions.k8s.io",
            "v1",
            "customresourcedefinitions",
            "CustomResourceDefinition",
        )
        .short(&["crd", "crds"])
        .category("api-extensions")
        .prefix("apiextensions.k8s.io/customresourcedefinitions")
        .status()
        .columns(columns::definition())
        .strategy(Strategy {
            default: defaults::definition,
            prepare_create: extension::prepare_definition,
            validate: extension::definition,
            unconditional_update: false,
            validate_update: extension::definition_update,
            generation: true,
            ..Strategy::DEFAULT
        }),
        Resource::cluster("apiregistration.k8s.io", "v1", "apiservices", "APIService")
            .category("api-extensions")
            .prefix("apiregistration.k8s.io/apiservices")
            .status()
            .columns(columns::api_service())
            .strategy(Strategy {
                default: defaults::api_service,
                prepare_create: api_service::prepare,
                validate: api_service::validate,
                validate_status: api_service::status,
                name: segment,
                unconditional_update: false,
                ..Strategy::DEFAULT
            }),
    ]
}
