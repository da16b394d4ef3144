//! Does an expression fit its variables? Finds its type, and settles which names are variables.
//!
//! Example: with `object` dynamic, `'at ' + object.x` is a string, for of all additions only that
//! of strings begins with one; `object.x + object.y` is dynamic.
//! Source: cel-go v0.26 checker/{checker,types,errors}.go.

use crate::ast::{Expr, Fold, Kind};
use crate::signatures::{self, Overload};
use crate::types::Type;
use crate::{Env, Issue};

/// Findings at most.
const MOST: usize = 20;
const STRUCT_FIELDS: [&str; 4] = ["op", "path", "from", "value"];

/// Checks and settles; the type, or what is wrong.
pub(crate) fn check(expr: &mut Expr, env: &Env) -> Result<Type, Vec<Issue>> {
    let mut checker = Checker {
        env,
        scopes: Vec::new(),
        issues: Vec::new(),
        mixed: false,
    };
    let ty = checker.infer(expr);
    if checker.issues.is_empty() {
        Ok(ty)
    } else {
        Err(checker.issues)
    }
}

struct Checker<'e> {
    env: &'e Env,
    scopes: Vec<(String, Type)>,
    issues: Vec<Issue>,
    /// In the arguments of `format`, lists may hold anything.
    mixed: bool,
}

/// What signs of a signature stand for in one call.
#[derive(Default)]
struct Bound(Vec<(char, Type)>);

impl Bound {
    fn fits(&mut self, want: &Type, have: &Type) -> bool {
        match (want, have) {
            (Type::Param(sign), have) => match self.0.iter().position(|(known, _)| known == sign) {
                Some(at) => {
                    let known = self.0[at].1.clone();
                    if known.is_dyn() || have.is_dyn() {
                        self.0[at].1 = Type::Dyn;
                        return true;
                    }
                    if Bound::default().fits(&known, have) {
                        return true;
                    }
                    if Bound::default().fits(have, &known) {
                        self.0[at].1 = have.clone();
                        return true;
                    }
                    false
                }
                None => {
                    self.0.push((*sign, have.clone()));
                    true
                }
            },
            (Type::Dyn, _) | (_, Type::Dyn) => {
                self.open(want);
                true
            }
            (Type::List(want), Type::List(have)) | (Type::Optional(want), Type::Optional(have)) => {
                self.fits(want, have)
            }
            (Type::Map(key, value), Type::Map(k, v)) => self.fits(key, k) && self.fits(value, v),
            (Type::Object(_) | Type::Timestamp | Type::Duration | Type::Opaque(_), Type::Null)
            | (Type::Null, Type::Object(_) | Type::Timestamp | Type::Duration | Type::Opaque(_)) => {
                true
            }
            (want, have) => want == have,
        }
    }

    /// The signs of a type that met something dynamic.
    fn open(&mut self, want: &Type) {
        match want {
            Type::Param(sign) if !self.0.iter().any(|(known, _)| known == sign) => {
                self.0.push((*sign, Type::Dyn));
            }
            Type::List(of) | Type::Optional(of) => self.open(of),
            Type::Map(key, value) => {
                self.open(key);
                self.open(value);
            }
            _ => {}
        }
    }

    fn of(&self, ty: &Type) -> Type {
        match ty {
            Type::Param(sign) => {
                let found = self.0.iter().find(|(known, _)| known == sign);
                found.map_or(Type::Dyn, |(_, ty)| ty.clone())
            }
            Type::List(of) => Type::list(self.of(of)),
            Type::Optional(of) => Type::optional(self.of(of)),
            Type::Map(key, value) => Type::map(self.of(key), self.of(value)),
            other => other.clone(),
        }
    }
}

fn type_name(name: &str) -> bool {
    matches!(
        name,
        "int"
            | "uint"
            | "double"
            | "bool"
            | "string"
            | "bytes"
            | "list"
            | "map"
            | "null_type"
            | "type"
            | "google.protobuf.Timestamp"
            | "google.protobuf.Duration"
            | "optional_type"
            | "net.IP"
            | "net.CIDR"
            | "kubernetes.URL"
            | "kubernetes.Quantity"
    )
}

