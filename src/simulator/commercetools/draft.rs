//! Orders of the simulated shop, in the shape in which the platform answers them.

use serde_json::{Value, json};

use super::Commercetools;
use super::id::stable;
use super::money::{Rate, Taxed, money};
use super::project::Project;
use super::refusal::Answer;
use super::resource::{of_type, resource};
use super::seed::{ARTICLES, INITIAL_STATE, SHIPPING_METHOD, home};
use super::shop::put;
use crate::clock::rfc3339;
use crate::simulator::front::lock;

/// An order to be placed. Without lines it gets one of the first article; without customer and guest
/// it is a guest's order. Prices include 19 % tax unless said otherwise.
#[must_use = "an order exists once it is placed"]
pub struct OrderDraft {
    platform: Commercetools,
    number: Option<String>,
    lines: Vec<Line>,
    customer: Option<String>,
    guest: Option<String>,
    shipping: Option<i64>,
    payments: Vec<(String, i64)>,
    total_discount: i64,
    currency: String,
    rate: Rate,
    custom: Option<(String, Value)>,
    without_sku: bool,
    from_cart: bool,
    changes: Vec<Change>,
}

type Change = Box<dyn FnOnce(&mut Value)>;

struct Line {
    sku: String,
    quantity: i64,
    cent_amount: i64,
}

impl OrderDraft {
    pub(super) fn new(platform: Commercetools, number: Option<&str>) -> Self {
        Self {
            platform,
            number: number.map(str::to_owned),
            lines: Vec::new(),
            customer: None,
            guest: None,
            shipping: None,
            payments: Vec::new(),
            total_discount: 0,
            currency: "EUR".into(),
            rate: Rate { basis_points: 1900, included: true },
            custom: None,
            without_sku: false,
            from_cart: false,
            changes: Vec::new(),
        }
    }

    /// `quantity` pieces of `sku` at `cent_amount` each.
    pub fn line(mut self, sku: &str, quantity: i64, cent_amount: i64) -> Self {
        self.lines.push(Line { sku: sku.into(), quantity, cent_amount });
        self
    }

    /// Tax rate in hundredths of a percent, included in the prices or added to them.
    pub fn tax(mut self, basis_points: i64, included: bool) -> Self {
        self.rate = Rate { basis_points, included };
        self
    }

    /// Bought by this customer; email and addresses are those of the customer document.
    pub fn customer(mut self, id: &str) -> Self {
        self.customer = Some(id.into());
        self
    }

    /// Bought without an account.
    pub fn guest(mut self, email: &str) -> Self {
        self.guest = Some(email.into());
        self
    }

    /// Sent with DHL Standard at this price.
    pub fn shipping(mut self, cents: i64) -> Self {
        self.shipping = Some(cents);
        self
    }

    /// Paid by this method with one successful charge.
    pub fn payment(mut self, method: &str, cents: i64) -> Self {
        self.payments.push((method.into(), cents));
        self
    }

    /// Discount on the total price, in prices as the lines have them (with or without tax).
    pub fn total_discount(mut self, cents: i64) -> Self {
        self.total_discount = cents;
        self
    }

    pub fn currency(mut self, code: &str) -> Self {
        self.currency = code.into();
        self
    }

    /// Custom fields of the Type with this key.
    pub fn custom(mut self, type_key: &str, fields: Value) -> Self {
        self.custom = Some((type_key.into(), fields));
        self
    }

    /// Line items without SKU: no connector can do anything with such an order.
    pub fn without_sku(mut self) -> Self {
        self.without_sku = true;
        self
    }

    /// Made from a cart (`OrderCreated`) instead of imported (`OrderImported`).
    pub fn from_cart(mut self) -> Self {
        self.from_cart = true;
        self
    }

    /// Changes the whole document before anybody sees it: for what this draft has no word for.
    pub fn changed(mut self, change: impl FnOnce(&mut Value) + 'static) -> Self {
        self.changes.push(Box::new(change));
        self
    }

