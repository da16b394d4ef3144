//! Validating policies against a write.
//!
//! The first denial is the answer; warnings of others are said all the same.
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/policy/validating/{dispatcher,
//! validator}.go, policy/generic/policy_dispatcher.go.

use api::Status;
use cel::Value;
use cel::admission::PER_POLICY;
use registry::Lookup;
use schema::Dom;

use super::world::{Asking, Documents, World};
use super::{Binding, Compiled, Policy};
use crate::admission::dispatch::Held;
use crate::admission::{Subject, matching};
use crate::object;
use crate::verbs::Call;

/// Bytes of a message that an expression made.
const MESSAGE: usize = 5 * 1024;

/// What an expression refused.
struct Denial {
    message: String,
    reason: String,
}

impl Denial {
    fn failed(message: String) -> Denial {
        Denial {
            message,
            reason: String::new(),
        }
    }
}

/// A denial with who said so.
struct Verdict {
    policy: String,
    binding: Option<String>,
    denial: Denial,
}

impl Call {
    /// Refuses what a policy refuses.
    pub(in crate::admission) async fn enforce(
        &self,
        subject: &Subject<'_>,
        new: Option<&Dom>,
    ) -> Result<(), Status> {
        let policies = self.server.policies.load_full();
        if policies.validating.is_empty() || matching::is_policy(&self.asked(subject)) {
            return Ok(());
        }
        let mut first: Option<Verdict> = None;
        for policy in &policies.validating {
            let verdict = self.judge(policy, subject, new).await;
            if first.is_none() {
                first = verdict;
            }
        }
        match first {
            None => Ok(()),
            Some(verdict) => Err(self.denied(subject, &verdict)),
        }
    }

    fn denied(&self, subject: &Subject<'_>, verdict: &Verdict) -> Status {
        let by = &verdict.policy;
        let why = &verdict.denial.message;
        let message = match &verdict.binding {
            Some(binding) => format!(
                "ValidatingAdmissionPolicy '{by}' with binding '{binding}' denied request: {why}"
            ),
            None => format!("ValidatingAdmissionPolicy '{by}' denied request: {why}"),
        };
        let mut status = Status::forbidden(&self.gr(), subject.name, &message);
        let (reason, code) = match verdict.denial.reason.as_str() {
            "Forbidden" => ("Forbidden", 403),
            "Unauthorized" => ("Unauthorized", 401),
            "RequestEntityTooLarge" => ("RequestEntityTooLarge", 413),
            _ => ("Invalid", 422),
        };
        reason.clone_into(&mut status.reason);
        status.code = code;
        status.causes.push(api::Cause {
            message,
            ..Default::default()
        });
        status
    }

    /// What one policy says.
    async fn judge(
        &self,
        policy: &Policy,
        subject: &Subject<'_>,
        new: Option<&Dom>,
    ) -> Option<Verdict> {
        let compiled = &*policy.compiled;
        let verdict = |binding: Option<&Binding>, denial| Verdict {
            policy: compiled.name.clone(),
            binding: binding.map(|binding| binding.name.clone()),
            denial,
        };
        let misconfigured = |binding: Option<&Binding>, status: Status| {
            let what = if binding.is_some() {
                "binding"
            } else {
                "policy"
            };
            let message = format!("failed to configure {what}: {}", status.message);
            (!compiled.ignores_failure).then(|| verdict(binding, Denial::failed(message)))
        };
        let view = match self.concerned(&compiled.scope, subject, new) {
            Ok(Some(view)) => view,
            Ok(None) => return None,
            Err(status) => return misconfigured(None, status),
        };
        let mut documents: Option<Documents> = None;
        let mut first = None;
        for binding in &policy.bindings {
            let concerned = match &binding.scope {
                Some(scope) => self
                    .concerned(scope, subject, new)
                    .map(|view| view.is_some()),
                None => Ok(true),
            };
            let params = match concerned {
                Ok(true) => self.params(compiled, binding),
                Ok(false) => continue,
                Err(status) => Err(status),
            };
            let params = match params {
                Ok(params) => params,
                Err(status) => {
                    first = first.or(misconfigured(Some(binding), status));
                    continue;
                }
            };
            if documents.is_none() {
                match self.documents(subject, new, view).await {
                    Ok(made) => documents = Some(made),
                    Err(status) => {
                        first = first.or(misconfigured(Some(binding), status));
                        continue;
                    }
                }
            }
            let Some(documents) = &documents else {
                continue;
            };
            let asking = Asking::new(self, subject);
            for param in &params {
                let denials = validate(compiled, documents, param.as_ref(), &asking);
                for denial in denials {
                    for action in &binding.actions {
                        match action.as_str() {
                            "Warn" => self.warnings.lock().push(format!(
                                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {}",
                                compiled.name, binding.name, denial.message
                            )),
                            "Deny" if first.is_none() => {
                                let denial = Denial {
                                    message: denial.message.clone(),
                                    reason: denial.reason.clone(),
                                };
                                first = Some(verdict(Some(binding), denial));
                            }
                            _ => {}
                        }
                    }
                }
            }
        }
        first
    }

    /// The parameters of a binding; none in the list: it is evaluated without.
    pub(super) fn params(
        &self,
        policy: &Compiled,
        binding: &Binding,
    ) -> Result<Vec<Option<Dom>>, Status> {
        let failed = |message: &str| Err(Status::other(500, "", message));
        let (Some((version, kind)), Some(param)) = (&policy.param_kind, &binding.param) else {
            return Ok(vec![None]);
        };
        let (group, short) = version.split_once('/').unwrap_or(("", version));
        let catalog = self.server.catalog.load();
        let served = catalog.of(group, short);
        let Some(served) = served.iter().find(|served| served.resource.kind == **kind) else {
            return failed(&format!(
                "paramKind kind `{version}, Kind={kind}` not known"
            ));
        };
        let resource = &served.resource;
        let namespace = if !resource.is_namespaced() {
            if !param.namespace.is_empty() {
                return failed(
                    "paramRef.namespace must not be provided for a cluster-scoped `paramKind`",
                );
            }
            ""
        } else if !param.namespace.is_empty() {
            &param.namespace
        } else if self.info.namespace.is_empty() {
            return failed(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources",
            );
        } else {
            &self.info.namespace
        };
        let lookup = &self.server.lookup;
        let mut found: Vec<Dom> = if param.name.is_empty() {
            let mut all = lookup.list(&resource.prefix, namespace);
            all.retain(|dom| api::meta::of(dom.as_ref()).matches(&param.selector));
            all
        } else {
            let found = lookup.get(&resource.prefix, namespace, &param.name);
            found.into_iter().collect()
        };
        if found.is_empty() && param.denies {
            return failed(
                "no params found for policy binding with `Deny` parameterNotFoundAction",
            );
        }
        for dom in &mut found {
            object::to_view(resource, served.view(), dom);
        }
        Ok(found.into_iter().map(Some).collect())
    }
}

fn validate(
    policy: &Compiled,
    documents: &Documents,
    params: Option<&Dom>,
    asking: &Asking<'_>,
) -> Vec<Denial> {
    let fails = |message: String| -> Vec<Denial> {
        if policy.ignores_failure {
            Vec::new()
        } else {
            vec![Denial::failed(message)]
        }
    };
    match policy.conditions.hold(documents, params, asking) {
        Held::Yes => {}
        Held::No => return Vec::new(),
        Held::Failed(message) => return fails(message),
    }
    let world = World::new(documents, params, asking, &policy.variables);
    let mut left = PER_POLICY;
    let mut denials = Vec::new();
    for validation in &policy.validations {
        let result = match &validation.expression {
            Ok(program) => world.run(program, &mut left),
            Err(error) => Err(error.clone()),
        };
        match result {
            Ok(Value::Bool(true)) => {}
            Ok(_) => {
                let made = match &validation.message_expression {
                    Some(Ok(program)) => world.run(program, &mut left).ok(),
                    _ => None,
                };
                let made = made.as_ref().and_then(Value::as_str).map(str::trim);
                let made = made.filter(|text| {
                    !text.is_empty() && text.len() <= MESSAGE && !text.contains('\n')
                });
                let message = match made {
                    Some(text) => text.to_owned(),
                    None if !validation.message.is_empty() => validation.message.clone(),
                    None => format!("failed expression: {}", validation.source.trim()),
                };
                denials.push(Denial {
                    message,
                    reason: validation.reason.clone(),
                });
            }
            Err(message) => denials.append(&mut fails(message)),
        }
    }
    denials
}
