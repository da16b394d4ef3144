//! Findings of validation: a path, a kind of error, the bad value, a detail.
//!
//! Texts are upstream's, because clients compare them. A finding knows nothing of the object
//! it was found in; `Status::invalid` adds its kind and name.
//! Source: apimachinery v0.36.3 pkg/util/validation/field/{errors,path}.go, pkg/util/errors.

use crate::text;
use std::fmt;

/// Path to a field: `spec.containers[0].env[KEY]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Path(String);

impl Path {
    /// A path of one field.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The path before any field; its child prints without a leading dot.
    #[must_use]
    pub fn root() -> Self {
        Self(String::new())
    }

    /// A field of the object at this path.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        let mut path = String::with_capacity(self.0.len() + name.len() + 1);
        path.push_str(&self.0);
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(name);
        Self(path)
    }

    /// An item of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// An entry of the map at this path.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }

    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is wrong with a field.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash)]
pub enum ErrorType {
    /// A reference to something that is not there.
    NotFound,
    /// A value is missing.
    Required,
    /// A value that must be unique is not.
    Duplicate,
    /// A value of the right type is not allowed.
    Invalid,
    /// A value is not in a closed set.
    NotSupported,
    /// The field may not be set here.
    Forbidden,
    /// A string is too long.
    TooLong,
    /// A list or map has too many items.
    TooMany,
    /// A list or map has too few items.
    TooFew,
    /// Validation itself failed.
    Internal,
    /// A value of a wrong type.
    TypeInvalid,
    /// A string is too short.
    TooShort,
}

impl ErrorType {
    /// The name in `causes[].reason`.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TooFew => "FieldValueTooFew",
            Self::Internal => "InternalError",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::TooShort => "FieldValueTooShort",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::TooFew => "Too few",
            Self::Internal => "Internal error",
            Self::TooShort => "Too short",
        }
    }

    const fn shows_value(self) -> bool {
        matches!(
            self,
            Self::Invalid
                | Self::TypeInvalid
                | Self::NotSupported
                | Self::NotFound
                | Self::Duplicate
                | Self::TooMany
                | Self::TooFew
        )
    }
}

/// The value that was refused, as the message shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BadValue {
    /// A string; printed quoted.
    Text(String),
    /// A number, bool or the JSON of a list or object; printed as it stands.
    Raw(String),
    /// Not shown.
    Omitted,
}

impl From<&str> for BadValue {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for BadValue {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&String> for BadValue {
    fn from(value: &String) -> Self {
        Self::Text(value.clone())
    }
}

impl From<i64> for BadValue {
    fn from(value: i64) -> Self {
        Self::Raw(value.to_string())
    }
}

impl From<i32> for BadValue {
    fn from(value: i32) -> Self {
        Self::Raw(value.to_string())
    }
}

impl From<usize> for BadValue {
    fn from(value: usize) -> Self {
        Self::Raw(value.to_string())
    }
}

impl From<bool> for BadValue {
    fn from(value: bool) -> Self {
        Self::Raw(value.to_string())
    }
}

impl From<&[String]> for BadValue {
    fn from(values: &[String]) -> Self {
        let mut out = String::from("[");
        for (i, value) in values.iter().enumerate() {
            if i > 0 {
                out.push(',');
            }
            text::json_string(&mut out, value);
        }
        out.push(']');
        Self::Raw(out)
    }
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FieldError {
    /// What is wrong.
    pub kind: ErrorType,
    /// Where.
    pub field: String,
    /// The value refused.
    pub value: BadValue,
    /// More words, may be empty.
    pub detail: String,
}

impl FieldError {
    fn make(kind: ErrorType, path: &Path, value: BadValue, detail: String) -> Self {
        Self {
            kind,
            field: path.0.clone(),
            value,
            detail,
        }
    }

    /// A value of the right type that is not allowed.
    #[must_use]
    pub fn invalid(path: &Path, value: impl Into<BadValue>, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::Invalid, path, value.into(), detail.into())
    }