    /// Places the order and its payments; answers the order's id.
    ///
    /// # Panics
    /// If the order number is taken: a mistake of the test.
    pub fn place(self) -> String {
        self.try_place().unwrap_or_else(|refusal| panic!("the shop cannot place this order: {}", refusal.message))
    }

    pub(super) fn try_place(mut self) -> Answer<String> {
        if self.lines.is_empty() {
            let article = ARTICLES[0];
            self = self.line(article.sku, 1, article.cent_amount);
        }
        let platform = self.platform.clone();
        let mut project = lock(&platform.0.project);
        let mut order = self.document(&mut project);
        let orders = of_type("order").ok_or_else(|| super::refusal::Refusal::not_simulated("Order"))?;
        project.check_unique(orders, &order)?;
        let payments = self.pay(&mut project)?;
        if !payments.is_empty() {
            order["paymentInfo"] = json!({"payments": payments});
        }
        for change in std::mem::take(&mut self.changes) {
            change(&mut order);
        }
        let stored = put(&mut project, orders, order)?;
        Ok(stored["id"].as_str().unwrap_or_default().to_owned())
    }

    fn document(&self, project: &mut Project) -> Value {
        let taxed: Vec<Taxed> =
            self.lines.iter().map(|line| self.rate.split(line.quantity * line.cent_amount)).collect();
        let lines: Vec<Value> =
            self.lines.iter().zip(&taxed).map(|(line, taxed)| self.line_item(project, line, *taxed)).collect();
        let shipping = self.shipping.map(|cents| self.rate.split(cents)).unwrap_or_default();
        let discount = self.rate.split(self.total_discount);
        let total = taxed.into_iter().fold(shipping, Taxed::plus).minus(discount);
        let paid: i64 = self.payments.iter().map(|(_, cents)| cents).sum();
        let mut order = json!({
            "type": "Order",
            "id": project.new_id(),
            // As the platform defines it: tax is in the total if it is in the prices.
            "totalPrice": money(&self.currency, if self.rate.included { total.gross } else { total.net }),
            "taxedPrice": total.document(&self.currency, self.rate),
            "orderState": "Open",
            "paymentState": if paid >= total.gross { "Paid" } else { "Pending" },
            "syncInfo": [],
            "returnInfo": [],
            "refusedGifts": [],
            "taxMode": "Platform",
            "taxRoundingMode": "HalfEven",
            "taxCalculationMode": "LineItemLevel",
            "inventoryMode": "None",
            "customLineItems": [],
            "discountCodes": [],
            "origin": "Customer",
            "shipping": [],
            "shippingMode": "Single",
            "lineItems": lines,
        });
        self.buyer(project, &mut order);
        if let Some(number) = &self.number {
            order["orderNumber"] = number.as_str().into();
        }
        if let Some(cents) = self.shipping {
            order["shippingInfo"] = self.shipping_info(cents, shipping);
        }
        if self.total_discount != 0 {
            order["discountOnTotalPrice"] = self.discount(discount);
        }
        if self.from_cart {
            order["cart"] = json!({"typeId": "cart", "id": project.new_id()});
        }
        if let Some((key, fields)) = &self.custom {
            let known = of_type("type").and_then(|types| project.find_key(types, key));
            let id = known.map_or_else(|| stable(&format!("type:{key}")).into(), |found| found["id"].clone());
            order["custom"] = json!({"type": {"typeId": "type", "id": id}, "fields": fields});
        }
        order
    }

    /// Customer or guest, with addresses.
    fn buyer(&self, project: &mut Project, order: &mut Value) {
        let customer = self.customer.as_deref();
        let known = resource("customers").zip(customer).and_then(|(customers, id)| project.find(customers, id));
        if let Some(id) = customer {
            order["customerId"] = id.into();
        }
        if let Some(known) = known {
            let address = |field: &str| {
                let addresses = known["addresses"].as_array().into_iter().flatten();
                addresses.into_iter().find(|address| address["id"] == known[field]).cloned()
            };
            order["customerEmail"] = known["email"].clone();
            order["shippingAddress"] = address("defaultShippingAddressId").unwrap_or_else(home);
            order["billingAddress"] = address("defaultBillingAddressId").unwrap_or_else(home);
            return;
        }
        let mut address = home();
        if let Some(fields) = address.as_object_mut() {
            fields.retain(|name, _| name != "id" && name != "key");
        }
        address["firstName"] = "Sam".into();
        address["lastName"] = "Reyes".into();
        order["shippingAddress"] = address.clone();
        order["billingAddress"] = address;
        order["customerEmail"] = self.guest.as_deref().unwrap_or("sam.reyes@example.org").into();
        if customer.is_none() {
            order["anonymousId"] = project.new_id().into();
        }
    }

