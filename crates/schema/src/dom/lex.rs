//! The JSON tokenizer: strings, numbers and literals over a byte slice that is valid UTF-8.
//!
//! Knows no nodes and no types; the generic parser and the table-driven decoder both drive it.
//! Error texts are those of Go's scanner, which is what users of the API see.
//! Source: sigs.k8s.io/json internal/golang/encoding/json/{scanner,decode}.go.

use std::borrow::Cow;

use thiserror::Error;

/// Why bytes are not one JSON document within the limits.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SyntaxError {
    /// A character where the grammar does not allow it.
    #[error("invalid character {} {context}", quote(*.found))]
    Unexpected {
        /// The character.
        found: char,
        /// Upstream's words for the place.
        context: &'static str,
        /// Where, in bytes.
        offset: usize,
    },
    /// The document stops in the middle.
    #[error("unexpected end of JSON input")]
    End,
    /// A number that no float holds.
    #[error("json: cannot unmarshal number {text} into Go value of type float64")]
    Number {
        /// The number, or its beginning.
        text: String,
    },
    /// Containers nest deeper than the limit.
    #[error("exceeded max depth")]
    Depth,
    /// More values than the limit.
    #[error("more than {limit} values in one document")]
    Nodes {
        /// The limit.
        limit: usize,
    },
    /// More bytes than the limit.
    #[error("document of {found} bytes is over the limit of {limit}")]
    Bytes {
        /// The document's length.
        found: usize,
        /// The limit.
        limit: usize,
    },
}

/// A byte as Go's scanner quotes it: taken for a character of Latin-1.
fn quote(c: char) -> String {
    match c {
        '\'' => r"'\''".to_owned(),
        '"' => "'\"'".to_owned(),
        c => {
            let quoted = quote_go(c.encode_utf8(&mut [0; 4]));
            format!("'{}'", &quoted[1..quoted.len() - 1])
        }
    }
}

/// Text as Go's `strconv.Quote` writes it.
pub(crate) fn quote_go(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\x07' => out.push_str("\\a"),
            '\x08' => out.push_str("\\b"),
            '\x0c' => out.push_str("\\f"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\x0b' => out.push_str("\\v"),
            ' '..='~' => out.push(c),
            '\0'..='\x7f' => out.push_str(&format!("\\x{:02x}", c as u32)),
            c if c.escape_debug().len() == 1 => out.push(c),
            '\u{80}'..='\u{ffff}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c => out.push_str(&format!("\\U{:08x}", c as u32)),
        }
    }
    out.push('"');
    out
}

/// A string token: the span of its content in the source.
#[derive(Copy, Clone)]
pub(crate) struct Text {
    pub(crate) start: u32,
    pub(crate) end: u32,
    /// There are escapes in it; [`unescape`] resolves them.
    pub(crate) escaped: bool,
}

impl Text {
    /// The content, when it has no escapes.
    #[inline]
    pub(crate) fn plain(self, src: &str) -> &str {
        src.get(self.start as usize..self.end as usize)
            .unwrap_or_default()
    }

    /// The content.
    #[inline]
    pub(crate) fn read(self, src: &str) -> Cow<'_, str> {
        let plain = self.plain(src);
        match self.escaped {
            false => Cow::Borrowed(plain),
            true => {
                let mut out = String::new();
                unescape(plain, &mut out);
                Cow::Owned(out)
            }
        }
    }
}

/// Appends the content of a string token whose escapes the lexer has checked. A lone surrogate
/// becomes U+FFFD; a pair becomes its character.
pub(crate) fn unescape(raw: &str, out: &mut String) {
    out.reserve(raw.len());
    let mut rest = raw;
    while let Some(at) = memchr::memchr(b'\\', rest.as_bytes()) {
        out.push_str(rest.get(..at).unwrap_or_default());
        let after = rest.get(at + 1..).unwrap_or_default();
        let mut chars = after.chars();
        match chars.next() {
            Some('b') => out.push('\u{8}'),
            Some('f') => out.push('\u{c}'),
            Some('n') => out.push('\n'),
            Some('r') => out.push('\r'),
            Some('t') => out.push('\t'),
            Some('u') => {
                let (c, after) = code_unit(chars.as_str());
                out.push(c);
                rest = after;
                continue;
            }
            Some(c) => out.push(c),
            None => {}
        }
        rest = chars.as_str();
    }
    out.push_str(rest);
}

