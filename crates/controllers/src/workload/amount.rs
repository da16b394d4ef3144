//! A number, or a share of some whole: `3`, `25%`.
//!
//! Source: apimachinery v0.36.3 pkg/util/intstr/intstr.go.

use schema::{Ref, Value};

/// See the module's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Amount {
    Count(i64),
    Percent(i64),
}

impl Amount {
    /// Nothing and nonsense are 0.
    pub(crate) fn read(value: Option<Ref<'_>>) -> Self {
        match value.map(Ref::value) {
            Some(Value::Int(count)) => Self::Count(count),
            Some(Value::Str(text)) => {
                let number = text.strip_suffix('%').and_then(|n| n.parse().ok());
                number.map_or(Self::Count(0), Self::Percent)
            }
            _ => Self::Count(0),
        }
    }

    /// Of `whole`, a fraction counted as one when `up`.
    pub(crate) fn of(self, whole: i64, up: bool) -> i64 {
        match self {
            Self::Count(count) => count,
            Self::Percent(percent) => {
                let part = percent.saturating_mul(whole);
                let more = i64::from(up && part.rem_euclid(100) > 0);
                part.div_euclid(100) + more
            }
        }
    }
}
