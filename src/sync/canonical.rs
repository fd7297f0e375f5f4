//! The content hash: has what we would send changed since it was sent?
//!
//! SHA-256 of canonical JSON (`commercetools-to-fluent`, 1.3.5): keys sorted, no white space, numbers in
//! their shortest decimal form. Numbers are taken from their digits, so money is compared exactly.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::commercetools::model::Number;
use crate::fluent::input::Decimal;

/// 64 hex digits. Give it what is sent together with the configuration that shaped it, `(&input, &connection.order)`,
/// so that new configuration is new content.
pub fn canonical_hash(content: &impl Serialize) -> serde_json::Result<String> {
    let mut text = String::new();
    write(&serde_json::value::to_raw_value(content)?, &mut text)?;
    Ok(hex(&Sha256::digest(text)))
}

/// The digest in lower case hex.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn write(raw: &RawValue, text: &mut String) -> serde_json::Result<()> {
    let json = raw.get();
    match json.as_bytes().first() {
        Some(b'{') => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json)?;
            text.push('{');
            for (at, (name, value)) in members.into_iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                text.push_str(&serde_json::to_string(&name)?);
                text.push(':');
                write(value, text)?;
            }
            text.push('}');
        }
        Some(b'[') => {
            let values: Vec<&RawValue> = serde_json::from_str(json)?;
            text.push('[');
            for (at, value) in values.into_iter().enumerate() {
                text.push_str(if at == 0 { "" } else { "," });
                write(value, text)?;
            }
            text.push(']');
        }
        Some(b'-' | b'0'..=b'9') => match json.parse::<Number>() {
            Ok(number) => text.push_str(&Decimal::new(number.unscaled, number.scale).to_string()),
            // More digits than money has: a number of somebody's custom field, as it stands.
            Err(_) => text.push_str(json),
        },
        // Text is written anew, so that \u00fc and ü are the same.
        _ => text.push_str(&serde_json::to_string(&serde_json::from_str::<Value>(json)?)?),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(json: &str) -> String {
        let mut text = String::new();
        write(serde_json::from_str(json).unwrap(), &mut text).unwrap();
        text
    }

    #[test]
    fn form_does_not_count_content_does() {
        assert_eq!(
            canonical(r#" {"b" : [1.50, 2e1, -0.0], "a": {"y": null, "x": "\u00fc"} } "#),
            r#"{"a":{"x":"ü","y":null},"b":[1.5,20,0]}"#
        );
        let hash = |json: &str| canonical_hash(&serde_json::from_str::<Box<RawValue>>(json).unwrap()).unwrap();
        assert_eq!(hash(r#"{"a":1.0,"b":2}"#), hash(r#"{"b":2,"a":1}"#));
        assert_ne!(hash(r#"{"a":12345678901234567.89}"#), hash(r#"{"a":12345678901234567.88}"#));
        assert_eq!(hash("{}"), "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    }
}
