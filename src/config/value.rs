//! The value types of configuration keys: durations, sizes, shares, rates, paces and secrets.
//!
//! Bare numbers are refused where a unit belongs: `60` says nothing, `60s` does
//! (`surfaces.md` 1.1).

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A duration written as text with a unit: `250ms`, `15s`, `5m`, `2h`, `30d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span(pub Duration);

/// A number of bytes written with a unit: `512B`, `64KiB`, `1MiB`, `2GiB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

/// A share written in percent: `40%`.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Share(pub f64);

/// A rate written per second or minute: `20/s`, `30/min`. Held as events per second.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rate(pub f64);

/// Addresses written as a network: `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    /// How many bits of it count.
    prefix: u32,
}

/// Requests per second: `auto` (learned) or a number.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Pace {
    Auto,
    Fixed(f64),
}

/// A century; keeps sums of times and durations far from the end of the numbers.
const LONGEST_DAYS: u32 = 36_500;
const LONGEST: f64 = LONGEST_DAYS as f64 * 86_400_000.0;

impl Span {
    /// Whole milliseconds.
    pub fn millis(self) -> i64 {
        self.0.as_millis() as i64
    }
}

impl FromStr for Span {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration; write it with a unit: 250ms, 15s, 5m, 2h or 30d");
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let millis = match unit {
            "ms" => number,
            "s" => number * 1_000.0,
            "m" => number * 60_000.0,
            "h" => number * 3_600_000.0,
            "d" => number * 86_400_000.0,
            _ => return Err(wrong()),
        };
        if millis > LONGEST {
            return Err(format!("{text:?} is longer than {LONGEST_DAYS}d"));
        }
        Ok(Self(Duration::from_millis(millis as u64)))
    }
}

impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size; write it with a unit: 512B, 64KiB, 1MiB or 2GiB");
        let (number, unit) = split(text).ok_or_else(wrong)?;
        let factor = match unit {
            "B" => 1.0,
            "KiB" => 1024.0,
            "MiB" => 1024.0 * 1024.0,
            "GiB" => 1024.0 * 1024.0 * 1024.0,
            _ => return Err(wrong()),
        };
        Ok(Self((number * factor) as u64))
    }
}

impl FromStr for Share {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match split(text) {
            Some((number, "%")) if (0.0..=100.0).contains(&number) => Ok(Self(number / 100.0)),
            _ => Err(format!("{text:?} is not a share; write it in percent: 40%")),
        }
    }
}

impl FromStr for Rate {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match split(text) {
            Some((number, "/s")) => Ok(Self(number)),
            Some((number, "/min")) => Ok(Self(number / 60.0)),
            _ => Err(format!("{text:?} is not a rate; write it per second or minute: 20/s, 30/min")),
        }
    }
}

impl Network {
    /// Is this address in it? An IPv4 address that is written as an IPv6 one is the same.
    pub fn contains(self, address: IpAddr) -> bool {
        let differs = match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => u128::from(own.to_bits() ^ other.to_bits()) << 96,
            (IpAddr::V6(own), IpAddr::V6(other)) => own.to_bits() ^ other.to_bits(),
            _ => return false,
        };
        differs.leading_zeros() >= self.prefix
    }
}

impl FromStr for Network {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('/').and_then(|(address, prefix)| {
            let (address, prefix): (IpAddr, u32) = (address.parse().ok()?, prefix.parse().ok()?);
            (prefix <= if address.is_ipv4() { 32 } else { 128 }).then_some(Self { address, prefix })
        });
        parsed.ok_or_else(|| format!("{text:?} is not a network; write it with a prefix: 10.0.0.0/8, fd00::/8"))
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl FromStr for Pace {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "auto" => Ok(Self::Auto),
            Ok(rate) if rate > 0.0 && f64::is_finite(rate) => Ok(Self::Fixed(rate)),
            _ => Err(format!("must be auto, or a number more than 0, not {text}")),
        }
    }
}

/// `"1.5h"` → `(1.5, "h")`.
fn split(text: &str) -> Option<(f64, &str)> {
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    Some((text[..at].parse().ok()?, &text[at..]))
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        match millis {
            0 => write!(f, "0s"),
            n if n % 86_400_000 == 0 => write!(f, "{}d", n / 86_400_000),
            n if n % 3_600_000 == 0 => write!(f, "{}h", n / 3_600_000),
            n if n % 60_000 == 0 => write!(f, "{}m", n / 60_000),
            n if n % 1_000 == 0 => write!(f, "{}s", n / 1_000),
            n => write!(f, "{n}ms"),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            n if n > 0 && n % (1 << 30) == 0 => write!(f, "{}GiB", n >> 30),
            n if n > 0 && n % (1 << 20) == 0 => write!(f, "{}MiB", n >> 20),
            n if n > 0 && n % (1 << 10) == 0 => write!(f, "{}KiB", n >> 10),
            n => write!(f, "{n}B"),
        }
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // 7% is held as 0.07, and 0.07 × 100 is a little more than 7.
        write!(f, "{}%", (self.0 * 1e8).round() / 1e6)
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", self.0)
    }
}

