//! Money in integers: unscaled value, scale, currency. Never binary floating point.
//!
//! Every operation is checked: what does not fit is [`MoneyError::TooLarge`], never a wrong amount.
//! Rules: `commercetools-to-fluent`, 1.5.

use std::fmt;

use crate::commercetools::model::{Money, MoneyKind, Number};
use crate::failure::Failure;
use crate::fluent::input::Decimal;

/// `unscaled / 10^scale` of a currency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Amount {
    pub unscaled: i128,
    pub scale: u8,
    pub currency: Currency,
}

/// Three ASCII letters, upper case.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Currency([u8; 3]);

/// Why an amount cannot be used. Reads on after "Order 10001 ".
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    #[error("has an amount in {0}, a currency whose decimals are not known")]
    UnknownCurrency(String),
    #[error("has a high precision amount without its precise amount")]
    NotPrecise,
    #[error("mixes {0} and {1}")]
    Mixed(Currency, Currency),
    #[error("has an amount that is too large")]
    TooLarge,
    #[error("has a tax rate of -100 % or less")]
    TaxRate,
}

/// Most decimals an amount may have (`fractionDigits` of high precision money ends at 20).
const MAX_SCALE: u8 = 20;

impl Amount {
    /// Reads what commercetools sent: `centAmount`, or `preciseAmount` of high precision money, at its
    /// `fractionDigits`; where they are absent, at the digits of ISO 4217.
    pub fn read(money: &Money) -> Result<Self, MoneyError> {
        let unknown = || MoneyError::UnknownCurrency(money.currency_code.clone());
        let currency = Currency::parse(&money.currency_code).ok_or_else(unknown)?;
        let (unscaled, scale) = match money.kind {
            Some(MoneyKind::HighPrecision) => {
                (money.precise_amount.ok_or(MoneyError::NotPrecise)?, money.fraction_digits)
            }
            Some(MoneyKind::CentPrecision) | None => (money.cent_amount, money.fraction_digits),
        };
        let scale = scale.or_else(|| currency.digits()).ok_or_else(unknown)?;
        if scale > MAX_SCALE {
            return Err(MoneyError::TooLarge);
        }
        Ok(Self { unscaled: unscaled.into(), scale, currency })
    }

    /// The unscaled value at another, not smaller scale.
    pub fn at(self, scale: u8) -> Result<i128, MoneyError> {
        let up = scale.checked_sub(self.scale).ok_or(MoneyError::TooLarge)?;
        self.unscaled.checked_mul(power(up)?).ok_or(MoneyError::TooLarge)
    }

    /// This minus `other`, at the larger scale of both.
    pub fn minus(self, other: Self) -> Result<Self, MoneyError> {
        let scale = self.scale.max(other.scale);
        let unscaled = self.at(scale)?.checked_sub(other.at(scale)?).ok_or(MoneyError::TooLarge)?;
        Ok(Self { unscaled, scale, currency: self.currency })
    }

    /// The amount without the tax it includes: divided by 1 + rate. Rounded half-even to `decimals`, unless the rate
    /// is zero.
    pub fn without_tax(self, rate: Number, decimals: u8) -> Result<Decimal, MoneyError> {
        if rate.unscaled == 0 {
            return Ok(self.decimal());
        }
        let one = power(rate.scale)?;
        let whole = one.checked_add(rate.unscaled).filter(|whole| *whole > 0).ok_or(MoneyError::TaxRate)?;
        let numerator = self.unscaled.checked_mul(one).ok_or(MoneyError::TooLarge)?;
        divide(numerator, self.scale, whole, decimals)
    }

    /// The amount with tax on top: times 1 + rate, exact.
    pub fn with_tax(self, rate: Number) -> Result<Decimal, MoneyError> {
        let whole = power(rate.scale)?.checked_add(rate.unscaled).ok_or(MoneyError::TooLarge)?;
        let unscaled = self.unscaled.checked_mul(whole).ok_or(MoneyError::TooLarge)?;
        Ok(Decimal::new(unscaled, self.scale.checked_add(rate.scale).ok_or(MoneyError::TooLarge)?))
    }

