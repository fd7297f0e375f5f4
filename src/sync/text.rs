//! Texts between the platforms: which language, how long, and which form of a phone number.
//!
//! Limits count Unicode code points. Text that describes is cut and counted; text that identifies is
//! never cut. Rules: `commercetools-to-fluent`, 1.6 and 15.6.

use std::collections::BTreeMap;

use crate::commercetools::model::Localized;

/// What a mapping had to leave out; goes to the log and to `text_cut_total`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Fluent field → how many of its values were cut or left out for their length.
    pub cuts: BTreeMap<&'static str, u64>,
    /// Sentences for the operator.
    pub sentences: Vec<String>,
}

impl Notes {
    /// A descriptive text of at most `limit` characters; what is over is cut off and counted. Blank = absent.
    pub fn cut(&mut self, field: &'static str, text: Option<&str>, limit: usize) -> Option<String> {
        let text = present(text)?;
        match text.char_indices().nth(limit) {
            None => Some(text.to_owned()),
            Some((end, _)) => {
                self.count(field);
                Some(text[..end].to_owned())
            }
        }
    }

    /// A phone number as Fluent takes it, or nothing.
    ///
    /// One with `(0)` or of more than 20 characters loses the `(0)` and keeps a leading `+` and its digits. What is
    /// still too long is left out and counted.
    pub fn phone(&mut self, text: Option<&str>) -> Option<String> {
        let text = present(text)?;
        if !text.contains("(0)") && fits(text, PHONE) {
            return Some(text.to_owned());
        }
        let text = text.trim().replace("(0)", "");
        let plus = text.starts_with('+').then_some('+');
        let digits: String = plus.into_iter().chain(text.chars().filter(char::is_ascii_digit)).collect();
        if !fits(&digits, PHONE) {
            self.count("primaryPhone");
            return None;
        }
        digits.contains(|character: char| character.is_ascii_digit()).then_some(digits)
    }

    /// Says something to the operator.
    pub fn say(&mut self, sentence: impl Into<String>) {
        self.sentences.push(sentence.into());
    }

    /// Counts a value that was left out for its length.
    pub fn left_out(&mut self, field: &'static str) {
        self.count(field);
    }

    fn count(&mut self, field: &'static str) {
        *self.cuts.entry(field).or_default() += 1;
    }
}

/// Longest `primaryPhone`.
const PHONE: usize = 20;

/// Has the text at most `limit` characters?
pub fn fits(text: &str, limit: usize) -> bool {
    text.chars().nth(limit).is_none()
}

/// Fills the `{tokens}` of a pattern in one pass, so that what is filled in is never read as a token. A token without
/// value stays as it is written.
pub fn fill(pattern: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        match rest.find('}').and_then(|end| Some((value(&rest[1..end])?, end))) {
            Some((value, end)) => {
                filled.push_str(&value);
                rest = &rest[end + 1..];
            }
            None => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled + rest
}

/// A text that is not blank.
pub fn present(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.trim().is_empty())
}

/// The text in the best language of the chain: exact tag, its language alone, another variant of that language; then
/// the next tag. After the chain the first text in tag order. Blank texts do not count.
pub fn localized<'a>(texts: &'a Localized, chain: &[&str]) -> Option<&'a str> {
    let found = |fits: &dyn Fn(&str) -> bool| {
        texts.iter().filter(|(tag, _)| fits(tag)).find_map(|(_, text)| present(Some(text)))
    };
    for wanted in chain {
        let language = language(wanted);
        let text = found(&|tag| tag.eq_ignore_ascii_case(wanted))
            .or_else(|| found(&|tag| tag.eq_ignore_ascii_case(language)))
            .or_else(|| found(&|tag| self::language(tag).eq_ignore_ascii_case(language)));
        if text.is_some() {
            return text;
        }
    }
    found(&|_| true)
}

fn language(tag: &str) -> &str {
    tag.split_once('-').map_or(tag, |(language, _)| language)
}

