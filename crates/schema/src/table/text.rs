//! The committed text of the built-in table, and how it is read.
//!
//! ```text
//! @core.v1 k8s.io/api/core/v1          a package: alias and Go path
//! ContainerPort [Ma]                   a type; Ma: one value for server-side apply
//!  name ?s @1                          a field: name, flags and shape, then facts
//! $apps/v1                             a group and version
//!  Deployment apps.v1.Deployment       a kind and its type
//! ```
//! Flags before the shape: `*` pointer, `?` omitempty, `~` omitzero. Shapes: `&T` struct (of
//! the same package, or with the alias before it), `[` list of, `W[` list that is a message of
//! its own in protobuf, `{` map to, else a leaf: s string, b bool, i int32, l int64, u uint32,
//! U uint64, d float64, f float32, y bytes, t Time, T MicroTime, D Duration, q Quantity,
//! I IntOrString, R RawExtension, F FieldsV1, j JSON, p/P/S JSONSchemaPropsOr{Bool,Array,
//! StringArray}, a anything. Facts: `@` protobuf numbers, `!` required, `La Lm:keys Ls` list
//! type, `Ma Mg` map type, `S:` patch strategy, `K:` patch merge key, `G:` Go type, `^` inlined
//! Go structs, `E:` enum, `=` default (JSON, to the end of the line).

use std::borrow::Cow;
use std::collections::HashMap;

use super::{
    DEFAULTED, Field, Kind, LIST_ATOMIC, LIST_MAP, LIST_SET, Leaf, MAP_ATOMIC, MAP_GRANULAR,
    OMIT_EMPTY, OMIT_ZERO, POINTER, Package, REQUIRED, Shape, ShapeId, Span, TYPE_ATOMIC, Table,
    Type, TypeId, ZERO_DEFAULT, code_of,
};

/// Reads the committed text. It is ours, so a mistake in it is a bug and panics.
pub(super) fn read(text: &'static str) -> Table {
    let mut reader = Reader {
        text,
        table: Table {
            text: Cow::Borrowed(text),
            packages: Vec::new(),
            types: Vec::new(),
            fields: Vec::new(),
            sorted: Vec::new(),
            shapes: Vec::new(),
            kinds: Vec::new(),
            named: HashMap::new(),
            schema_props: None,
        },
        shapes: HashMap::new(),
        by_text: HashMap::new(),
    };
    reader.types();
    reader.fields();
    reader.finish()
}

struct Reader {
    text: &'static str,
    table: Table,
    shapes: HashMap<Shape, ShapeId>,
    /// Shapes by package and text; most fields share theirs.
    by_text: HashMap<(u16, &'static str), ShapeId>,
}

impl Reader {
    fn span(&self, part: &'static str) -> Span {
        if part.is_empty() {
            return Span::default();
        }
        let start = part.as_ptr() as usize - self.text.as_ptr() as usize;
        Span {
            start: start as u32,
            len: part.len() as u32,
        }
    }

    /// Packages and types first, since fields refer to later ones.
    fn types(&mut self) {
        let mut alias = "";
        for line in self.text.lines() {
            match line.as_bytes().first() {
                Some(b'@') => {
                    let (short, path) = line[1..].split_once(' ').expect("alias and path");
                    alias = short;
                    let package = Package {
                        alias: self.span(short),
                        path: self.span(path),
                    };
                    self.table.packages.push(package);
                }
                None | Some(b'#' | b' ') => {}
                Some(b'$') => return,
                Some(_) => {
                    let name = line.split(' ').next().unwrap_or_default();
                    let id = TypeId(self.table.types.len() as u16);
                    self.table.named.insert(format!("{alias}.{name}"), id);
                    self.table.types.push(Type {
                        name: self.span(name),
                        package: self.table.packages.len() as u16 - 1,
                        first: 0,
                        count: 0,
                        flags: if line.ends_with(" Ma") {
                            TYPE_ATOMIC
                        } else {
                            0
                        },
                    });
                }
            }
        }
    }

    fn fields(&mut self) {
        let mut current = 0;
        let mut open = false;
        let mut group: Option<(Span, Span)> = None;
        for line in self.text.lines() {
            match line.as_bytes().first() {
                None | Some(b'#' | b'@') => {}
                Some(b'$') => {
                    let (g, v) = line[1..].split_once('/').expect("group and version");
                    group = Some((self.span(g), self.span(v)));
                }
                Some(b' ') => match group {
                    Some((group, version)) => {
                        let (kind, ty) = line[1..].split_once(' ').expect("kind and type");
                        let ty = self.table.named(ty).expect("a type of the table");
                        let kind = self.span(kind);
                        self.table.kinds.push(Kind {
                            group,
                            version,
                            kind,
                            ty,
                        });
                    }
                    None => {
                        let package = self.table.types[current].package;
                        let field = self.field(package, &line[1..]);
                        self.table.fields.push(field);
                        self.table.types[current].count += 1;
                    }
                },
                Some(_) => {
                    if open {
                        current += 1;
                    }
                    open = true;
                    self.table.types[current].first = self.table.fields.len() as u32;
                }
            }
        }
    }

