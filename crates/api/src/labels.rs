//! Label selectors: text, objects, matching.
//!
//! Owns the grammar (`a=b,c in (d,e),!f,g>1`) and upstream's texts about what breaks it.
//! Knows no object; labels come through a look-up function.
//! Source: apimachinery v0.36.3 pkg/labels/selector.go, pkg/apis/meta/v1/helpers.go.

use crate::field::{Aggregate, BadValue, FieldError, Path};
use crate::names;
use crate::text::quote;
use std::fmt;

mod parse;

/// How a requirement compares.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum Operator {
    /// `key=value`.
    Equals,
    /// `key==value`, the same; only the text differs.
    DoubleEquals,
    /// `key!=value`; holds without the key too.
    NotEquals,
    /// `key in (…)`.
    In,
    /// `key notin (…)`; holds without the key too.
    NotIn,
    /// `key`.
    Exists,
    /// `!key`.
    DoesNotExist,
    /// `key>number`.
    GreaterThan,
    /// `key<number`.
    LessThan,
}

impl Operator {
    const fn text(self) -> &'static str {
        match self {
            Self::Equals => "=",
            Self::DoubleEquals => "==",
            Self::NotEquals => "!=",
            Self::In => "in",
            Self::NotIn => "notin",
            Self::Exists => "exists",
            Self::DoesNotExist => "!",
            Self::GreaterThan => "gt",
            Self::LessThan => "lt",
        }
    }
}

/// One condition on one label.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

/// Why a selector is refused; the text is upstream's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

/// A conjunction of requirements, or the selector that matches nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    requirements: Vec<Requirement>,
    nothing: bool,
}

impl Requirement {
    /// Makes a requirement, checking key and values.
    pub fn new(key: &str, operator: Operator, values: Vec<String>) -> Result<Self, SelectorError> {
        let mut errors = Vec::new();
        let path = Path::new("values");
        check_key(key, &Path::new("key"), &mut errors);
        let mut wrong = |message: &str| {
            let shown = if values.is_empty() && matches!(operator, Operator::In | Operator::NotIn) {
                BadValue::Raw("null".to_owned())
            } else {
                values.as_slice().into()
            };
            errors.push(FieldError::invalid(&path, shown, message));
        };
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                wrong("for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals
                if values.len() != 1 =>
            {
                wrong("exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                wrong("values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    wrong("for 'Gt', 'Lt' operators, exactly one value is required");
                }
                for (i, value) in values.iter().enumerate() {
                    if value.parse::<i64>().is_err() {
                        let message = "for 'Gt', 'Lt' operators, the value must be an integer";
                        errors.push(FieldError::invalid(&path.index(i), value, message));
                    }
                }
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            let complaints = names::label_value(value);
            if !complaints.is_empty() {
                let at = path.index(i).key(key);
                errors.push(FieldError::invalid(&at, value, complaints.join("; ")));
            }
        }
        if errors.is_empty() {
            return Ok(Self {
                key: key.to_owned(),
                operator,
                values,
            });
        }
        Err(SelectorError(Aggregate(&errors).to_string()))
    }

    /// The label's key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// How it compares.
    #[must_use]
    pub const fn operator(&self) -> Operator {
        self.operator
    }

    /// The values to compare with.
    #[must_use]
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// Does the label's value (`None` without the label) satisfy the requirement?
    #[must_use]
    pub fn holds(&self, value: Option<&str>) -> bool {
        let listed = |value: &str| self.values.iter().any(|v| v == value);
        match self.operator {
            Operator::In | Operator::Equals | Operator::DoubleEquals => value.is_some_and(listed),
            Operator::NotIn | Operator::NotEquals => !value.is_some_and(listed),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan | Operator::LessThan => {
                let number = value.and_then(|v| v.parse::<i64>().ok());
                let bound = self.values.first().and_then(|v| v.parse::<i64>().ok());
                match (number, bound) {
                    (Some(n), Some(b)) if self.operator == Operator::GreaterThan => n > b,
                    (Some(n), Some(b)) => n < b,
                    _ => false,
                }
            }
        }
    }
}

pub(crate) fn check_key(key: &str, path: &Path, errors: &mut Vec<FieldError>) {
    let complaints = names::qualified_name(key);
    if !complaints.is_empty() {
        errors.push(FieldError::invalid(path, key, complaints.join("; ")));
    }
}

impl Selector {
    /// Matches every object.
    #[must_use]
    pub const fn everything() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: false,
        }
    }

    /// Matches no object (an absent selector).
    #[must_use]
    pub const fn nothing() -> Self {
        Self {
            requirements: Vec::new(),
            nothing: true,
        }
    }

    /// Reads the text form.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        parse::parse(text).map(Self::of)
    }

    /// All of `requirements`, kept sorted by key.
    #[must_use]
    pub fn of(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self {
            requirements,
            nothing: false,
        }
    }

    /// Every label of a map (`spec.selector` of Services), taken as valid.
    #[must_use]
    pub fn from_set<'a>(labels: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let one = |(key, value): (&str, &str)| Requirement {
            key: key.to_owned(),
            operator: Operator::Equals,
            values: vec![value.to_owned()],
        };
        Self::of(labels.into_iter().map(one).collect())
    }

    /// A `LabelSelector`'s two parts. The caller handles an absent one with [`Self::nothing`].
    pub fn from_parts<'a, V: IntoIterator<Item = &'a str>>(
        match_labels: impl IntoIterator<Item = (&'a str, &'a str)>,
        match_expressions: impl IntoIterator<Item = (&'a str, &'a str, V)>,
    ) -> Result<Self, SelectorError> {
        let mut all = Vec::new();
        for (key, value) in match_labels {
            all.push(Requirement::new(
                key,
                Operator::Equals,
                vec![value.to_owned()],
            )?);
        }
        for (key, operator, values) in match_expressions {
            let operator = match operator {
                "In" => Operator::In,
                "NotIn" => Operator::NotIn,
                "Exists" => Operator::Exists,
                "DoesNotExist" => Operator::DoesNotExist,
                other => {
                    let other = quote(other);
                    let message = format!("{other} is not a valid label selector operator");
                    return Err(SelectorError(message));
                }
            };
            let values = values.into_iter().map(str::to_owned).collect();
            all.push(Requirement::new(key, operator, values)?);
        }
        Ok(Self::of(all))
    }

    /// Does it match everything?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        !self.nothing && self.requirements.is_empty()
    }

    /// Does it match nothing by construction?
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.nothing
    }

    /// Its requirements, sorted by key.
    #[must_use]
    pub fn requirements(&self) -> &[Requirement] {
        &self.requirements
    }

    /// Does an object match whose labels `label` looks up?
    pub fn matches<'a>(&self, label: impl Fn(&str) -> Option<&'a str>) -> bool {
        !self.nothing && self.requirements.iter().all(|r| r.holds(label(&r.key)))
    }

    /// The only value that `key` can have, if the selector pins it.
    #[must_use]
    pub fn exact(&self, key: &str) -> Option<&str> {
        let requirement = self.requirements.iter().find(|r| r.key == key)?;
        match (requirement.operator, requirement.values.as_slice()) {
            (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) => Some(value),
            _ => None,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut sorted: Vec<&str> = self.values.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let (key, values) = (&self.key, sorted.join(","));
        match self.operator {
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::In | Operator::NotIn => {
                write!(f, "{key} {} ({values})", self.operator.text())
            }
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
            operator => write!(f, "{key}{}{values}", operator.text()),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            requirement.fmt(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
