//! Evaluates a checked tree within a budget.
//!
//! `false && error` is false and `true || error` true, in either order; `all` and `exists` go on
//! after an error for the same reason. Each node costs a step, texts one for ten bytes; running
//! out of the budget ends everything. New texts and lists cost what they hold, so memory is
//! bounded by the budget.
//! Source: cel-go v0.26 interpreter; kubernetes apiserver v0.36.3 pkg/apis/cel/config.go (limits).

use std::cell::Cell;
use std::cmp::Ordering;
use std::fmt;
use std::rc::Rc;

use crate::ast::{Expr, Fold, Kind};
use crate::functions;
use crate::value::{List, Map, Str, Struct, Value};

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EvalError {
    message: String,
    exhausted: bool,
}

impl EvalError {
    /// An error in an expression.
    #[must_use]
    pub fn new(message: &str) -> EvalError {
        EvalError {
            message: message.to_owned(),
            exhausted: false,
        }
    }

    pub(crate) fn overload() -> EvalError {
        EvalError::new("no such overload")
    }

    fn exhausted() -> EvalError {
        EvalError {
            message: "operation cancelled: actual cost limit exceeded".to_owned(),
            exhausted: true,
        }
    }

    /// Whether the budget is spent.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.exhausted
    }
}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for EvalError {}

/// Steps that are left.
#[derive(Debug)]
pub struct Budget {
    left: Cell<u64>,
}

impl Budget {
    /// So many steps.
    #[must_use]
    pub fn new(steps: u64) -> Budget {
        Budget {
            left: Cell::new(steps),
        }
    }

    /// Steps that are left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.left.get()
    }

    pub(crate) fn spend(&self, steps: u64) -> Result<(), EvalError> {
        match self.left.get().checked_sub(steps) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.left.set(0);
                Err(EvalError::exhausted())
            }
        }
    }
}

/// Where variables come from.
pub trait Bindings<'a> {
    /// A variable's value.
    fn get(&self, name: &str) -> Option<Value<'a>>;

    /// A field of `variables`, evaluated now or before.
    fn variable(&self, name: &str, budget: &Budget) -> Option<Result<Value<'a>, EvalError>> {
        let _ = (name, budget);
        None
    }
}

/// What an expression asks `authorizer`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// In the name of a service account (namespace, name), not of the request's user.
    pub service_account: Option<(String, String)>,
    /// A path, not a resource.
    pub path: Option<String>,
    /// Of the resource.
    pub group: String,
    /// Plural.
    pub resource: String,
    /// Or nothing.
    pub subresource: String,
    /// Or nothing.
    pub namespace: String,
    /// Or nothing.
    pub name: String,
    /// What is to be done.
    pub verb: String,
}

/// What `authorizer` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Whether it may be done.
    pub allowed: bool,
    /// Why.
    pub reason: String,
}

/// Answers `authorizer`.
pub trait Authorizer {
    /// Decides.
    fn check(&self, access: &Access) -> Verdict;

    /// The resource of the request.
    fn request(&self) -> Access;
}

pub(crate) type Evaluated<'a> = Result<Value<'a>, EvalError>;

pub(crate) fn run<'a>(
    expr: &'a Expr,
    bindings: &dyn Bindings<'a>,
    budget: &Budget,
) -> Evaluated<'a> {
    let mut frame = Frame {
        bindings,
        budget,
        locals: Vec::new(),
    };
    frame.eval(expr)
}

struct Frame<'a, 'b> {
    bindings: &'b dyn Bindings<'a>,
    budget: &'b Budget,
    locals: Vec<(&'a str, Value<'a>)>,
}

fn no_such_key(key: &str) -> EvalError {
    EvalError::new(&format!("no such key: {key}"))
}

