//! DELETE of an object or of a collection.
//!
//! An object goes at once, or it is marked: with a grace period (pods), with finalizers of its
//! own or those that the propagation policy asks for.
//! Source: kubernetes v1.36.3 apiserver/pkg/registry/rest/delete.go,
//! apiserver/pkg/registry/generic/registry/store.go (deletionFinalizersForGarbageCollection).

use api::{Gk, Status, meta};
use jiff::SignedDuration;
use registry::Extras;
use schema::{Dom, Ref};
use store::{Outcome, Revision, Txn};
use transport::{Request, Response};

use super::{Call, Stored, body_of, store_error};
use crate::admission::{Operation, Subject};
use crate::options::{DeleteOptions, ListOptions};
use crate::{answer, codec, negotiate, object};

const ATTEMPTS: usize = 32;

/// What became of a delete.
pub(crate) enum Deleted {
    /// Gone; its last state.
    Gone(Stored),
    /// Marked, or already on its way.
    Marked(Stored),
}

impl Call {
    pub(crate) async fn delete_options(&self, request: Request) -> Result<DeleteOptions, Status> {
        let encoding = negotiate::content_type(request.headers())?;
        let body = body_of(request).await?;
        if body.is_empty() {
            return DeleteOptions::parse(&self.query, None);
        }
        let table = schema::builtin();
        let gvk = api::Gvk::new("", "v1", "DeleteOptions");
        let decoded = if encoding == negotiate::Encoding::Protobuf {
            schema::protobuf::from_wire(table, &body, &codec::LIMITS)
                .map(|(_, dom)| dom)
                .map_err(|error| Status::bad_request(&error.to_string()))?
        } else {
            // Every group has DeleteOptions: the version that the client names does not matter.
            let types = table.kind("", "v1", "DeleteOptions").map(|ty| (table, ty));
            let json = if encoding == negotiate::Encoding::Yaml {
                let parsed = schema::yaml::parse(&body, &codec::LIMITS)
                    .map_err(|error| Status::bad_request(&error.to_string()))?;
                parsed.dom.to_json(parsed.dom.root())
            } else {
                body.to_vec()
            };
            match types {
                Some((table, ty)) => {
                    schema::decode_json(table, ty, &json, &codec::LIMITS)
                        .map_err(|e| {
                            if let schema::DecodeError::Syntax(cause) = &e {
                                return Status::bad_request(&format!(
                                    "couldn't get version/kind; json parse error: {cause}"
                                ));
                            }
                            Status::bad_request(&format!(
                                "{} in version \"v1\" cannot be handled as a {}: {e}",
                                gvk.kind, gvk.kind
                            ))
                        })?
                        .dom
                }
                None => Dom::parse_json(&json).map_err(|e| Status::bad_request(&e.to_string()))?,
            }
        };
        DeleteOptions::parse(&self.query, Some(decoded.as_ref()))
    }

    pub(super) async fn delete(self, request: Request) -> Result<Response, Status> {
        let options = self.delete_options(request).await?;
        let name = self.info.name.clone();
        self.admit_removal(&name, &options).await?;
        Ok(match self.remove(&name, &options).await? {
            Deleted::Gone(stored) if self.returns_object() => self.show(200, &stored).await?,
            Deleted::Gone(stored) => {
                let dom = object::parse(&stored.value, stored.revision);
                let uid = meta::of(dom.as_ref()).uid().to_owned();
                let mut status = Status::deleted(&self.gr(), &name, &uid);
                status.kind = self.info.resource.clone();
                answer::status(&status, &self.accepted)
            }
            Deleted::Marked(stored) => {
                let code = if options.orphan == Some(false) {
                    202
                } else {
                    200
                };
                self.show(code, &stored).await?
            }
        })
    }

    /// Kinds whose last state is the answer.
    fn returns_object(&self) -> bool {
        let (group, kind) = (self.info.group.as_str(), self.resource().kind.as_ref());
        // Documents say otherwise of namespaces.
        (group, kind) == ("", "Namespace") || returns_deleted(group, kind)
    }

    /// Asks the hooks about a delete.
    async fn admit_removal(&self, name: &str, options: &DeleteOptions) -> Result<(), Status> {
        if !self.server.has_hooks() {
            return Ok(());
        }
        let current = self.read(name)?;
        let old = object::parse(&current.value, current.revision);
        let given = options.document();
        let subject = Subject {
            operation: Operation::Delete,
            subresource: "",
            name,
            old: Some(&old),
            foreign: None,
            options: Some(&given),
            dry_run: options.dry_run,
        };
        self.mutate(&subject, None, &|_| Ok(())).await?;
        self.approve(&subject, None).await
    }

