//! Asks the hooks that concern a write.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/admission/plugin/webhook/{generic,mutating,validating}.

use std::collections::HashSet;
use std::sync::Arc;

use api::Status;
use cel::Value;
use cel::admission::PER_CONDITIONS;
use futures_util::future::join_all;
use registry::{Lookup, View};
use schema::Dom;

use super::config::{Conditions, Hook, Rule, Scope};
use super::matching::{self, Asked, Operation};
use super::policy::{Asking, Documents, World, request_of};
use super::review::{self, Answer, Question};
use crate::negotiate::Encoding;
use crate::outbound::OutboundError;
use crate::verbs::Call;
use crate::{codec, object};

/// What a request does to which object.
#[derive(Clone, Copy)]
pub(crate) struct Subject<'a> {
    pub(crate) operation: Operation,
    pub(crate) subresource: &'a str,
    pub(crate) name: &'a str,
    /// The object as it is, in the stored view.
    pub(crate) old: Option<&'a Dom>,
    /// The kind of the object, if it is not one of the resource's (an Eviction).
    pub(crate) foreign: Option<&'a api::Gvk>,
    /// CreateOptions, UpdateOptions, PatchOptions, DeleteOptions.
    pub(crate) options: Option<&'a Dom>,
    pub(crate) dry_run: bool,
}

/// What conditions say.
pub(super) enum Held {
    Yes,
    No,
    /// None is false, and some cannot be evaluated.
    Failed(String),
}

impl Conditions {
    /// One that is false decides, whatever is wrong with others.
    pub(super) fn hold(
        &self,
        documents: &Documents,
        params: Option<&Dom>,
        asking: &Asking<'_>,
    ) -> Held {
        let world = World::new(documents, params, asking, &[]);
        let mut left = PER_CONDITIONS;
        let mut errors: Vec<String> = Vec::new();
        for condition in &self.0 {
            let result = match condition {
                Ok(program) => world.run(program, &mut left),
                Err(error) => Err(error.clone()),
            };
            match result {
                Ok(Value::Bool(true)) => {}
                Ok(_) => return Held::No,
                Err(error) => errors.push(error),
            }
        }
        match errors.as_slice() {
            [] => Held::Yes,
            [one] => Held::Failed(one.clone()),
            more => Held::Failed(format!("[{}]", more.join(", "))),
        }
    }
}

/// Why a hook stops a request.
enum Stop {
    /// It could not be asked; what happens is up to its failure policy.
    Failed(String),
    /// It said no, or must not be asked.
    Refused(Status),
}

impl Call {
    /// Lets mutating hooks change the object; says whether any did.
    pub(crate) async fn mutate(
        &self,
        subject: &Subject<'_>,
        new: Option<&mut Dom>,
        again: &(dyn Fn(&mut Dom) -> Result<(), Status> + Sync),
    ) -> Result<(), Status> {
        if !self.server.has_hooks() {
            return Ok(());
        }
        Box::pin(self.ask_to_mutate(subject, new, again)).await
    }

