//! What an order and its rows cost, in integer minor units (`commercetools-to-fluent`, 5.5).
//!
//! Rows are the line items (each part of a split one), the custom line items and shipping, in this
//! order. Totals are copied or allocated and therefore exact; only prices of one are rounded.

use super::delivery::{Deliveries, Part};
use super::label;
use crate::commercetools::model::{LineItem, Money, Order, TaxRate, TaxedPrice};
use crate::config::model::{Connection, PriceBasis, TotalCheck, TotalDiscount};
use crate::failure::Failure;
use crate::fluent::input::Decimal;
use crate::sync::money::{Amount, Currency, MoneyError, allocate, divide, power};
use crate::sync::text::Notes;

/// The amounts of an order, checked to add up.
#[derive(Clone, Debug)]
pub struct Amounts {
    pub currency: Currency,
    /// Of all integers here.
    scale: u8,
    /// Decimals of the currency.
    digits: u8,
    /// Decimals a divided price of one keeps.
    unit_scale: u8,
    basis: PriceBasis,
    total: Row,
    rows: Vec<Row>,
    /// Where the rows of each line item begin.
    lines: Vec<usize>,
    /// Where those of custom line items begin.
    custom_lines: usize,
    /// The rows of shipping, and whose price each is.
    shipping: Vec<(usize, usize)>,
    /// The discount on the total price, where it stays outside the rows.
    discount: Option<Row>,
    /// Order minus rows, net.
    difference: i128,
}

/// Net price and tax; an unknown tax is not zero.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    net: i128,
    tax: Option<i128>,
}

impl Amounts {
    /// Reads all amounts of an order, spreads its total discount and checks the sums.
    ///
    /// # Errors
    /// Rejected if currencies are mixed or unknown, the total is negative, or the rows do not add up.
    pub fn read(
        order: &Order,
        deliveries: &Deliveries<'_>,
        connection: &Connection,
        notes: &mut Notes,
    ) -> Result<Self, Failure> {
        let subject = format!("Order {}", label(order));
        let rules = &connection.order;
        let mut amounts = Self::collect(order, deliveries, connection).map_err(|error| error.reject(&subject))?;
        if amounts.discount.is_some() && rules.total_discount == TotalDiscount::Distribute {
            amounts.spread_discount().map_err(|error| error.reject(&subject))?;
        }
        if amounts.in_basis(amounts.total) < 0 {
            return Err(Failure::rejected(format!("{subject} has a negative total.")));
        }
        if rules.total_check != TotalCheck::Off {
            let complaint = amounts.check(&subject).map_err(|error| error.reject(&subject))?;
            match (complaint, rules.total_check) {
                (Some(complaint), TotalCheck::Reject) => return Err(Failure::rejected(complaint)),
                (Some(complaint), _) => notes.say(complaint),
                (None, _) => {}
            }
        }
        Ok(amounts)
    }

    /// Everything as commercetools says it, at one scale.
    fn collect(order: &Order, deliveries: &Deliveries<'_>, connection: &Connection) -> Result<Self, MoneyError> {
        let whole = Amount::read(&order.total_price)?;
        let read = Reader { currency: whole.currency, untaxed: order.tax_mode.as_deref() == Some("Disabled") };
        let total = read.taxed(order.taxed_price.as_ref(), &order.total_price)?;
        let discount = read.discount(order)?;
        let (mut rows, mut lines, mut shipping) = (vec![], vec![], vec![]);
        for (line, parts) in order.line_items.iter().zip(&deliveries.lines) {
            lines.push(rows.len());
            rows.extend(read.parts(line, parts, deliveries)?);
        }
        let custom_lines = rows.len();
        for line in &order.custom_line_items {
            rows.push(read.taxed(line.taxed_price.as_ref(), &line.total_price)?);
        }
        for (info, group) in &deliveries.shipping {
            let price = info.discounted_price.as_ref().map_or(&info.price, |discounted| &discounted.value);
            shipping.push((rows.len(), *group));
            rows.push(read.taxed(info.taxed_price.as_ref(), price)?);
        }
        let scales = rows.iter().chain([&total]).chain(&discount).flat_map(|(net, tax)| [Some(*net), *tax]);
        let scale = scales.flatten().map(|amount| amount.scale).fold(whole.scale, u8::max);
        let row = |(net, tax): (Amount, Option<Amount>)| -> Result<Row, MoneyError> {
            let value = |amount: Amount| match amount.at(scale)? {
                value if value.abs() <= LARGEST => Ok(value),
                _ => Err(MoneyError::TooLarge),
            };
            Ok(Row { net: value(net)?, tax: tax.map(value).transpose()? })
        };
        Ok(Self {
            currency: whole.currency,
            scale,
            digits: whole.scale,
            unit_scale: u8::try_from(connection.money.unit_scale).unwrap_or(u8::MAX).max(whole.scale),
            basis: connection.order.price_basis,
            total: row(total)?,
            rows: rows.into_iter().map(row).collect::<Result<_, _>>()?,
            lines,
            custom_lines,
            shipping,
            discount: discount.map(row).transpose()?,
            difference: 0,
        })
    }