    /// Deletes one object of the request's namespace.
    pub(crate) async fn remove(
        &self,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<Deleted, Status> {
        for _ in 0..ATTEMPTS {
            let current = self.read(name)?;
            let old = object::parse(&current.value, current.revision);
            self.delete_preconditions(&old, name, options)?;
            if self.resource().kind == "Namespace"
                && ["default", "kube-system", "kube-public"].contains(&name)
            {
                let cause = "this namespace may not be deleted";
                return Err(Status::forbidden(&self.gr(), name, cause));
            }
            let mut new = old.clone();
            let decided = self.mark(&mut new, old.as_ref(), options);
            if decided == Decided::Gone && options.dry_run {
                return Ok(Deleted::Gone(current));
            }
            if decided == Decided::Pending {
                return Ok(Deleted::Marked(current));
            }
            let mut extras = Extras::default();
            let key = self.key(name);
            let revision = Revision(current.revision);
            let (gone, value, mut txn) = if decided == Decided::Gone {
                if let Some(allocate) = self.resource().strategy.allocate {
                    self.with(&self.info.namespace, "", false, |cx| {
                        allocate(cx, None, Some(old.as_ref()), &mut extras)
                    })?;
                }
                (true, current.value.clone(), Txn::delete(key, revision))
            } else {
                let value = match old.as_ref().str("apiVersion") {
                    "" => codec::to_stored(self.resource(), &mut new),
                    // Custom objects stay in the version in which they were written.
                    version => codec::to_stored_as(self.resource(), version, &mut new),
                };
                if value == current.value {
                    return Ok(Deleted::Marked(current));
                }
                if options.dry_run {
                    let revision = current.revision;
                    return Ok(Deleted::Marked(Stored { value, revision }));
                }
                (false, value.clone(), Txn::update(key, value, revision))
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
                        Deleted::Gone(stored)
                    } else {
                        Deleted::Marked(stored)
                    });
                }
                Outcome::Conflict { .. } => {}
            }
        }
        Err(Status::modified(&self.gr(), name))
    }

    fn delete_preconditions(
        &self,
        old: &Dom,
        name: &str,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let own = meta::of(old.as_ref());
        // As upstream, the kind stands where else the resource does.
        let kind = api::Gr::new(&self.info.group, &self.resource().kind);
        if let Some(uid) = &options.uid
            && uid != own.uid()
        {
            let cause = format!(
                "the UID in the precondition ({uid}) does not match the UID in record ({}). The object might have been deleted and then recreated",
                own.uid()
            );
            return Err(Status::conflict(&kind, name, &cause));
        }
        if let Some(revision) = &options.revision
            && revision != own.resource_version()
        {
            let cause = format!(
                "the ResourceVersion in the precondition ({revision}) does not match the ResourceVersion in record ({}). The object might have been modified",
                own.resource_version()
            );
            return Err(Status::conflict(&kind, name, &cause));
        }
        Ok(())
    }

    /// Marks the object as deleted and says what that means.
    fn mark(&self, new: &mut Dom, old: Ref<'_>, options: &DeleteOptions) -> Decided {
        let strategy = &self.resource().strategy;
        let own = meta::of(old);
        let root = new.root();
        let map = new.ensure_map(root, "metadata");
        let now = self.server.config.clock.now();
        let stamp = |seconds: i64| {
            api::time::format_seconds(base::after(now, SignedDuration::from_secs(seconds)))
        };
        let grace = match strategy.graceful {
            Some(graceful) => graceful(old, options.grace_seconds),
            None => 0,
        };
        self.propagate(new, map, old, options);
        let finalizers = meta::of(new.as_ref()).finalizers().next().is_some();
        let spec_finalizers = self.resource().kind == "Namespace"
            && old
                .get("spec")
                .is_some_and(|spec| spec.items("finalizers").next().is_some());
        if own.is_deleting() {
            let left = own.deletion_grace_seconds().unwrap_or(0);
            let shorter = strategy.graceful.is_some()
                && left > 0
                && options.grace_seconds.is_some()
                && grace < left;
            if shorter {
                new.set_int(map, "deletionGracePeriodSeconds", grace);
                let start = own.deleted().map_or(now, |then| {
                    base::after(then, SignedDuration::from_secs(left.saturating_neg()))
                });
                let then = base::after(start, SignedDuration::from_secs(grace));
                new.set_str(map, "deletionTimestamp", &api::time::format_seconds(then));
            }
            let left = if shorter { grace } else { left };
            if left > 0 {
                return if shorter {
                    Decided::Marked
                } else {
                    Decided::Pending
                };
            }
            if finalizers || spec_finalizers {
                return Decided::Marked;
            }
            return Decided::Gone;
        }
        if grace > 0 {
            new.set_str(map, "deletionTimestamp", &stamp(grace));
            new.set_int(map, "deletionGracePeriodSeconds", grace);
            if own.generation() > 0 {
                new.set_int(map, "generation", own.generation() + 1);
            }
            return Decided::Marked;
        }
        if finalizers || spec_finalizers {
            new.set_str(map, "deletionTimestamp", &stamp(0));
            if !spec_finalizers {
                new.set_int(map, "deletionGracePeriodSeconds", 0);
            }
            if own.generation() > 0 {
                new.set_int(map, "generation", own.generation() + 1);
            }
            if self.resource().kind == "Namespace" {
                let status = new.ensure_map(root, "status");
                new.set_str(status, "phase", "Terminating");
            }
            return Decided::Marked;
        }
        Decided::Gone
    }

    /// Finalizers for the garbage collector.
    fn propagate(&self, new: &mut Dom, map: schema::Node, old: Ref<'_>, options: &DeleteOptions) {
        let own = meta::of(old);
        let (orphan, foreground) = match (options.orphan, options.propagation.as_str()) {
            (Some(orphan), _) => (orphan, false),
            (None, "Orphan") => (true, false),
            (None, "Foreground") => (false, true),
            (None, "Background") => (false, false),
            _ if own.has_finalizer("orphan") => (true, false),
            _ if own.has_finalizer("foregroundDeletion") => (false, true),
            _ => (self.resource().strategy.orphan_by_default, false),
        };
        let mut finalizers: Vec<String> = own
            .finalizers()
            .filter(|name| !matches!(*name, "orphan" | "foregroundDeletion"))
            .map(str::to_owned)
            .collect();
        if orphan {
            finalizers.push("orphan".to_owned());
        }
        if foreground {
            finalizers.push("foregroundDeletion".to_owned());
        }
        if self.resource().kind == "CustomResourceDefinition"
            && !own.is_deleting()
            && !finalizers
                .iter()
                .any(|name| name == crate::custom::FINALIZER)
        {
            finalizers.push(crate::custom::FINALIZER.to_owned());
        }
        if finalizers.is_empty() {
            new.remove(map, "finalizers");
            return;
        }
        let list = new.new_list();
        for name in finalizers {
            let node = new.new_str(&name);
            new.push(list, node);
        }
        new.set(map, "finalizers", list);
    }

    pub(super) async fn delete_collection(mut self, request: Request) -> Result<Response, Status> {
        let list = ListOptions::parse(&self.query, false)?;
        let options = self.delete_options(request).await?;
        if options.uid.is_some() || options.revision.is_some() {
            let gk = Gk::new("meta.k8s.io", "DeleteOptions");
            let at = api::Path::new("preconditions");
            let error = api::FieldError::forbidden(&at, "not allowed for collections");
            return Err(Status::invalid(&gk, "", &[error]));
        }
        let selected = self.select(&list).await?;
        for kv in &selected.items {
            let dom = object::parse(&kv.value, kv.mod_revision.0);
            let own = meta::of(dom.as_ref());
            self.info.namespace = own.namespace().to_owned();
            if let Err(status) = self.admit_removal(own.name(), &options).await {
                if status.code() == 404 {
                    continue;
                }
                return Err(status);
            }
            match self.remove(own.name(), &options).await {
                Ok(_) => {}
                Err(status) if status.code() == 404 => {}
                Err(status) => return Err(status),
            }
        }
        Ok(self.answer_list(&selected))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Decided {
    /// Nothing keeps it.
    Gone,
    /// It is written with its mark.
    Marked,
    /// It was marked before and nothing changes.
    Pending,
}

/// Kinds whose deletes are answered with their last state, and documented so.
pub(crate) fn returns_deleted(group: &str, kind: &str) -> bool {
    const KINDS: [(&str, &[&str]); 3] = [
        (
            "",
            &[
                "PersistentVolume",
                "PersistentVolumeClaim",
                "Pod",
                "PodTemplate",
                "ResourceQuota",
                "Service",
                "ServiceAccount",
            ],
        ),
        (
            "resource.k8s.io",
            &[
                "DeviceClass",
                "ResourceClaim",
                "ResourceClaimTemplate",
                "ResourceSlice",
            ],
        ),
        (
            "storage.k8s.io",
            &[
                "CSIDriver",
                "CSINode",
                "StorageClass",
                "VolumeAttachment",
                "VolumeAttributesClass",
            ],
        ),
    ];
    let mut groups = KINDS.iter().filter(|(known, _)| *known == group);
    groups.any(|(_, kinds)| kinds.contains(&kind))
}