impl Checker<'_> {
    fn issue(&mut self, at: usize, message: String) -> Type {
        if self.issues.len() < MOST {
            self.issues.push(Issue { at, message });
        }
        Type::Dyn
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let local = self.scopes.iter().rev().find(|(known, _)| known == name);
        if let Some((_, ty)) = local {
            return Some(ty.clone());
        }
        let mut variables = self.env.variables.iter();
        variables
            .find(|(known, _)| known == name)
            .map(|(_, ty)| ty.clone())
    }

    fn infer(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        if let Some(name) = expr.qualified() {
            let local = name.split('.').next().unwrap_or_default();
            let shadowed = self.scopes.iter().any(|(known, _)| known == local);
            let dotted = matches!(expr.kind, Kind::Select { .. });
            if dotted && !shadowed {
                if let Some(ty) = self.variable(&name) {
                    expr.kind = Kind::Ident(name);
                    return ty;
                }
                if type_name(&name) {
                    expr.kind = Kind::Ident(name);
                    return Type::Type;
                }
            }
        }
        match &mut expr.kind {
            Kind::Null => Type::Null,
            Kind::Bool(_) => Type::Bool,
            Kind::Int(_) => Type::Int,
            Kind::Uint(_) => Type::Uint,
            Kind::Double(_) => Type::Double,
            Kind::Str(_) => Type::String,
            Kind::Bytes(_) => Type::Bytes,
            Kind::Ident(name) => match self.variable(name) {
                Some(ty) => ty,
                None if type_name(name) => Type::Type,
                None => {
                    let message = format!("undeclared reference to '{name}' (in container '')");
                    self.issue(at, message)
                }
            },
            Kind::Select {
                of,
                field,
                optional,
            } => {
                let ty = self.infer(of);
                let found = self.select(at, &ty, field);
                match found {
                    Type::Optional(_) => found,
                    found if *optional => Type::optional(found),
                    found => found,
                }
            }
            Kind::Has { of, field } => {
                let ty = self.infer(of);
                self.select(at, &ty, field);
                Type::Bool
            }
            Kind::Call { .. } => self.call(expr),
            Kind::List(items) => {
                let mut joined: Option<Type> = None;
                for (optional, item) in items {
                    let ty = match (self.infer(item), *optional) {
                        (Type::Optional(of), true) => (*of).clone(),
                        (ty, _) => ty,
                    };
                    joined = Some(self.join(item.at, joined, ty));
                }
                Type::list(joined.unwrap_or_default())
            }
            Kind::Map(entries) => {
                let (mut keys, mut values) = (None, None);
                for (optional, key, value) in entries {
                    let ty = self.infer(key);
                    keys = Some(self.join(key.at, keys, ty));
                    let ty = match (self.infer(value), *optional) {
                        (Type::Optional(of), true) => (*of).clone(),
                        (ty, _) => ty,
                    };
                    values = Some(self.join(value.at, values, ty));
                }
                Type::map(keys.unwrap_or_default(), values.unwrap_or_default())
            }
            Kind::Struct { name, fields } => {
                let known = name == "Object" || name.starts_with("Object.") || name == "JSONPatch";
                if !self.env.patches || !known {
                    let message = format!("undeclared reference to '{name}' (in container '')");
                    return self.issue(at, message);
                }
                let name = name.clone();
                for (_, field, value) in fields {
                    if name == "JSONPatch" && !STRUCT_FIELDS.contains(&field.as_str()) {
                        self.issue(value.at, format!("undefined field '{field}'"));
                    }
                    self.infer(value);
                }
                Type::Struct(name.into())
            }
            Kind::Fold {
                fold,
                range,
                names,
                filter,
                body,
            } => {
                let over = self.infer(range);
                let fold = *fold;
                let at = range.at;
                let optional = matches!(fold, Fold::OptMap | Fold::OptFlatMap);
                let (index, item) = match &over {
                    Type::Optional(of) if optional => (Type::Dyn, (**of).clone()),
                    Type::List(item) if !optional => (Type::Int, (**item).clone()),
                    Type::Map(key, value) if !optional => match names.len() {
                        1 => (Type::Dyn, (**key).clone()),
                        _ => ((**key).clone(), (**value).clone()),
                    },
                    Type::Dyn => (Type::Dyn, Type::Dyn),
                    other => {
                        let message = format!(
                            "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                        );
                        return self.issue(at, message);
                    }
                };
                let depth = self.scopes.len();
                match names.as_slice() {
                    [one] => self.scopes.push((one.clone(), item.clone())),
                    [first, second] => {
                        self.scopes.push((first.clone(), index.clone()));
                        self.scopes.push((second.clone(), item.clone()));
                    }
                    _ => {}
                }
                if let Some(filter) = filter {
                    self.truth(filter);
                }
                let ty = match fold {
                    Fold::All | Fold::Exists | Fold::ExistsOne => {
                        self.truth(body);
                        Type::Bool
                    }
                    Fold::Filter => {
                        self.truth(body);
                        Type::list(item)
                    }
                    Fold::Map => Type::list(self.infer(body)),
                    Fold::TransformMap => Type::map(index, self.infer(body)),
                    Fold::TransformMapEntry | Fold::OptFlatMap => self.infer(body),
                    Fold::OptMap => Type::optional(self.infer(body)),
                };
                self.scopes.truncate(depth);
                ty
            }
        }
    }

    fn truth(&mut self, expr: &mut Expr) {
        let at = expr.at;
        match self.infer(expr) {
            Type::Bool | Type::Dyn => {}
            other => {
                self.issue(at, format!("expected type 'bool' but found '{other}'"));
            }
        }
    }

    fn join(&mut self, at: usize, known: Option<Type>, ty: Type) -> Type {
        let Some(known) = known else { return ty };
        if known.is_dyn() || ty.is_dyn() {
            return Type::Dyn;
        }
        if Bound::default().fits(&known, &ty) {
            return known;
        }
        if self.mixed {
            return Type::Dyn;
        }
        self.issue(at, format!("expected type '{known}' but found '{ty}'"))
    }

    fn select(&mut self, at: usize, ty: &Type, field: &str) -> Type {
        match ty {
            Type::Dyn | Type::Struct(_) => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match Type::field(object, field) {
                Some(ty) => ty,
                None => self.issue(at, format!("undefined field '{field}'")),
            },
            Type::Optional(of) => match self.select(at, of, field) {
                optional @ Type::Optional(_) => optional,
                ty => Type::optional(ty),
            },
            other => {
                let message = format!("type '{other}' does not support field selection");
                self.issue(at, message)
            }
        }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        let Kind::Call { name, target, args } = &mut expr.kind else {
            return Type::Dyn;
        };
        let space = target.as_deref().and_then(|target| match &target.kind {
            Kind::Ident(space) if self.variable(space).is_none() => Some(space.clone()),
            _ => None,
        });
        if let Some(space) = space.filter(|space| signatures::is_space(space, name)) {
            *name = format!("{space}.{name}");
            *target = None;
        }
        let on = target.as_deref_mut().map(|target| self.infer(target));
        let before = self.mixed;
        self.mixed |= name == "format";
        let given: Vec<Type> = args.iter_mut().map(|arg| self.infer(arg)).collect();
        self.mixed = before;
        let overloads = signatures::overloads(name);
        if overloads.is_empty() {
            let message = format!("undeclared reference to '{name}' (in container '')");
            return self.issue(at, message);
        }
        let mut result: Option<Type> = None;
        for overload in overloads {
            if let Some(ty) = Self::resolve(overload, on.as_ref(), &given) {
                result = Some(match result {
                    Some(known) if known != ty => Type::Dyn,
                    _ => ty,
                });
            }
        }
        match result {
            Some(ty) => ty,
            None => {
                let given: Vec<String> = given.iter().map(Type::to_string).collect();
                let given = given.join(", ");
                let shown = match on {
                    Some(on) => format!("{on}.({given})"),
                    None => format!("({given})"),
                };
                let message =
                    format!("found no matching overload for '{name}' applied to '{shown}'");
                self.issue(at, message)
            }
        }
    }

    fn resolve(overload: &Overload, on: Option<&Type>, given: &[Type]) -> Option<Type> {
        let mut bound = Bound::default();
        let fits = match (&overload.target, on) {
            (None, None) => true,
            (Some(want), Some(have)) => bound.fits(want, have),
            _ => false,
        };
        let fits = fits
            && overload.args.len() == given.len()
            && overload
                .args
                .iter()
                .zip(given)
                .all(|(want, have)| bound.fits(want, have));
        fits.then(|| bound.of(&overload.result))
    }
}