    /// The amount as Fluent gets it.
    pub fn decimal(self) -> Decimal {
        Decimal::new(self.unscaled, self.scale)
    }

    /// The amount for people, with all its decimals: `12.50`.
    pub fn written(self) -> String {
        let scale = usize::from(self.scale);
        let sign = if self.unscaled < 0 { "-" } else { "" };
        let digits = format!("{:0>width$}", self.unscaled.unsigned_abs(), width = scale + 1);
        let (whole, fraction) = digits.split_at(digits.len() - scale);
        let point = if scale == 0 { "" } else { "." };
        format!("{sign}{whole}{point}{fraction}")
    }

    /// `(scale, unscaledValue)` of a Fluent transaction: two GraphQL `Int`, so only what fits 32 bits.
    pub fn in_32_bits(self) -> Option<(i32, i32)> {
        Some((self.scale.into(), i32::try_from(self.unscaled).ok()?))
    }
}

impl Currency {
    /// `EUR`; `None` unless it is three upper case ASCII letters.
    pub fn parse(code: &str) -> Option<Self> {
        let letters: [u8; 3] = code.as_bytes().try_into().ok()?;
        letters.iter().all(u8::is_ascii_uppercase).then_some(Self(letters))
    }

    /// Decimals of ISO 4217; only for amounts that do not say theirs. `None` = not a currency of the list.
    pub fn digits(self) -> Option<u8> {
        let code = self.to_string();
        let known = |list: &str| list.split(' ').any(|listed| listed == code);
        match () {
            () if known(DIGITS_2) => Some(2),
            () if known(DIGITS_0) => Some(0),
            () if known(DIGITS_3) => Some(3),
            () if known(DIGITS_4) => Some(4),
            () => None,
        }
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl MoneyError {
    /// "Order 10001 mixes EUR and USD.": a person has to look at it.
    pub fn reject(self, subject: &str) -> Failure {
        Failure::rejected(format!("{subject} {self}."))
    }
}

/// `numerator / 10^scale / denominator`, rounded half-even to `decimals`. The denominator must be positive.
pub fn divide(numerator: i128, scale: u8, denominator: i128, decimals: u8) -> Result<Decimal, MoneyError> {
    let (numerator, denominator) = if decimals >= scale {
        (numerator.checked_mul(power(decimals - scale)?), Some(denominator))
    } else {
        (Some(numerator), denominator.checked_mul(power(scale - decimals)?))
    };
    let (numerator, denominator) = numerator.zip(denominator).ok_or(MoneyError::TooLarge)?;
    let quotient = half_even(numerator, denominator).ok_or(MoneyError::TooLarge)?;
    Ok(Decimal::new(quotient, decimals))
}

/// Rounds to the nearest integer, a tie to the even one. `None` if the denominator is not positive.
fn half_even(numerator: i128, denominator: i128) -> Option<i128> {
    if denominator <= 0 {
        return None;
    }
    let (floor, rest) = (numerator.div_euclid(denominator), numerator.rem_euclid(denominator));
    // `rest` lies in 0..denominator, so the subtraction cannot overflow where doubling could.
    let up = match rest.cmp(&(denominator - rest)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => floor % 2 != 0,
        std::cmp::Ordering::Greater => true,
    };
    Some(floor + i128::from(up))
}

/// Spreads `total` over rows by weight: the floor of each share, what remains to the largest remainders; ties go to
/// the larger weight, then to the earlier row. The shares add up to `total`.
///
/// Rows of weight 0 or less get nothing. With no positive weight at all, nothing can be spread: all shares are 0.
pub fn allocate(total: i128, weights: &[i128]) -> Result<Vec<i128>, MoneyError> {
    let weights: Vec<i128> = weights.iter().map(|weight| (*weight).max(0)).collect();
    let sum = weights.iter().try_fold(0i128, |sum, weight| sum.checked_add(*weight)).ok_or(MoneyError::TooLarge)?;
    if sum == 0 {
        return Ok(vec![0; weights.len()]);
    }
    let (sign, amount) = (total.signum(), total.checked_abs().ok_or(MoneyError::TooLarge)?);
    let parts = weights.iter().map(|weight| amount.checked_mul(*weight).ok_or(MoneyError::TooLarge));
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    let mut shares: Vec<i128> = parts.iter().map(|part| part / sum).collect();
    let left = amount - shares.iter().sum::<i128>();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by_key(|row| (-(parts[*row] % sum), -weights[*row], *row));
    // Fewer units are left than rows have a remainder.
    for row in order.into_iter().take(usize::try_from(left).unwrap_or(0)) {
        shares[row] += 1;
    }
    Ok(shares.into_iter().map(|share| share * sign).collect())
}

/// 10 to the `exponent`.
pub fn power(exponent: u8) -> Result<i128, MoneyError> {
    10i128.checked_pow(exponent.into()).ok_or(MoneyError::TooLarge)
}

/// ISO 4217, active codes by number of decimals.
const DIGITS_0: &str = "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF";
const DIGITS_3: &str = "BHD IQD JOD KWD LYD OMR TND";
const DIGITS_4: &str = "CLF UYW";
const DIGITS_2: &str = "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BMD BND BOB BOV BRL BSD BTN BWP BYN BZD \
    CAD CDF CHE CHF CHW CNY COP COU CRC CUC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ \
    GYD HKD HNL HRK HTG HUF IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT \
    MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR \
    SDG SEK SGD SHP SLE SLL SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES \
    WST XCD XCG YER ZAR ZMW ZWG ZWL";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(money: serde_json::Value) -> Result<Amount, MoneyError> {
        Amount::read(&serde_json::from_value(money).unwrap())
    }

    #[test]
    fn the_digits_come_from_the_amount_and_only_else_from_the_table() {
        let scale = |money| read(money).map(|amount| (amount.unscaled, amount.scale));
        let digits = json!({"currencyCode": "EUR", "centAmount": 5, "fractionDigits": 3});
        assert_eq!(scale(digits), Ok((5, 3)));
        assert_eq!(scale(json!({"currencyCode": "JPY", "centAmount": 5})), Ok((5, 0)));
        assert_eq!(scale(json!({"currencyCode": "KWD", "centAmount": 5})), Ok((5, 3)));
        let precise = json!({"type": "highPrecision", "currencyCode": "USD", "centAmount": 123, "preciseAmount": 12345,
                   "fractionDigits": 4});
        assert_eq!(scale(precise), Ok((12345, 4)));
        let unknown = scale(json!({"currencyCode": "QQQ", "centAmount": 5})).unwrap_err();
        assert_eq!(
            unknown.reject("Order 1").to_string(),
            "Order 1 has an amount in QQQ, a currency whose decimals are not known."
        );
        let known = scale(json!({"currencyCode": "QQQ", "centAmount": 5, "fractionDigits": 1}));
        assert_eq!(known, Ok((5, 1)), "fractionDigits are enough");
        let missing = json!({"type": "highPrecision", "currencyCode": "USD", "centAmount": 1, "fractionDigits": 4});
        assert_eq!(scale(missing), Err(MoneyError::NotPrecise));
    }

    #[test]
    fn tax_is_taken_out_by_division_and_put_on_exactly() {
        let price = read(json!({"currencyCode": "EUR", "centAmount": 2999, "fractionDigits": 2})).unwrap();
        let rate = "0.19".parse().unwrap();
        assert_eq!(price.without_tax(rate, 4).unwrap().to_string(), "25.2017");
        assert_eq!(price.with_tax(rate).unwrap().to_string(), "35.6881");
        assert_eq!(price.without_tax("0".parse().unwrap(), 0).unwrap().to_string(), "29.99");
        assert_eq!(price.without_tax("-1".parse().unwrap(), 4), Err(MoneyError::TaxRate));
    }

    #[test]
    fn ties_are_rounded_to_the_even_neighbour() {
        let rounded = |numerator, denominator| half_even(numerator, denominator).unwrap();
        assert_eq!([rounded(5, 2), rounded(7, 2), rounded(-5, 2), rounded(-7, 2)], [2, 4, -2, -4]);
        assert_eq!([rounded(8, 3), rounded(7, 3), rounded(-8, 3)], [3, 2, -3]);
        assert_eq!(half_even(1, 0), None);
        assert_eq!(divide(1, 2, 8, 4).unwrap().to_string(), "0.0012");
        assert_eq!(divide(123_456, 5, 1, 2).unwrap().to_string(), "1.23");
    }

    #[test]
    fn remainders_go_to_the_largest_then_to_the_larger_weight_then_to_the_earlier_row() {
        assert_eq!(allocate(414, &[5040, 416]).unwrap(), [382, 32]);
        assert_eq!(allocate(79, &[958, 79]).unwrap(), [73, 6]);
        assert_eq!(allocate(1, &[1, 3]).unwrap(), [0, 1], "larger remainder");
        assert_eq!(allocate(1, &[5, 5]).unwrap(), [1, 0], "earlier row");
        assert_eq!(allocate(3, &[1, 1, 4]).unwrap(), [1, 0, 2], "1/2, 1/2 and 2");
        assert_eq!(allocate(2, &[1, 3]).unwrap(), [0, 2], "0.5 and 1.5: the larger weight");
        assert_eq!(allocate(-7, &[1, 1]).unwrap(), [-4, -3]);
        assert_eq!(allocate(5, &[0, -3]).unwrap(), [0, 0]);
        assert_eq!(allocate(i128::MAX, &[2, 3]), Err(MoneyError::TooLarge));
    }

    #[test]
    fn people_see_all_decimals() {
        let written = |unscaled, scale| Amount { unscaled, scale, currency: Currency::parse("EUR").unwrap() }.written();
        assert_eq!([written(1250, 2), written(-5, 2), written(500, 0)], ["12.50", "-0.05", "500"]);
    }

    #[test]
    fn only_32_bits_go_into_scale_and_unscaled_value() {
        let amount = |unscaled| Amount { unscaled, scale: 2, currency: Currency::parse("EUR").unwrap() };
        assert_eq!(amount(i32::MAX.into()).in_32_bits(), Some((2, i32::MAX)));
        assert_eq!(amount(i128::from(i32::MAX) + 1).in_32_bits(), None);
    }

    proptest! {
        #[test]
        fn shares_add_up_and_differ_from_the_exact_share_by_less_than_one(
            total in -1_000_000_000i64..1_000_000_000, weights in prop::collection::vec(-100i64..1_000_000, 0..12)
        ) {
            let weights: Vec<i128> = weights.into_iter().map(i128::from).collect();
            let total = i128::from(total);
            let shares = allocate(total, &weights).unwrap();
            let sum: i128 = weights.iter().map(|weight| (*weight).max(0)).sum();
            prop_assert_eq!(shares.iter().sum::<i128>(), if sum == 0 { 0 } else { total });
            for (share, weight) in shares.iter().zip(&weights) {
                prop_assert!((share * sum - total * (*weight).max(0)).abs() < sum.max(1));
            }
        }

        #[test]
        fn rounding_is_never_off_by_more_than_half(numerator: i64, denominator in 1i64..) {
            let (numerator, denominator) = (i128::from(numerator), i128::from(denominator));
            let rounded = half_even(numerator, denominator).unwrap();
            prop_assert!((2 * (rounded * denominator - numerator)).abs() <= denominator);
        }
    }
}
