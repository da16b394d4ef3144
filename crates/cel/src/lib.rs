//! The Common Expression Language with Kubernetes' functions, over documents.
//!
//! ```text
//! text → tokens → tree → checked against the variables of an [`Env`] → [`Program`]
//! Program + [`Bindings`] + [`Budget`] → [`Value`]
//! ```
//! Values are cursors into the documents at hand: an expression that looks at one field converts
//! that field. Knows nothing of policies, requests and stores; `apiserver` does.
//! Sources: the CEL specification; cel-go v0.26; kubernetes apiserver v0.36.3 pkg/cel.

pub mod admission;
mod ast;
mod check;
mod eval;
mod functions;
mod lex;
mod parse;
mod signatures;
mod types;
mod value;

pub use eval::{Access, Authorizer, Bindings, Budget, EvalError, Verdict};
pub use types::{Declared, Member, Object, Type, escape};
pub use value::{List, Map, Str, Struct, Value};

use std::fmt;

use ast::Expr;

/// The type of `authorizer`.
pub const AUTHORIZER: &str = "kubernetes.authorization.Authorizer";
/// The type of `authorizer.requestResource`.
pub const RESOURCE_CHECK: &str = "kubernetes.authorization.ResourceCheck";

/// Which variables an expression may use.
#[derive(Clone, Debug, Default)]
pub struct Env {
    variables: Vec<(String, Type)>,
    patches: bool,
}

impl Env {
    /// No variables.
    #[must_use]
    pub fn new() -> Env {
        Env::default()
    }

    /// One more variable, or another type for one.
    #[must_use]
    pub fn with(mut self, name: &str, ty: Type) -> Env {
        self.variables.retain(|(known, _)| known != name);
        self.variables.push((name.to_owned(), ty));
        self
    }

    /// Lets expressions make `Object{…}` and `JSONPatch{…}`.
    #[must_use]
    pub fn with_patches(mut self) -> Env {
        self.patches = true;
        self
    }
}

/// Something wrong in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// Where, in characters from the start.
    pub(crate) at: usize,
    pub(crate) message: String,
}

/// Why a text is no program.
#[derive(Clone, Debug)]
pub struct CompileError {
    source: String,
    issues: Vec<Issue>,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, issue) in self.issues.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            let (mut line, mut column) = (1, 0);
            for c in self.source.chars().take(issue.at) {
                column += 1;
                if c == '\n' {
                    (line, column) = (line + 1, 0);
                }
            }
            let text = self.source.split('\n').nth(line - 1).unwrap_or_default();
            let dots = ".".repeat(column);
            write!(
                f,
                "ERROR: <input>:{line}:{}: {}\n | {text}\n | {dots}^",
                column + 1,
                issue.message
            )?;
        }
        Ok(())
    }
}

impl std::error::Error for CompileError {}

/// A checked expression.
#[derive(Clone, Debug)]
pub struct Program {
    expr: Expr,
    ty: Type,
    source: String,
}

impl Program {
    /// Parses and checks.
    pub fn compile(source: &str, env: &Env) -> Result<Program, CompileError> {
        let failed = |issues| CompileError {
            source: source.to_owned(),
            issues,
        };
        let mut expr = parse::parse(source).map_err(|issue| failed(vec![issue]))?;
        let ty = check::check(&mut expr, env).map_err(failed)?;
        Ok(Program {
            expr,
            ty,
            source: source.to_owned(),
        })
    }

    /// What it yields.
    #[must_use]
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Its text.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Whether it uses a variable.
    #[must_use]
    pub fn uses(&self, variable: &str) -> bool {
        self.expr.uses(variable)
    }

    /// Evaluates it.
    pub fn run<'a>(
        &'a self,
        bindings: &dyn Bindings<'a>,
        budget: &Budget,
    ) -> Result<Value<'a>, EvalError> {
        eval::run(&self.expr, bindings, budget)
    }
}

#[cfg(test)]
mod tests;
