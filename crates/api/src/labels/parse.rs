//! The grammar of label selectors: a lexer over bytes and one function a rule.
//!
//! `in` and `notin` are words only where an operator may stand; elsewhere they are keys or
//! values. Repeated values collapse. Source: apimachinery v0.36.3 pkg/labels/selector.go.

use super::{Operator, Requirement, SelectorError, check_key};
use crate::field::{Aggregate, Path};
use std::collections::BTreeSet;

#[derive(Copy, Clone, Debug, PartialEq, Eq)]
enum Token {
    Error,
    End,
    Close,
    Comma,
    Not,
    DoubleEquals,
    Equals,
    Greater,
    Identifier,
    In,
    Less,
    NotEquals,
    NotIn,
    Open,
}

/// May a word be an operator here?
#[derive(Copy, Clone, PartialEq, Eq)]
enum Words {
    Operators,
    Values,
}

fn token(text: &str) -> Option<Token> {
    Some(match text {
        ")" => Token::Close,
        "," => Token::Comma,
        "!" => Token::Not,
        "==" => Token::DoubleEquals,
        "=" => Token::Equals,
        ">" => Token::Greater,
        "in" => Token::In,
        "<" => Token::Less,
        "!=" => Token::NotEquals,
        "notin" => Token::NotIn,
        "(" => Token::Open,
        _ => return None,
    })
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\r' | b'\n')
}

fn is_special(b: u8) -> bool {
    matches!(b, b'=' | b'!' | b'(' | b')' | b',' | b'>' | b'<')
}

/// The tokens of `text`; the last is `End`. A NUL byte ends the text, as upstream.
fn lex(text: &str) -> Vec<(Token, String)> {
    let text = text.split('\0').next().unwrap_or_default();
    let bytes = text.as_bytes();
    let mut items = Vec::new();
    let mut pos = 0;
    while pos < bytes.len() {
        let start = pos;
        if is_space(bytes[pos]) {
            pos += 1;
        } else if is_special(bytes[pos]) {
            // The longest run that is still a token; `=!` is `=` and then `!`.
            let two = bytes
                .get(pos + 1)
                .filter(|b| is_special(**b))
                .map(|_| &text[pos..pos + 2]);
            let (found, length) = match two.and_then(token) {
                Some(found) => (found, 2),
                None => (token(&text[pos..=pos]).unwrap_or(Token::Error), 1),
            };
            pos += length;
            items.push((found, text[start..pos].to_owned()));
        } else {
            while pos < bytes.len() && !is_space(bytes[pos]) && !is_special(bytes[pos]) {
                pos += 1;
            }
            let word = &text[start..pos];
            items.push((token(word).unwrap_or(Token::Identifier), word.to_owned()));
        }
    }
    items.push((Token::End, String::new()));
    items
}

struct Parser {
    items: Vec<(Token, String)>,
    position: usize,
}

fn error<T>(message: String) -> Result<T, SelectorError> {
    Err(SelectorError(message))
}

pub(super) fn parse(text: &str) -> Result<Vec<Requirement>, SelectorError> {
    let mut parser = Parser {
        items: lex(text),
        position: 0,
    };
    let mut requirements = Vec::new();
    loop {
        match parser.peek(Words::Values) {
            (Token::Identifier | Token::Not, _) => {
                let requirement = parser.requirement().map_err(|cause| {
                    SelectorError(format!("unable to parse requirement: {cause}"))
                })?;
                requirements.push(requirement);
                match parser.take(Words::Values) {
                    (Token::End, _) => return Ok(requirements),
                    (Token::Comma, _) => {
                        let (next, literal) = parser.peek(Words::Values);
                        if !matches!(next, Token::Identifier | Token::Not) {
                            return error(format!(
                                "found '{literal}', expected: identifier after ','"
                            ));
                        }
                    }
                    (_, literal) => {
                        return error(format!(
                            "found '{literal}', expected: ',' or 'end of string'"
                        ));
                    }
                }
            }
            (Token::End, _) => return Ok(requirements),
            (_, literal) => {
                return error(format!(
                    "found '{literal}', expected: !, identifier, or 'end of string'"
                ));
            }
        }
    }
}

