//! What expressions of admission may use: `object`, `oldObject`, `request`, `namespaceObject`,
//! `params`, `variables`, `authorizer`.
//!
//! Source: apiserver v0.36.3 pkg/admission/plugin/cel/{compile,composition}.go.

use std::sync::{Arc, LazyLock};

use crate::types::{Declared, Member, Object, Type, escape};
use crate::{AUTHORIZER, Env, Program, RESOURCE_CHECK};

/// Steps of one expression.
pub const PER_EXPRESSION: u64 = 1_000_000;
/// Steps of one policy with one binding, or of the rules of one object.
pub const PER_POLICY: u64 = 10_000_000;
/// Steps of the match conditions of one hook or binding.
pub const PER_CONDITIONS: u64 = 2_500_000;

static REQUEST: LazyLock<Type> = LazyLock::new(request);
static NAMESPACE: LazyLock<Type> = LazyLock::new(namespace);

fn request() -> Type {
    let kind = |name, last| {
        Declared::of(
            name,
            vec![
                ("group", Type::String),
                ("version", Type::String),
                (last, Type::String),
            ],
        )
    };
    let gvk = kind("kubernetes.GroupVersionKind", "kind");
    let gvr = kind("kubernetes.GroupVersionResource", "resource");
    let texts = || Type::list(Type::String);
    let user = Declared::of(
        "kubernetes.UserInfo",
        vec![
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", texts()),
            ("extra", Type::map(Type::String, texts())),
        ],
    );
    let plain = |name: &str, ty| Member {
        name: name.to_owned(),
        json: name.to_owned(),
        ty,
    };
    // `namespace` is no word that needs an escape here, as upstream.
    let fields = vec![
        plain("kind", gvk.clone()),
        plain("resource", gvr.clone()),
        plain("subResource", Type::String),
        plain("requestKind", gvk),
        plain("requestResource", gvr),
        plain("requestSubResource", Type::String),
        plain("name", Type::String),
        plain("namespace", Type::String),
        plain("operation", Type::String),
        plain("userInfo", user),
        plain("dryRun", Type::Bool),
        plain("options", Type::Dyn),
    ];
    Type::Object(Object::Declared(Arc::new(Declared {
        name: "kubernetes.AdmissionRequest".to_owned(),
        fields,
    })))
}

fn namespace() -> Type {
    let texts = || Type::list(Type::String);
    let map = || Type::map(Type::String, Type::String);
    let plain = |name: &str, ty| Member {
        name: name.to_owned(),
        json: if name == "UID" { "uid" } else { name }.to_owned(),
        ty,
    };
    let metadata = Type::Object(Object::Declared(Arc::new(Declared {
        name: "kubernetes.NamespaceMetadata".to_owned(),
        fields: vec![
            plain("name", Type::String),
            plain("generateName", Type::String),
            plain("namespace", Type::String),
            plain("labels", map()),
            plain("annotations", map()),
            plain("UID", Type::String),
            plain("creationTimestamp", Type::Timestamp),
            plain("deletionGracePeriodSeconds", Type::Int),
            plain("deletionTimestamp", Type::Timestamp),
            plain("generation", Type::Int),
            plain("resourceVersion", Type::String),
            plain("finalizers", texts()),
        ],
    })));
    let condition = Declared::of(
        "kubernetes.NamespaceCondition",
        vec![
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let spec = Declared::of("kubernetes.NamespaceSpec", vec![("finalizers", texts())]);
    let status = Declared::of(
        "kubernetes.NamespaceStatus",
        vec![
            ("conditions", Type::list(condition)),
            ("phase", Type::String),
        ],
    );
    Declared::of(
        "kubernetes.Namespace",
        vec![("metadata", metadata), ("spec", spec), ("status", status)],
    )
}

/// The type of `namespaceObject`, for its timestamps.
#[must_use]
pub fn namespace_type() -> &'static Type {
    &NAMESPACE
}

/// The variables of admission.
#[must_use]
pub fn env(params: bool, authorizer: bool) -> Env {
    let mut env = Env::new()
        .with("object", Type::Dyn)
        .with("oldObject", Type::Dyn)
        .with("request", REQUEST.clone())
        .with("namespaceObject", NAMESPACE.clone());
    if params {
        env = env.with("params", Type::Dyn);
    }
    if authorizer {
        env = env
            .with("authorizer", Type::Opaque(AUTHORIZER))
            .with("authorizer.requestResource", Type::Opaque(RESOURCE_CHECK));
    }
    env
}

/// The environment with `variables` of these types.
#[must_use]
pub fn with_variables(env: &Env, variables: &[(String, Type)]) -> Env {
    let fields = variables.iter().map(|(name, ty)| Member {
        name: name.clone(),
        json: name.clone(),
        ty: ty.clone(),
    });
    env.clone().with(
        "variables",
        Type::Object(Object::Declared(Arc::new(Declared {
            name: "kubernetes.variables".to_owned(),
            fields: fields.collect(),
        }))),
    )
}

/// What an expression must yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// `bool`
    Bool,
    /// `string`
    Text,
    /// `string` or `null`
    TextOrNull,
    /// Anything.
    Any,
    /// `Object`
    Apply,
    /// A list of `JSONPatch`
    Patch,
}

