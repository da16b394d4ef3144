//! PUT, and the loop that every change of an existing object goes through.
//!
//! Read, change, check, write with the revision read; another writer in between means start
//! over, unless the client named the revision itself.
//! Source: kubernetes v1.36.3 apiserver/pkg/registry/rest/update.go,
//! apiserver/pkg/registry/generic/registry/store.go Update.

use api::{FieldError, Path, Status, meta};
use registry::admission::{self, Operation};
use registry::{Extras, StatusRule};
use schema::{Dom, Ref};
use store::{Outcome, Revision, Txn};
use transport::Response;

use super::{Call, Stored, store_error};
use crate::negotiate::Encoding;
use crate::options::WriteOptions;
use crate::{admission as hooks, codec, object};

/// How often a change without a revision is tried.
const ATTEMPTS: usize = 32;

/// What became of a change.
pub(crate) enum Changed {
    /// Written, or nothing to write.
    Stored(Stored),
    /// It was the last thing that kept a deleted object; this was its last state.
    Removed(Stored),
    /// A dry run: what would have been written, in the stored view.
    Dry(Dom),
    /// There was nothing; a PUT created it.
    Created(Stored),
}

/// Makes the new object of the old one, both in the stored view.
pub(crate) type Change<'c> = dyn FnMut(&Dom) -> Result<Dom, Status> + Send + 'c;