impl Parser {
    fn peek(&self, words: Words) -> (Token, String) {
        let last = self.items.len() - 1;
        let (token, literal) = self.items[self.position.min(last)].clone();
        match token {
            Token::In | Token::NotIn if words == Words::Values => (Token::Identifier, literal),
            token => (token, literal),
        }
    }

    fn take(&mut self, words: Words) -> (Token, String) {
        let item = self.peek(words);
        self.position += 1;
        item
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        let mut operator = None;
        let (mut found, mut key) = self.take(Words::Values);
        if found == Token::Not {
            operator = Some(Operator::DoesNotExist);
            (found, key) = self.take(Words::Values);
        }
        if found != Token::Identifier {
            return error(format!("found '{key}', expected: identifier"));
        }
        let mut errors = Vec::new();
        check_key(&key, &Path::new("<nil>"), &mut errors);
        if !errors.is_empty() {
            return error(Aggregate(&errors).to_string());
        }
        if matches!(self.peek(Words::Values).0, Token::End | Token::Comma) {
            operator = operator.or(Some(Operator::Exists));
        }
        if let Some(operator) = operator {
            return Requirement::new(&key, operator, Vec::new());
        }
        let operator = self.operator()?;
        let values = match operator {
            Operator::In | Operator::NotIn => self.values()?,
            _ => self.exact_value()?,
        };
        Requirement::new(&key, operator, values.into_iter().collect())
    }

    fn operator(&mut self) -> Result<Operator, SelectorError> {
        let (found, literal) = self.take(Words::Operators);
        Ok(match found {
            Token::In => Operator::In,
            Token::Equals => Operator::Equals,
            Token::DoubleEquals => Operator::DoubleEquals,
            Token::Greater => Operator::GreaterThan,
            Token::Less => Operator::LessThan,
            Token::NotIn => Operator::NotIn,
            Token::NotEquals => Operator::NotEquals,
            _ => {
                return error(format!(
                    "found '{literal}', expected: in, notin, =, ==, !=, gt, lt"
                ));
            }
        })
    }

    fn values(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let (found, literal) = self.take(Words::Values);
        if found != Token::Open {
            return error(format!("found '{literal}' expected: '('"));
        }
        let (found, literal) = self.peek(Words::Values);
        match found {
            Token::Identifier | Token::Comma => {
                let values = self.value_list()?;
                if self.take(Words::Values).0 != Token::Close {
                    return error(format!("found '{literal}', expected: ')'"));
                }
                Ok(values)
            }
            Token::Close => {
                self.take(Words::Values);
                Ok(BTreeSet::from([String::new()]))
            }
            _ => error(format!(
                "found '{literal}', expected: ',', ')' or identifier"
            )),
        }
    }

    /// `a,b`, also with empty items: `(,a)`, `(a,)`, `(a,,b)`.
    fn value_list(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        let mut values = BTreeSet::new();
        loop {
            let (found, literal) = self.take(Words::Values);
            match found {
                Token::Identifier => {
                    values.insert(literal);
                    match self.peek(Words::Values) {
                        (Token::Comma, _) => {}
                        (Token::Close, _) => return Ok(values),
                        (_, literal) => {
                            return error(format!("found '{literal}', expected: ',' or ')'"));
                        }
                    }
                }
                Token::Comma => {
                    if values.is_empty() {
                        values.insert(String::new());
                    }
                    match self.peek(Words::Values).0 {
                        Token::Close => {
                            values.insert(String::new());
                            return Ok(values);
                        }
                        Token::Comma => {
                            values.insert(String::new());
                        }
                        _ => {}
                    }
                }
                _ => return error(format!("found '{literal}', expected: ',', or identifier")),
            }
        }
    }

    fn exact_value(&mut self) -> Result<BTreeSet<String>, SelectorError> {
        if matches!(self.peek(Words::Values).0, Token::End | Token::Comma) {
            return Ok(BTreeSet::from([String::new()]));
        }
        match self.take(Words::Values) {
            (Token::Identifier, literal) => Ok(BTreeSet::from([literal])),
            (_, literal) => error(format!("found '{literal}', expected: identifier")),
        }
    }
}