impl<'a> Frame<'a, '_> {
    fn eval(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        self.budget.spend(1)?;
        match &expr.kind {
            Kind::Null => Ok(Value::Null),
            Kind::Bool(value) => Ok(Value::Bool(*value)),
            Kind::Int(value) => Ok(Value::Int(*value)),
            Kind::Uint(value) => Ok(Value::Uint(*value)),
            Kind::Double(value) => Ok(Value::Double(*value)),
            Kind::Str(text) => Ok(Value::borrowed(text)),
            Kind::Bytes(bytes) => Ok(Value::Bytes(bytes.as_slice().into())),
            Kind::Ident(name) => self.ident(name),
            Kind::Select {
                of,
                field,
                optional,
            } => {
                if let Kind::Ident(name) = &of.kind
                    && name == "variables"
                    && let Some(value) = self.bindings.variable(field, self.budget)
                {
                    return value;
                }
                let of = self.eval(of)?;
                self.select(of, field, *optional)
            }
            Kind::Has { of, field } => {
                if let Kind::Ident(name) = &of.kind
                    && name == "variables"
                    && let Some(value) = self.bindings.variable(field, self.budget)
                {
                    return value.map(|_| Value::Bool(true));
                }
                match self.eval(of)? {
                    Value::Map(map) => Ok(Value::Bool(map.field(field).is_some())),
                    Value::Struct(of) => {
                        let has = of.fields.iter().any(|(name, _)| name == field);
                        Ok(Value::Bool(has))
                    }
                    Value::Optional(None) => Ok(Value::Bool(false)),
                    Value::Optional(Some(of)) => match &*of {
                        Value::Map(map) => Ok(Value::Bool(map.field(field).is_some())),
                        _ => Err(EvalError::overload()),
                    },
                    _ => Err(EvalError::overload()),
                }
            }
            Kind::Call { name, target, args } => self.call(name, target.as_deref(), args),
            Kind::List(items) => {
                let mut list = Vec::with_capacity(items.len());
                for (optional, item) in items {
                    match self.eval(item)? {
                        Value::Optional(item) if *optional => {
                            list.extend(item.map(|item| (*item).clone()));
                        }
                        item => list.push(item),
                    }
                }
                Ok(Value::list(list))
            }
            Kind::Map(entries) => {
                let mut map: Vec<(Value<'a>, Value<'a>)> = Vec::with_capacity(entries.len());
                for (optional, key, value) in entries {
                    let key = self.eval(key)?;
                    let value = match self.eval(value)? {
                        Value::Optional(None) if *optional => continue,
                        Value::Optional(Some(value)) if *optional => (*value).clone(),
                        value => value,
                    };
                    if map.iter().any(|(known, _)| known.equal(&key)) {
                        return Err(EvalError::new(&format!(
                            "Failed with repeated key: {}",
                            functions::shown(&key)
                        )));
                    }
                    map.push((key, value));
                }
                Ok(Value::Map(Map::Own(Rc::new(map))))
            }
            Kind::Struct { name, fields } => {
                let mut object = Struct {
                    name: name.clone(),
                    fields: Vec::with_capacity(fields.len()),
                };
                for (optional, field, value) in fields {
                    let value = match self.eval(value)? {
                        Value::Optional(None) if *optional => continue,
                        Value::Optional(Some(value)) if *optional => (*value).clone(),
                        value => value,
                    };
                    object.fields.push((field.clone(), value));
                }
                Ok(Value::Struct(Rc::new(object)))
            }
            Kind::Fold {
                fold,
                range,
                names,
                filter,
                body,
            } => {
                let range = self.eval(range)?;
                let depth = self.locals.len();
                let result = self.fold(*fold, range, names, filter.as_deref(), body);
                self.locals.truncate(depth);
                result
            }
        }
    }

    fn ident(&self, name: &str) -> Evaluated<'a> {
        let local = self.locals.iter().rev().find(|(known, _)| *known == name);
        if let Some((_, value)) = local {
            return Ok(value.clone());
        }
        if let Some(value) = self.bindings.get(name) {
            return Ok(value);
        }
        functions::type_named(name)
            .map(Value::Type)
            .ok_or_else(|| EvalError::new(&format!("no such attribute(s): {name}")))
    }

    fn select(&self, of: Value<'a>, field: &str, optional: bool) -> Evaluated<'a> {
        let found = match &of {
            Value::Map(map) => map.field(field),
            Value::Struct(object) => {
                let mut fields = object.fields.iter();
                fields
                    .find(|(name, _)| name == field)
                    .map(|(_, value)| value.clone())
            }
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(inner)) => {
                return self.select((**inner).clone(), field, true);
            }
            Value::Null if optional => None,
            _ => return Err(EvalError::overload()),
        };
        match found {
            Some(value) if optional => Ok(value.some()),
            None if optional => Ok(Value::Optional(None)),
            Some(value) => Ok(value),
            None => Err(no_such_key(field)),
        }
    }

    fn index(&self, of: &Value<'a>, key: &Value<'a>, optional: bool) -> Evaluated<'a> {
        let found = match (of, key) {
            (Value::List(list), Value::Int(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| list.get(at));
                self.budget.spend(list.len() as u64 / 100)?;
                found.ok_or_else(|| EvalError::new(&format!("index out of bounds: {at}")))
            }
            (Value::List(list), Value::Uint(at)) => {
                let found = usize::try_from(*at).ok().and_then(|at| list.get(at));
                found.ok_or_else(|| EvalError::new(&format!("index out of bounds: {at}")))
            }
            (Value::List(list), Value::Double(at)) if at.fract() == 0.0 => {
                #[expect(clippy::cast_possible_truncation, reason = "it has no fraction")]
                let whole = *at as i64;
                let found = usize::try_from(whole).ok().and_then(|at| list.get(at));
                found.ok_or_else(|| EvalError::new(&format!("index out of bounds: {whole}")))
            }
            (Value::Map(map), key) => map
                .get(key)
                .ok_or_else(|| no_such_key(&functions::shown(key))),
            (Value::Optional(None), _) => return Ok(Value::Optional(None)),
            (Value::Optional(Some(inner)), key) => {
                return self.index(inner, key, true);
            }
            _ => return Err(EvalError::overload()),
        };
        match found {
            Ok(value) if optional => Ok(value.some()),
            Err(_) if optional => Ok(Value::Optional(None)),
            other => other,
        }
    }

    /// `&&` and `||`: the deciding value wins over an error on the other side.
    fn logic(&mut self, deciding: bool, left: &'a Expr, right: &'a Expr) -> Evaluated<'a> {
        let mut failed = None;
        for side in [left, right] {
            match self.eval(side) {
                Ok(Value::Bool(value)) if value == deciding => return Ok(Value::Bool(deciding)),
                Ok(Value::Bool(_)) => {}
                Ok(_) => {
                    failed.get_or_insert_with(EvalError::overload);
                }
                Err(error) if error.exhausted => return Err(error),
                Err(error) => {
                    failed.get_or_insert(error);
                }
            }
        }
        failed.map_or(Ok(Value::Bool(!deciding)), Err)
    }

    fn call(&mut self, name: &str, target: Option<&'a Expr>, args: &'a [Expr]) -> Evaluated<'a> {
        match (name, args) {
            ("_&&_", [left, right]) => return self.logic(false, left, right),
            ("_||_", [left, right]) => return self.logic(true, left, right),
            ("_?_:_", [condition, yes, no]) => {
                return match self.eval(condition)? {
                    Value::Bool(true) => self.eval(yes),
                    Value::Bool(false) => self.eval(no),
                    _ => Err(EvalError::overload()),
                };
            }
            ("_[_]", [of, key]) => {
                let (of, key) = (self.eval(of)?, self.eval(key)?);
                return self.index(&of, &key, false);
            }
            ("_[?_]", [of, key]) => {
                let (of, key) = (self.eval(of)?, self.eval(key)?);
                return self.index(&of, &key, true);
            }
            ("or", [other]) if target.is_some() => {
                let first = self.target(target)?;
                return match first {
                    Value::Optional(Some(_)) => Ok(first),
                    Value::Optional(None) => self.eval(other),
                    _ => Err(EvalError::overload()),
                };
            }
            ("orValue", [other]) if target.is_some() => {
                return match self.target(target)? {
                    Value::Optional(Some(value)) => Ok((*value).clone()),
                    Value::Optional(None) => self.eval(other),
                    _ => Err(EvalError::overload()),
                };
            }
            _ => {}
        }
        let mut given = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            given.push(self.eval(target)?);
        }
        for arg in args {
            given.push(self.eval(arg)?);
        }
        functions::call(name, target.is_some(), &given, self.budget)
    }

    fn target(&mut self, target: Option<&'a Expr>) -> Evaluated<'a> {
        match target {
            Some(target) => self.eval(target),
            None => Err(EvalError::overload()),
        }
    }

    /// The items of a range, with index or key.
    fn items(range: Value<'a>, two: bool) -> Result<Vec<(Value<'a>, Value<'a>)>, EvalError> {
        match range {
            Value::List(list) => {
                let mut index = -1;
                Ok(list
                    .iter()
                    .map(|item| {
                        index += 1;
                        (Value::Int(index), item)
                    })
                    .collect())
            }
            Value::Map(map) if two => Ok(map.iter().collect()),
            Value::Map(map) => Ok(map.iter().map(|(key, _)| (Value::Null, key)).collect()),
            _ => Err(EvalError::overload()),
        }
    }

    fn fold(
        &mut self,
        fold: Fold,
        range: Value<'a>,
        names: &'a [String],
        filter: Option<&'a Expr>,
        body: &'a Expr,
    ) -> Evaluated<'a> {
        if matches!(fold, Fold::OptMap | Fold::OptFlatMap) {
            return match range {
                Value::Optional(None) => Ok(Value::Optional(None)),
                Value::Optional(Some(inner)) => {
                    let name = names.first().map(String::as_str).unwrap_or_default();
                    self.locals.push((name, (*inner).clone()));
                    let value = self.eval(body)?;
                    Ok(if fold == Fold::OptMap {
                        value.some()
                    } else {
                        value
                    })
                }
                _ => Err(EvalError::overload()),
            };
        }
        let two = names.len() == 2;
        let depth = self.locals.len();
        let mut failed: Option<EvalError> = None;
        let mut matching = 0;
        let mut list = Vec::new();
        let mut map: Vec<(Value<'a>, Value<'a>)> = Vec::new();
        for (index, item) in Self::items(range, two)? {
            self.budget.spend(1)?;
            self.locals.truncate(depth);
            match names {
                [one] => self.locals.push((one, item.clone())),
                [first, second] => {
                    self.locals.push((first, index.clone()));
                    self.locals.push((second, item.clone()));
                }
                _ => return Err(EvalError::overload()),
            }
            if let Some(filter) = filter {
                match self.eval(filter)? {
                    Value::Bool(true) => {}
                    Value::Bool(false) => continue,
                    _ => return Err(EvalError::overload()),
                }
            }
            let value = self.eval(body);
            match fold {
                Fold::All | Fold::Exists => match value {
                    Ok(Value::Bool(value)) if value == (fold == Fold::Exists) => {
                        return Ok(Value::Bool(value));
                    }
                    Ok(Value::Bool(_)) => {}
                    Ok(_) => {
                        failed.get_or_insert_with(EvalError::overload);
                    }
                    Err(error) if error.exhausted => return Err(error),
                    Err(error) => {
                        failed.get_or_insert(error);
                    }
                },
                Fold::ExistsOne | Fold::Filter => match value? {
                    Value::Bool(true) => {
                        matching += 1;
                        if fold == Fold::Filter {
                            list.push(item);
                        }
                    }
                    Value::Bool(false) => {}
                    _ => return Err(EvalError::overload()),
                },
                Fold::Map => list.push(value?),
                Fold::TransformMap => map.push((index, value?)),
                Fold::TransformMapEntry => match value? {
                    Value::Map(entries) => {
                        for (key, value) in entries.iter() {
                            self.budget.spend(map.len() as u64 + 1)?;
                            if map.iter().any(|(known, _)| known.equal(&key)) {
                                return Err(EvalError::new(&format!(
                                    "insert failed: key {} already exists",
                                    functions::shown(&key)
                                )));
                            }
                            map.push((key, value));
                        }
                    }
                    _ => return Err(EvalError::overload()),
                },
                Fold::OptMap | Fold::OptFlatMap => {}
            }
        }
        Ok(match fold {
            Fold::All | Fold::Exists => match failed {
                Some(error) => return Err(error),
                None => Value::Bool(fold == Fold::All),
            },
            Fold::ExistsOne => Value::Bool(matching == 1),
            Fold::Map | Fold::Filter => Value::List(List::Own(Rc::new(list))),
            _ => Value::Map(Map::Own(Rc::new(map))),
        })
    }
}

/// Two values in order, or no such overload.
pub(crate) fn order(a: &Value<'_>, b: &Value<'_>) -> Result<Ordering, EvalError> {
    a.order(b).ok_or_else(EvalError::overload)
}

/// A text as a value that owns it.
pub(crate) fn text<'a>(text: &str, budget: &Budget) -> Evaluated<'a> {
    budget.spend(text.len() as u64 / 10)?;
    Ok(Value::Str(Str::Owned(text.into())))
}