impl Call {
    pub(crate) async fn put(
        self,
        encoding: Encoding,
        body: &[u8],
        subresource: &str,
    ) -> Result<Response, Status> {
        let mut options = WriteOptions::parse(&self.query, "UpdateOptions")?;
        options.names_revision =
            !self.resource().strategy.unconditional_update && subresource.is_empty();
        let (mut dom, warnings) = self.decode(encoding, body, &options)?;
        warnings.into_iter().for_each(|warning| self.tell(warning));
        self.distinct_owners(&mut dom);
        let own = meta::of(dom.as_ref());
        if own.name().is_empty() && !self.info.name.is_empty() {
            return Err(Status::bad_request(&format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                self.info.name
            )));
        }
        if own.name() != self.info.name {
            return Err(Status::bad_request(&format!(
                "the name of the object ({}) does not match the name on the URL ({})",
                own.name(),
                self.info.name
            )));
        }
        if self.resource().is_namespaced()
            && !own.namespace().is_empty()
            && own.namespace() != self.info.namespace
        {
            return Err(Status::bad_request(
                "the namespace of the provided object does not match the namespace sent on the request",
            ));
        }
        let name = self.info.name.clone();
        let creates = self.resource().strategy.create_on_update && subresource.is_empty();
        let mut first = Some(dom.clone());
        let absent = if creates { first.take() } else { None };
        let changed = self
            .change(&name, subresource, &options, absent, &mut |_| {
                Ok(dom.clone())
            })
            .await?;
        self.answer_changed(changed).await
    }

    pub(crate) async fn answer_changed(&self, changed: Changed) -> Result<Response, Status> {
        match changed {
            Changed::Stored(stored) | Changed::Removed(stored) => self.show(200, &stored).await,
            Changed::Created(stored) => self.show(201, &stored).await,
            Changed::Dry(dom) => Ok(self.dry(200, dom)),
        }
    }

    /// Runs `change` on the object until it is written.
    pub(crate) async fn change(
        &self,
        name: &str,
        subresource: &str,
        options: &WriteOptions,
        absent: Option<Dom>,
        change: &mut Change<'_>,
    ) -> Result<Changed, Status> {
        for _ in 0..ATTEMPTS {
            let current = match self.read(name) {
                Ok(current) => current,
                Err(missing) => {
                    let Some(dom) = absent else {
                        return Err(missing);
                    };
                    let (dom, stored) = self.create_object(dom, options).await?;
                    return Ok(stored.map_or(Changed::Dry(dom), Changed::Created));
                }
            };
            let seen = self.seen_value(&current.value).await?;
            let old = object::parse(&seen, current.revision);
            let mut new = change(&old)?;
            let bound = self.preconditions(&new, &old, name, options.names_revision)?;
            if !options.managed {
                self.track(&mut new, &old, subresource, options);
            }
            let mut extras = self
                .prepare_update(&mut new, &old, subresource, options)
                .await?;
            if options.dry_run {
                let root = new.root();
                let map = new.ensure_map(root, "metadata");
                new.set_str(map, "resourceVersion", &current.revision.to_string());
                return Ok(Changed::Dry(new));
            }
            let gone = self.is_gone(new.as_ref());
            if gone && let Some(allocate) = self.resource().strategy.allocate {
                // What this change took is not needed any more, what it held goes back.
                extras.writes.clear();
                self.with(&self.info.namespace, subresource, false, |cx| {
                    allocate(cx, None, Some(old.as_ref()), &mut extras)
                })?;
            }
            let mut new = self.to_storage(new).await?;
            let value = codec::to_stored(self.resource(), &mut new);
            let key = self.key(name);
            let revision = Revision(current.revision);
            let mut txn = if gone {
                Txn::delete(key, revision)
            } else if value == current.value && extras.writes.is_empty() {
                return Ok(Changed::Stored(current));
            } else {
                let mut txn = Txn::update(key, value.clone(), revision);
                self.promise(&mut txn);
                txn
            };
            self.add_extras(&mut txn, extras);
            match self
                .server
                .config
                .store
                .txn(txn)
                .await
                .map_err(|e| store_error(&e))?
            {
                Outcome::Committed { revision } => {
                    let stored = Stored {
                        value,
                        revision: revision.0,
                    };
                    return Ok(if gone {
                        Changed::Removed(stored)
                    } else {
                        Changed::Stored(stored)
                    });
                }
                Outcome::Conflict { .. } if bound => {
                    return Err(Status::modified(&self.gr(), name));
                }
                Outcome::Conflict { .. } => {}
            }
        }
        Err(Status::modified(&self.gr(), name))
    }

    /// Whether the client named the revision; an error if it is another one.
    fn preconditions(&self, new: &Dom, old: &Dom, name: &str, named: bool) -> Result<bool, Status> {
        let (new, old) = (meta::of(new.as_ref()), meta::of(old.as_ref()));
        if !new.uid().is_empty() && new.uid() != old.uid() {
            let key = self.key(name);
            let cause = format!(
                "StorageError: invalid object, Code: 4, Key: {}, ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID in precondition: {}, UID in object meta: {}",
                String::from_utf8_lossy(&key),
                new.uid(),
                old.uid()
            );
            return Err(Status::conflict(&self.gr(), name, &cause));
        }
        let wanted = new.resource_version();
        if wanted.is_empty() || wanted == "0" {
            if named {
                let at = Path::new("metadata").child("resourceVersion");
                let raw = api::BadValue::Raw("0".to_owned());
                let error = FieldError::invalid(&at, raw, "must be specified for an update");
                // As upstream, the resource stands where else the kind does.
                let gk = api::Gk::new(&self.info.group, &self.resource().plural);
                return Err(Status::invalid(&gk, name, &[error]));
            }
            return Ok(false);
        }
        if wanted.parse::<u64>().is_err() {
            return Err(Status::plain_error(&format!(
                "strconv.ParseUint: parsing {wanted:?}: invalid syntax"
            )));
        }
        if wanted != old.resource_version() {
            return Err(Status::modified(&self.gr(), name));
        }
        Ok(true)
    }

    async fn prepare_update(
        &self,
        new: &mut Dom,
        old: &Dom,
        subresource: &str,
        options: &WriteOptions,
    ) -> Result<Extras, Status> {
        self.keep_owned(new, old.as_ref(), subresource);
        let admit = |new: &mut Dom| {
            self.with(&self.info.namespace, subresource, options.dry_run, |cx| {
                admission::admit(cx, Operation::Update, new, Some(old.as_ref()))
            })
        };
        admit(new)?;
        // The binding of a pod was asked about as what it is.
        let asked = !matches!(subresource, "binding" | "scale");
        let kind = if self.info.verb == "patch" {
            "PatchOptions"
        } else {
            "UpdateOptions"
        };
        let given = self.given_options(kind, options);
        let subject = hooks::Subject {
            operation: hooks::Operation::Update,
            subresource,
            name: meta::of(old.as_ref()).name(),
            old: Some(old),
            foreign: None,
            options: given.as_ref(),
            dry_run: options.dry_run,
        };
        if asked {
            self.mutate(&subject, Some(new), &admit).await?;
            self.keep_owned(new, old.as_ref(), subresource);
        }
        let extras = self.check_update(new, old.as_ref(), subresource, options)?;
        if asked {
            self.approve(&subject, Some(new)).await?;
        }
        Ok(extras)
    }

    /// Puts back what the request may not change.
    fn keep_owned(&self, new: &mut Dom, old: Ref<'_>, subresource: &str) {
        let strategy = &self.resource().strategy;
        let root = new.root();
        let map = new.ensure_map(root, "metadata");
        let before = old.get("metadata");
        for key in [
            "uid",
            "creationTimestamp",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "generation",
            "namespace",
            "generateName",
        ] {
            restore(new, map, key, before);
        }
        new.remove(map, "selfLink");
        new.remove(root, "kind");
        new.remove(root, "apiVersion");
        let status = matches!(subresource, "status" | "approval");
        match (strategy.status, status) {
            // A binding says in the status that the pod is scheduled.
            (StatusRule::Isolated, false) if subresource == "binding" => {}
            (StatusRule::Isolated, false) => restore(new, root, "status", Some(old)),
            (_, true) => {
                let keys: Vec<String> = new
                    .entries(root)
                    .map(|(key, _)| key.to_owned())
                    .chain(old.map().map(|(key, _)| key.to_owned()))
                    .collect();
                for key in keys
                    .iter()
                    .filter(|key| !matches!(key.as_str(), "metadata" | "status"))
                {
                    restore(new, root, key, Some(old));
                }
                restore(new, map, "ownerReferences", before);
                restore(new, map, "finalizers", before);
            }
            _ => {}
        }
        crate::subresource::project(new, old, subresource);
    }

    /// The kind's rules, validation, allocations.
    fn check_update(
        &self,
        new: &mut Dom,
        old: Ref<'_>,
        subresource: &str,
        options: &WriteOptions,
    ) -> Result<Extras, Status> {
        let strategy = &self.resource().strategy;
        let root = new.root();
        let map = new.ensure_map(root, "metadata");
        let status = matches!(subresource, "status" | "approval");
        let mut extras = Extras::default();
        self.with(&self.info.namespace, subresource, options.dry_run, |cx| {
            if let Some(allocate) = strategy.allocate
                && subresource.is_empty()
            {
                allocate(cx, Some(new), Some(old), &mut extras)?;
            }
            if status {
                (strategy.prepare_status)(cx, new, old);
            } else {
                (strategy.prepare_update)(cx, new, old);
            }
            // As upstream, a binding fills in the spec without being a change of it.
            if strategy.generation && subresource != "binding" && spec_changed(new, old) {
                let generation = meta::of(old).generation() + 1;
                new.set_int(map, "generation", generation);
            }
            let mut errors = Vec::new();
            registry::validation::metadata_update(self.resource(), new.as_ref(), old, &mut errors);
            // As upstream, where both the generic update and the kind's look at the metadata.
            errors.extend(errors.clone());
            if status {
                (strategy.validate_status)(new.as_ref(), old, &mut errors);
                crate::custom::validate(self.resource(), self.view(), new, Some(old), &mut errors);
            } else {
                (strategy.validate)(new.as_ref(), &mut errors);
                crate::custom::validate(self.resource(), self.view(), new, Some(old), &mut errors);
                if subresource.is_empty() || subresource == "scale" {
                    (strategy.validate_update)(new.as_ref(), old, &mut errors);
                }
            }
            let name = meta::of(old).name();
            if !errors.is_empty() {
                return Err(Status::invalid(
                    &self.resource().group_kind(),
                    name,
                    &errors,
                ));
            }
            self.check_escalation(new.as_ref(), Some(old), name)?;
            if !status {
                self.tell_about(new.as_ref(), Some(old));
            }
            Ok(())
        })?;
        Ok(extras)
    }

    /// Whether nothing keeps a deleted object any more.
    pub(super) fn is_gone(&self, object: Ref<'_>) -> bool {
        let own = meta::of(object);
        if !own.is_deleting() || own.finalizers().next().is_some() {
            return false;
        }
        if own
            .deletion_grace_seconds()
            .is_some_and(|seconds| seconds > 0)
        {
            return false;
        }
        let kept = self.resource().kind == "Namespace"
            && object
                .get("spec")
                .is_some_and(|spec| spec.items("finalizers").next().is_some());
        !kept
    }
}

/// Sets a member to what it was, or removes it.
pub(super) fn restore(dom: &mut Dom, map: schema::Node, key: &str, from: Option<Ref<'_>>) {
    match from.and_then(|from| from.get(key)) {
        Some(value) => {
            let copy = dom.import(value.dom(), value.node());
            dom.set(map, key, copy);
        }
        None => {
            dom.remove(map, key);
        }
    }
}

/// Whether anything but metadata and status differs.
fn spec_changed(new: &Dom, old: Ref<'_>) -> bool {
    let own = |key: &str| !matches!(key, "metadata" | "status" | "kind" | "apiVersion");
    let new = new.as_ref();
    let same = new
        .map()
        .filter(|(key, _)| own(key))
        .all(|(key, value)| old.get(key).is_some_and(|other| other.equal(value)));
    let lost = old
        .map()
        .filter(|(key, _)| own(key))
        .any(|(key, _)| new.get(key).is_none());
    !same || lost
}
