//! What one row of the table of resources says.
//!
//! Built-in rows are made once in `rows`; a custom resource definition makes the same struct at
//! run time, so nothing here borrows from the program text alone.
//! Source: kubernetes v1.36.3 apiserver/pkg/registry/generic/registry/store.go (the fields of
//! Store), pkg/registry/*/*/storage.

use std::borrow::Cow;
use std::sync::Arc;

use api::{Gk, Gr, Gvk, Gvr};
use schema::{Dom, Ref, Value};

use crate::columns::Columns;
use crate::strategy::Strategy;

/// Text that is either part of the program or made at run time.
pub type Text = Cow<'static, str>;

/// Whether objects live in namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In a namespace.
    Namespaced,
    /// In the cluster.
    Cluster,
}

/// What can be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Verb {
    /// POST
    Create = 0,
    /// DELETE of one object
    Delete = 1,
    /// DELETE of a collection
    DeleteCollection = 2,
    /// GET of one object
    Get = 3,
    /// GET of a collection
    List = 4,
    /// PATCH
    Patch = 5,
    /// PUT
    Update = 6,
    /// GET of a collection with `watch`
    Watch = 7,
}

impl Verb {
    /// In the order in which discovery lists them.
    pub const ALL: [Verb; 8] = [
        Verb::Create,
        Verb::Delete,
        Verb::DeleteCollection,
        Verb::Get,
        Verb::List,
        Verb::Patch,
        Verb::Update,
        Verb::Watch,
    ];

    /// Its name in discovery and in authorization.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Create => "create",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Patch => "patch",
            Verb::Update => "update",
            Verb::Watch => "watch",
        }
    }
}

/// A set of verbs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verbs(u8);

impl Verbs {
    /// Everything that a stored resource can do.
    pub const ALL: Verbs = Verbs(0xff);
    /// Everything but deleting a collection.
    pub const NO_COLLECTION: Verbs = Verbs(!(1 << Verb::DeleteCollection as u8));
    /// The verbs of a status.
    pub const GET_PATCH_UPDATE: Verbs = Verbs::of(&[Verb::Get, Verb::Patch, Verb::Update]);
    /// A thing that can only be posted.
    pub const CREATE: Verbs = Verbs::of(&[Verb::Create]);

    /// The set of these.
    pub const fn of(verbs: &[Verb]) -> Verbs {
        let mut bits = 0;
        let mut i = 0;
        while i < verbs.len() {
            bits |= 1 << verbs[i] as u8;
            i += 1;
        }
        Verbs(bits)
    }

    /// Whether it holds `verb`.
    pub const fn has(self, verb: Verb) -> bool {
        self.0 & (1 << verb as u8) != 0
    }

    /// In order.
    pub fn iter(self) -> impl Iterator<Item = Verb> {
        Verb::ALL.into_iter().filter(move |&verb| self.has(verb))
    }
}

/// A subresource as discovery shows it.
#[derive(Clone, Debug)]
pub struct Subresource {
    /// The last segment of its path.
    pub name: Text,
    /// The kind that it takes or gives, if it is not the resource's own.
    pub kind: Option<Gvk>,
    /// What can be done with it.
    pub verbs: Verbs,
}

impl Subresource {
    /// `status`, and others that take the whole object.
    pub fn own(name: &'static str) -> Subresource {
        Subresource {
            name: name.into(),
            kind: None,
            verbs: Verbs::GET_PATCH_UPDATE,
        }
    }

    /// One with a kind of its own.
    pub fn of(name: &'static str, gvk: (&str, &str, &str), verbs: &[Verb]) -> Subresource {
        let kind = Some(Gvk::new(gvk.0, gvk.1, gvk.2));
        Subresource {
            name: name.into(),
            kind,
            verbs: Verbs::of(verbs),
        }
    }

    /// The `scale` of a workload.
    pub fn scale() -> Subresource {
        Subresource {
            name: "scale".into(),
            kind: Some(Gvk::new("autoscaling", "v1", "Scale")),
            verbs: Verbs::GET_PATCH_UPDATE,
        }
    }
}

/// Where the type of a view is described.
#[derive(Clone)]
pub enum Types {
    /// In the table of the program.
    Builtin,
    /// In a table compiled from a custom resource definition.
    Custom(Arc<schema::Table>, schema::TypeId),
}

impl std::fmt::Debug for Types {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Types::Builtin => "Builtin",
            Types::Custom(..) => "Custom",
        })
    }
}

/// Turns an object of one view into the other, in place; the root is the object.
pub type Convert = fn(&mut Dom);

/// One group and version under which a resource is served.
#[derive(Clone, Debug)]
pub struct View {
    /// Its API group.
    pub group: Text,
    /// Its version.
    pub version: Text,
    /// Its description.
    pub types: Types,
    /// To and from the stored view; none: they are the same.
    pub convert: Option<(Convert, Convert)>,
    /// Whether it is served (a custom resource may store what it does not serve).
    pub served: bool,
    /// Expressions of its schema.
    pub rules: Option<Arc<crate::rules::Rules>>,
}

