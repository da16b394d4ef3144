//! `x-kubernetes-validations` of a custom resource definition, compiled along its schema.
//!
//! A rule stands at a value and sees it as `self`; with `oldSelf` it is about a transition and
//! runs only where the old value can be found: under the same keys of objects and maps, and in
//! lists with keys. What did not change is not judged again.
//! Source: apiextensions-apiserver v0.36.3 pkg/apiserver/schema/cel/{compilation,validation}.go.

use std::sync::Arc;

use api::{BadValue, FieldError, Path};
use cel::admission::{PER_EXPRESSION, PER_POLICY, schema_type};
use cel::{Bindings, Budget, Env, Program, Type, Value};
use schema::{Dom, Ref, Value as Json};

/// Findings in one object at most.
const MOST: usize = 100;
const DEPTH: usize = 64;

/// Rules of one version, by place.
#[derive(Debug)]
pub struct Rules {
    /// Of `self`; of the optional `oldSelf`.
    ty: Type,
    kind: String,
    rules: Vec<Rule>,
    properties: Vec<(String, Rules)>,
    additional: Option<Box<Rules>>,
    items: Option<Box<Rules>>,
    /// What tells items of a list apart.
    keys: Vec<String>,
    /// Old values below can be found.
    correlates: bool,
}

#[derive(Debug)]
struct Rule {
    source: String,
    program: Result<Program, String>,
    uses_old: bool,
    optional_old: bool,
    message: String,
    message_expression: Option<Result<Program, String>>,
    reason: String,
    field_path: String,
}

/// Compiles the rules of a version's schema; none, if it has no rules.
#[must_use]
pub fn compile(schema: Ref<'_>) -> Option<Arc<Rules>> {
    node(schema, true, 0).map(Arc::new)
}

fn node(schema: Ref<'_>, root: bool, depth: usize) -> Option<Rules> {
    if depth > DEPTH {
        return None;
    }
    let has = schema.items("x-kubernetes-validations").next().is_some();
    let ty = if has {
        schema_type(schema, root)
    } else {
        Type::Dyn
    };
    let rules = schema.items("x-kubernetes-validations");
    let rules: Vec<Rule> = rules.map(|rule| Rule::of(rule, &ty)).collect();
    let mut properties = Vec::new();
    for (name, property) in schema.entries("properties") {
        if let Some(below) = node(property, false, depth + 1) {
            properties.push((name.to_owned(), below));
        }
    }
    let below = |key: &str| {
        let of = schema.get(key).filter(|of| of.as_bool().is_none())?;
        node(of, false, depth + 1).map(Box::new)
    };
    let (additional, items) = (below("additionalProperties"), below("items"));
    if rules.is_empty() && properties.is_empty() && additional.is_none() && items.is_none() {
        return None;
    }
    let keys = schema.items("x-kubernetes-list-map-keys");
    Some(Rules {
        kind: schema.str("type").to_owned(),
        rules,
        properties,
        additional,
        items,
        keys: keys.filter_map(Ref::as_str).map(str::to_owned).collect(),
        correlates: match schema.str("type") {
            "array" => schema.str("x-kubernetes-list-type") == "map",
            _ => schema.str("x-kubernetes-map-type") != "atomic",
        },
        ty,
    })
}

impl Rule {
    fn of(rule: Ref<'_>, ty: &Type) -> Rule {
        let optional_old = rule.bool("optionalOldSelf") == Some(true);
        let old = if optional_old {
            Type::Optional(Arc::new(ty.clone()))
        } else {
            ty.clone()
        };
        let env = Env::new().with("self", ty.clone()).with("oldSelf", old);
        let source = rule.str("rule");
        let program = match Program::compile(source, &env) {
            Ok(program) if *program.ty() == Type::Bool => Ok(program),
            Ok(_) => Err("cel expression must evaluate to a bool".to_owned()),
            Err(error) => Err(format!("compilation failed: {error}")),
        };
        let words = rule.str("messageExpression");
        let message_expression = (!words.is_empty()).then(|| match Program::compile(words, &env) {
            Ok(program) if *program.ty() == Type::String => Ok(program),
            Ok(_) => Err("messageExpression must evaluate to a string".to_owned()),
            Err(error) => Err(format!("messageExpression compilation failed: {error}")),
        });
        Rule {
            uses_old: program
                .as_ref()
                .is_ok_and(|program| program.uses("oldSelf")),
            source: source.trim().to_owned(),
            program,
            optional_old,
            message: rule.str("message").trim().to_owned(),
            message_expression,
            reason: rule.str("reason").to_owned(),
            field_path: rule.str("fieldPath").to_owned(),
        }
    }

    /// How messages name it.
    fn shown(&self) -> &str {
        if self.message.is_empty() {
            &self.source
        } else {
            &self.message
        }
    }
}

