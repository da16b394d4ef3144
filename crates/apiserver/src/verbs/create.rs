//! POST of an object.
//!
//! Source: kubernetes v1.36.3 apiserver/pkg/endpoints/handlers/create.go,
//! apiserver/pkg/registry/rest/create.go.

use api::{Status, meta};
use registry::admission::{self, Operation};
use registry::{Extra, Extras, StatusRule};
use schema::{Dom, Ref};
use store::{Compare, Durability, Op, Outcome, Revision, Txn};
use transport::Response;

use super::{Call, Stored, store_error};
use crate::authz::check_escalation;
use crate::negotiate::Encoding;
use crate::options::WriteOptions;
use crate::{RequestInfo, UserInfo, admission as hooks, codec, object};

/// How often a create is tried when something else got in between.
const ATTEMPTS: usize = 8;

impl Call {
    pub(super) async fn create(self, encoding: Encoding, body: &[u8]) -> Result<Response, Status> {
        let options = WriteOptions::parse(&self.query, "CreateOptions")?;
        let (mut dom, warnings) = self.decode(encoding, body, &options)?;
        warnings.into_iter().for_each(|warning| self.tell(warning));
        self.distinct_owners(&mut dom);
        let (dom, stored) = self.create_object(dom, &options).await?;
        match stored {
            Some(stored) => self.show(201, &stored).await,
            None => Ok(self.dry(201, dom)),
        }
    }

    /// The answer of a dry run.
    pub(super) fn dry(&self, code: u16, mut dom: Dom) -> Response {
        object::to_view(self.resource(), self.view(), &mut dom);
        crate::answer::one(code, self.resource(), self.view(), &dom, &self.shape())
    }