/// The character of one `\\u` escape, or of two that make a pair, and what follows.
fn code_unit(digits: &str) -> (char, &str) {
    let hex = |text: &str| text.get(..4).and_then(|d| u32::from_str_radix(d, 16).ok());
    let unit = hex(digits).unwrap_or(0xfffd);
    let rest = digits.get(4..).unwrap_or_default();
    if (0xd800..0xdc00).contains(&unit)
        && let Some(after) = rest.strip_prefix("\\u")
        && let Some(low) = hex(after)
        && (0xdc00..0xe000).contains(&low)
    {
        let code = 0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00);
        let c = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        return (c, after.get(4..).unwrap_or_default());
    }
    (
        char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER),
        rest,
    )
}

/// A number token.
#[derive(Copy, Clone, Debug, PartialEq)]
pub(crate) enum Number {
    /// No fraction, no exponent, fits.
    Int(i64),
    /// Everything else, as a span of the source.
    Float(usize, usize),
}

/// Reading has failed; the lexer has the error. As small as it can be, since every token is a
/// `Result`.
#[derive(Copy, Clone, Debug)]
pub(crate) struct Stop;

pub(crate) struct Lexer<'a> {
    pub(crate) src: &'a str,
    pub(crate) pos: usize,
    error: Option<SyntaxError>,
}

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;

/// High bit set in every byte that is a quote, a backslash or a control character (or may be,
/// above the first such byte: borrows only travel upwards).
#[inline]
fn stops(word: u64) -> u64 {
    let quote = word ^ (ONES * 0x22);
    let slash = word ^ (ONES * 0x5c);
    ((quote.wrapping_sub(ONES) & !quote)
        | (slash.wrapping_sub(ONES) & !slash)
        | (word.wrapping_sub(ONES * 0x20) & !word))
        & HIGHS
}

impl<'a> Lexer<'a> {
    pub(crate) fn new(src: &'a str) -> Self {
        Lexer {
            src,
            pos: 0,
            error: None,
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> &'a [u8] {
        self.src.as_bytes()
    }

    /// The next byte that is not white space, not consumed.
    #[inline]
    pub(crate) fn peek(&mut self) -> Option<u8> {
        let bytes = self.bytes();
        if let Some(&b) = bytes.get(self.pos)
            && b > b' '
        {
            return Some(b);
        }
        loop {
            match bytes.get(self.pos) {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.pos += 1,
                other => return other.copied(),
            }
        }
    }

    /// Fails because of the character at the current place, or because of the end.
    #[cold]
    pub(crate) fn unexpected(&mut self, context: &'static str) -> Stop {
        // At the end Go's scanner steps on with a space, which strings and gaps take.
        let inside = context.starts_with("in literal")
            || context.contains("numeric")
            || context.contains("escape");
        let next = self.bytes().get(self.pos).copied();
        let error = match next.or(inside.then_some(b' ')).map(char::from) {
            Some(found) => SyntaxError::Unexpected {
                found,
                context,
                offset: self.pos,
            },
            None => SyntaxError::End,
        };
        self.fail(error)
    }

    /// Fails.
    #[cold]
    pub(crate) fn fail(&mut self, error: SyntaxError) -> Stop {
        self.error.get_or_insert(error);
        Stop
    }

    /// Why reading failed.
    pub(crate) fn into_error(self) -> SyntaxError {
        self.error.unwrap_or(SyntaxError::End)
    }

    /// A string whose opening quote is the next byte.
    #[inline]
    pub(crate) fn string(&mut self) -> Result<Text, Stop> {
        self.pos += 1;
        let start = self.pos as u32;
        self.run();
        if self.bytes().get(self.pos) == Some(&b'"') {
            let end = self.pos as u32;
            self.pos += 1;
            return Ok(Text {
                start,
                end,
                escaped: false,
            });
        }
        self.long_string(start)
    }

    /// The rest of a string that has escapes, or a mistake.
    #[cold]
    fn long_string(&mut self, start: u32) -> Result<Text, Stop> {
        loop {
            match self.bytes().get(self.pos) {
                Some(b'"') => {
                    let end = self.pos as u32;
                    self.pos += 1;
                    return Ok(Text {
                        start,
                        end,
                        escaped: true,
                    });
                }
                Some(b'\\') => self.escape()?,
                _ => return Err(self.unexpected("in string literal")),
            }
            self.run();
        }
    }

    /// Advances to the next quote, backslash or control character, or to the end.
    #[inline]
    fn run(&mut self) {
        let bytes = self.bytes();
        let mut at = self.pos;
        while let Some(chunk) = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()) {
            let found = stops(u64::from_le_bytes(*chunk));
            if found != 0 {
                // The lowest mark is exact.
                self.pos = at + (found.trailing_zeros() / 8) as usize;
                return;
            }
            at += 8;
        }
        while let Some(b) = bytes.get(at)
            && !matches!(b, b'"' | b'\\' | 0..0x20)
        {
            at += 1;
        }
        self.pos = at;
    }

