//! Tokens to a tree, macros included.
//!
//! Source: the CEL specification, doc/langdef.md (grammar); cel-go v0.26 parser/macro.go,
//! ext/comprehensions.go for what macros mean.

use crate::Issue;
use crate::ast::{Expr, Fold, Kind};
use crate::lex::{Token, tokens};

/// Nesting beyond this is refused, as upstream.
const DEPTH: usize = 100;
/// Trees deeper than this are refused.
const DEEPEST: u16 = 250;
/// Characters of an expression at most, as upstream.
const LONGEST: usize = 100_000;

const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Parses an expression.
pub(crate) fn parse(text: &str) -> Result<Expr, Issue> {
    let chars: Vec<char> = text.chars().collect();
    if chars.len() > LONGEST {
        return Err(Issue {
            at: 0,
            message: format!(
                "expression code point size exceeds limit: size: {}, limit {LONGEST}",
                chars.len()
            ),
        });
    }
    let tokens = tokens(&chars)?;
    let mut parser = Parser {
        tokens,
        next: 0,
        depth: 0,
    };
    let expr = parser.expr()?;
    match parser.peek() {
        Token::End => Ok(expr),
        _ => parser.unexpected("<EOF>"),
    }
}

struct Parser {
    tokens: Vec<(usize, Token)>,
    next: usize,
    depth: usize,
}

type Parsed = Result<Expr, Issue>;

fn call(at: usize, name: &str, args: Vec<Expr>) -> Expr {
    Expr::new(
        at,
        Kind::Call {
            name: name.to_owned(),
            target: None,
            args,
        },
    )
}

impl Parser {
    fn peek(&self) -> &Token {
        self.tokens
            .get(self.next)
            .map_or(&Token::End, |(_, token)| token)
    }

    fn at(&self) -> usize {
        let last = self.tokens.len().saturating_sub(1);
        self.tokens
            .get(self.next.min(last))
            .map_or(0, |(at, _)| *at)
    }

    fn is(&self, punct: &str) -> bool {
        matches!(self.peek(), Token::Punct(p) if *p == punct)
    }

