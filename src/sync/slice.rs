//! Slices of an order update: what may have changed, and what each of them contributes.
//!
//! Every write to one commercetools Order is a message of one route and one subject. Its key starts
//! with the slice; the slices of all claimed messages are projected together.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use crate::commercetools::action::Action;
use crate::failure::Failure;
pub use crate::queue::Note;

/// A part of an Order that is written for one reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Slice {
    /// The link to the Fluent order.
    Link,
    /// All fulfilments.
    Fulfilment,
    /// The consignment with this id.
    Consignment(String),
    /// The return with this ref.
    Return(String),
    /// The states that follow the Fluent order status; last, so that their details are there before.
    Status,
}

impl Slice {
    /// The slice of a message key, `status@poll:ORDER:6469@2026-11-20T10:15:00.120Z`.
    pub fn of_key(key: &str) -> Result<Self, UnknownSlice> {
        key.split_once('@').map_or(key, |(slice, _)| slice).parse()
    }

    /// The slices of all claimed messages, each once.
    pub fn union<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<BTreeSet<Self>, UnknownSlice> {
        keys.into_iter().map(Self::of_key).collect()
    }
}

impl FromStr for Slice {
    type Err = UnknownSlice;
    fn from_str(text: &str) -> Result<Self, UnknownSlice> {
        match (text, text.split_once(':')) {
            ("link", _) => Ok(Self::Link),
            ("status", _) => Ok(Self::Status),
            ("fulfilment", _) => Ok(Self::Fulfilment),
            (_, Some(("consignment", id))) => Ok(Self::Consignment(id.to_owned())),
            (_, Some(("return", reference))) => Ok(Self::Return(reference.replace("%40", "@").replace("%25", "%"))),
            _ => Err(UnknownSlice(text.to_owned())),
        }
    }
}

impl fmt::Display for Slice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Link => f.write_str("link"),
            Self::Status => f.write_str("status"),
            Self::Fulfilment => f.write_str("fulfilment"),
            Self::Consignment(id) => write!(f, "consignment:{id}"),
            // A ref may hold the sign that ends the slice in a key.
            Self::Return(reference) => write!(f, "return:{}", reference.replace('%', "%25").replace('@', "%40")),
        }
    }
}

/// A message key that names no slice this version knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a slice of an order update")]
pub struct UnknownSlice(pub String);

/// What one slice wants: actions, notes, or to be refused.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    pub actions: Vec<Action>,
    pub notes: Vec<Note>,
    /// Set: the slice contributes no actions, and its messages end so.
    pub refusal: Option<Refusal>,
}

impl Part {
    /// A slice that cannot be written.
    pub fn refused(code: &'static str, failure: Failure) -> Self {
        Self { refusal: Some(Refusal { code, failure }), ..Self::default() }
    }
}

/// Why a slice is not written; the sentence is in the failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub code: &'static str,
    pub failure: Failure,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_keys_become_each_slice_once() {
        let keys = ["status@poll:ORDER:6469@2026-11-20T10:15:00.120Z", "link@ACME:3f0c2a10", "status@ACME:3f0c2a11"];
        assert_eq!(Slice::union(keys).unwrap(), BTreeSet::from([Slice::Link, Slice::Status]));
        assert_eq!(Slice::union(["consignment@ACME:1"]), Err(UnknownSlice("consignment".to_owned())));
        assert_eq!(Slice::union(["stat@ACME:1"]), Err(UnknownSlice("stat".to_owned())));
    }

    #[test]
    fn slices_read_back() {
        let (consignment, odd) = (Slice::Consignment("9001".to_owned()), Slice::Return("R@5:7 %40".to_owned()));
        for slice in [Slice::Link, Slice::Status, Slice::Fulfilment, consignment, odd.clone()] {
            assert_eq!(slice.to_string().parse(), Ok(slice));
        }
        assert_eq!(Slice::of_key(&format!("{odd}@poll:RETURN_ORDER:5100@2026-11-20T10:15:00.120Z")), Ok(odd));
    }
}