    fn field(&mut self, package: u16, line: &'static str) -> Field {
        let (name, mut line) = line.split_once(' ').expect("name and shape");
        let mut flags = 0;
        loop {
            flags |= match line.as_bytes().first() {
                Some(b'*') => POINTER,
                Some(b'?') => OMIT_EMPTY,
                Some(b'~') => OMIT_ZERO,
                _ => break,
            };
            line = &line[1..];
        }
        let (shape, mut rest) = line.split_once(' ').unwrap_or((line, ""));
        let shape = self.shape(package, shape);
        let mut proto = [0; 4];
        if let Some(path) = rest.strip_prefix('@') {
            let (path, after) = path.split_once(' ').unwrap_or((path, ""));
            for (place, number) in proto.iter_mut().zip(path.split('.')) {
                *place = number.parse().expect("a small number");
            }
            rest = after;
        }
        if let Some(after) = rest.strip_prefix('!') {
            flags |= REQUIRED;
            rest = after.trim_start();
        }
        for fact in rest.split(' ') {
            flags |= match fact.as_bytes() {
                [b'=', ..] => {
                    flags |= DEFAULTED;
                    if flags & POINTER == 0 && matches!(fact, "=\"\"" | "=0" | "=false") {
                        flags |= ZERO_DEFAULT;
                    }
                    break;
                }
                b"La" => LIST_ATOMIC,
                b"Ls" => LIST_SET,
                [b'L', b'm', ..] => LIST_MAP,
                b"Ma" => MAP_ATOMIC,
                b"Mg" => MAP_GRANULAR,
                _ => 0,
            };
        }
        let (name_span, rest) = (self.span(name), self.span(rest));
        Field {
            name: name_span,
            code: code_of(name),
            shape,
            flags,
            proto,
            rest,
        }
    }

    fn shape(&mut self, package: u16, text: &'static str) -> ShapeId {
        if let Some(id) = self.by_text.get(&(package, text)) {
            return *id;
        }
        let shape = match text.as_bytes() {
            [b'&', ..] => {
                let name = &text[1..];
                let id = if name.contains('.') {
                    self.table.named(name)
                } else {
                    let alias = self.table.packages[package as usize].alias;
                    self.table
                        .named(&format!("{}.{name}", self.table.str(alias)))
                };
                Shape::Struct(id.unwrap_or_else(|| panic!("no type {name}")))
            }
            [b'[', ..] => Shape::List {
                item: self.shape(package, &text[1..]),
                wrapped: false,
            },
            [b'W', b'[', ..] => Shape::List {
                item: self.shape(package, &text[2..]),
                wrapped: true,
            },
            [b'{', ..] => Shape::Map {
                value: self.shape(package, &text[1..]),
            },
            [letter] => Shape::Leaf(leaf(*letter)),
            _ => panic!("no shape {text}"),
        };
        let next = ShapeId(self.table.shapes.len() as u16);
        let id = *self.shapes.entry(shape).or_insert(next);
        if id == next {
            self.table.shapes.push(shape);
        }
        self.by_text.insert((package, text), id);
        id
    }

    fn finish(mut self) -> Table {
        let table = &mut self.table;
        table.sorted.reserve(table.fields.len());
        for ty in &table.types {
            let first = ty.first as usize;
            let fields = &table.fields[first..first + ty.count as usize];
            table
                .sorted
                .extend(fields.iter().enumerate().map(|(n, f)| (f.code, n as u16)));
            table.sorted[first..].sort_unstable();
        }
        table.derive();
        table.schema_props = table.named("apiextensions.v1.JSONSchemaProps");
        self.table
    }
}

fn leaf(letter: u8) -> Leaf {
    match letter {
        b's' => Leaf::Str,
        b'b' => Leaf::Bool,
        b'i' => Leaf::Int32,
        b'l' => Leaf::Int64,
        b'u' => Leaf::Uint32,
        b'U' => Leaf::Uint64,
        b'd' => Leaf::Double,
        b'f' => Leaf::Float,
        b'y' => Leaf::Bytes,
        b't' => Leaf::Time,
        b'T' => Leaf::MicroTime,
        b'D' => Leaf::Duration,
        b'q' => Leaf::Quantity,
        b'I' => Leaf::IntOrString,
        b'R' => Leaf::Raw,
        b'F' => Leaf::Fields,
        b'j' => Leaf::Json,
        b'p' => Leaf::SchemaOrBool,
        b'P' => Leaf::SchemaOrArray,
        b'S' => Leaf::SchemaOrStrings,
        b'a' => Leaf::Any,
        _ => panic!("no leaf {}", letter as char),
    }
}