/// A rule as upstream prints it: its internal struct.
fn as_upstream(rule: Ref<'_>) -> BadValue {
    let mut dom = Dom::new();
    let root = dom.new_map();
    dom.set_root(root);
    for (name, key, optional) in [
        ("Rule", "rule", false),
        ("Message", "message", false),
        ("MessageExpression", "messageExpression", false),
        ("Reason", "reason", true),
        ("FieldPath", "fieldPath", false),
        ("OptionalOldSelf", "optionalOldSelf", true),
    ] {
        let node = match rule.get(key) {
            Some(value) => dom.import(value.dom(), value.node()),
            None if optional => dom.new_null(),
            None => dom.new_str(""),
        };
        dom.set(root, name, node);
    }
    BadValue::Raw(String::from_utf8_lossy(&dom.to_json(root)).into_owned())
}

/// What is wrong with the rules of a schema.
pub(crate) fn findings(schema: Ref<'_>, root: bool, at: &Path, errors: &mut Vec<FieldError>) {
    let mut ty = None;
    for (index, rule) in schema.items("x-kubernetes-validations").enumerate() {
        let at = at.child("x-kubernetes-validations").index(index);
        if rule.str("rule").trim().is_empty() {
            let detail = "rule is not specified";
            errors.push(FieldError::required(&at.child("rule"), detail));
            continue;
        }
        let ty = ty.get_or_insert_with(|| schema_type(schema, root));
        let compiled = Rule::of(rule, ty);
        let (message, empty) = (rule.str("message"), "must be non-empty if specified");
        if !message.is_empty() && message.trim().is_empty() {
            errors.push(FieldError::invalid(&at.child("message"), message, empty));
        } else if message.trim().contains(['\n', '\r']) {
            let detail = "message must not contain line breaks";
            errors.push(FieldError::invalid(&at.child("message"), message, detail));
        }
        const REASONS: [&str; 4] = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if !compiled.reason.is_empty() && !REASONS.contains(&compiled.reason.as_str()) {
            let reason = compiled.reason.as_str();
            errors.push(FieldError::not_supported(
                &at.child("reason"),
                reason,
                &REASONS,
            ));
        }
        match &compiled.program {
            Err(detail) => {
                errors.push(FieldError::invalid(
                    &at.child("rule"),
                    as_upstream(rule),
                    detail.clone(),
                ));
            }
            Ok(_) if compiled.optional_old && !compiled.uses_old => {
                let detail = "may not be set if oldSelf is not used in rule";
                let value = BadValue::Raw("true".to_owned());
                errors.push(FieldError::invalid(
                    &at.child("optionalOldSelf"),
                    value,
                    detail,
                ));
            }
            Ok(_) => {}
        }
        if compiled.program.is_ok()
            && let Some(Err(detail)) = &compiled.message_expression
        {
            let at = at.child("messageExpression");
            errors.push(FieldError::invalid(&at, as_upstream(rule), detail.clone()));
        }
    }
    for (name, property) in schema.entries("properties") {
        findings(property, false, &at.child("properties").key(name), errors);
    }
    for key in ["additionalProperties", "items"] {
        if let Some(below) = schema.get(key).filter(|of| of.as_bool().is_none()) {
            findings(below, false, &at.child(key), errors);
        }
    }
}

struct World<'a> {
    own: Value<'a>,
    old: Value<'a>,
}

impl<'a> Bindings<'a> for World<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        match name {
            "self" => Some(self.own.clone()),
            "oldSelf" => Some(self.old.clone()),
            _ => None,
        }
    }
}

impl Rules {
    /// What rules find in an object that replaces `old`.
    pub fn check(&self, object: Ref<'_>, old: Option<Ref<'_>>, errors: &mut Vec<FieldError>) {
        let mut run = Run {
            left: PER_POLICY,
            errors,
        };
        run.visit(self, object, old, None);
    }
}

struct Run<'e> {
    left: u64,
    errors: &'e mut Vec<FieldError>,
}

/// No further rule runs.
struct Spent;

