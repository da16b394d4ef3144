//! Words, lines and braces.

use super::CorefileError;

/// Longest text: a ConfigMap has at most this much.
const TEXT_LIMIT: usize = 1 << 20;

/// A line: its words and the lines within its braces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Line {
    /// From 1.
    pub(super) number: usize,
    /// Never empty.
    pub(super) words: Vec<String>,
    /// Of the braces at its end.
    pub(super) within: Option<Vec<Line>>,
}

/// Braces in braces: server block, directive.
const DEPTH_LIMIT: usize = 4;

enum Token {
    Word(String),
    Open,
    Close,
    End,
}

/// The text as lines.
pub(super) fn lines(text: &str) -> Result<Vec<Line>, CorefileError> {
    let fail = |line, reason: &str| CorefileError {
        line,
        reason: reason.to_owned(),
    };
    if text.len() > TEXT_LIMIT {
        return Err(fail(1, "the text is longer than 1 MiB"));
    }
    let mut open: Vec<(Vec<Line>, usize)> = vec![(Vec::new(), 0)];
    let mut line = Line::default();
    for (token, number) in tokens(text)? {
        let depth = open.len();
        let Some((lines, _)) = open.last_mut() else {
            return Err(fail(number, "} without {"));
        };
        match token {
            Token::Word(word) => {
                if line.words.is_empty() {
                    line.number = number;
                }
                line.words.push(word);
            }
            Token::End
                if depth == 1 && line.words.last().is_some_and(|word| word.ends_with(',')) => {}
            Token::End => {
                if !line.words.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
            }
            Token::Open => {
                if line.words.is_empty() {
                    return Err(fail(number, "{ without anything before it"));
                }
                if depth > DEPTH_LIMIT {
                    return Err(fail(number, "too many { within one another"));
                }
                lines.push(std::mem::take(&mut line));
                open.push((Vec::new(), number));
            }
            Token::Close => {
                if !line.words.is_empty() {
                    lines.push(std::mem::take(&mut line));
                }
                let within = std::mem::take(lines);
                open.pop();
                let Some(owner) = open.last_mut().and_then(|(lines, _)| lines.last_mut()) else {
                    return Err(fail(number, "} without {"));
                };
                owner.within = Some(within);
            }
        }
    }
    if open.len() > 1 {
        let number = open.last().map_or(0, |(_, number)| *number);
        return Err(fail(number, "{ without }"));
    }
    let (mut lines, _) = open.pop().unwrap_or_default();
    if !line.words.is_empty() {
        lines.push(line);
    }
    Ok(lines)
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, CorefileError> {
    let mut tokens = Vec::new();
    let mut number = 1;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '\n' => {
                tokens.push((Token::End, number));
                number += 1;
            }
            '#' => while characters.next_if(|next| *next != '\n').is_some() {},
            '"' => {
                let (start, mut word) = (number, String::new());
                loop {
                    match characters.next() {
                        Some('"') => break,
                        Some('\\') if characters.peek() == Some(&'"') => {
                            word.extend(characters.next());
                        }
                        Some(next) => {
                            number += usize::from(next == '\n');
                            word.push(next);
                        }
                        None => {
                            return Err(CorefileError {
                                line: start,
                                reason: "a quotation without end".to_owned(),
                            });
                        }
                    }
                }
                tokens.push((Token::Word(word), start));
            }
            space if space.is_whitespace() => {}
            first => {
                let mut word = String::from(first);
                while let Some(next) = characters.next_if(|next| !next.is_whitespace()) {
                    word.push(next);
                }
                tokens.push(match word.as_str() {
                    "{" => (Token::Open, number),
                    "}" => (Token::Close, number),
                    _ => (Token::Word(word), number),
                });
            }
        }
    }
    Ok(tokens)
}
