//! Mutating policies: patches that expressions make.
//!
//! An apply configuration is merged as a client's apply would be; nobody owns its fields
//! afterwards. In the second round only policies with reinvocation come again.
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/policy/mutating/{dispatcher.go,patch}.

use api::Status;
use cel::Value;
use cel::admission::PER_POLICY;
use schema::Dom;

use super::world::{Asking, Documents, World};
use super::{Compiled, Mutation, Policy};
use crate::admission::Subject;
use crate::admission::dispatch::Held;
use crate::codec;
use crate::verbs::Call;

impl Call {
    /// Lets policies change the object; says whether any did.
    pub(in crate::admission) async fn amend(
        &self,
        policies: &[Policy],
        subject: &Subject<'_>,
        new: &mut Dom,
        again: bool,
    ) -> Result<bool, Status> {
        let mut changed = false;
        for policy in policies {
            if again && !policy.compiled.reinvoked {
                continue;
            }
            changed |= self.amend_by(policy, subject, new).await?;
        }
        Ok(changed)
    }

    async fn amend_by(
        &self,
        policy: &Policy,
        subject: &Subject<'_>,
        new: &mut Dom,
    ) -> Result<bool, Status> {
        let compiled = &*policy.compiled;
        let Some(view) = self.concerned(&compiled.scope, subject, Some(new))? else {
            return Ok(false);
        };
        let view = view.clone();
        let mut changed = false;
        for binding in &policy.bindings {
            if let Some(scope) = &binding.scope
                && self.concerned(scope, subject, Some(new))?.is_none()
            {
                continue;
            }
            let refused = |binding: &str, why: &str| {
                let message = format!(
                    "policy '{}' with binding '{binding}' denied request: {why}",
                    compiled.name
                );
                let mut status = Status::forbidden(&self.gr(), subject.name, &message);
                "Invalid".clone_into(&mut status.reason);
                status.code = 422;
                status
            };
            let params = match self.params(compiled, binding) {
                Ok(params) => params,
                Err(_) if compiled.ignores_failure => continue,
                Err(status) => {
                    let why = format!("failed to configure binding: {}", status.message);
                    return Err(refused(&binding.name, &why));
                }
            };
            for param in &params {
                for mutation in &compiled.mutations {
                    let documents = self.documents(subject, Some(new), &view).await?;
                    let made = {
                        let asking = Asking::new(self, subject);
                        evaluate(compiled, mutation, &documents, param.as_ref(), &asking)
                    };
                    let made = made.and_then(|made| match made {
                        Some(made) => self.patch_of(mutation, made, &documents, &view).map(Some),
                        None => Ok(None),
                    });
                    match made {
                        Ok(None) => {}
                        Ok(Some(next)) => {
                            let next = self.back(subject, &view, &next).await?;
                            if !next.equal(next.root(), new, new.root()) {
                                changed = true;
                                *new = next;
                            }
                        }
                        Err(_) if compiled.ignores_failure => {}
                        Err(why) => return Err(refused(&binding.name, &why)),
                    }
                }
            }
        }
        Ok(changed)
    }

    /// The object with what an expression made.
    fn patch_of(
        &self,
        mutation: &Mutation,
        made: Dom,
        documents: &Documents,
        view: &registry::View,
    ) -> Result<Dom, String> {
        let Some(object) = &documents.object else {
            return Err("there is no object to change".to_owned());
        };
        let mut next = object.clone();
        if !mutation.apply {
            schema::patch::json_patch(&mut next, &made)
                .map_err(|error| format!("JSON Patch: {}", error.message))?;
            return Ok(next);
        }
        for key in ["apiVersion", "kind"] {
            if made.get(made.root(), key).is_some() {
                return Err(format!("{key} must not be set by an apply configuration"));
            }
        }
        let Some((table, ty)) = codec::type_of(view, &self.resource().kind) else {
            return Err("objects of this kind have no schema".to_owned());
        };
        let mut config = made;
        let root = config.root();
        let api_version = view.api_version();
        config.set_str(root, "apiVersion", &api_version);
        config.set_str(root, "kind", &self.resource().kind);
        let managers = |dom: &Dom| dom.at(dom.root(), &["metadata", "managedFields"]);
        let before = managers(object);
        let metadata = next.ensure_map(next.root(), "metadata");
        next.remove(metadata, "managedFields");
        let writer = schema::apply::Request {
            table,
            ty,
            api_version: &api_version,
            kind: &self.resource().kind,
            manager: "admission-policy",
            subresource: "",
            time: "",
            ignored: None,
        };
        let mut next = schema::apply::apply(&writer, Some(&next), &config, true)
            .map_err(|error| error.to_string())?;
        let metadata = next.ensure_map(next.root(), "metadata");
        next.remove(metadata, "managedFields");
        if let Some(before) = before {
            let node = next.import(object, before);
            next.set(metadata, "managedFields", node);
        }
        Ok(next)
    }
}

/// What the expression of a mutation makes; none: conditions do not hold.
fn evaluate(
    policy: &Compiled,
    mutation: &Mutation,
    documents: &Documents,
    params: Option<&Dom>,
    asking: &Asking<'_>,
) -> Result<Option<Dom>, String> {
    match policy.conditions.hold(documents, params, asking) {
        Held::Yes => {}
        Held::No => return Ok(None),
        Held::Failed(message) => return Err(message),
    }
    let world = World::new(documents, params, asking, &policy.variables);
    let program = mutation.expression.as_ref().map_err(Clone::clone)?;
    let value: Value<'_> = world.run(program, &mut { PER_POLICY })?;
    let mut dom = Dom::new();
    let node = value.write(&mut dom).map_err(|error| {
        format!(
            "expression '{}' resulted in error: {error}",
            mutation.source
        )
    })?;
    dom.set_root(node);
    Ok(Some(dom))
}
