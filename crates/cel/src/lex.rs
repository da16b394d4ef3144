//! Text to tokens.
//!
//! Source: the CEL specification, doc/langdef.md (lexis).

use crate::Issue;

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Token {
    Int(i64),
    Uint(u64),
    /// 2^63, which only a minus makes an integer.
    Border,
    Double(f64),
    Str(String),
    Bytes(Vec<u8>),
    Ident(String),
    /// A name between backticks, only after a dot.
    Quoted(String),
    Punct(&'static str),
    End,
}

impl Token {
    pub(crate) fn shown(&self) -> String {
        match self {
            Token::Int(n) => n.to_string(),
            Token::Uint(n) => format!("{n}u"),
            Token::Border => "9223372036854775808".to_owned(),
            Token::Double(n) => n.to_string(),
            Token::Str(s) => format!("\"{s}\""),
            Token::Bytes(_) => "b\"…\"".to_owned(),
            Token::Ident(s) | Token::Quoted(s) => s.clone(),
            Token::Punct(p) => (*p).to_owned(),
            Token::End => "<EOF>".to_owned(),
        }
    }
}

const PUNCT: [&str; 26] = [
    "==", "!=", "<=", ">=", "&&", "||", "(", ")", "[", "]", "{", "}", ",", ".", "?", ":", "+", "-",
    "*", "/", "%", "!", "<", ">", "=", "|",
];

struct Lexer<'s> {
    text: &'s [char],
    at: usize,
}

/// All tokens with their places.
pub(crate) fn tokens(text: &[char]) -> Result<Vec<(usize, Token)>, Issue> {
    let mut lexer = Lexer { text, at: 0 };
    let mut all = Vec::new();
    loop {
        lexer.blank();
        let at = lexer.at;
        let token = lexer.token()?;
        let end = token == Token::End;
        all.push((at, token));
        if end {
            return Ok(all);
        }
    }
}