impl<'de> Deserialize<'de> for Pace {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(f64),
            Text(String),
        }
        let text = match Written::deserialize(deserializer)? {
            Written::Number(number) => number.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl Serialize for Pace {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Fixed(rate) => serializer.serialize_f64(*rate),
        }
    }
}

impl JsonSchema for Pace {
    fn schema_name() -> Cow<'static, str> {
        "Pace".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "anyOf": [{"const": "auto"}, {"type": "number", "exclusiveMinimum": 0}],
            "description": "auto, or requests per second",
            "x-value": "Pace"
        })
    }
}

/// Text forms share everything but their grammar.
macro_rules! text_value {
    ($($type:ident, $pattern:literal, $say:literal;)*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }
        impl JsonSchema for $type {
            fn schema_name() -> Cow<'static, str> {
                stringify!($type).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"type": "string", "pattern": $pattern, "description": $say, "x-value": stringify!($type)})
            }
        }
    )*};
}

text_value! {
    Span, r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$", "Duration with a unit: 250ms, 15s, 5m, 2h, 30d";
    Size, r"^[0-9]+(\.[0-9]+)?(B|KiB|MiB|GiB)$", "Size with a unit: 512B, 64KiB, 1MiB, 2GiB";
    Share, r"^[0-9]+(\.[0-9]+)?%$", "Share in percent: 40%";
    Rate, r"^[0-9]+(\.[0-9]+)?/(s|min)$", "Rate per second or minute: 20/s, 30/min";
    Network, r"^[0-9a-fA-F.:]+/[0-9]+$", "Network with a prefix: 10.0.0.0/8, fd00::/8";
}

/// Where a secret comes from (`surfaces.md` 1.2). It is read when it is needed, never kept in the
/// configuration, and has neither `Display` nor a `Debug` that shows it.
#[derive(Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
#[schemars(extend("x-value" = "Secret"))]
pub enum Secret {
    /// A credential handed over by systemd: `$CREDENTIALS_DIRECTORY/<name>`.
    Credential { credential: String },
    /// A file that neither group nor others may read.
    File { file: PathBuf },
    /// An environment variable.
    Env { env: String },
    /// A command without a shell, with a cleared environment except PATH and HOME; its output is kept for `keep`.
    Command { command: Vec<String>, timeout: Option<Span>, keep: Option<Span> },
    /// The value itself; only with `security.allow_literal_secrets`.
    Literal(String),
}

impl Serialize for Secret {
    /// The text of `Debug`: a configuration may be shown, its secrets never.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{self:?}"))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Credential { credential } => write!(f, "(secret: credential {credential})"),
            Self::File { file } => write!(f, "(secret: file {})", file.display()),
            Self::Env { env } => write!(f, "(secret: env {env})"),
            Self::Command { command, .. } => {
                write!(f, "(secret: command {})", command.first().map_or("", String::as_str))
            }
            Self::Literal(_) => write!(f, "(secret)"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_need_a_unit() {
        let millis = |text: &str| text.parse::<Span>().map(Span::millis);
        assert_eq!(millis("250ms"), Ok(250));
        assert_eq!(millis("1.5h"), Ok(5_400_000));
        assert_eq!(millis("30d"), Ok(2_592_000_000));
        for wrong in ["60", "s", "5 s", "-5s", "1e3s", "1.2.3s", "5S", "5min", "", "99999d"] {
            assert!(millis(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_shares_and_rates_need_theirs() {
        assert_eq!("64KiB".parse(), Ok(Size(65_536)));
        assert_eq!("1.5MiB".parse(), Ok(Size(1_572_864)));
        assert_eq!("40%".parse(), Ok(Share(0.4)));
        assert_eq!("30/min".parse(), Ok(Rate(0.5)));
        assert!("64KB".parse::<Size>().is_err() && "1024".parse::<Size>().is_err());
        assert!("0.4".parse::<Share>().is_err() && "101%".parse::<Share>().is_err());
        assert!("20".parse::<Rate>().is_err() && "20/h".parse::<Rate>().is_err());
    }

    #[test]
    fn a_pace_is_auto_or_a_positive_number() {
        assert_eq!("auto".parse(), Ok(Pace::Auto));
        assert_eq!("12.5".parse(), Ok(Pace::Fixed(12.5)));
        for wrong in ["0", "-1", "fast", "10/s", "inf", "NaN", ""] {
            assert!(wrong.parse::<Pace>().is_err(), "{wrong}");
        }
        for (json, pace) in [("\"auto\"", Pace::Auto), ("20", Pace::Fixed(20.0)), ("0.5", Pace::Fixed(0.5))] {
            let read: Pace = serde_json::from_str(json).unwrap();
            assert_eq!(read, pace);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_same(millis in 0_u64..3_000_000_000_000, bytes in 0_u64..1 << 50, percent in 0_u32..=100) {
            let span = Span(Duration::from_millis(millis));
            prop_assert_eq!(span.to_string().parse(), Ok(span));
            prop_assert_eq!(Size(bytes).to_string().parse(), Ok(Size(bytes)));
            prop_assert_eq!(Share(f64::from(percent) / 100.0).to_string(), format!("{percent}%"));
        }
    }
}