    fn line_item(&self, project: &mut Project, line: &Line, taxed: Taxed) -> Value {
        let article = ARTICLES.iter().find(|article| article.sku == line.sku);
        let (product_key, name) =
            article.map_or((line.sku.as_str(), line.sku.as_str()), |it| (it.product_key, it.name));
        let mut item = json!({
            "id": project.new_id(),
            "productId": stable(&format!("product:{product_key}")),
            "productKey": product_key,
            "name": {"en-GB": name},
            "productType": {"typeId": "product-type", "id": stable("product-type:default")},
            "variant": {"id": 1, "sku": line.sku, "prices": [], "images": [], "attributes": [], "assets": []},
            "price": {"id": stable(&format!("price:{}", line.sku)), "value": money(&self.currency, line.cent_amount)},
            "quantity": line.quantity,
            "discountedPricePerQuantity": [],
            "taxRate": self.rate.document(),
            "state": [{"quantity": line.quantity, "state": {"typeId": "state", "id": INITIAL_STATE}}],
            "priceMode": "Platform",
            "lineItemMode": "Standard",
            "totalPrice": money(&self.currency, line.quantity * line.cent_amount),
            "taxedPrice": taxed.document(&self.currency, self.rate),
            "perMethodTaxRate": [],
            "taxedPricePortions": [],
        });
        if let (true, Some(variant)) = (self.without_sku, item["variant"].as_object_mut()) {
            variant.remove("sku");
        }
        item
    }

    fn shipping_info(&self, cents: i64, taxed: Taxed) -> Value {
        let price = money(&self.currency, cents);
        json!({
            "shippingMethodName": "DHL Standard",
            "price": price,
            "shippingRate": {"price": price, "tiers": []},
            "taxedPrice": taxed.document(&self.currency, self.rate),
            "taxRate": self.rate.document(),
            "shippingMethod": {"typeId": "shipping-method", "id": SHIPPING_METHOD},
            "deliveries": [],
            "shippingMethodState": "MatchesCart",
        })
    }

    fn discount(&self, taxed: Taxed) -> Value {
        let amount = money(&self.currency, self.total_discount);
        let reference = json!({"typeId": "cart-discount", "id": stable("cart-discount:total")});
        json!({
            "discountedAmount": amount,
            "includedDiscounts": [{"discount": reference, "discountedAmount": amount}],
            "discountedNetAmount": money(&self.currency, taxed.net),
            "discountedGrossAmount": money(&self.currency, taxed.gross),
        })
    }

    /// Stores one Payment with a successful charge per method; answers the references.
    fn pay(&self, project: &mut Project) -> Answer<Vec<Value>> {
        let Some(payments) = resource("payments") else { return Ok(Vec::new()) };
        let mut references = Vec::new();
        for (method, cents) in &self.payments {
            let amount = money(&self.currency, *cents);
            let (transaction, interaction) = (project.new_id(), project.new_id());
            let document = json!({
                "interfaceId": format!("PSP-{}", &interaction[..8]),
                "amountPlanned": amount,
                "paymentMethodInfo": {"paymentInterface": "Adyen", "method": method},
                "paymentStatus": {},
                "transactions": [{
                    "id": transaction,
                    "timestamp": rfc3339(project.clock.now()),
                    "type": "Charge",
                    "amount": amount,
                    "interactionId": interaction,
                    "state": "Success",
                }],
                "interfaceInteractions": [],
            });
            let stored = put(project, payments, document)?;
            references.push(json!({"typeId": "payment", "id": stored["id"]}));
        }
        Ok(references)
    }
}