/// Compiles, with what is wrong in upstream's words.
pub fn compile(source: &str, env: &Env, wanted: Wanted) -> Result<Program, String> {
    let program =
        Program::compile(source, env).map_err(|error| format!("compilation failed: {error}"))?;
    let object = Type::Struct("Object".into());
    let patch = Type::list(Type::Struct("JSONPatch".into()));
    let (fits, words) = match (wanted, program.ty()) {
        (Wanted::Any, _) => (true, ""),
        (Wanted::Bool, ty) => (*ty == Type::Bool, "must evaluate to bool"),
        (Wanted::Text, ty) => (*ty == Type::String, "must evaluate to string"),
        (Wanted::TextOrNull, ty) => (
            matches!(ty, Type::String | Type::Null),
            "must evaluate to one of [string null_type]",
        ),
        (Wanted::Apply, ty) => (*ty == object, "must evaluate to Object"),
        (Wanted::Patch, ty) => (*ty == patch, "must evaluate to list(JSONPatch)"),
    };
    if fits {
        Ok(program)
    } else {
        Err(format!("{words} but got {}", program.ty()))
    }
}

/// The type of a structural schema, as expressions see it.
///
/// Source: apiserver v0.36.3 pkg/cel/common/schemas.go.
#[must_use]
pub fn schema_type(schema: schema::Ref<'_>, root: bool) -> Type {
    typed(schema, root, "object", 0)
}

fn typed(schema: schema::Ref<'_>, resource: bool, name: &str, depth: usize) -> Type {
    let flag = |key: &str| schema.bool(key) == Some(true);
    if flag("x-kubernetes-int-or-string") || depth > 64 {
        return Type::Dyn;
    }
    match schema.str("type") {
        "array" => match schema.get("items") {
            Some(items) => Type::list(typed(items, false, &format!("{name}.@idx"), depth + 1)),
            None => Type::list(Type::Dyn),
        },
        "object" => {
            let embedded = resource || flag("x-kubernetes-embedded-resource");
            let properties = schema.entries("properties").next().is_some();
            if let Some(additional) = schema.get("additionalProperties").filter(|_| !properties) {
                let value = match additional.as_bool() {
                    Some(_) => Type::Dyn,
                    None => typed(additional, false, &format!("{name}.@elem"), depth + 1),
                };
                return Type::map(Type::String, value);
            }
            if flag("x-kubernetes-preserve-unknown-fields") && !properties && !embedded {
                return Type::Dyn;
            }
            let mut fields: Vec<Member> = Vec::new();
            for (json, property) in schema.entries("properties") {
                if embedded && json == "metadata" {
                    continue;
                }
                fields.push(Member {
                    name: escape(json),
                    json: json.to_owned(),
                    ty: typed(property, false, &format!("{name}.{json}"), depth + 1),
                });
            }
            if embedded {
                let metadata = Declared::of(
                    "object.metadata",
                    vec![("name", Type::String), ("generateName", Type::String)],
                );
                for (json, ty) in [
                    ("apiVersion", Type::String),
                    ("kind", Type::String),
                    ("metadata", metadata),
                ] {
                    if !fields.iter().any(|field| field.json == json) {
                        fields.push(Member {
                            name: json.to_owned(),
                            json: json.to_owned(),
                            ty,
                        });
                    }
                }
            }
            Type::Object(Object::Declared(Arc::new(Declared {
                name: name.to_owned(),
                fields,
            })))
        }
        "string" => match schema.str("format") {
            "byte" => Type::Bytes,
            "date" | "date-time" => Type::Timestamp,
            "duration" => Type::Duration,
            _ => Type::String,
        },
        "boolean" => Type::Bool,
        "integer" => Type::Int,
        "number" => Type::Double,
        _ => Type::Dyn,
    }
}
