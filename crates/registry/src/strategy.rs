//! The rules of a kind as function pointers.
//!
//! A row names only what differs from [`Strategy::DEFAULT`]. The API server calls them in this
//! order: `default`, admission, `allocate`, `prepare_create` or `prepare_update`, `validate`,
//! `validate_create` or `validate_update`.
//! Source: kubernetes v1.36.3 apiserver/pkg/registry/rest/{create,update,delete}.go.

use api::names::{self, NameCheck};
use api::{FieldError, Status};
use schema::{Dom, Ref};

use crate::hooks::{Context, Extras};
use crate::resource::StatusRule;

/// Sets what upstream sets where the client left it out. The root is the object.
pub type Default = fn(&mut Dom);
/// Clears and sets what clients may not.
pub type PrepareCreate = fn(&Context<'_>, &mut Dom);
/// The same against the stored object.
pub type PrepareUpdate = fn(&Context<'_>, new: &mut Dom, old: Ref<'_>);
/// Findings about one object.
pub type Validate = fn(Ref<'_>, &mut Vec<FieldError>);
/// Findings about a change.
pub type ValidateUpdate = fn(new: Ref<'_>, old: Ref<'_>, &mut Vec<FieldError>);
/// What the author should know about an object that is accepted; none for creates.
pub type Warn = fn(new: Ref<'_>, old: Option<Ref<'_>>, &mut Vec<String>);
/// What must happen in the same transaction (allocations), or a refusal.
pub type Allocate = fn(
    &Context<'_>,
    new: Option<&mut Dom>,
    old: Option<Ref<'_>>,
    &mut Extras,
) -> Result<(), Status>;

/// The rules of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Strategy {
    /// Defaults that the table cannot say.
    pub default: Default,
    /// Before a create.
    pub prepare_create: PrepareCreate,
    /// Before an update of the object.
    pub prepare_update: PrepareUpdate,
    /// Before an update of the status.
    pub prepare_status: PrepareUpdate,
    /// Everything about an object but its metadata.
    pub validate: Validate,
    /// What only a new object may not have; called after `validate`.
    pub validate_create: Validate,
    /// Everything about an update but its metadata; called after `validate`.
    pub validate_update: ValidateUpdate,
    /// The same for `status`.
    pub validate_status: ValidateUpdate,
    /// Warnings about what was accepted.
    pub warn: Warn,
    /// A warning with every answer, for what is deprecated; may be empty.
    pub deprecated: &'static str,
    /// Allocation next to the write; before anything is validated, as upstream.
    pub allocate: Option<Allocate>,
    /// Which names are names.
    pub name: NameCheck,
    /// PUT of an absent object creates it.
    pub create_on_update: bool,
    /// PUT without resourceVersion is accepted.
    pub unconditional_update: bool,
    /// `metadata.generation` counts changes of anything but metadata and status.
    pub generation: bool,
    /// Who writes the status.
    pub status: StatusRule,
    /// Default grace period of a deletion, if it has one (pods).
    pub graceful: Option<fn(Ref<'_>, Option<i64>) -> i64>,
    /// Garbage-collection default is to orphan dependents.
    pub orphan_by_default: bool,
    /// Written with the weaker promise of durability.
    pub relaxed: bool,
    /// Seconds until it expires by itself; 0: never.
    pub ttl_seconds: u64,
    /// Clients set the status when they create (nodes).
    pub status_on_create: bool,
}

impl Strategy {
    /// What most kinds do.
    pub const DEFAULT: Strategy = Strategy {
        default: |_| {},
        prepare_create: |_, _| {},
        prepare_update: |_, _, _| {},
        prepare_status: |_, _, _| {},
        validate: |_, _| {},
        validate_create: |_, _| {},
        validate_update: |_, _, _| {},
        validate_status: |_, _, _| {},
        warn: |_, _, _| {},
        deprecated: "",
        allocate: None,
        name: names::name_is_subdomain,
        create_on_update: false,
        unconditional_update: true,
        generation: false,
        status: StatusRule::None,
        graceful: None,
        orphan_by_default: false,
        relaxed: false,
        ttl_seconds: 0,
        status_on_create: false,
    };
}