    /// A value of a wrong type.
    #[must_use]
    pub fn type_invalid(
        path: &Path,
        value: impl Into<BadValue>,
        detail: impl Into<String>,
    ) -> Self {
        Self::make(ErrorType::TypeInvalid, path, value.into(), detail.into())
    }

    /// A missing value.
    #[must_use]
    pub fn required(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::Required, path, BadValue::Omitted, detail.into())
    }

    /// A reference to something that is not there.
    #[must_use]
    pub fn not_found(path: &Path, value: impl Into<BadValue>) -> Self {
        Self::make(ErrorType::NotFound, path, value.into(), String::new())
    }

    /// A repeated value.
    #[must_use]
    pub fn duplicate(path: &Path, value: impl Into<BadValue>) -> Self {
        Self::make(ErrorType::Duplicate, path, value.into(), String::new())
    }

    /// A value outside a closed set, which is listed in the order given.
    #[must_use]
    pub fn not_supported(path: &Path, value: impl Into<BadValue>, supported: &[&str]) -> Self {
        let detail = if supported.is_empty() {
            String::new()
        } else {
            let quoted: Vec<_> = supported.iter().map(|value| text::quote(value)).collect();
            format!("supported values: {}", quoted.join(", "))
        };
        Self::make(ErrorType::NotSupported, path, value.into(), detail)
    }

    /// A field that may not be set.
    #[must_use]
    pub fn forbidden(path: &Path, detail: impl Into<String>) -> Self {
        Self::make(ErrorType::Forbidden, path, BadValue::Omitted, detail.into())
    }

    /// A string of more than `max_bytes` bytes.
    #[must_use]
    pub fn too_long(path: &Path, max_bytes: usize) -> Self {
        let detail = format!("may not be more than {}", count(max_bytes, "byte"));
        Self::make(ErrorType::TooLong, path, BadValue::Omitted, detail)
    }

    /// A string of more than `max` characters.
    #[must_use]
    pub fn too_long_characters(path: &Path, max: usize) -> Self {
        let detail = format!("may not be more than {}", count(max, "character"));
        Self::make(ErrorType::TooLong, path, BadValue::Omitted, detail)
    }

    /// A string of fewer than `min` characters.
    #[must_use]
    pub fn too_short(path: &Path, min: usize) -> Self {
        let detail = format!("must be at least {}", count(min, "character"));
        Self::make(ErrorType::TooShort, path, BadValue::Omitted, detail)
    }

    /// A list of more than `max` items.
    #[must_use]
    pub fn too_many(path: &Path, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {}", count(max, "item"));
        Self::make(ErrorType::TooMany, path, actual.into(), detail)
    }

    /// Validation itself failed.
    #[must_use]
    pub fn internal(path: &Path, cause: impl Into<String>) -> Self {
        Self::make(ErrorType::Internal, path, BadValue::Omitted, cause.into())
    }

    /// The message without the path.
    #[must_use]
    pub fn body(&self) -> String {
        let mut body = self.kind.title().to_owned();
        if self.kind.shows_value() {
            match &self.value {
                BadValue::Text(value) => {
                    body.push_str(": ");
                    body.push_str(&text::quote(value));
                }
                BadValue::Raw(value) => {
                    body.push_str(": ");
                    body.push_str(value);
                }
                BadValue::Omitted => {}
            }
        }
        if !self.detail.is_empty() {
            body.push_str(": ");
            body.push_str(&self.detail);
        }
        body
    }
}

fn count(number: usize, noun: &str) -> String {
    if number == 1 {
        format!("{number} {noun}")
    } else {
        format!("{number} {noun}s")
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.body())
    }
}

impl std::error::Error for FieldError {}

/// Several findings as one message: bare when there is one, else `[a, b]` without repeats.
pub struct Aggregate<'a>(pub &'a [FieldError]);

impl fmt::Display for Aggregate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut seen: Vec<String> = Vec::new();
        for error in self.0 {
            let message = error.to_string();
            if !seen.contains(&message) {
                seen.push(message);
            }
        }
        match seen.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}
