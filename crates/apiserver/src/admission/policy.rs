//! Admission policies and their bindings, compiled.
//!
//! Followed in the store as webhooks are; a policy is compiled once a generation, whatever
//! happens to others and to bindings. A policy without a binding does nothing and is left out.
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/policy/{generic,validating,mutating}.

mod enforce;
mod mutate;
mod world;

use std::sync::Arc;

use api::labels::Selector;
use cel::Program;
use cel::admission::{Wanted, compile, env, with_variables};
use registry::Lookup;
use schema::Ref;

pub(super) use world::{Asking, Documents, World, request_of};

use super::config::{Conditions, Scope};

/// Where policies and bindings are stored.
pub(super) const PREFIXES: [&str; 4] = [
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
];

/// All policies that are bound, by name.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    pub(crate) mutating: Vec<Policy>,
    pub(crate) validating: Vec<Policy>,
}

/// A policy with its bindings.
#[derive(Debug)]
pub(crate) struct Policy {
    compiled: Arc<Compiled>,
    bindings: Vec<Binding>,
}

/// An expression, or why it is none.
type Expression = Result<Program, String>;

/// What one generation of a policy says.
#[derive(Debug)]
struct Compiled {
    uid: String,
    generation: i64,
    name: String,
    scope: Scope,
    ignores_failure: bool,
    /// apiVersion and kind of the parameters.
    param_kind: Option<(String, String)>,
    conditions: Conditions,
    variables: Vec<(String, Expression)>,
    validations: Vec<Validation>,
    mutations: Vec<Mutation>,
    /// It comes again when others changed the object.
    reinvoked: bool,
}

#[derive(Debug)]
struct Validation {
    source: String,
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

#[derive(Debug)]
struct Mutation {
    apply: bool,
    source: String,
    expression: Expression,
}

#[derive(Debug)]
struct Binding {
    name: String,
    scope: Option<Scope>,
    param: Option<Param>,
    actions: Vec<String>,
}

/// Which parameters a binding takes.
#[derive(Debug)]
struct Param {
    name: String,
    namespace: String,
    selector: Selector,
    denies: bool,
}

impl Policies {
    /// Whether there is nothing to do.
    pub(crate) fn is_empty(&self) -> bool {
        self.mutating.is_empty() && self.validating.is_empty()
    }

    /// Reads them; what did not change is taken over.
    pub(super) fn load(lookup: &dyn Lookup, before: &Policies) -> Policies {
        let [mutating, mutating_bindings, validating, validating_bindings] =
            PREFIXES.map(|prefix| lookup.list(prefix, ""));
        let group = |policies: Vec<schema::Dom>, bindings: Vec<schema::Dom>, old: &[Policy]| {
            let mut all: Vec<Policy> = Vec::new();
            for policy in &policies {
                let own = api::meta::of(policy.as_ref());
                let bound = bindings.iter().map(schema::Dom::as_ref);
                let mut bindings: Vec<Binding> = bound
                    .filter_map(|binding| binding.get("spec").map(|spec| (binding, spec)))
                    .filter(|(_, spec)| spec.str("policyName") == own.name())
                    .map(|(binding, spec)| Binding::of(api::meta::of(binding).name(), spec))
                    .collect();
                if bindings.is_empty() {
                    continue;
                }
                bindings.sort_by(|a, b| a.name.cmp(&b.name));
                let known = old
                    .iter()
                    .map(|policy| &policy.compiled)
                    .find(|known| known.uid == own.uid() && known.generation == own.generation());
                let compiled = match known {
                    Some(known) => Arc::clone(known),
                    None => Arc::new(Compiled::of(policy.as_ref())),
                };
                all.push(Policy { compiled, bindings });
            }
            all.sort_by(|a, b| a.compiled.name.cmp(&b.compiled.name));
            all
        };
        Policies {
            mutating: group(mutating, mutating_bindings, &before.mutating),
            validating: group(validating, validating_bindings, &before.validating),
        }
    }
}

impl Binding {
    fn of(name: &str, spec: Ref<'_>) -> Binding {
        let present = |key| spec.get(key).filter(|of: &Ref<'_>| !of.is_null());
        let actions = spec.items("validationActions").filter_map(Ref::as_str);
        Binding {
            name: name.to_owned(),
            scope: present("matchResources").map(Scope::of_policy),
            param: present("paramRef").map(|param| Param {
                name: param.str("name").to_owned(),
                namespace: param.str("namespace").to_owned(),
                selector: super::config::selector(param, "selector"),
                denies: param.str("parameterNotFoundAction") == "Deny",
            }),
            actions: actions.map(str::to_owned).collect(),
        }
    }
}

impl Compiled {
    fn of(policy: Ref<'_>) -> Compiled {
        let own = api::meta::of(policy);
        let spec = policy.get("spec").unwrap_or(Ref::null());
        let kind = spec.get("paramKind").filter(|kind| !kind.is_null());
        let base = env(kind.is_some(), true).with_patches();
        let mut variables = Vec::new();
        let mut types = Vec::new();
        let mut known = with_variables(&base, &types);
        for variable in spec.items("variables") {
            let name = variable.str("name").to_owned();
            let program = compile(variable.str("expression"), &known, Wanted::Any);
            let ty = program.as_ref().map(|program| program.ty().clone());
            types.push((name.clone(), ty.unwrap_or_default()));
            variables.push((name, program));
            known = with_variables(&base, &types);
        }
        let validations = spec.items("validations").map(|of| {
            let source = of.str("expression");
            let words = of.str("messageExpression");
            Validation {
                source: source.to_owned(),
                expression: compile(source, &known, Wanted::Bool),
                message: of.str("message").trim().to_owned(),
                message_expression: (!words.is_empty())
                    .then(|| compile(words, &known, Wanted::Text)),
                reason: match of.str("reason") {
                    "" => "Invalid".to_owned(),
                    reason => reason.to_owned(),
                },
            }
        });
        let mutations = spec.items("mutations").map(|of| {
            let apply = of.str("patchType") == "ApplyConfiguration";
            let (key, wanted) = if apply {
                ("applyConfiguration", Wanted::Apply)
            } else {
                ("jsonPatch", Wanted::Patch)
            };
            let source = of.get(key).map_or("", |of| of.str("expression"));
            Mutation {
                apply,
                source: source.to_owned(),
                expression: compile(source, &known, wanted),
            }
        });
        Compiled {
            uid: own.uid().to_owned(),
            generation: own.generation(),
            name: own.name().to_owned(),
            scope: Scope::of_policy(spec.get("matchConstraints").unwrap_or(Ref::null())),
            ignores_failure: spec.str("failurePolicy") == "Ignore",
            param_kind: kind.map(|kind| {
                (
                    kind.str("apiVersion").to_owned(),
                    kind.str("kind").to_owned(),
                )
            }),
            conditions: Conditions::of(spec, kind.is_some()),
            validations: validations.collect(),
            mutations: mutations.collect(),
            reinvoked: spec.str("reinvocationPolicy") == "IfNeeded",
            variables,
        }
    }
}