    async fn ask_to_mutate(
        &self,
        subject: &Subject<'_>,
        new: Option<&mut Dom>,
        again: &(dyn Fn(&mut Dom) -> Result<(), Status> + Sync),
    ) -> Result<(), Status> {
        let hooks = self.server.hooks.load_full();
        let policies = self.server.policies.load_full();
        if hooks.mutating.is_empty() && policies.mutating.is_empty()
            || matching::exempt(&self.asked(subject))
        {
            return Ok(());
        }
        let mut none = Dom::new();
        let (has, new) = match new {
            Some(new) => (true, new),
            None => (false, &mut none),
        };
        let mut asked: HashSet<String> = HashSet::new();
        let mut due: HashSet<String> = HashSet::new();
        let mut changed = false;
        let mut by_hooks = false;
        for round in 0..2 {
            if has
                && self
                    .amend(&policies.mutating, subject, new, round > 0)
                    .await?
            {
                changed = true;
                due.extend(asked.drain());
            }
            for hook in &hooks.mutating {
                if round > 0 && !due.contains(&hook.id) {
                    continue;
                }
                let object = has.then_some(&*new);
                let Some(view) = self.concerned(&hook.scope, subject, object)? else {
                    continue;
                };
                if !self.is_wanted(hook, subject, object, view).await? {
                    continue;
                }
                let answer = match self.ask(hook, subject, object, view, true).await {
                    Ok(answer) => answer,
                    Err(stop) => match stopped(hook, stop) {
                        Some(status) => return Err(status),
                        None => continue,
                    },
                };
                if let Some(patch) = answer.patch {
                    if !has {
                        return Err(Status::internal(&format!(
                            "admission webhook {:?} attempted to modify the object, which is not supported for this operation",
                            hook.name
                        )));
                    }
                    let next = self.patched(subject, new, view, &patch).await?;
                    if !next.equal(next.root(), new, new.root()) {
                        changed = true;
                        by_hooks = true;
                        due.extend(asked.drain());
                        *new = next;
                    }
                }
                if hook.reinvoked {
                    asked.insert(hook.id.clone());
                }
            }
            if !changed || round > 0 {
                break;
            }
            let before = new.clone();
            again(new)?;
            if !new.equal(new.root(), &before, before.root()) {
                due.extend(asked.drain());
            }
            if due.is_empty() && !by_hooks {
                break;
            }
        }
        Ok(())
    }

    /// Asks the validating hooks, all at once.
    pub(crate) async fn approve(
        &self,
        subject: &Subject<'_>,
        new: Option<&Dom>,
    ) -> Result<(), Status> {
        if !self.server.has_hooks() {
            return Ok(());
        }
        Box::pin(self.ask_to_approve(subject, new)).await
    }

    async fn ask_to_approve(&self, subject: &Subject<'_>, new: Option<&Dom>) -> Result<(), Status> {
        let hooks = self.server.hooks.load_full();
        self.enforce(subject, new).await?;
        if hooks.validating.is_empty() || matching::exempt(&self.asked(subject)) {
            return Ok(());
        }
        let mut concerned: Vec<(&Arc<Hook>, &View)> = Vec::new();
        for hook in &hooks.validating {
            if let Some(view) = self.concerned(&hook.scope, subject, new)?
                && self.is_wanted(hook, subject, new, view).await?
            {
                concerned.push((hook, view));
            }
        }
        let asked = concerned
            .iter()
            .map(|(hook, view)| self.ask(hook, subject, new, view, false));
        for ((hook, _), answer) in concerned.iter().zip(join_all(asked).await) {
            if let Err(stop) = answer
                && let Some(status) = stopped(hook, stop)
            {
                return Err(status);
            }
        }
        Ok(())
    }

    /// A create below an object, of a kind of its own.
    pub(crate) async fn admit_foreign(
        &self,
        subresource: &str,
        gvk: &api::Gvk,
        body: &mut Dom,
        dry_run: bool,
    ) -> Result<(), Status> {
        let options = crate::options::WriteOptions {
            dry_run,
            ..Default::default()
        };
        let given = self.given_options("CreateOptions", &options);
        let subject = Subject {
            operation: Operation::Create,
            subresource,
            name: &self.info.name,
            old: None,
            foreign: Some(gvk),
            options: given.as_ref(),
            dry_run,
        };
        self.mutate(&subject, Some(body), &|_| Ok(())).await?;
        self.approve(&subject, Some(body)).await
    }

    /// A connection to an object, described by options of a kind of its own.
    pub(crate) async fn admit_connect(
        &self,
        subresource: &str,
        gvk: &api::Gvk,
        options: &mut Dom,
    ) -> Result<(), Status> {
        let subject = Subject {
            operation: Operation::Connect,
            subresource,
            name: &self.info.name,
            old: None,
            foreign: Some(gvk),
            options: None,
            dry_run: false,
        };
        self.mutate(&subject, Some(options), &|_| Ok(())).await?;
        self.approve(&subject, Some(options)).await
    }