    /// Checks one escape, whose backslash is the next byte, and passes it.
    #[cold]
    fn escape(&mut self) -> Result<(), Stop> {
        self.pos += 1;
        match self.bytes().get(self.pos).copied().unwrap_or_default() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.pos += 1,
            b'u' => {
                self.pos += 1;
                for _ in 0..4 {
                    if !self
                        .bytes()
                        .get(self.pos)
                        .is_some_and(u8::is_ascii_hexdigit)
                    {
                        return Err(self.unexpected("in \\u hexadecimal character escape"));
                    }
                    self.pos += 1;
                }
            }
            _ => return Err(self.unexpected("in string escape code")),
        }
        Ok(())
    }

    /// A number whose first byte (a digit or a minus) is next.
    #[inline]
    pub(crate) fn number(&mut self) -> Result<Number, Stop> {
        let bytes = self.bytes();
        let start = self.pos;
        let negative = bytes.get(self.pos) == Some(&b'-');
        if negative {
            self.pos += 1;
        }
        let digits = self.pos;
        match bytes.get(self.pos) {
            Some(b'0') => self.pos += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.unexpected("in numeric literal")),
        }
        let whole = !matches!(bytes.get(self.pos), Some(b'.' | b'e' | b'E'));
        if whole && self.pos - digits <= 18 {
            let mut n = 0i64;
            for b in &bytes[digits..self.pos] {
                n = n * 10 + i64::from(b - b'0');
            }
            return Ok(Number::Int(if negative { -n } else { n }));
        }
        self.long_number(start, whole)
    }

    #[inline]
    fn digits(&mut self) {
        let bytes = self.bytes();
        while matches!(bytes.get(self.pos), Some(b'0'..=b'9')) {
            self.pos += 1;
        }
    }

    #[cold]
    fn long_number(&mut self, start: usize, whole: bool) -> Result<Number, Stop> {
        let bytes = self.bytes();
        if bytes.get(self.pos) == Some(&b'.') {
            self.pos += 1;
            if !matches!(bytes.get(self.pos), Some(b'0'..=b'9')) {
                return Err(self.unexpected("after decimal point in numeric literal"));
            }
            self.digits();
        }
        if matches!(bytes.get(self.pos), Some(b'e' | b'E')) {
            self.pos += 1;
            if matches!(bytes.get(self.pos), Some(b'+' | b'-')) {
                self.pos += 1;
            }
            if !matches!(bytes.get(self.pos), Some(b'0'..=b'9')) {
                return Err(self.unexpected("in exponent of numeric literal"));
            }
            self.digits();
        }
        let text = self.src.get(start..self.pos).unwrap_or_default();
        if whole && let Ok(n) = text.parse() {
            return Ok(Number::Int(n));
        }
        Ok(Number::Float(start, self.pos))
    }

    /// A number that a document without a type can hold.
    pub(crate) fn finite_number(&mut self) -> Result<Number, Stop> {
        let number = self.number()?;
        if let Number::Float(start, end) = number {
            let text = self.src.get(start..end).unwrap_or_default();
            if !text.parse::<f64>().is_ok_and(f64::is_finite) {
                let text = text.chars().take(64).collect();
                return Err(self.fail(SyntaxError::Number { text }));
            }
        }
        Ok(number)
    }

    /// `true`, `false` or `null`, whose first byte is next.
    #[inline]
    pub(crate) fn literal(&mut self, word: &'static str) -> Result<(), Stop> {
        let bytes = self.bytes();
        if bytes.get(self.pos..self.pos + word.len()) == Some(word.as_bytes()) {
            self.pos += word.len();
            return Ok(());
        }
        let mut matched = 0;
        while bytes.get(self.pos) == word.as_bytes().get(matched) {
            self.pos += 1;
            matched += 1;
        }
        Err(self.unexpected(match (word, matched) {
            ("true", 1) => "in literal true (expecting 'r')",
            ("true", 2) => "in literal true (expecting 'u')",
            ("true", _) => "in literal true (expecting 'e')",
            ("false", 1) => "in literal false (expecting 'a')",
            ("false", 2) => "in literal false (expecting 'l')",
            ("false", 3) => "in literal false (expecting 's')",
            ("false", _) => "in literal false (expecting 'e')",
            (_, 1) => "in literal null (expecting 'u')",
            (_, _) => "in literal null (expecting 'l')",
        }))
    }
}
