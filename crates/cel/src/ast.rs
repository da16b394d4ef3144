//! An expression as a tree. Macros are nodes of their own, not unrolled into loops.

/// A node and where its operator or name stands, in characters from the start.
#[derive(Clone, Debug)]
pub(crate) struct Expr {
    pub(crate) at: usize,
    /// How many nodes lie on the longest way down.
    pub(crate) deep: u16,
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    Ident(String),
    Select {
        of: Box<Expr>,
        field: String,
        /// `.?`
        optional: bool,
    },
    /// `has(of.field)`
    Has {
        of: Box<Expr>,
        field: String,
    },
    /// Also operators, under their names in the specification (`_+_`, `@in`).
    Call {
        name: String,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    /// Items and whether they are optional (`?x`).
    List(Vec<(bool, Expr)>),
    Map(Vec<(bool, Expr, Expr)>),
    Struct {
        name: String,
        fields: Vec<(bool, String, Expr)>,
    },
    /// A macro over `range`.
    Fold {
        fold: Fold,
        range: Box<Expr>,
        names: Vec<String>,
        /// Filter of `map` and the transforms.
        filter: Option<Box<Expr>>,
        body: Box<Expr>,
    },
}

/// The macros that bind names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fold {
    All,
    Exists,
    ExistsOne,
    Map,
    Filter,
    TransformMap,
    TransformMapEntry,
    OptMap,
    OptFlatMap,
}

impl Expr {
    pub(crate) fn new(at: usize, kind: Kind) -> Expr {
        let deep = kind.children().map(|child| child.deep).max().unwrap_or(0);
        Expr {
            at,
            deep: deep.saturating_add(1),
            kind,
        }
    }

    /// `a.b.c` as a text, if it is only names.
    pub(crate) fn qualified(&self) -> Option<String> {
        match &self.kind {
            Kind::Ident(name) => Some(name.clone()),
            Kind::Select {
                of,
                field,
                optional: false,
            } => Some(format!("{}.{field}", of.qualified()?)),
            _ => None,
        }
    }
}

impl Kind {
    fn children(&self) -> Box<dyn Iterator<Item = &Expr> + '_> {
        match self {
            Kind::Select { of, .. } | Kind::Has { of, .. } => Box::new(std::iter::once(&**of)),
            Kind::Call { target, args, .. } => Box::new(target.as_deref().into_iter().chain(args)),
            Kind::List(items) => Box::new(items.iter().map(|(_, item)| item)),
            Kind::Map(entries) => Box::new(entries.iter().flat_map(|(_, key, value)| [key, value])),
            Kind::Struct { fields, .. } => Box::new(fields.iter().map(|(_, _, value)| value)),
            Kind::Fold {
                range,
                filter,
                body,
                ..
            } => Box::new([&**range, &**body].into_iter().chain(filter.as_deref())),
            _ => Box::new(std::iter::empty()),
        }
    }
}

impl Expr {
    /// Whether a variable occurs.
    pub(crate) fn uses(&self, variable: &str) -> bool {
        matches!(&self.kind, Kind::Ident(name) if name == variable)
            || self.kind.children().any(|child| child.uses(variable))
    }
}