    /// Takes the total discount out of the rows: net by net price, tax by tax.
    fn spread_discount(&mut self) -> Result<(), MoneyError> {
        let Some(discount) = self.discount.take() else { return Ok(()) };
        let nets: Vec<i128> = self.rows.iter().map(|row| row.net).collect();
        let taxes: Vec<i128> = self.rows.iter().map(|row| row.tax.unwrap_or(0)).collect();
        let net_shares = allocate(discount.net, &nets)?;
        let tax_shares = allocate(discount.tax.unwrap_or(0), &taxes)?;
        for ((row, net), tax) in self.rows.iter_mut().zip(net_shares).zip(tax_shares) {
            row.net -= net;
            row.tax = row.tax.map(|has| has - tax);
        }
        Ok(())
    }

    /// Compares rows and order, net and tax, to one minor unit per row, and remembers the net difference. Answers what
    /// is wrong. Tax is compared where all of it is known.
    fn check(&mut self, subject: &str) -> Result<Option<String>, MoneyError> {
        let kept = self.discount.unwrap_or(Row { net: 0, tax: Some(0) });
        let net = sum(self.rows.iter().map(|row| row.net), kept.net)?;
        let taxes: Option<Vec<i128>> = self.rows.iter().map(|row| row.tax).collect();
        let tax = taxes.map(|taxes| sum(taxes, kept.tax.unwrap_or(0))).transpose()?;
        let unit = power(self.scale - self.digits)?;
        let rows = i128::try_from(self.rows.len()).map_err(|_| MoneyError::TooLarge)?;
        let tolerance = unit.checked_mul(rows).ok_or(MoneyError::TooLarge)?;
        let apart = |one: i128, other: i128| one.checked_sub(other).ok_or(MoneyError::TooLarge);
        self.difference = apart(self.total.net, net)?;
        if self.difference.abs() > tolerance {
            let (rows, order) = (self.written(net), self.written(self.total.net));
            let currency = self.currency;
            return Ok(Some(format!(
                "{subject} does not add up: lines and shipping give {rows}, the order says {order} {currency}."
            )));
        }
        if let (Some(tax), Some(total)) = (tax, self.total.tax)
            && apart(total, tax)?.abs() > tolerance
        {
            let (rows, order) = (self.written(tax), self.written(total));
            let currency = self.currency;
            return Ok(Some(format!(
                "{subject} does not add up: the tax of lines and shipping is {rows}, the order says {order} {currency}."
            )));
        }
        Ok(None)
    }

    fn written(&self, unscaled: i128) -> String {
        Amount { unscaled, scale: self.scale, currency: self.currency }.written()
    }

    pub fn total_price(&self) -> Decimal {
        self.decimal(self.in_basis(self.total))
    }

    /// `None` = unknown.
    pub fn total_tax_price(&self) -> Option<Decimal> {
        self.total.tax.map(|tax| self.decimal(tax))
    }

    /// Row of a part of the line item at this place.
    pub fn line(&self, at: usize, part: usize) -> Row {
        self.rows[self.lines[at] + part]
    }

    /// Row of the custom line item at this place.
    pub fn custom_line(&self, at: usize) -> Row {
        self.rows[self.custom_lines + at]
    }

    /// What shipping of a group costs; 0 if nothing says so.
    pub fn shipping_price(&self, group: usize) -> Decimal {
        self.decimal(self.shipping(group).map(|row| self.in_basis(row)).sum())
    }

    pub fn shipping_tax_price(&self, group: usize) -> Option<Decimal> {
        let tax: Option<i128> = self.shipping(group).map(|row| row.tax).sum();
        tax.map(|tax| self.decimal(tax))
    }

    fn shipping(&self, group: usize) -> impl Iterator<Item = Row> {
        self.shipping.iter().filter(move |(_, of)| *of == group).map(|(row, _)| self.rows[*row])
    }

    /// A row's price in the configured basis.
    pub fn price(&self, row: Row) -> Decimal {
        self.decimal(self.in_basis(row))
    }

    pub fn tax_price(&self, row: Row) -> Option<Decimal> {
        row.tax.map(|tax| self.decimal(tax))
    }

    /// A row's price divided by its quantity, which must be positive.
    pub fn price_of_one(&self, row: Row, quantity: i32) -> Result<Decimal, MoneyError> {
        divide(self.in_basis(row), self.scale, quantity.into(), self.unit_scale)
    }

    pub fn tax_of_one(&self, row: Row, quantity: i32) -> Result<Option<Decimal>, MoneyError> {
        row.tax.map(|tax| divide(tax, self.scale, quantity.into(), self.unit_scale)).transpose()
    }

