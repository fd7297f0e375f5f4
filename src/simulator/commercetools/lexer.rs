//! The words of a query predicate.

use std::fmt::{self, Display, Formatter};

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    /// A field name or a keyword.
    Word(String),
    /// A field name in backticks; never a keyword.
    Quoted(String),
    Text(String),
    Number(f64),
    /// `:name`
    Input(String),
    Operator(&'static str),
    Open,
    Close,
    Comma,
}

impl Token {
    pub fn word(word: &str) -> Self {
        Self::Word(word.to_owned())
    }
}

impl Display for Token {
    fn fmt(&self, to: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Word(word) | Self::Quoted(word) => write!(to, "'{word}'"),
            Self::Text(text) => write!(to, "the text '{text}'"),
            Self::Number(number) => write!(to, "'{number}'"),
            Self::Input(name) => write!(to, "':{name}'"),
            Self::Operator(operator) => write!(to, "'{operator}'"),
            Self::Open => to.write_str("'('"),
            Self::Close => to.write_str("')'"),
            Self::Comma => to.write_str("','"),
        }
    }
}

const OPERATORS: [&str; 7] = ["<=", ">=", "<>", "!=", "=", "<", ">"];

/// Cuts a predicate into tokens; the error is a sentence for the caller's answer.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            ',' => (Token::Comma, 1),
            '"' => quoted(rest)?,
            '`' => backticks(rest)?,
            ':' => {
                let name = span(&rest[1..], |c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
                if name.is_empty() {
                    return Err("A ':' without the name of an input variable".into());
                }
                (Token::Input(name.to_owned()), name.len() + 1)
            }
            c if c.is_ascii_digit() || c == '-' => number(rest)?,
            c if c.is_ascii_alphabetic() || c == '_' => {
                let word = span(rest, |c| c.is_ascii_alphanumeric() || c == '_');
                (Token::word(word), word.len())
            }
            other => match OPERATORS.into_iter().find(|operator| rest.starts_with(operator)) {
                Some(operator) => (Token::Operator(operator), operator.len()),
                None => return Err(format!("Unexpected character '{other}'")),
            },
        };
        found.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(found)
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    &text[..text.find(|c| !belongs(c)).unwrap_or(text.len())]
}

fn quoted(text: &str) -> Result<(Token, usize), String> {
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, character)) = characters.next() {
        match character {
            '"' => return Ok((Token::Text(value), at + 1)),
            '\\' => value.push(characters.next().map_or('\\', |(_, escaped)| escaped)),
            other => value.push(other),
        }
    }
    Err("A text without its closing quotation mark".into())
}

fn backticks(text: &str) -> Result<(Token, usize), String> {
    match text[1..].split_once('`') {
        Some((name, _)) if !name.is_empty() => Ok((Token::Quoted(name.to_owned()), name.len() + 2)),
        _ => Err("A field name without its closing backtick".into()),
    }
}

fn number(text: &str) -> Result<(Token, usize), String> {
    let digits = span(text, |c| c.is_ascii_digit() || c == '.' || c == '-');
    match digits.parse() {
        Ok(number) => Ok((Token::Number(number), digits.len())),
        Err(_) => Err(format!("'{digits}' is not a number")),
    }
}