impl View {
    /// A built-in view that is also the stored one.
    pub fn stored(group: &'static str, version: &'static str) -> View {
        View {
            group: group.into(),
            version: version.into(),
            types: Types::Builtin,
            convert: None,
            served: true,
            rules: None,
        }
    }

    /// `v1` or `apps/v1`.
    pub fn api_version(&self) -> String {
        api::api_version(&self.group, &self.version)
    }
}

/// How to read a selectable field.
#[derive(Clone, Debug)]
pub enum Field {
    /// Keys from the root; absent is the given text.
    Path(Vec<Text>, Text),
    /// Code.
    Code(fn(Ref<'_>) -> String),
}

/// A field that field selectors may name.
#[derive(Clone, Debug)]
pub struct Selectable {
    /// As the selector spells it.
    pub name: Text,
    /// How to read it.
    pub field: Field,
}

impl Selectable {
    /// The field at its own dotted path.
    pub fn path(name: impl Into<Text>) -> Selectable {
        Selectable::or(name, "")
    }

    /// The same; `absent` is its value where there is none.
    pub fn or(name: impl Into<Text>, absent: &'static str) -> Selectable {
        let name = name.into();
        let path = name
            .split('.')
            .map(|part| Text::Owned(part.to_owned()))
            .collect();
        Selectable {
            field: Field::Path(path, absent.into()),
            name,
        }
    }

    /// A field that is computed.
    pub fn code(name: &'static str, field: fn(Ref<'_>) -> String) -> Selectable {
        Selectable {
            name: name.into(),
            field: Field::Code(field),
        }
    }

    /// Its value, read from an object's bytes; none: only the document can tell.
    pub fn scan(&self, object: &[u8]) -> Option<String> {
        let Field::Path(path, absent) = &self.field else {
            return None;
        };
        match schema::scan::at(object, path) {
            None | Some(b"null") => Some(absent.to_string()),
            Some(value) if value.starts_with(b"\"") => {
                schema::scan::plain_string(value).map(str::to_owned)
            }
            Some(value) if value.starts_with(b"{") || value.starts_with(b"[") => None,
            Some(value) => std::str::from_utf8(value).ok().map(str::to_owned),
        }
    }

    /// Its value.
    pub fn read(&self, object: Ref<'_>) -> String {
        match &self.field {
            Field::Code(code) => code(object),
            Field::Path(path, absent) => {
                let mut at = Some(object);
                for key in path {
                    at = at.and_then(|node| node.get(key));
                }
                match at.map(Ref::value) {
                    Some(Value::Str(text)) if !text.is_empty() => text.to_owned(),
                    Some(Value::Bool(value)) => value.to_string(),
                    Some(Value::Int(value)) => value.to_string(),
                    Some(Value::Float(value)) => value.to_string(),
                    _ => absent.to_string(),
                }
            }
        }
    }
}

/// What writes to the object itself do to its status, and the other way round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusRule {
    /// It has none, or anyone may write it.
    None,
    /// Writes to the object keep the old status; writes to `status` keep everything else.
    Isolated,
}

/// One stored resource with the views under which it is served.
#[derive(Clone, Debug)]
pub struct Resource {
    /// `pods`
    pub plural: Text,
    /// `pod`
    pub singular: Text,
    /// `Pod`
    pub kind: Text,
    /// `PodList`
    pub list_kind: Text,
    /// `po`
    pub short: Vec<Text>,
    /// `all`
    pub categories: Vec<Text>,
    /// Whether objects live in namespaces.
    pub scope: Scope,
    /// What can be done with it.
    pub verbs: Verbs,
    /// Its subresources.
    pub subresources: Vec<Subresource>,
    /// Views; the first one is the preferred one.
    pub views: Vec<View>,
    /// Which of the views is stored.
    pub stored: usize,
    /// Path of its objects in the store, below the root of the control plane: `pods`,
    /// `services/specs`. Empty: not stored.
    pub prefix: Text,
    /// Columns of the table form.
    pub columns: Columns,
    /// Fields for selectors besides `metadata.name` and `metadata.namespace`.
    pub selectable: Vec<Selectable>,
    /// Its rules.
    pub strategy: Strategy,
    /// The definition that made it; none for built-in rows.
    pub definition: Option<Arc<Dom>>,
}

