//! Keys of commercetools made from refs of Fluent (F 1.10).

use sha2::{Digest, Sha256};

use super::canonical::hex;

/// Longest key of commercetools, and where one that would be longer is cut.
const LONGEST: usize = 256;
const CUT: usize = 239;

/// The key of a ref: what a key cannot have is written as `_xHH`. Two refs have two keys.
pub fn key_of(reference: &str) -> String {
    let mut key = String::with_capacity(reference.len());
    for (at, byte) in reference.bytes().enumerate() {
        match byte {
            // What would read as an escape is escaped itself.
            b'_' if is_escape(&reference.as_bytes()[at + 1..]) => key.push_str("_x5F"),
            b'_' | b'-' | b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' => key.push(char::from(byte)),
            other => key.push_str(&format!("_x{other:02X}")),
        }
    }
    if key.len() == 1 {
        key.push('_');
    }
    fitting(key, reference)
}

/// A key as it is, or cut so that it fits, with a part of the hash of `whole`.
pub fn fitting(mut key: String, whole: &str) -> String {
    if key.len() > LONGEST {
        key.truncate(CUT);
        key.push('_');
        key.push_str(&hex(&Sha256::digest(whole))[..16]);
    }
    key
}

fn is_escape(rest: &[u8]) -> bool {
    let hex = |byte: &u8| byte.is_ascii_digit() || (b'A'..=b'F').contains(byte);
    matches!(rest, [b'x', high, low, ..] if hex(high) && hex(low))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keys_have_letters_digits_underscores_and_dashes() {
        assert_eq!(key_of("STORE_SYD-1"), "STORE_SYD-1");
        assert_eq!(key_of("WH MEL/1"), "WH_x20MEL_x2F1");
        assert_eq!(key_of("ü"), "_xC3_xBC");
        assert_eq!(key_of("a_x20b"), "a_x5Fx20b");
        assert_eq!(key_of("7"), "7_");
        let long = key_of(&"x".repeat(300));
        assert_eq!((long.len(), &long[..240]), (256, format!("{}_", "x".repeat(239)).as_str()));
        assert_ne!(long, key_of(&"x".repeat(301)));
    }

    proptest! {
        #[test]
        fn two_refs_have_two_keys(one in "[a-zA-Z0-9_x /ü-]{2,12}", other in "[a-zA-Z0-9_x /ü-]{2,12}") {
            prop_assert_eq!(one == other, key_of(&one) == key_of(&other));
        }
    }
}
