//! One webhook of a configuration, parsed; scopes and conditions of webhooks and policies.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/webhook/accessors.go.

use std::time::Duration;

use api::labels::Selector;
use cel::Program;
use cel::admission::{Wanted, compile, env};
use schema::Ref;

use crate::outbound::Backend;

/// A hook whose fields are defaulted, as they are stored.
#[derive(Clone, Debug)]
pub(crate) struct Hook {
    /// Tells it from others, over changes of its configuration.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) scope: Scope,
    /// A hook that cannot be asked lets the request pass.
    pub(crate) ignores_failure: bool,
    /// It may be asked in dry runs.
    pub(crate) dry_run: bool,
    pub(crate) timeout: Duration,
    /// Ask again when others changed the object after it.
    pub(crate) reinvoked: bool,
    /// `v1` or `v1beta1`; none: it speaks neither.
    pub(crate) review: Option<&'static str>,
    pub(crate) backend: Option<Backend>,
    pub(crate) conditions: Conditions,
}

/// Which requests a hook or a policy wants to see.
#[derive(Clone, Debug)]
pub(crate) struct Scope {
    /// None: all of them.
    pub(crate) rules: Option<Vec<Rule>>,
    pub(crate) excluded: Vec<Rule>,
    pub(crate) namespaces: Selector,
    pub(crate) objects: Selector,
    /// Rules also count for other versions of the same resource.
    pub(crate) equivalent: bool,
}

impl Scope {
    fn of_hook(hook: Ref<'_>) -> Scope {
        Scope {
            rules: Some(hook.items("rules").map(Rule::of).collect()),
            excluded: Vec::new(),
            namespaces: selector(hook, "namespaceSelector"),
            objects: selector(hook, "objectSelector"),
            equivalent: hook.str("matchPolicy") != "Exact",
        }
    }

    /// `matchConstraints` and `matchResources` of policies and bindings.
    pub(super) fn of_policy(of: Ref<'_>) -> Scope {
        let rules: Vec<Rule> = of.items("resourceRules").map(Rule::of).collect();
        Scope {
            rules: (!rules.is_empty()).then_some(rules),
            excluded: of.items("excludeResourceRules").map(Rule::of).collect(),
            ..Scope::of_hook(of)
        }
    }
}

/// Expressions that must all be true, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conditions(pub(super) Vec<Result<Program, String>>);

impl Conditions {
    /// `matchConditions`, which may use parameters if a policy has them.
    pub(super) fn of(of: Ref<'_>, params: bool) -> Conditions {
        let env = env(params, true);
        let all = of
            .items("matchConditions")
            .map(|condition| compile(condition.str("expression").trim(), &env, Wanted::Bool));
        Conditions(all.collect())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// What a hook wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) operations: Vec<String>,
    pub(crate) groups: Vec<String>,
    pub(crate) versions: Vec<String>,
    pub(crate) resources: Vec<String>,
    /// `*`, `Cluster`, `Namespaced`.
    pub(crate) scope: String,
    /// Names of objects; none: all of them.
    pub(crate) names: Vec<String>,
}

fn texts(of: Ref<'_>, key: &str) -> Vec<String> {
    let texts = of.items(key).filter_map(Ref::as_str);
    texts.map(str::to_owned).collect()
}

impl Rule {
    pub(crate) fn of(rule: Ref<'_>) -> Rule {
        Rule {
            operations: texts(rule, "operations"),
            groups: texts(rule, "apiGroups"),
            versions: texts(rule, "apiVersions"),
            resources: texts(rule, "resources"),
            names: texts(rule, "resourceNames"),
            scope: match rule.str("scope") {
                "" => "*".to_owned(),
                scope => scope.to_owned(),
            },
        }
    }
}

/// An absent selector selects everything: the field is defaulted to an empty one.
pub(crate) fn selector(of: Ref<'_>, key: &str) -> Selector {
    match of.get(key) {
        None => Selector::everything(),
        some => api::meta::label_selector(some).unwrap_or_else(|_| Selector::nothing()),
    }
}

/// The hooks of a configuration, in order.
pub(super) fn hooks(configuration: Ref<'_>) -> Vec<Hook> {
    let own = api::meta::of(configuration);
    let mut seen = std::collections::HashMap::new();
    let mut hooks = Vec::new();
    for hook in configuration.items("webhooks") {
        let name = hook.str("name");
        let count = seen.entry(name).or_insert(0);
        let id = format!("{}/{name}/{count}", own.name());
        *count += 1;
        let seconds = hook.int("timeoutSeconds").unwrap_or(10).clamp(1, 30);
        let review = hook.items("admissionReviewVersions").find_map(|version| {
            ["v1", "v1beta1"]
                .into_iter()
                .find(|known| version.as_str() == Some(known))
        });
        hooks.push(Hook {
            id,
            name: name.to_owned(),
            scope: Scope::of_hook(hook),
            ignores_failure: hook.str("failurePolicy") == "Ignore",
            dry_run: matches!(hook.str("sideEffects"), "None" | "NoneOnDryRun"),
            timeout: Duration::from_secs(seconds.unsigned_abs()),
            reinvoked: hook.str("reinvocationPolicy") == "IfNeeded",
            review,
            backend: hook.get("clientConfig").and_then(Backend::of),
            conditions: Conditions::of(hook, false),
        });
    }
    hooks
}
