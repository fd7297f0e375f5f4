//! Query predicates (platform-commercetools A2): parser and evaluator.
//!
//! A predicate is read against the fields of its resource; a field that the resource does not have
//! is refused, as on the platform. A comparison with an absent field is false, `!=` included.
//! `within circle` and `matches ignore case` are refused: nothing here needs them.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

use super::fields::{self, Fields};
use super::id;
use super::lexer::{Token, tokens};
use crate::clock::parse_rfc3339;

/// Values of the input variables: `var.<name>`, each may be given several times.
pub(super) type Inputs = BTreeMap<String, Vec<String>>;

/// One parsed `where` expression.
#[derive(Debug)]
pub(super) struct Predicate(Expression);

impl Predicate {
    /// Reads `text`; the error is the sentence for the `InvalidInput` answer.
    pub fn parse(text: &str, inputs: &Inputs, fields: Fields) -> Result<Self, String> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0, depth: 0, inputs };
        let expression = parser.alternatives(fields)?;
        match parser.peek() {
            None => Ok(Self(expression)),
            Some(token) => Err(format!("Expected the end of the predicate, found {token}")),
        }
    }

    pub fn matches(&self, document: &Value) -> bool {
        self.0.matches(document)
    }
}

struct Parser<'a> {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    inputs: &'a Inputs,
}

impl Parser<'_> {
    fn alternatives(&mut self, fields: Fields) -> Result<Expression, String> {
        self.depth += 1;
        if self.depth > 32 {
            return Err("The predicate is nested too deeply".into());
        }
        let mut terms = vec![self.conjunction(fields)?];
        while self.word("or") {
            terms.push(self.conjunction(fields)?);
        }
        self.depth -= 1;
        Ok(Expression::Any(terms))
    }

    fn conjunction(&mut self, fields: Fields) -> Result<Expression, String> {
        let mut terms = vec![self.term(fields)?];
        while self.word("and") {
            terms.push(self.term(fields)?);
        }
        Ok(Expression::All(terms))
    }

    fn term(&mut self, fields: Fields) -> Result<Expression, String> {
        if self.peek() == Some(&Token::Open) {
            return self.parentheses(fields);
        }
        if self.peek() == Some(&Token::word("not")) && self.tokens.get(self.at + 1) == Some(&Token::Open) {
            self.at += 1;
            return Ok(Expression::Not(Box::new(self.parentheses(fields)?)));
        }
        let field = self.field(fields)?;
        if self.peek() == Some(&Token::Open) {
            let inner = fields::inside(&field);
            return Ok(Expression::Within(field, Box::new(self.parentheses(inner)?)));
        }
        self.test(field)
    }

    fn parentheses(&mut self, fields: Fields) -> Result<Expression, String> {
        self.expect(Token::Open)?;
        let inner = self.alternatives(fields)?;
        self.expect(Token::Close)?;
        Ok(inner)
    }

    fn field(&mut self, fields: Fields) -> Result<String, String> {
        let name = match self.next() {
            Some(Token::Word(name) | Token::Quoted(name)) => name,
            Some(token) => return Err(format!("Expected a field name, found {token}")),
            None => return Err("Expected a field name, found the end of the predicate".into()),
        };
        match fields {
            Some(known) if !known.contains(&name.as_str()) => Err(format!("The field '{name}' does not exist")),
            _ => Ok(name),
        }
    }

    /// What follows a field name: an operator and its values.
    fn test(&mut self, field: String) -> Result<Expression, String> {
        if let Some(Token::Operator(operator)) = self.peek().cloned() {
            self.at += 1;
            let literal = self.literal()?.fit(&field, operator != "=" && operator != "!=" && operator != "<>")?;
            return Ok(Expression::Compare(field, operator, literal));
        }
        if self.word("is") {
            let positive = !self.word("not");
            return match self.next() {
                Some(Token::Word(word)) if word == "defined" => Ok(Expression::Defined(field, positive)),
                Some(Token::Word(word)) if word == "empty" => Ok(Expression::Empty(field, positive)),
                _ => Err(format!("Expected 'defined' or 'empty' after '{field} is'")),
            };
        }
        if self.word("contains") {
            let all = self.word("all");
            if !all && !self.word("any") {
                return Err(format!("Expected 'any' or 'all' after '{field} contains'"));
            }
            return Ok(Expression::Contains(field, all, self.list()?));
        }
        let positive = !self.word("not");
        if self.word("in") {
            return Ok(Expression::In(field, positive, self.list()?));
        }
        Err(format!("Expected an operator after '{field}'"))
    }

    /// `("a", "b")`, `(:a, :b)` or `:many`.
    fn list(&mut self) -> Result<Vec<Literal>, String> {
        if let Some(Token::Input(_)) = self.peek() {
            return Ok(self.input()?.into_iter().map(Literal::Input).collect());
        }
        self.expect(Token::Open)?;
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Some(Token::Input(_)) => values.extend(self.input()?.into_iter().map(Literal::Input)),
                _ => values.push(self.literal()?),
            }
            match self.next() {
                Some(Token::Comma) => {}
                Some(Token::Close) => return Ok(values),
                _ => return Err("Expected ',' or ')' in a list of values".into()),
            }
        }
    }

    fn literal(&mut self) -> Result<Literal, String> {
        if let Some(Token::Input(name)) = self.peek().cloned() {
            let mut values = self.input()?;
            return match (values.pop(), values.is_empty()) {
                (Some(value), true) => Ok(Literal::Input(value)),
                _ => Err(format!("The input variable '{name}' must have exactly one value")),
            };
        }
        match self.next() {
            Some(Token::Text(text)) => Ok(Literal::Text(text)),
            Some(Token::Number(number)) => Ok(Literal::Number(number)),
            Some(Token::Word(word)) if word == "true" => Ok(Literal::Truth(true)),
            Some(Token::Word(word)) if word == "false" => Ok(Literal::Truth(false)),
            Some(token) => Err(format!("Expected a value, found {token}")),
            None => Err("Expected a value, found the end of the predicate".into()),
        }
    }

    fn input(&mut self) -> Result<Vec<String>, String> {
        let Some(Token::Input(name)) = self.next() else { return Err("Expected an input variable".into()) };
        self.inputs.get(&name).cloned().ok_or_else(|| format!("The input variable '{name}' has no value"))
    }

    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn word(&mut self, word: &str) -> bool {
        let hit = self.peek() == Some(&Token::word(word));
        self.at += usize::from(hit);
        hit
    }

    fn expect(&mut self, wanted: Token) -> Result<(), String> {
        match self.next() {
            Some(token) if token == wanted => Ok(()),
            Some(token) => Err(format!("Expected {wanted}, found {token}")),
            None => Err(format!("Expected {wanted}, found the end of the predicate")),
        }
    }
}