impl Lexer<'_> {
    fn peek(&self, ahead: usize) -> char {
        self.text.get(self.at + ahead).copied().unwrap_or('\0')
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Issue> {
        Err(Issue {
            at,
            message: format!("Syntax error: {}", message.into()),
        })
    }

    fn blank(&mut self) {
        loop {
            let c = self.peek(0);
            if self.at < self.text.len() && c.is_ascii_whitespace() {
                self.at += 1;
            } else if c == '/' && self.peek(1) == '/' {
                while self.at < self.text.len() && self.peek(0) != '\n' {
                    self.at += 1;
                }
            } else {
                return;
            }
        }
    }

    fn token(&mut self) -> Result<Token, Issue> {
        let start = self.at;
        if start >= self.text.len() {
            return Ok(Token::End);
        }
        let c = self.peek(0);
        if c.is_ascii_digit() || c == '.' && self.peek(1).is_ascii_digit() {
            return self.number();
        }
        if let Some((raw, bytes, skip)) = self.string_prefix() {
            self.at += skip;
            return self.string(raw, bytes);
        }
        if c.is_ascii_alphabetic() || c == '_' {
            while self.peek(0).is_ascii_alphanumeric() || self.peek(0) == '_' {
                self.at += 1;
            }
            return Ok(Token::Ident(self.text[start..self.at].iter().collect()));
        }
        if c == '`' {
            let rest = &self.text[start + 1..];
            let Some(len) = rest.iter().position(|c| *c == '`') else {
                return self.fail(start, "token recognition error at: '`'");
            };
            self.at += len + 2;
            return Ok(Token::Quoted(rest[..len].iter().collect()));
        }
        for punct in PUNCT {
            if punct.chars().enumerate().all(|(i, p)| self.peek(i) == p) {
                self.at += punct.len();
                return Ok(Token::Punct(punct));
            }
        }
        self.fail(start, format!("token recognition error at: '{c}'"))
    }

    fn number(&mut self) -> Result<Token, Issue> {
        let start = self.at;
        let text_of = |lexer: &Self| -> String { lexer.text[start..lexer.at].iter().collect() };
        if self.peek(0) == '0' && matches!(self.peek(1), 'x' | 'X') {
            self.at += 2;
            while self.peek(0).is_ascii_hexdigit() {
                self.at += 1;
            }
            let text = text_of(self);
            let unsigned = matches!(self.peek(0), 'u' | 'U');
            self.at += usize::from(unsigned);
            return match u64::from_str_radix(&text[2..], 16) {
                Ok(n) if unsigned => Ok(Token::Uint(n)),
                Ok(n) if i64::try_from(n).is_ok() => Ok(Token::Int(n.cast_signed())),
                _ => self.fail(start, "invalid int literal"),
            };
        }
        let mut double = false;
        while self.peek(0).is_ascii_digit() {
            self.at += 1;
        }
        if self.peek(0) == '.' && self.peek(1).is_ascii_digit() {
            double = true;
            self.at += 1;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        let sign = usize::from(matches!(self.peek(1), '+' | '-'));
        if matches!(self.peek(0), 'e' | 'E') && self.peek(1 + sign).is_ascii_digit() {
            double = true;
            self.at += 1 + sign;
            while self.peek(0).is_ascii_digit() {
                self.at += 1;
            }
        }
        let text = text_of(self);
        if double {
            return match text.parse() {
                Ok(n) => Ok(Token::Double(n)),
                Err(_) => self.fail(start, "invalid double literal"),
            };
        }
        let Ok(n) = text.parse::<u64>() else {
            return self.fail(start, "invalid int literal");
        };
        if matches!(self.peek(0), 'u' | 'U') {
            self.at += 1;
            return Ok(Token::Uint(n));
        }
        match i64::try_from(n) {
            Ok(n) => Ok(Token::Int(n)),
            Err(_) if n == 1 << 63 => Ok(Token::Border),
            Err(_) => self.fail(start, "invalid int literal"),
        }
    }

    /// Raw, bytes, and how long the prefix is.
    fn string_prefix(&self) -> Option<(bool, bool, usize)> {
        let (mut raw, mut bytes, mut skip) = (false, false, 0);
        loop {
            match self.peek(skip) {
                '"' | '\'' => return Some((raw, bytes, skip)),
                'r' | 'R' if !raw => raw = true,
                'b' | 'B' if !bytes => bytes = true,
                _ => return None,
            }
            skip += 1;
        }
    }

    fn string(&mut self, raw: bool, bytes: bool) -> Result<Token, Issue> {
        let start = self.at;
        let quote = self.peek(0);
        let long = self.peek(1) == quote && self.peek(2) == quote;
        let width = if long { 3 } else { 1 };
        self.at += width;
        let mut out: Vec<u8> = Vec::new();
        let mut buffer = [0; 4];
        loop {
            if self.at >= self.text.len() {
                return self.fail(start, format!("token recognition error at: '{quote}'"));
            }
            let c = self.peek(0);
            if c == quote && (!long || self.peek(1) == quote && self.peek(2) == quote) {
                self.at += width;
                break;
            }
            if c == '\n' && !long {
                return self.fail(start, "string literal is not closed");
            }
            self.at += 1;
            if c != '\\' || raw {
                out.extend_from_slice(c.encode_utf8(&mut buffer).as_bytes());
                continue;
            }
            let escape = self.peek(0);
            self.at += 1;
            let plain = match escape {
                'a' => '\x07',
                'b' => '\x08',
                'f' => '\x0c',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\x0b',
                '\\' | '\'' | '"' | '`' | '?' => escape,
                'x' | 'X' | 'u' | 'U' | '0'..='3' => {
                    let (skip, len, radix) = match escape {
                        'x' | 'X' => (0, 2, 16),
                        'u' => (0, 4, 16),
                        'U' => (0, 8, 16),
                        _ => (1, 3, 8),
                    };
                    let from = self.at - skip;
                    let digits: String = self.text.iter().skip(from).take(len).collect();
                    let code = u32::from_str_radix(&digits, radix).ok();
                    self.at = from + len;
                    let Some(code) = code.filter(|_| digits.chars().count() == len) else {
                        return self.fail(start, "invalid escape in a string literal");
                    };
                    if bytes && !matches!(escape, 'u' | 'U') {
                        out.push(code.to_le_bytes()[0]);
                        continue;
                    }
                    match char::from_u32(code) {
                        Some(c) => c,
                        None => return self.fail(start, "invalid escape in a string literal"),
                    }
                }
                _ => return self.fail(start, "invalid escape in a string literal"),
            };
            out.extend_from_slice(plain.encode_utf8(&mut buffer).as_bytes());
        }
        if bytes {
            return Ok(Token::Bytes(out));
        }
        match String::from_utf8(out) {
            Ok(text) => Ok(Token::Str(text)),
            Err(_) => self.fail(start, "string literal is not UTF-8"),
        }
    }
}