    /// A list price in the configured basis; commercetools states it with or without tax.
    pub fn list_price(&self, price: &Money, rate: Option<&TaxRate>) -> Result<Decimal, MoneyError> {
        let price = Reader { currency: self.currency, untaxed: false }.amount(price)?;
        match (rate, self.basis) {
            (Some(rate), PriceBasis::Net) if rate.included_in_price => price.without_tax(rate.amount, self.unit_scale),
            (Some(rate), PriceBasis::Gross) if !rate.included_in_price => price.with_tax(rate.amount),
            _ => Ok(price.decimal()),
        }
    }

    /// The discount on the total price, where it stays outside the rows.
    pub fn discount(&self) -> Option<Decimal> {
        self.discount.map(|discount| self.price(discount))
    }

    /// Order minus rows, net; `None` if they are equal or were not compared.
    pub fn rounding_difference(&self) -> Option<Decimal> {
        (self.difference != 0).then(|| self.decimal(self.difference))
    }

    fn decimal(&self, unscaled: i128) -> Decimal {
        Decimal::new(unscaled, self.scale)
    }

    fn in_basis(&self, row: Row) -> i128 {
        match self.basis {
            PriceBasis::Net => row.net,
            PriceBasis::Gross => row.net + row.tax.unwrap_or(0),
        }
    }
}

/// Bound of what is read, so that net, tax and discount of a row can be added without a check.
const LARGEST: i128 = i128::MAX / 8;

/// Sum of the rows less the discount.
fn sum(rows: impl IntoIterator<Item = i128>, discount: i128) -> Result<i128, MoneyError> {
    let sum = rows.into_iter().try_fold(0i128, |sum, row| sum.checked_add(row));
    sum.and_then(|sum| sum.checked_sub(discount)).ok_or(MoneyError::TooLarge)
}

/// Reads amounts of one order.
struct Reader {
    currency: Currency,
    /// `taxMode` is `Disabled`: no tax is a tax of 0.
    untaxed: bool,
}

impl Reader {
    fn amount(&self, money: &Money) -> Result<Amount, MoneyError> {
        let amount = Amount::read(money)?;
        if amount.currency == self.currency {
            Ok(amount)
        } else {
            Err(MoneyError::Mixed(self.currency, amount.currency))
        }
    }

    /// Net and tax of a row; without `taxedPrice` its price and, unless tax is disabled, nothing known.
    fn taxed(&self, taxed: Option<&TaxedPrice>, price: &Money) -> Result<(Amount, Option<Amount>), MoneyError> {
        let Some(taxed) = taxed else {
            let net = self.amount(price)?;
            return Ok((net, self.untaxed.then_some(Amount { unscaled: 0, ..net })));
        };
        let net = self.amount(&taxed.total_net)?;
        let tax = match &taxed.total_tax {
            Some(tax) => self.amount(tax)?,
            None => self.amount(&taxed.total_gross)?.minus(net)?,
        };
        Ok((net, Some(tax)))
    }

    /// Net and tax of each part of a line: as commercetools says it per shipping method, else spread by
    /// quantity.
    fn parts(
        &self,
        line: &LineItem,
        parts: &[Part],
        deliveries: &Deliveries<'_>,
    ) -> Result<Vec<(Amount, Option<Amount>)>, MoneyError> {
        let (net, tax) = self.taxed(line.taxed_price.as_ref(), &line.total_price)?;
        if parts.len() < 2 {
            return Ok(vec![(net, tax)]);
        }
        let portion = |part: &Part| {
            let key = deliveries.groups[part.group].key?;
            let mut portions = line.taxed_price_portions.iter();
            portions.find(|portion| portion.shipping_method_key == key)?.taxed_price.as_ref()
        };
        let portions: Option<Vec<&TaxedPrice>> = parts.iter().map(portion).collect();
        if let Some(portions) = portions {
            return portions.into_iter().map(|portion| self.taxed(Some(portion), &line.total_price)).collect();
        }
        let weights: Vec<i128> = parts.iter().map(|part| part.quantity.into()).collect();
        let spread = |amount: Amount| -> Result<Vec<Amount>, MoneyError> {
            let shares = allocate(amount.unscaled, &weights)?;
            Ok(shares.into_iter().map(|unscaled| Amount { unscaled, ..amount }).collect())
        };
        let taxes = tax.map(spread).transpose()?;
        let nets = spread(net)?.into_iter().enumerate();
        Ok(nets.map(|(at, net)| (net, taxes.as_ref().map(|taxes| taxes[at]))).collect())
    }

    /// Net and tax of the discount on the total price; the undivided amount where commercetools does not split it.
    fn discount(&self, order: &Order) -> Result<Option<(Amount, Option<Amount>)>, MoneyError> {
        let Some(discount) = &order.discount_on_total_price else { return Ok(None) };
        match (&discount.discounted_net_amount, &discount.discounted_gross_amount) {
            (Some(net), Some(gross)) => {
                let net = self.amount(net)?;
                Ok(Some((net, Some(self.amount(gross)?.minus(net)?))))
            }
            (Some(net), None) => Ok(Some((self.amount(net)?, None))),
            _ => Ok(Some((self.amount(&discount.discounted_amount)?, None))),
        }
    }
}
