//! What expressions see of a request.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/cel/{activation,composition}.go.

use std::cell::RefCell;

use cel::admission::{PER_EXPRESSION, namespace_type};
use cel::{Access, Authorizer, Bindings, Budget, EvalError, Program, Value, Verdict};
use schema::{Dom, Ref};

use super::Expression;
use crate::access::Decision;
use crate::admission::Subject;
use crate::verbs::Call;
use crate::{RequestInfo, UserInfo};

/// The documents of a request in one view.
#[derive(Debug, Default)]
pub(in crate::admission) struct Documents {
    pub(in crate::admission) object: Option<Dom>,
    pub(in crate::admission) old: Option<Dom>,
    pub(in crate::admission) request: Dom,
    pub(in crate::admission) namespace: Option<Dom>,
}

/// Variables of one evaluation.
pub(in crate::admission) struct World<'a> {
    pub(in crate::admission) documents: &'a Documents,
    pub(in crate::admission) params: Option<&'a Dom>,
    pub(in crate::admission) asking: &'a Asking<'a>,
    variables: &'a [(String, Expression)],
    memo: RefCell<Vec<Option<Result<Value<'a>, EvalError>>>>,
}

impl<'a> World<'a> {
    pub(in crate::admission) fn new(
        documents: &'a Documents,
        params: Option<&'a Dom>,
        asking: &'a Asking<'a>,
        variables: &'a [(String, Expression)],
    ) -> World<'a> {
        World {
            documents,
            params,
            asking,
            variables,
            memo: RefCell::new(vec![None; variables.len()]),
        }
    }

    /// Evaluates within what is left; the error is in upstream's words.
    pub(in crate::admission) fn run(
        &self,
        program: &'a Program,
        left: &mut u64,
    ) -> Result<Value<'a>, String> {
        let granted = (*left).min(PER_EXPRESSION);
        let budget = Budget::new(granted);
        let result = program.run(self, &budget);
        *left -= granted - budget.left();
        result.map_err(|error| {
            if error.is_exhausted() && *left == 0 {
                return "validation failed due to running out of cost budget, no further validation rules will be run".to_owned();
            }
            format!("expression '{}' resulted in error: {error}", program.source())
        })
    }
}

fn shown<'a>(dom: Option<&'a Dom>) -> Value<'a> {
    dom.map_or(Value::Null, |dom| Value::of(dom.as_ref(), None))
}

impl<'a> Bindings<'a> for World<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        let documents = self.documents;
        Some(match name {
            "object" => shown(documents.object.as_ref()),
            "oldObject" => shown(documents.old.as_ref()),
            "request" => Value::of(documents.request.as_ref(), None),
            "params" => shown(self.params),
            "namespaceObject" => match &documents.namespace {
                Some(namespace) => Value::of(namespace.as_ref(), Some(namespace_type())),
                None => Value::Null,
            },
            "authorizer" => Value::authorizer(self.asking, false),
            "authorizer.requestResource" => Value::authorizer(self.asking, true),
            _ => return None,
        })
    }

    fn variable(&self, name: &str, budget: &Budget) -> Option<Result<Value<'a>, EvalError>> {
        let at = self.variables.iter().position(|(known, _)| known == name)?;
        if let Some(known) = self.memo.borrow().get(at).cloned().flatten() {
            return Some(known);
        }
        let failed = |cause: &dyn std::fmt::Display| {
            EvalError::new(&format!(
                "composited variable {name:?} fails to evaluate: {cause}"
            ))
        };
        let result = match &self.variables.get(at)?.1 {
            Ok(program) => match program.run(self, budget) {
                Err(error) if error.is_exhausted() => return Some(Err(error)),
                result => result.map_err(|error| failed(&error)),
            },
            Err(error) => Err(failed(error)),
        };
        if let Some(slot) = self.memo.borrow_mut().get_mut(at) {
            *slot = Some(result.clone());
        }
        Some(result)
    }
}

/// Who asks `authorizer` about what.
pub(in crate::admission) struct Asking<'c> {
    call: &'c Call,
    request: Access,
}

impl<'c> Asking<'c> {
    pub(in crate::admission) fn new(call: &'c Call, subject: &Subject<'_>) -> Asking<'c> {
        Asking {
            call,
            request: Access {
                group: call.info.group.clone(),
                resource: call.info.resource.clone(),
                subresource: subject.subresource.to_owned(),
                namespace: call.info.namespace.clone(),
                name: subject.name.to_owned(),
                ..Access::default()
            },
        }
    }
}

impl Authorizer for Asking<'_> {
    fn check(&self, access: &Access) -> Verdict {
        let user = match &access.service_account {
            None => self.call.user.clone(),
            Some((namespace, name)) => UserInfo {
                name: format!("system:serviceaccount:{namespace}:{name}"),
                groups: vec![
                    "system:serviceaccounts".to_owned(),
                    format!("system:serviceaccounts:{namespace}"),
                    "system:authenticated".to_owned(),
                ],
                ..UserInfo::default()
            },
        };
        let info = match &access.path {
            Some(path) => RequestInfo {
                path: path.clone(),
                verb: access.verb.clone(),
                ..RequestInfo::default()
            },
            None => RequestInfo {
                is_resource: true,
                verb: access.verb.clone(),
                group: access.group.clone(),
                version: "*".to_owned(),
                namespace: access.namespace.clone(),
                resource: access.resource.clone(),
                subresource: access.subresource.clone(),
                name: access.name.clone(),
                ..RequestInfo::default()
            },
        };
        match self.call.server.authorize(&user, &info) {
            Decision::Allow { reason } => Verdict {
                allowed: true,
                reason,
            },
            Decision::Deny { reason } | Decision::NoOpinion { reason } => Verdict {
                allowed: false,
                reason,
            },
        }
    }

    fn request(&self) -> Access {
        self.request.clone()
    }
}

/// The request as expressions see it: what a hook is asked, without the objects.
pub(in crate::admission) fn request_of(review: &[u8]) -> Dom {
    let mut dom = Dom::parse_json(review).unwrap_or_default();
    let request = dom.as_ref().get("request").map(Ref::node);
    if let Some(request) = request {
        for key in ["object", "oldObject", "uid"] {
            dom.remove(request, key);
        }
        dom.set_root(request);
    }
    dom
}
