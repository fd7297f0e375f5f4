//! Money of the simulated shop: integers of the smallest unit, rounded half to even.

use serde_json::{Value, json};

/// A `centPrecision` amount.
pub(super) fn money(currency: &str, cents: i64) -> Value {
    json!({
        "type": "centPrecision",
        "currencyCode": currency,
        "centAmount": cents,
        "fractionDigits": fraction_digits(currency),
    })
}

fn fraction_digits(currency: &str) -> u8 {
    match currency {
        "JPY" | "KRW" | "VND" | "CLP" | "ISK" => 0,
        "BHD" | "KWD" | "JOD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

/// A tax rate in hundredths of a percent: 1900 = 19 %.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub basis_points: i64,
    pub included: bool,
}

impl Rate {
    /// Net and gross of a price that includes the tax or not.
    pub fn split(self, cents: i64) -> Taxed {
        let whole = 10_000 + self.basis_points;
        match self.included {
            true => Taxed { net: half_even(cents * 10_000, whole), gross: cents },
            false => Taxed { net: cents, gross: cents + half_even(cents * self.basis_points, 10_000) },
        }
    }

    /// `taxRate` of a line item or a shipping info.
    pub fn document(self) -> Value {
        json!({
            "id": "tr-DE",
            "name": format!("{}% MwSt", self.basis_points as f64 / 100.0),
            "amount": self.share(),
            "includedInPrice": self.included,
            "country": "DE",
            "subRates": [],
        })
    }

    fn share(self) -> f64 {
        self.basis_points as f64 / 10_000.0
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Taxed {
    pub net: i64,
    pub gross: i64,
}

impl Taxed {
    pub fn plus(self, other: Self) -> Self {
        Self { net: self.net + other.net, gross: self.gross + other.gross }
    }

    pub fn minus(self, other: Self) -> Self {
        Self { net: self.net - other.net, gross: self.gross - other.gross }
    }

    /// `taxedPrice`.
    pub fn document(self, currency: &str, rate: Rate) -> Value {
        let tax = money(currency, self.gross - self.net);
        json!({
            "totalNet": money(currency, self.net),
            "totalGross": money(currency, self.gross),
            "taxPortions": [{"rate": rate.share(), "amount": tax, "name": "standard"}],
            "totalTax": tax,
        })
    }
}

/// `numerator / denominator` rounded half to even; the denominator is positive.
fn half_even(numerator: i64, denominator: i64) -> i64 {
    let (floor, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    match (2 * rest).cmp(&denominator) {
        std::cmp::Ordering::Less => floor,
        std::cmp::Ordering::Greater => floor + 1,
        std::cmp::Ordering::Equal => floor + floor.rem_euclid(2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_half_to_even() {
        assert_eq!([half_even(1, 2), half_even(3, 2), half_even(5, 2), half_even(-1, 2)], [0, 2, 2, 0]);
    }

    #[test]
    fn amounts_of_the_golden_orders() {
        let included = Rate { basis_points: 1900, included: true };
        assert_eq!(included.split(5398), Taxed { net: 4536, gross: 5398 });
        assert_eq!(included.split(495), Taxed { net: 416, gross: 495 });
        let added = Rate { basis_points: 800, included: false };
        assert_eq!(added.split(4500), Taxed { net: 4500, gross: 4860 });
    }
}