impl Resource {
    /// A namespaced resource with all verbs and the rules that all share.
    pub fn namespaced(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Resource {
        Resource {
            plural: plural.into(),
            singular: Text::Owned(kind.to_ascii_lowercase()),
            kind: kind.into(),
            list_kind: Text::Owned(format!("{kind}List")),
            short: Vec::new(),
            categories: Vec::new(),
            scope: Scope::Namespaced,
            verbs: Verbs::ALL,
            subresources: Vec::new(),
            views: vec![View::stored(group, version)],
            stored: 0,
            prefix: plural.into(),
            columns: Columns::default(),
            selectable: Vec::new(),
            strategy: Strategy::DEFAULT,
            definition: None,
        }
    }

    /// The same for the whole cluster.
    pub fn cluster(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        kind: &'static str,
    ) -> Resource {
        let scope = Scope::Cluster;
        Resource {
            scope,
            ..Resource::namespaced(group, version, plural, kind)
        }
    }

    /// Short names.
    pub fn short(mut self, names: &[&'static str]) -> Resource {
        self.short = names.iter().map(|&name| name.into()).collect();
        self
    }

    /// Categories.
    pub fn category(mut self, name: &'static str) -> Resource {
        self.categories.push(name.into());
        self
    }

    /// A status that only the `status` subresource writes.
    pub fn status(mut self) -> Resource {
        self.strategy.status = StatusRule::Isolated;
        self.subresource(Subresource::own("status"))
    }

    /// One more subresource.
    pub fn subresource(mut self, subresource: Subresource) -> Resource {
        self.subresources.push(subresource);
        self.subresources.sort_by(|a, b| a.name.cmp(&b.name));
        self
    }

    /// Where it is stored.
    pub fn prefix(mut self, prefix: &'static str) -> Resource {
        self.prefix = prefix.into();
        self
    }

    /// A field for selectors.
    pub fn select(mut self, field: Selectable) -> Resource {
        self.selectable.push(field);
        self
    }

    /// Its rules.
    pub fn strategy(mut self, strategy: Strategy) -> Resource {
        let status = self.strategy.status;
        self.strategy = strategy;
        if status == StatusRule::Isolated {
            self.strategy.status = status;
        }
        self
    }

    /// Columns of its table form.
    pub fn columns(mut self, columns: Columns) -> Resource {
        self.columns = columns;
        self
    }

    /// Whether objects live in namespaces.
    pub fn is_namespaced(&self) -> bool {
        self.scope == Scope::Namespaced
    }

    /// Whether it has objects in the store.
    pub fn is_stored(&self) -> bool {
        !self.prefix.is_empty()
    }

    /// Its subresource of that name.
    pub fn find_subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// The stored view.
    pub fn storage(&self) -> &View {
        &self.views[self.stored]
    }

    /// The view of that group and version.
    pub fn view(&self, group: &str, version: &str) -> Option<&View> {
        self.views
            .iter()
            .find(|view| view.group == group && view.version == version)
    }

    /// Group and plural of the preferred view.
    pub fn group_resource(&self) -> Gr {
        Gr::new(&self.storage().group, &self.plural)
    }

    /// Group and kind.
    pub fn group_kind(&self) -> Gk {
        Gk::new(&self.storage().group, &self.kind)
    }

    /// Group, version and plural of a view.
    pub fn gvr(&self, view: &View) -> Gvr {
        Gvr::new(&view.group, &view.version, &self.plural)
    }

    /// Group, version and kind of a view.
    pub fn gvk(&self, view: &View) -> Gvk {
        Gvk::new(&view.group, &view.version, &self.kind)
    }

    /// The value of a selectable field; none: selectors may not name it.
    pub fn field(&self, object: Ref<'_>, name: &str) -> Option<String> {
        match name {
            "metadata.name" => Some(api::meta::of(object).name().to_owned()),
            "metadata.namespace" if self.selects_namespace() => {
                Some(api::meta::of(object).namespace().to_owned())
            }
            _ => {
                let field = self.selectable.iter().find(|field| field.name == name)?;
                Some(field.read(object))
            }
        }
    }

    /// The same from an object's bytes; none: only the document can tell.
    pub fn scan(&self, object: &[u8], name: &str) -> Option<String> {
        if let Some(key) = name.strip_prefix("metadata.") {
            let value = schema::scan::at(object, &["metadata", key])?;
            return schema::scan::plain_string(value).map(str::to_owned);
        }
        let field = self.selectable.iter().find(|field| field.name == name)?;
        field.scan(object)
    }

    /// Whether an object in which the field has this value holds the value as a string in its
    /// bytes: not what stands for an absent field, what is computed, what may be no string, and
    /// what needs escapes.
    pub fn holds(&self, name: &str, value: &str) -> bool {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/".contains(&byte);
        if value.is_empty() || !value.bytes().all(plain) {
            return false;
        }
        if matches!(value, "true" | "false") || value.parse::<f64>().is_ok() {
            return false;
        }
        if name.starts_with("metadata.") {
            return true;
        }
        let field = self.selectable.iter().find(|field| field.name == name);
        field.is_some_and(|field| match &field.field {
            Field::Path(_, absent) => **absent != *value,
            Field::Code(_) => false,
        })
    }

    /// Kinds without selectable fields of their own take the namespace even where there is none:
    /// upstream asks the kind only when the kind has an answer.
    fn selects_namespace(&self) -> bool {
        self.is_namespaced() || self.selectable.is_empty()
    }

    /// Whether selectors may name the field.
    pub fn has_field(&self, name: &str) -> bool {
        name == "metadata.name"
            || (name == "metadata.namespace" && self.selects_namespace())
            || self.selectable.iter().any(|field| field.name == name)
    }
}
