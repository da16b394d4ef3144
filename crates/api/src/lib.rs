//! Views of kinds, resource names, quantities, selectors, schedules, Status.
//!
//! Owns the nouns of the API that every layer shares and the texts in which upstream speaks
//! of them. Knows no storage, no transport and no resource's own rules.

pub mod cron;
pub mod duration;
mod field;
pub mod fields;
mod kind;
pub mod labels;
pub mod meta;
pub mod names;
pub mod nodes;
pub mod pod;
mod quantity;
pub mod quota;
mod status;
pub mod text;
pub mod time;
pub mod view;

pub use field::{Aggregate, BadValue, ErrorType, FieldError, Path};
pub use kind::{Gk, Gr, GroupVersionError, Gvk, Gvr, api_version, parse_api_version};
pub use labels::Selector as LabelSelector;
pub use quantity::{Format, Quantity, QuantityError};
pub use status::{Cause, Status, reason};