    pub(super) fn asked<'a>(&'a self, subject: &Subject<'a>) -> Asked<'a> {
        Asked {
            operation: subject.operation,
            group: &self.info.group,
            version: &self.info.version,
            resource: &self.info.resource,
            subresource: subject.subresource,
            namespace: &self.info.namespace,
        }
    }

    /// The view in which a hook or policy wants the object; none: the request does not concern it.
    pub(super) fn concerned(
        &self,
        scope: &Scope,
        subject: &Subject<'_>,
        new: Option<&Dom>,
    ) -> Result<Option<&View>, Status> {
        let asked = self.asked(subject);
        let fits = |rules: &[Rule], asked: &Asked<'_>| {
            let mut rules = rules.iter();
            rules.any(|rule| {
                let named = rule.names.is_empty() || rule.names.iter().any(|n| n == subject.name);
                named && matching::concerns(rule, asked)
            })
        };
        let view_of = |rules: &[Rule]| {
            let view = fits(rules, &asked).then(|| self.view());
            if view.is_some() || !scope.equivalent || subject.foreign.is_some() {
                return view;
            }
            self.resource().views.iter().find(|view| {
                let asked = Asked {
                    group: &view.group,
                    version: &view.version,
                    ..asked
                };
                view.served && fits(rules, &asked)
            })
        };
        if view_of(&scope.excluded).is_some() {
            return Ok(None);
        }
        let view = match &scope.rules {
            Some(rules) => view_of(rules),
            None => Some(self.view()),
        };
        let Some(view) = view else { return Ok(None) };
        let own = subject.foreign.is_none();
        let old = subject.old.map(Dom::as_ref);
        let new = new.map(Dom::as_ref);
        if !scope.namespaces.is_empty() {
            let core = asked.group.is_empty();
            let labels = if core && asked.resource == "namespaces" {
                new.or(old)
                    .is_none_or(|object| api::meta::of(object).matches(&scope.namespaces))
            } else if asked.namespace.is_empty() {
                true
            } else {
                let gr = api::Gr::new("", "namespaces");
                let lookup = &self.server.lookup;
                let found = lookup.get("namespaces", "", asked.namespace);
                let found = found.ok_or_else(|| Status::not_found(&gr, asked.namespace))?;
                api::meta::of(found.as_ref()).matches(&scope.namespaces)
            };
            if !labels {
                return Ok(None);
            }
        }
        let old = old.filter(|_| own || new.is_none());
        if !matching::selects(&scope.objects, new, old) {
            return Ok(None);
        }
        Ok(Some(view))
    }

    /// Whether the conditions of a hook hold.
    async fn is_wanted(
        &self,
        hook: &Hook,
        subject: &Subject<'_>,
        new: Option<&Dom>,
        view: &View,
    ) -> Result<bool, Status> {
        if hook.conditions.is_empty() {
            return Ok(true);
        }
        let mut documents = self.documents(subject, new, view).await?;
        documents.namespace = None;
        match hook
            .conditions
            .hold(&documents, None, &Asking::new(self, subject))
        {
            Held::Yes => Ok(true),
            Held::No => Ok(false),
            Held::Failed(_) if hook.ignores_failure => Ok(false),
            Held::Failed(cause) => Err(Status::forbidden(&self.gr(), subject.name, &cause)),
        }
    }

    /// What expressions see of the request.
    pub(super) async fn documents(
        &self,
        subject: &Subject<'_>,
        new: Option<&Dom>,
        view: &View,
    ) -> Result<Documents, Status> {
        let resource = self.resource();
        let kind_in = |view: &View| match subject.foreign {
            Some(gvk) => gvk.clone(),
            None => resource.gvk(view),
        };
        let review = review::ask(&Question {
            review: "v1",
            uid: "",
            gvk: &kind_in(view),
            gvr: &resource.gvr(view),
            asked_gvk: &kind_in(self.view()),
            asked_gvr: &resource.gvr(self.view()),
            subresource: subject.subresource,
            name: subject.name,
            namespace: self.namespace_of(subject),
            operation: subject.operation.as_str(),
            user: &self.user,
            object: None,
            old: None,
            dry_run: subject.dry_run,
            options: subject.options,
        });
        let mut documents = Documents {
            request: request_of(&review),
            ..Documents::default()
        };
        let old = subject.old.filter(|_| subject.foreign.is_none());
        for (dom, slot) in [(new, &mut documents.object), (old, &mut documents.old)] {
            if let Some(dom) = dom {
                let json = self.render(subject, dom, view).await?;
                let parsed = Dom::parse_json(&json);
                *slot = Some(parsed.map_err(|error| Status::internal(&error.to_string()))?);
            }
        }
        let namespace = &self.info.namespace;
        let itself = self.info.group.is_empty() && self.info.resource == "namespaces";
        if !namespace.is_empty() && !itself {
            documents.namespace = self.server.lookup.get("namespaces", "", namespace);
        }
        Ok(documents)
    }

    async fn render(
        &self,
        subject: &Subject<'_>,
        dom: &Dom,
        view: &View,
    ) -> Result<Vec<u8>, Status> {
        let mut dom = dom.clone();
        if subject.foreign.is_none() {
            dom = self.between(dom, self.view(), view).await?;
        }
        Ok(match subject.foreign {
            Some(gvk) => {
                let root = dom.root();
                dom.set_str(root, "kind", &gvk.kind);
                dom.set_str(root, "apiVersion", &gvk.api_version());
                dom.to_json(root)
            }
            None => {
                object::to_view(self.resource(), view, &mut dom);
                let types = codec::type_of(view, &self.resource().kind);
                codec::to_json(types, &dom, dom.root())
            }
        })
    }

    async fn ask(
        &self,
        hook: &Hook,
        subject: &Subject<'_>,
        new: Option<&Dom>,
        view: &View,
        mutating: bool,
    ) -> Result<Answer, Stop> {
        if subject.dry_run && !hook.dry_run {
            return Err(Stop::Refused(Status::bad_request(&format!(
                "admission webhook {:?} does not support dry run",
                hook.name
            ))));
        }
        let Some(review) = hook.review else {
            return Err(Stop::Failed(
                "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)"
                    .to_owned(),
            ));
        };
        let Some(backend) = &hook.backend else {
            return Err(Stop::Failed(
                "could not get REST client: webhook configuration must have either service or URL"
                    .to_owned(),
            ));
        };
        let uid = self.server.uid();
        let resource = self.resource();
        let asked_gvk = match subject.foreign {
            Some(gvk) => gvk.clone(),
            None => resource.gvk(self.view()),
        };
        let gvk = match subject.foreign {
            Some(gvk) => gvk.clone(),
            None => resource.gvk(view),
        };
        let object = match new {
            Some(dom) => Some(
                self.render(subject, dom, view)
                    .await
                    .map_err(Stop::Refused)?,
            ),
            None => None,
        };
        let old = match subject.old.filter(|_| subject.foreign.is_none()) {
            Some(dom) => Some(
                self.render(subject, dom, view)
                    .await
                    .map_err(Stop::Refused)?,
            ),
            None => None,
        };
        let body = review::ask(&Question {
            review,
            uid: &uid,
            gvk: &gvk,
            gvr: &resource.gvr(view),
            asked_gvk: &asked_gvk,
            asked_gvr: &resource.gvr(self.view()),
            subresource: subject.subresource,
            name: subject.name,
            namespace: self.namespace_of(subject),
            operation: subject.operation.as_str(),
            user: &self.user,
            object: object.as_deref(),
            old: old.as_deref(),
            dry_run: subject.dry_run,
            options: subject.options,
        });
        let sent = self.server.outbound.post(backend, body, hook.timeout).await;
        let body = sent.map_err(|error| match error {
            OutboundError::Failed(cause) => {
                Stop::Failed(format!("failed to call webhook: {cause}"))
            }
            OutboundError::Refused { message, .. } => {
                Stop::Failed(format!("failed to call webhook: {message}"))
            }
        })?;
        let mut answer =
            review::answer(&hook.name, review, &uid, mutating, &body).map_err(Stop::Failed)?;
        self.warnings.lock().append(&mut answer.warnings);
        match answer.refused.take() {
            Some(status) => Err(Stop::Refused(status)),
            None => Ok(answer),
        }
    }

    /// As upstream, namespaces are in themselves.
    fn namespace_of<'a>(&'a self, subject: &Subject<'a>) -> &'a str {
        if self.info.group.is_empty() && self.info.resource == "namespaces" {
            subject.name
        } else {
            &self.info.namespace
        }
    }

    /// The object with a hook's patch, in the stored view again.
    async fn patched(
        &self,
        subject: &Subject<'_>,
        object: &Dom,
        view: &View,
        patch: &Dom,
    ) -> Result<Dom, Status> {
        let internal = |error: &dyn std::fmt::Display| Status::internal(&error.to_string());
        let json = self.render(subject, object, view).await?;
        let mut dom = Dom::parse_json(&json).map_err(|error| internal(&error))?;
        schema::patch::json_patch(&mut dom, patch).map_err(|error| internal(&error.message))?;
        self.back(subject, view, &dom).await
    }

    /// A changed document of a view in the stored view again.
    pub(super) async fn back(
        &self,
        subject: &Subject<'_>,
        view: &View,
        dom: &Dom,
    ) -> Result<Dom, Status> {
        let json = dom.to_json(dom.root());
        let (types, gvk) = match subject.foreign {
            Some(gvk) => {
                let table = schema::builtin();
                let ty = table.kind(&gvk.group, &gvk.version, &gvk.kind);
                (ty.map(|ty| (table, ty)), gvk.clone())
            }
            None => (
                codec::type_of(view, &self.resource().kind),
                self.resource().gvk(view),
            ),
        };
        let decoded = codec::decode(types, &gvk, Encoding::Json, &json)
            .map_err(|status| Status::internal(&status.message))?;
        let mut dom = decoded.dom;
        if subject.foreign.is_none() {
            if let Some((to_stored, _)) = view.convert {
                to_stored(&mut dom);
            }
            dom = self.between(dom, view, self.view()).await?;
            self.default(&mut dom);
            let root = dom.root();
            dom.remove(root, "kind");
            dom.remove(root, "apiVersion");
        }
        Ok(dom)
    }
}