/// A catalogue text without mark-up: tags removed, entities decoded, white space collapsed, control characters dropped.
pub fn clean(text: &str) -> String {
    let decoded = decode(&without_tags(text));
    let visible: String =
        decoded.chars().filter(|character| character.is_whitespace() || !character.is_control()).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Removes `<p>`, `</p>`, `<!-- … -->`; a `<` that opens no tag stays.
fn without_tags(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('<') {
        kept.push_str(&rest[..open]);
        let tag = &rest[open..];
        let opens = tag[1..].starts_with(|next: char| next.is_ascii_alphabetic() || matches!(next, '/' | '!' | '?'));
        let end =
            if tag.starts_with("<!--") { tag.find("-->").map(|at| at + 3) } else { tag.find('>').map(|at| at + 1) };
        match end.filter(|_| opens) {
            Some(end) => {
                // Words of two paragraphs must not grow together; runs of white space collapse later.
                kept.push(' ');
                rest = &tag[end..];
            }
            None => {
                kept.push('<');
                rest = &tag[1..];
            }
        }
    }
    kept + rest
}

/// Decodes the XML entities, `&nbsp;` and numeric ones; leaves what it does not know.
fn decode(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find('&') {
        kept.push_str(&rest[..open]);
        rest = &rest[open..];
        let end = rest.bytes().take(LONGEST_ENTITY).position(|byte| byte == b';');
        match end.and_then(|end| Some((entity(&rest[1..end])?, end))) {
            Some((character, end)) => {
                kept.push(character);
                rest = &rest[end + 1..];
            }
            None => {
                kept.push('&');
                rest = &rest[1..];
            }
        }
    }
    kept + rest
}

/// `&#x10FFFF;`
const LONGEST_ENTITY: usize = 10;

fn entity(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some(' '),
        _ => {
            let number = name.strip_prefix('#')?;
            let code = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => number.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_text_is_cut_at_a_character_and_counted() {
        let mut notes = Notes::default();
        assert_eq!(notes.cut("name", Some("Grüße"), 4).as_deref(), Some("Grüß"));
        assert_eq!(notes.cut("name", Some("Grüße"), 5).as_deref(), Some("Grüße"));
        assert_eq!(notes.cut("name", Some(" "), 5), None);
        assert_eq!(notes.cuts, BTreeMap::from([("name", 1)]));
    }

    #[test]
    fn phone_numbers_lose_only_what_does_not_fit() {
        let mut notes = Notes::default();
        let mut phone = |text| notes.phone(Some(text));
        assert_eq!(phone("+43 1 555 01").as_deref(), Some("+43 1 555 01"));
        assert_eq!(phone("+49 (0)151 2345-6789").as_deref(), Some("+4915123456789"));
        assert_eq!(phone("0049 (151) 2345-6789-0").as_deref(), Some("0049151234567890"));
        assert_eq!(phone("please call me by e-mail"), None);
        assert_eq!(phone(""), None);
        assert_eq!(phone("+1234567890123456789012"), None);
        assert_eq!(notes.cuts, BTreeMap::from([("primaryPhone", 1)]));
    }

    #[test]
    fn a_pattern_is_filled_in_one_pass() {
        let value = |token: &str| match token {
            "type" => Some("{id}".to_owned()),
            "id" => Some("7".to_owned()),
            _ => None,
        };
        assert_eq!(fill("{type}_{id}", value), "{id}_7");
        assert_eq!(fill("{unknown} {id {id}", value), "{unknown} {id 7");
    }

    #[test]
    fn the_language_is_found_exactly_then_alone_then_as_a_variant() {
        let texts = |list: &[(&str, &str)]| -> Localized {
            list.iter().map(|(tag, text)| ((*tag).into(), (*text).into())).collect()
        };
        let three = texts(&[("de", "Hemd"), ("de-AT", "Leiberl"), ("en-US", "Shirt")]);
        assert_eq!(localized(&three, &["DE-at"]), Some("Leiberl"));
        assert_eq!(localized(&three, &["de-CH"]), Some("Hemd"));
        assert_eq!(localized(&three, &["en-GB", "de"]), Some("Shirt"));
        assert_eq!(localized(&three, &["fr", "en"]), Some("Shirt"));
        assert_eq!(localized(&three, &[]), Some("Hemd"));
        assert_eq!(localized(&texts(&[("de", " "), ("en", "Shirt")]), &["de"]), Some("Shirt"));
        assert_eq!(localized(&texts(&[]), &["de"]), None);
    }

    #[test]
    fn catalogue_texts_lose_their_mark_up() {
        assert_eq!(clean("<p>Everything   for women.</p>"), "Everything for women.");
        assert_eq!(clean("<p>One</p><p class=\"a\">Two</p><!-- <b> -->"), "One Two");
        assert_eq!(
            clean("Salt &amp; pepper &lt;b&gt; &#8364;5 &unknown; & 1 < 2"),
            "Salt & pepper <b> €5 &unknown; & 1 < 2"
        );
        assert_eq!(clean("a\u{0007}b\n\tc"), "ab c");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text: String, limit in 0usize..30) {
            let mut notes = Notes::default();
            if let Some(cut) = notes.cut("name", Some(&text), limit) {
                prop_assert!(text.starts_with(&cut) && fits(&cut, limit));
            }
            if let Some(phone) = notes.phone(Some(&text)) {
                prop_assert!(fits(&phone, PHONE));
            }
            let cleaned = clean(&text);
            prop_assert_eq!(cleaned.trim(), &cleaned);
        }
    }
}