    fn take(&mut self, punct: &str) -> bool {
        let is = self.is(punct);
        self.next += usize::from(is);
        is
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, Issue> {
        let found = self.peek().shown();
        Err(Issue {
            at: self.at(),
            message: format!("Syntax error: mismatched input '{found}' expecting {wanted}"),
        })
    }

    fn want(&mut self, punct: &str) -> Result<(), Issue> {
        if self.take(punct) {
            return Ok(());
        }
        self.unexpected(&format!("'{punct}'"))
    }

    fn deeper(&mut self) -> Result<(), Issue> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(Issue {
                at: self.at(),
                message: format!("expression recursion limit exceeded: {DEPTH}"),
            });
        }
        Ok(())
    }

    fn expr(&mut self) -> Parsed {
        self.deeper()?;
        let condition = self.either()?;
        let at = self.at();
        let expr = if self.take("?") {
            let yes = self.either()?;
            self.want(":")?;
            let no = self.expr()?;
            call(at, "_?_:_", vec![condition, yes, no])
        } else {
            condition
        };
        self.depth -= 1;
        self.shallow(expr)
    }

    fn shallow(&self, expr: Expr) -> Parsed {
        if expr.deep > DEEPEST {
            return Err(Issue {
                at: expr.at,
                message: format!("expression recursion limit exceeded: {DEEPEST}"),
            });
        }
        Ok(expr)
    }

    /// A chain of one operator as a balanced tree, so that long chains stay flat.
    fn balanced(name: &str, mut terms: Vec<Expr>, mut ats: Vec<usize>) -> Expr {
        if terms.len() == 1 {
            return terms.remove(0);
        }
        let middle = terms.len() / 2;
        let right = terms.split_off(middle);
        let mut rest = ats.split_off(middle - 1);
        let at = rest.remove(0);
        call(
            at,
            name,
            vec![
                Self::balanced(name, terms, ats),
                Self::balanced(name, right, rest),
            ],
        )
    }

    fn chain(&mut self, punct: &str, name: &str, below: fn(&mut Parser) -> Parsed) -> Parsed {
        let mut terms = vec![below(self)?];
        let mut ats = Vec::new();
        while self.is(punct) {
            ats.push(self.at());
            self.next += 1;
            terms.push(below(self)?);
        }
        Ok(Self::balanced(name, terms, ats))
    }

    fn either(&mut self) -> Parsed {
        self.chain("||", "_||_", Parser::both)
    }

    fn both(&mut self) -> Parsed {
        self.chain("&&", "_&&_", Parser::relation)
    }

    fn left(&mut self, names: &[(&str, &str)], below: fn(&mut Parser) -> Parsed) -> Parsed {
        let mut expr = below(self)?;
        loop {
            let at = self.at();
            let found = names.iter().find(|(punct, _)| match self.peek() {
                Token::Punct(p) => p == punct,
                Token::Ident(name) => *punct == "in" && name == "in",
                _ => false,
            });
            let Some((_, name)) = found else {
                return Ok(expr);
            };
            self.next += 1;
            let right = below(self)?;
            expr = self.shallow(call(at, name, vec![expr, right]))?;
        }
    }

    fn relation(&mut self) -> Parsed {
        let names = [
            ("==", "_==_"),
            ("!=", "_!=_"),
            ("<=", "_<=_"),
            (">=", "_>=_"),
            ("<", "_<_"),
            (">", "_>_"),
            ("in", "@in"),
        ];
        self.left(&names, Parser::sum)
    }

    fn sum(&mut self) -> Parsed {
        self.left(&[("+", "_+_"), ("-", "_-_")], Parser::product)
    }

    fn product(&mut self) -> Parsed {
        let names = [("*", "_*_"), ("/", "_/_"), ("%", "_%_")];
        self.left(&names, Parser::unary)
    }

    fn unary(&mut self) -> Parsed {
        let at = self.at();
        for (punct, name) in [("!", "!_"), ("-", "-_")] {
            let mut count = 0;
            while self.take(punct) {
                count += 1;
            }
            if count == 0 {
                continue;
            }
            if punct == "-" && count % 2 == 1 {
                let negative = match self.peek() {
                    Token::Int(n) => Some(Kind::Int(-n)),
                    Token::Double(n) => Some(Kind::Double(-n)),
                    Token::Border => Some(Kind::Int(i64::MIN)),
                    _ => None,
                };
                if let Some(kind) = negative {
                    self.next += 1;
                    return self.members(Expr::new(at, kind));
                }
            }
            let inner = self.member()?;
            return Ok(if count % 2 == 1 {
                call(at, name, vec![inner])
            } else {
                inner
            });
        }
        self.member()
    }

    fn member(&mut self) -> Parsed {
        let primary = self.primary()?;
        self.members(primary)
    }

    fn members(&mut self, mut expr: Expr) -> Parsed {
        loop {
            let at = self.at();
            if self.take(".") {
                let optional = self.take("?");
                let field = match self.peek().clone() {
                    Token::Ident(name) | Token::Quoted(name) => name,
                    _ => return self.unexpected("IDENTIFIER"),
                };
                self.next += 1;
                let open = self.at();
                expr = if !optional && self.take("(") {
                    let args = self.arguments()?;
                    Self::method(open, expr, field, args)?
                } else {
                    Expr::new(
                        at,
                        Kind::Select {
                            of: Box::new(expr),
                            field,
                            optional,
                        },
                    )
                };
            } else if self.take("[") {
                let name = if self.take("?") { "_[?_]" } else { "_[_]" };
                let index = self.expr()?;
                self.want("]")?;
                expr = call(at, name, vec![expr, index]);
            } else if self.is("{") {
                let Some(name) = expr.qualified() else {
                    return self.unexpected("<EOF>");
                };
                self.next += 1;
                expr = self.fields(expr.at, name)?;
            } else {
                return Ok(expr);
            }
            expr = self.shallow(expr)?;
        }
    }

    fn fields(&mut self, at: usize, name: String) -> Parsed {
        let mut fields = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let field = match self.peek().clone() {
                Token::Ident(name) | Token::Quoted(name) => name,
                _ => return self.unexpected("IDENTIFIER"),
            };
            self.next += 1;
            self.want(":")?;
            fields.push((optional, field, self.expr()?));
            if !self.take(",") {
                self.want("}")?;
                break;
            }
        }
        Ok(Expr::new(at, Kind::Struct { name, fields }))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, Issue> {
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expr()?);
            if !self.take(",") {
                self.want(")")?;
                return Ok(args);
            }
        }
    }

    fn primary(&mut self) -> Parsed {
        let at = self.at();
        let token = self.peek().clone();
        let kind = match token {
            Token::Int(n) => Kind::Int(n),
            Token::Uint(n) => Kind::Uint(n),
            Token::Double(n) => Kind::Double(n),
            Token::Str(s) => Kind::Str(s),
            Token::Bytes(b) => Kind::Bytes(b),
            Token::Ident(name) => {
                self.next += 1;
                return self.named(at, name);
            }
            Token::Punct("(") => {
                self.next += 1;
                let inner = self.expr()?;
                self.want(")")?;
                return Ok(inner);
            }
            Token::Punct("[") => {
                self.next += 1;
                return self.list(at);
            }
            Token::Punct("{") => {
                self.next += 1;
                return self.map(at);
            }
            Token::Punct(".") => {
                self.next += 1;
                let Token::Ident(name) = self.peek().clone() else {
                    return self.unexpected("IDENTIFIER");
                };
                self.next += 1;
                return self.named(at, name);
            }
            _ => {
                return self.unexpected(
                    "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}",
                );
            }
        };
        self.next += 1;
        Ok(Expr::new(at, kind))
    }

    fn named(&mut self, at: usize, name: String) -> Parsed {
        let kind = match name.as_str() {
            "null" => Kind::Null,
            "true" => Kind::Bool(true),
            "false" => Kind::Bool(false),
            "in" => {
                self.next -= 1;
                return self.unexpected("IDENTIFIER");
            }
            other if RESERVED.contains(&other) => {
                return Err(Issue {
                    at,
                    message: format!("reserved identifier: {other}"),
                });
            }
            _ => {
                let open = self.at();
                if !self.take("(") {
                    return Ok(Expr::new(at, Kind::Ident(name)));
                }
                let mut args = self.arguments()?;
                if name == "has" && args.len() == 1 {
                    let arg = args.remove(0);
                    return match arg.kind {
                        Kind::Select {
                            of,
                            field,
                            optional: false,
                        } => Ok(Expr::new(open, Kind::Has { of, field })),
                        _ => Err(Issue {
                            at: arg.at,
                            message: "invalid argument to has() macro".to_owned(),
                        }),
                    };
                }
                return Ok(call(open, &name, args));
            }
        };
        Ok(Expr::new(at, kind))
    }

    fn list(&mut self, at: usize) -> Parsed {
        let mut items = Vec::new();
        while !self.take("]") {
            let optional = self.take("?");
            items.push((optional, self.expr()?));
            if !self.take(",") {
                self.want("]")?;
                break;
            }
        }
        Ok(Expr::new(at, Kind::List(items)))
    }

    fn map(&mut self, at: usize) -> Parsed {
        let mut entries = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expr()?;
            self.want(":")?;
            entries.push((optional, key, self.expr()?));
            if !self.take(",") {
                self.want("}")?;
                break;
            }
        }
        Ok(Expr::new(at, Kind::Map(entries)))
    }

    /// A call on a target: a macro or a function.
    fn method(at: usize, target: Expr, name: String, mut args: Vec<Expr>) -> Parsed {
        let fold = match (name.as_str(), args.len()) {
            ("all", 2 | 3) => Some(Fold::All),
            ("exists", 2 | 3) => Some(Fold::Exists),
            ("exists_one" | "existsOne", 2 | 3) => Some(Fold::ExistsOne),
            ("filter", 2) => Some(Fold::Filter),
            ("map", 2 | 3) | ("transformList", 3 | 4) => Some(Fold::Map),
            ("transformMap", 3 | 4) => Some(Fold::TransformMap),
            ("transformMapEntry", 3 | 4) => Some(Fold::TransformMapEntry),
            ("optMap", 2) => Some(Fold::OptMap),
            ("optFlatMap", 2) => Some(Fold::OptFlatMap),
            _ => None,
        };
        let Some(fold) = fold else {
            return Ok(Expr::new(
                at,
                Kind::Call {
                    name,
                    target: Some(Box::new(target)),
                    args,
                },
            ));
        };
        let two = match name.as_str() {
            "all" | "exists" | "exists_one" | "existsOne" => args.len() == 3,
            "transformList" | "transformMap" | "transformMapEntry" => true,
            _ => false,
        };
        let body = args.pop();
        let filtered = args.len() > if two { 2 } else { 1 };
        let filter = if filtered { args.pop() } else { None };
        let mut names = Vec::new();
        for arg in args {
            match arg.kind {
                Kind::Ident(name) => names.push(name),
                _ => {
                    return Err(Issue {
                        at: arg.at,
                        message: "argument must be a simple name".to_owned(),
                    });
                }
            }
        }
        let Some(body) = body else {
            return Err(Issue {
                at,
                message: "macro without arguments".to_owned(),
            });
        };
        Ok(Expr::new(
            at,
            Kind::Fold {
                fold,
                range: Box::new(target),
                names,
                filter: filter.map(Box::new),
                body: Box::new(body),
            },
        ))
    }
}