/// What the client hears of it; none: the hook's policy is to let it pass.
fn stopped(hook: &Hook, stop: Stop) -> Option<Status> {
    match stop {
        Stop::Refused(status) => Some(status),
        Stop::Failed(cause) if hook.ignores_failure => {
            tracing::warn!(
                name = hook.name,
                err = cause,
                "webhook failed, request passes"
            );
            None
        }
        Stop::Failed(cause) => {
            tracing::warn!(
                name = hook.name,
                err = cause,
                "webhook failed, request is refused"
            );
            Some(Status::internal(&format!(
                "failed calling webhook {:?}: {cause}",
                hook.name
            )))
        }
    }
}

/// The options of a request as a document.
pub(crate) fn options(kind: &str, options: &crate::options::WriteOptions) -> Dom {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    dom.set_str(root, "kind", kind);
    dom.set_str(root, "apiVersion", "meta.k8s.io/v1");
    if options.dry_run {
        let list = dom.new_list();
        let all = dom.new_str("All");
        dom.push(list, all);
        dom.set(root, "dryRun", list);
    }
    if let Some(force) = options.force {
        dom.set_bool(root, "force", force);
    }
    for (key, value) in [
        ("fieldManager", &options.manager),
        ("fieldValidation", &options.validation),
    ] {
        if !value.is_empty() {
            dom.set_str(root, key, value);
        }
    }
    dom
}
