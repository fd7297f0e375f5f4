//! The order in which commercetools sorts ids: by a binary layout of the UUID, not by its text
//! (platform-commercetools A2, "Ids sort by a binary layout").

use std::cmp::Ordering;

use uuid::Uuid;

/// Compares two ids the way the platform's database does; texts that are no UUIDs compare as text.
pub(super) fn compare(left: &str, right: &str) -> Ordering {
    match (layout(left), layout(right)) {
        (Some(left), Some(right)) => left.cmp(&right),
        _ => left.cmp(right),
    }
}

/// The stored bytes of a UUID: both halves are little-endian 64-bit numbers.
pub(super) fn layout(id: &str) -> Option<[u8; 16]> {
    let mut bytes = Uuid::parse_str(id).ok()?.into_bytes();
    bytes[..8].reverse();
    bytes[8..].reverse();
    Some(bytes)
}

/// The same id for the same name in every run: products and methods of the simulated shop.
pub(super) fn stable(name: &str) -> String {
    use md5::{Digest, Md5};
    uuid::Builder::from_md5_bytes(Md5::digest(name).into()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_the_documented_one() {
        let bytes = layout("00010203-0405-4007-8009-0a0b0c0d0e0f").unwrap();
        assert_eq!(bytes, [7, 0x40, 5, 4, 3, 2, 1, 0, 0xf, 0xe, 0xd, 0xc, 0xb, 0xa, 9, 0x80]);
    }

    #[test]
    fn order_differs_from_text_order() {
        let (low, high) = ("ff000000-0000-4000-8000-000000000000", "00000000-0000-4001-8000-000000000000");
        assert_eq!(compare(low, high), Ordering::Less);
        assert!(low > high);
    }
}