#[derive(Debug)]
enum Expression {
    Any(Vec<Expression>),
    All(Vec<Expression>),
    Not(Box<Expression>),
    /// `field(…)`: the nested object, or one element of the array, matches.
    Within(String, Box<Expression>),
    Compare(String, &'static str, Literal),
    /// `true` = `in`, `false` = `not in`.
    In(String, bool, Vec<Literal>),
    /// `true` = `contains all`, `false` = `contains any`.
    Contains(String, bool, Vec<Literal>),
    Defined(String, bool),
    Empty(String, bool),
}

impl Expression {
    fn matches(&self, document: &Value) -> bool {
        match self {
            Self::Any(terms) => terms.iter().any(|term| term.matches(document)),
            Self::All(terms) => terms.iter().all(|term| term.matches(document)),
            Self::Not(term) => !term.matches(document),
            Self::Within(field, inner) => match document.get(field) {
                Some(Value::Array(elements)) => elements.iter().any(|element| inner.matches(element)),
                Some(object @ Value::Object(_)) => inner.matches(object),
                _ => false,
            },
            Self::Compare(field, operator, literal) => {
                let order = document.get(field).and_then(|value| literal.order(field, value));
                order.is_some_and(|order| holds(operator, order))
            }
            Self::In(field, positive, literals) => document.get(field).is_some_and(|value| {
                let hit = literals.iter().any(|literal| literal.order(field, value) == Some(Ordering::Equal));
                hit == *positive
            }),
            Self::Contains(field, all, literals) => {
                let elements = document.get(field).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
                let held = |literal: &Literal| {
                    elements.iter().any(|element| literal.order(field, element) == Some(Ordering::Equal))
                };
                if *all { literals.iter().all(held) } else { literals.iter().any(held) }
            }
            Self::Defined(field, positive) => document.get(field).is_some_and(|value| !value.is_null()) == *positive,
            Self::Empty(field, positive) => {
                document.get(field).and_then(Value::as_array).is_none_or(Vec::is_empty) == *positive
            }
        }
    }
}

fn holds(operator: &str, order: Ordering) -> bool {
    match operator {
        "=" => order.is_eq(),
        "!=" | "<>" => order.is_ne(),
        "<" => order.is_lt(),
        ">" => order.is_gt(),
        "<=" => order.is_le(),
        _ => order.is_ge(),
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Literal {
    Text(String),
    Number(f64),
    Truth(bool),
    /// Value of an input variable: it takes the type of the field it meets.
    Input(String),
}

impl Literal {
    /// Refuses an instant or, for an order relation, an id that cannot be one.
    fn fit(self, field: &str, relation: bool) -> Result<Self, String> {
        if let Self::Text(text) | Self::Input(text) = &self {
            if is_instant(field) && parse_rfc3339(text).is_none() {
                return Err(format!("'{text}' is not a date and time, as '{field}' needs"));
            }
            if relation && field == "id" && id::layout(text).is_none() {
                return Err(format!("'{text}' is not an id"));
            }
        }
        Ok(self)
    }

    /// How the document's value stands to this literal; `None` if they cannot be compared.
    fn order(&self, field: &str, value: &Value) -> Option<Ordering> {
        match (self, value) {
            (Self::Text(text) | Self::Input(text), Value::String(value)) => Some(compare_texts(field, value, text)),
            (Self::Number(number), Value::Number(value)) => value.as_f64()?.partial_cmp(number),
            (Self::Input(text), Value::Number(value)) => value.as_f64()?.partial_cmp(&text.parse().ok()?),
            (Self::Truth(truth), Value::Bool(value)) => Some(value.cmp(truth)),
            (Self::Input(text), Value::Bool(value)) => Some(value.cmp(&text.parse().ok()?)),
            _ => None,
        }
    }
}

/// Ids by their binary layout, instants as instants, everything else as text.
pub(super) fn compare_texts(field: &str, left: &str, right: &str) -> Ordering {
    if field == "id" {
        return id::compare(left, right);
    }
    // Two instants in the platform's own form order as their text does.
    let canonical = |text: &str| text.len() == 24 && text.ends_with('Z');
    if is_instant(field) && !(canonical(left) && canonical(right)) {
        return parse_rfc3339(left).cmp(&parse_rfc3339(right));
    }
    left.cmp(right)
}

fn is_instant(field: &str) -> bool {
    matches!(
        field,
        "createdAt" | "lastModifiedAt" | "syncedAt" | "completedAt" | "timestamp" | "transitionDate" | "modifiedAt"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::simulator::commercetools::resource::resource;

    fn order() -> Value {
        json!({
            "id": "00010203-0405-4007-8009-0a0b0c0d0e0f",
            "version": 3,
            "orderNumber": "A \"7\"",
            "lastModifiedAt": "2026-06-15T10:00:02.000Z",
            "orderState": "Open",
            "syncInfo": [
                {"channel": {"typeId": "channel", "id": "c1"}, "externalId": "F-1"},
                {"channel": {"typeId": "channel", "id": "c2"}, "externalId": "F-2"}
            ],
            "paymentInfo": {"payments": [{"typeId": "payment", "id": "p1"}]},
            "lineItems": [],
            "custom": {"type": {"typeId": "type", "id": "t"}, "fields": {"my-field": true, "tags": ["a", "b"]}}
        })
    }

    fn parse(text: &str, inputs: &[(&str, &str)]) -> Result<Predicate, String> {
        let mut map = Inputs::new();
        for (name, value) in inputs {
            map.entry((*name).to_owned()).or_default().push((*value).to_owned());
        }
        Predicate::parse(text, &map, Some(resource("orders").unwrap().fields))
    }

    fn hits(text: &str) -> bool {
        parse(text, &[]).unwrap().matches(&order())
    }

    #[test]
    fn comparisons() {
        assert!(hits(r#"orderState = "Open""#));
        assert!(!hits(r#"orderState <> "Open""#));
        assert!(hits("version >= 3 and version < 4 and version != 5"));
        assert!(!hits(r#"version = "3""#), "a text never equals a number");
        assert!(hits(r#"orderNumber = "A \"7\"""#));
        assert!(!hits(r#"customerEmail != "x""#), "an absent field compares to nothing");
        assert!(hits(r#"orderState in ("Open", "Confirmed") and orderState not in ("Complete")"#));
    }

    #[test]
    fn and_binds_tighter_than_or_and_not_negates() {
        assert!(hits(r#"version = 3 or version = 4 and orderState = "Complete""#));
        assert!(!hits(r#"(version = 3 or version = 4) and orderState = "Complete""#));
        assert!(hits(r#"not(version = 4 or orderState = "Complete")"#));
    }

    #[test]
    fn instants_compare_as_instants() {
        assert!(hits(r#"lastModifiedAt = "2026-06-15T12:00:02+02:00""#));
        assert!(hits(r#"lastModifiedAt > "2026-06-15T10:00:01.999Z""#));
        assert!(parse(r#"lastModifiedAt > "yesterday""#, &[]).is_err());
    }

    #[test]
    fn ids_compare_by_layout() {
        assert!(hits(r#"id > "ff000000-0000-4000-8000-000000000000""#), "as text it would be lower");
        assert!(parse(r#"id > "7""#, &[]).is_err());
    }

    #[test]
    fn nested_objects_and_arrays() {
        assert!(hits(r#"syncInfo(externalId = "F-2")"#));
        assert!(hits(r#"syncInfo(externalId = "F-2" and channel(id = "c2"))"#));
        assert!(!hits(r#"syncInfo(externalId = "F-2" and channel(id = "c1"))"#), "one element must match both");
        assert!(hits(r#"paymentInfo(payments(id = "p1"))"#));
        assert!(hits("custom(fields(`my-field` = true and tags contains any (\"b\", \"z\")))"));
        assert!(!hits(r#"custom(fields(tags contains all ("b", "z")))"#));
    }

    #[test]
    fn defined_and_empty() {
        assert!(hits("orderNumber is defined and customerEmail is not defined"));
        assert!(hits("lineItems is empty and syncInfo is not empty"));
    }

    #[test]
    fn input_variables() {
        let text = "syncInfo(externalId = :id) and version = :v";
        assert!(parse(text, &[("id", "F-1"), ("v", "3")]).unwrap().matches(&order()));
        assert!(parse("orderState in :s", &[("s", "Open"), ("s", "Complete")]).unwrap().matches(&order()));
        assert!(parse("version = :v", &[]).is_err(), "no value");
        assert!(parse("version = :v", &[("v", "1"), ("v", "2")]).is_err(), "two values for one");
    }

    #[test]
    fn what_is_refused() {
        for text in [
            "",
            "orderState",
            "orderState = ",
            "orderState = Open",
            "orderState == \"Open\"",
            "orderState = 'Open'",
            "orderState = \"Open",
            "orderState = \"Open\" and",
            "(orderState = \"Open\"",
            "orderState = \"Open\")",
            "orderSate = \"Open\"",
            "syncInfo(externalID = \"F-1\")",
            "syncInfo.externalId = \"F-1\"",
            "orderState is known",
            "orderState in ()",
            "orderState contains (\"a\")",
            "not orderState = \"Open\"",
            "shippingAddress(city matches ignore case \"berlin\")",
        ] {
            assert!(parse(text, &[]).is_err(), "{text}");
        }
        assert!(parse(&"(".repeat(100), &[]).is_err());
    }
}