    /// Creates an object of the stored view; nothing is stored in a dry run.
    pub(crate) async fn create_object(
        &self,
        mut dom: Dom,
        options: &WriteOptions,
    ) -> Result<(Dom, Option<Stored>), Status> {
        let generated = self.fill(&mut dom, options)?;
        let mut last = Status::internal("create: too many conflicts");
        for _ in 0..ATTEMPTS {
            let mut attempt = dom.clone();
            if generated {
                let root = attempt.root();
                let base = meta::of(attempt.as_ref()).generate_name().to_owned();
                let name = api::names::generate_name(&base, |bound| self.server.below(bound));
                let map = attempt.ensure_map(root, "metadata");
                attempt.set_str(map, "name", &name);
            }
            let name = meta::of(attempt.as_ref()).name().to_owned();
            let extras = self.prepare(&mut attempt, &name, options).await?;
            let key = self.key(&name);
            if self.server.config.store.get(&key).is_some() {
                last = Status::already_exists(&self.gr(), &name);
                if generated {
                    continue;
                }
                return Err(last);
            }
            if options.dry_run {
                return Ok((attempt, None));
            }
            let mut attempt = self.to_storage(attempt).await?;
            let value = codec::to_stored(self.resource(), &mut attempt);
            let mut txn = Txn::create(key.clone(), value.clone());
            self.promise(&mut txn);
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
                    return Ok((
                        attempt,
                        Some(Stored {
                            value,
                            revision: revision.0,
                        }),
                    ));
                }
                Outcome::Conflict { key: other, .. } if other == key => {
                    last = Status::already_exists(&self.gr(), &name);
                    if !generated {
                        return Err(last);
                    }
                }
                Outcome::Conflict { .. } => {}
            }
        }
        Err(last)
    }

    /// How durable the write is and how long it lives.
    pub(super) fn promise(&self, txn: &mut Txn) {
        let strategy = &self.resource().strategy;
        let heartbeat = self.resource().kind == "Lease" && self.info.namespace == "kube-node-lease"
            || self.resource().kind == "Node" && self.info.subresource == "status";
        if strategy.relaxed || heartbeat {
            txn.durability = Durability::Relaxed;
        }
        if strategy.ttl_seconds > 0 {
            for op in &mut txn.ops {
                if let Op::Put { ttl, .. } = op {
                    *ttl = Some(std::time::Duration::from_secs(strategy.ttl_seconds));
                }
            }
        }
    }

    /// Metadata that the server owns. Says whether the name must be generated.
    fn fill(&self, dom: &mut Dom, options: &WriteOptions) -> Result<bool, Status> {
        let root = dom.root();
        let map = dom.ensure_map(root, "metadata");
        let own = meta::of(dom.as_ref());
        let (namespace, revision) = (
            own.namespace().to_owned(),
            own.resource_version().to_owned(),
        );
        let generated = own.name().is_empty() && !own.generate_name().is_empty();
        // It is the store that refuses a revision, and a dry run does not come so far.
        if !revision.is_empty() && revision != "0" && !options.dry_run {
            let message = "resourceVersion should not be set on objects to be created";
            return Err(Status::other(500, "", message));
        }
        if self.resource().is_namespaced() {
            if namespace.is_empty() {
                dom.set_str(map, "namespace", &self.info.namespace);
            } else if namespace != self.info.namespace {
                return Err(Status::bad_request(
                    "the namespace of the provided object does not match the namespace sent on the request",
                ));
            }
        } else {
            dom.remove(map, "namespace");
        }
        for key in [
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
            "selfLink",
            "managedFields",
            "generation",
            "resourceVersion",
        ] {
            let kept = match key {
                "managedFields" => options.managed,
                // As it was sent, since nothing comes back from the store.
                "resourceVersion" => options.dry_run,
                _ => false,
            };
            if !kept {
                dom.remove(map, key);
            }
        }
        dom.set_str(map, "uid", &self.server.uid());
        let now = api::time::format_seconds(self.server.config.clock.now());
        dom.set_str(map, "creationTimestamp", &now);
        if self.resource().strategy.generation {
            dom.set_int(map, "generation", 1);
        }
        let strategy = &self.resource().strategy;
        if strategy.status == StatusRule::Isolated && !strategy.status_on_create {
            dom.remove(root, "status");
            self.default(dom);
        }
        Ok(generated)
    }

    /// Admission, the kind's rules, validation, allocations.
    async fn prepare(
        &self,
        dom: &mut Dom,
        name: &str,
        options: &WriteOptions,
    ) -> Result<Extras, Status> {
        let namespace = self.info.namespace.as_str();
        let admit = |dom: &mut Dom| {
            self.with(namespace, "", options.dry_run, |cx| {
                admission::admit(cx, Operation::Create, dom, None)
            })
        };
        admit(dom)?;
        let given = self.given_options("CreateOptions", options);
        let subject = hooks::Subject {
            operation: hooks::Operation::Create,
            subresource: "",
            name,
            old: None,
            foreign: None,
            options: given.as_ref(),
            dry_run: options.dry_run,
        };
        self.mutate(&subject, Some(dom), &admit).await?;
        let mut extras = Extras::default();
        self.with(namespace, "", options.dry_run, |cx| {
            let strategy = &self.resource().strategy;
            if let Some(allocate) = strategy.allocate {
                allocate(cx, Some(dom), None, &mut extras)?;
            }
            (strategy.prepare_create)(cx, dom);
            let mut errors = Vec::new();
            registry::validation::metadata(self.resource(), dom.as_ref(), &mut errors);
            (strategy.validate)(dom.as_ref(), &mut errors);
            (strategy.validate_create)(dom.as_ref(), &mut errors);
            crate::custom::validate(self.resource(), self.view(), dom, None, &mut errors);
            let name = meta::of(dom.as_ref()).name().to_owned();
            if !errors.is_empty() {
                return Err(Status::invalid(
                    &self.resource().group_kind(),
                    &name,
                    &errors,
                ));
            }
            self.check_escalation(dom.as_ref(), None, &name)?;
            self.tell_about(dom.as_ref(), None);
            Ok(())
        })?;
        self.approve(&subject, Some(dom)).await?;
        self.with(namespace, "", options.dry_run, |cx| {
            admission::charge(cx, Operation::Create, dom.as_ref(), None, &mut extras)
        })?;
        Ok(extras)
    }

    /// The options as hooks see them; made only when there are hooks.
    pub(crate) fn given_options(&self, kind: &str, options: &WriteOptions) -> Option<Dom> {
        self.server
            .has_hooks()
            .then(|| hooks::options(kind, options))
    }

    /// Roles and bindings give no more than their author has.
    pub(super) fn check_escalation(
        &self,
        new: Ref<'_>,
        old: Option<Ref<'_>>,
        name: &str,
    ) -> Result<(), Status> {
        let server = &self.server;
        let authorize = |user: &UserInfo, info: &RequestInfo| server.authorize(user, info);
        check_escalation(&self.user, &self.info, new, old, &server.lookup, &authorize)
            .map_err(|reason| Status::forbidden(&self.gr(), name, &reason))
    }

    /// Puts what hooks want written into the transaction.
    pub(super) fn add_extras(&self, txn: &mut Txn, extras: Extras) {
        let root = &self.server.config.root;
        for extra in extras.writes {
            match extra {
                Extra::Create {
                    prefix,
                    namespace,
                    name,
                    object: dom,
                } => {
                    let key = object::key(root, &prefix, &namespace, &name);
                    let value = self.encode_other(&prefix, dom);
                    txn.compares.push(Compare::Revision {
                        key: key.clone(),
                        revision: Revision(0),
                    });
                    txn.ops.push(Op::Put {
                        key,
                        value,
                        ttl: None,
                    });
                }
                Extra::Delete {
                    prefix,
                    namespace,
                    name,
                } => {
                    txn.ops.push(Op::Delete {
                        key: object::key(root, &prefix, &namespace, &name),
                    });
                }
                Extra::Update {
                    prefix,
                    namespace,
                    name,
                    object: dom,
                } => {
                    let key = object::key(root, &prefix, &namespace, &name);
                    let revision = meta::of(dom.as_ref())
                        .resource_version()
                        .parse()
                        .unwrap_or(0);
                    let value = self.encode_other(&prefix, dom);
                    let revision = Revision(revision);
                    txn.compares.push(Compare::Revision {
                        key: key.clone(),
                        revision,
                    });
                    txn.ops.push(Op::Put {
                        key,
                        value,
                        ttl: None,
                    });
                }
            }
        }
    }

    fn encode_other(&self, prefix: &str, mut dom: Dom) -> bytes::Bytes {
        let found = registry::RESOURCES.iter().find(|row| row.prefix == prefix);
        match found {
            Some(row) => codec::to_stored(row, &mut dom),
            None => {
                base::never!(true, "a hook wrote to a prefix without a row");
                bytes::Bytes::from(dom.to_json(dom.root()))
            }
        }
    }
}