impl Run<'_> {
    fn visit(&mut self, rules: &Rules, own: Ref<'_>, old: Option<Ref<'_>>, at: Option<&Path>) {
        let _spent = self.below(rules, own, old, at);
    }

    fn below(
        &mut self,
        rules: &Rules,
        own: Ref<'_>,
        old: Option<Ref<'_>>,
        at: Option<&Path>,
    ) -> Result<(), Spent> {
        let old = old.filter(|old| !old.is_null());
        if own.is_null() || self.errors.len() >= MOST {
            return Ok(());
        }
        if old.is_some_and(|old| old.equal(own)) && !rules.looks_back() {
            return Ok(());
        }
        let root = Path::root();
        self.here(rules, own, old, at.unwrap_or(&root))?;
        let child = |name: &str| at.map_or_else(|| Path::new(name), |at| at.child(name));
        let before = |name: &str| old.filter(|_| rules.correlates)?.get(name);
        match own.value() {
            Json::Map => {
                for (name, below) in &rules.properties {
                    if let Some(value) = own.get(name) {
                        self.below(below, value, before(name), Some(&child(name)))?;
                    }
                }
                if let Some(below) = &rules.additional {
                    for (name, value) in own.map() {
                        let path = at.map_or_else(Path::root, Clone::clone).key(name);
                        self.below(below, value, before(name), Some(&path))?;
                    }
                }
            }
            Json::List => {
                let Some(below) = &rules.items else {
                    return Ok(());
                };
                for (index, value) in own.list().enumerate() {
                    let path = at.map_or_else(Path::root, Clone::clone).index(index);
                    let twin = old.filter(|_| rules.correlates).and_then(|old| {
                        old.list().find(|twin| {
                            let mut keys = rules.keys.iter();
                            keys.all(|key| match (twin.get(key), value.get(key)) {
                                (Some(a), Some(b)) => a.equal(b),
                                (a, b) => a.is_none() && b.is_none(),
                            })
                        })
                    });
                    self.below(below, value, twin, Some(&path))?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn spent(&mut self, rules: &Rules, at: &Path) -> Spent {
        self.left = 0;
        let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
        let kind = rules.kind.as_str();
        self.errors.push(FieldError::invalid(at, kind, detail));
        Spent
    }

    fn here(
        &mut self,
        rules: &Rules,
        own: Ref<'_>,
        old: Option<Ref<'_>>,
        at: &Path,
    ) -> Result<(), Spent> {
        let unchanged = old.is_some_and(|old| old.equal(own));
        for rule in &rules.rules {
            let kind = rules.kind.as_str();
            let program = match &rule.program {
                Ok(program) => program,
                Err(error) => {
                    let detail = format!("rule compile error: {error}");
                    self.errors.push(FieldError::invalid(at, kind, detail));
                    continue;
                }
            };
            if rule.uses_old && old.is_none() && !rule.optional_old {
                continue;
            }
            if unchanged && !rule.uses_old {
                continue;
            }
            if self.left == 0 {
                return Err(self.spent(rules, at));
            }
            let before = old.map(|old| Value::of(old, Some(&rules.ty)));
            let world = World {
                own: Value::of(own, Some(&rules.ty)),
                old: match before {
                    before if rule.optional_old => Value::Optional(before.map(Into::into)),
                    Some(before) => before,
                    None => Value::Null,
                },
            };
            let granted = self.left.min(PER_EXPRESSION);
            let budget = Budget::new(granted);
            let result = program.run(&world, &budget);
            self.left -= granted - budget.left();
            let shown = rule.shown();
            let detail = match result {
                Ok(Value::Bool(true)) => continue,
                Ok(_) => {
                    let error = self.refusal(rule, rules, &world, own, at);
                    self.errors.push(error);
                    continue;
                }
                Err(error) if error.is_exhausted() => {
                    if self.left == 0 {
                        return Err(self.spent(rules, at));
                    }
                    let detail = format!(
                        "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                    );
                    self.errors.push(FieldError::invalid(at, kind, detail));
                    return Err(Spent);
                }
                Err(error) if error.to_string() == "no such overload" => format!(
                    "'{error}': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
                ),
                Err(error) => format!("{error} evaluating rule: {shown}"),
            };
            self.errors.push(FieldError::invalid(at, kind, detail));
        }
        Ok(())
    }

    fn refusal<'a>(
        &mut self,
        rule: &'a Rule,
        rules: &Rules,
        world: &World<'a>,
        own: Ref<'_>,
        at: &Path,
    ) -> FieldError {
        let made = match &rule.message_expression {
            Some(Ok(program)) => {
                let granted = self.left.min(PER_EXPRESSION);
                let budget = Budget::new(granted);
                let made = program.run(world, &budget).ok();
                self.left -= granted - budget.left();
                made
            }
            _ => None,
        };
        let made = made.as_ref().and_then(Value::as_str).map(str::trim);
        let made = made.filter(|text| !text.is_empty() && !text.contains('\n'));
        let detail = match made {
            Some(text) => text.to_owned(),
            None if !rule.message.is_empty() => rule.message.clone(),
            None => format!("failed rule: {}", rule.source),
        };
        let path = rule.field_path.trim_start_matches('.');
        let path = if path.is_empty() {
            at.clone()
        } else if at.as_str().is_empty() {
            Path::new(path)
        } else {
            at.child(path)
        };
        let value = match (rules.kind.as_str(), own.value()) {
            ("object" | "array", _) => BadValue::Omitted,
            (_, Json::Str(text)) => BadValue::Text(text.to_owned()),
            _ => BadValue::Raw(String::from_utf8_lossy(&own.to_json()).into_owned()),
        };
        match rule.reason.as_str() {
            "FieldValueForbidden" => FieldError::forbidden(&path, detail),
            "FieldValueRequired" => FieldError::required(&path, detail),
            "FieldValueDuplicate" => FieldError::duplicate(&path, value),
            _ => FieldError::invalid(&path, value, detail),
        }
    }
}

impl Rules {
    /// Whether any rule is about a transition.
    fn looks_back(&self) -> bool {
        self.rules.iter().any(|rule| rule.uses_old)
            || self.properties.iter().any(|(_, below)| below.looks_back())
            || self
                .additional
                .as_ref()
                .is_some_and(|below| below.looks_back())
            || self.items.as_ref().is_some_and(|below| below.looks_back())
    }
}

#[cfg(test)]
mod tests;
