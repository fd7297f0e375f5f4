//! Subscription notifications, Platform format or CloudEvents (platform-commercetools.md A6): what
//! changed, and which route that concerns (C 1.2, 1.3, 5.1).

use serde_json::Value;

use crate::config::model::Connection;
use crate::failure::Skip;

/// One notification, reduced to identities; the resource is read again anyway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Events (imports, checkout) do not say it.
    pub project_key: Option<String>,
    /// `order`, `payment`, `subscription` …
    pub resource_type: String,
    pub resource_id: String,
    /// `OrderCreated` …, or `ResourceCreated`, `ResourceUpdated`, `ResourceDeleted`.
    pub message_type: String,
    /// Gap-free per resource; only messages have it.
    pub sequence_number: Option<i64>,
    /// Version of the resource after the change; 0 if it is not said.
    pub resource_version: i64,
    /// API client that made the change.
    pub client_id: Option<String>,
    /// SKU that the resource belongs to, if it is told (prices).
    pub sku: Option<String>,
    /// It concerns only what is not published (product messages).
    pub staged: bool,
    /// The order's new state (`OrderStateChanged`).
    pub order_state: Option<String>,
    /// The deletion asks for the erasure of personal data.
    pub erases: bool,
}

/// Where a notification goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    Route(&'static str),
    Skip(Skip, String),
}

/// What decides whether a notification is taken.
#[derive(Clone, Copy, Debug)]
pub struct Taken<'a> {
    /// The API client we write with.
    pub own_client: &'a str,
    /// Are change notifications of products taken, beside their messages?
    pub product_changes: bool,
}

impl<'a> Taken<'a> {
    /// As configured.
    pub fn by(connection: &'a Connection) -> Self {
        Self {
            own_client: &connection.commercetools.client_id,
            product_changes: connection.product.accept_change_notifications,
        }
    }
}

/// Message types after which a published product may look different (C 3.1); prices beside these.
const PRODUCT_CHANGED: &[&str] = &[
    "ProductPublished",
    "ProductCreated",
    "ProductVariantAdded",
    "ProductVariantDeleted",
    "ProductAddedToCategory",
    "ProductRemovedFromCategory",
    "ProductImageAdded",
];

/// Message types after which an order may have to be created (C 5.1).
pub const ORDER_CREATED: &[&str] = &[
    "OrderCreated",
    "OrderImported",
    "OrderCreatedFromRecurringOrder",
    "OrderPaymentStateChanged",
    "OrderStateTransition",
];

/// Message types after which a payment may have to be sent (C 6).
const PAYMENT_CHANGED: &[&str] = &["PaymentTransactionAdded", "PaymentTransactionStateChanged"];

/// Beginnings of message types after which an order that Fluent has may be another one (C 7). States of shipments, lines
/// and returns are not among them: these Fluent knows better.
const ORDER_CHANGED: &[&str] = &[
    "OrderBillingAddress",
    "OrderBusinessUnit",
    "OrderCustom",
    "OrderDirectDiscount",
    "OrderDiscountCode",
    "OrderEditApplied",
    "OrderLineItem",
    "OrderPaymentAdded",
    "OrderPurchaseOrderNumber",
    "OrderShippingAddress",
    "OrderShippingInfo",
    "OrderShippingRateInput",
    "OrderStateChanged",
    "OrderStoreSet",
];

/// Message types that our own updates cause (C 1.3 rule 6).
const CAUSED_BY_US: &[&str] = &[
    "OrderStateChanged",
    "OrderShipmentStateChanged",
    "OrderPaymentStateChanged",
    "OrderStateTransition",
    "OrderCustomTypeSet",
    "OrderCustomFieldAdded",
    "OrderCustomFieldChanged",
];

impl Notification {
    /// Reads a notification in either format.
    ///
    /// # Errors
    /// What is missing, in words.
    pub fn read(document: Value) -> Result<Self, String> {
        let platform = match document.get("specversion") {
            Some(_) => document.get("data").ok_or("the CloudEvent has no data")?,
            None => &document,
        };
        let text = |path: &str| platform.pointer(path).and_then(Value::as_str).map(str::to_owned);
        let needed = |path: &str| {
            text(path).ok_or_else(|| format!("{} is missing", path.trim_start_matches('/').replace('/', ".")))
        };
        let kind = needed("/notificationType")?;
        if kind == "Event" {
            return Ok(Self::event(needed("/id")?, needed("/type")?, text("/resourceType").unwrap_or_default()));
        }
        let message = kind == "Message";
        let version = platform.get(if message { "resourceVersion" } else { "version" });
        Ok(Self {
            project_key: Some(needed("/projectKey")?),
            resource_type: needed("/resource/typeId")?,
            resource_id: needed("/resource/id")?,
            message_type: match message {
                // Without its payload a notification may have no type of its own.
                true => text("/payloadNotIncluded/payloadType").map_or_else(|| needed("/type"), Ok)?,
                false => kind,
            },
            sequence_number: platform.get("sequenceNumber").and_then(Value::as_i64),
            resource_version: version.and_then(Value::as_i64).unwrap_or(0),
            client_id: text("/lastModifiedBy/clientId"),
            sku: text("/resourceUserProvidedIdentifiers/sku").or_else(|| text("/standalonePrice/sku")),
            staged: platform.get("staged").and_then(Value::as_bool).unwrap_or(false),
            order_state: text("/orderState"),
            erases: platform.get("dataErasure").and_then(Value::as_bool).unwrap_or(false),
        })
    }

    /// Something about the platform itself, not about a resource that any route takes (A6).
    fn event(id: String, message_type: String, resource_type: String) -> Self {
        let resource_type = if resource_type.is_empty() { "event".to_owned() } else { resource_type };
        Self {
            project_key: None,
            resource_type,
            resource_id: id,
            message_type,
            sequence_number: None,
            resource_version: 0,
            client_id: None,
            sku: None,
            staged: false,
            order_state: None,
            erases: false,
        }
    }

    /// Is it one of the numbered Messages of an order, so that a hole before it is proof of a loss (C 5.1)?
    pub fn order_number(&self) -> Option<i64> {
        self.sequence_number.filter(|_| self.resource_type == "order")
    }

    /// Unique per route: `<id>@<sequenceNumber>` of a message, `<id>#<version>` of a change (C 1.3).
    pub fn key(&self) -> String {
        match self.sequence_number {
            Some(number) => format!("{}@{number}", self.resource_id),
            None => format!("{}#{}", self.resource_id, self.resource_version),
        }
    }

    /// What orders the work that follows: `order:<id>`; a price belongs to its SKU.
    pub fn ordering(&self) -> String {
        match &self.sku {
            Some(sku) if self.resource_type == "standalone-price" => format!("sku:{sku}"),
            _ => format!("{}:{}", self.resource_type, self.resource_id),
        }
    }

    /// Which route this concerns.
    pub fn subject(&self, taken: Taken<'_>) -> Subject {
        if self.resource_type == "subscription" {
            return Subject::Skip(Skip::Ignored, "The test notification of a new subscription.".into());
        }
        let ours = self.client_id.as_deref() == Some(taken.own_client);
        if ours && self.sequence_number.is_some() && CAUSED_BY_US.contains(&self.message_type.as_str()) {
            return Subject::Skip(Skip::OwnWrite, format!("{} was caused by ourselves.", self.message_type));
        }
        match self.resource_type.as_str() {
            "order" => self.of_order(),
            "payment" if PAYMENT_CHANGED.contains(&self.message_type.as_str()) => {
                Subject::Route("commercetools.payment-changed")
            }
            "customer" => self.of_customer(),
            "category" => self.of_category(),
            "product" => self.of_product(taken.product_changes),
            // All of its messages; a change says no more than they do.
            "standalone-price" if self.message_type.starts_with("StandalonePrice") => {
                Subject::Route("commercetools.price-changed")
            }
            _ => self.of_no_concern(),
        }
    }

    /// Renames and moves have no Message, so changes are what tells (C 2.1).
    fn of_category(&self) -> Subject {
        match self.message_type.as_str() {
            "ResourceCreated" | "ResourceUpdated" | "CategoryCreated" | "CategorySlugChanged" => {
                Subject::Route("commercetools.category-changed")
            }
            "ResourceDeleted" => Subject::Route("commercetools.category-deleted"),
            _ => self.of_no_concern(),
        }
    }

    /// Changes tell of stock and staged edits, too; they are taken only if that is wanted (C 3.1).
    fn of_product(&self, changes: bool) -> Subject {
        match self.message_type.as_str() {
            kind if PRODUCT_CHANGED.contains(&kind) || kind.starts_with("ProductPrice") => match self.staged {
                true => Subject::Skip(Skip::Ignored, format!("{kind} concerns what is not published.")),
                false => Subject::Route("commercetools.product-changed"),
            },
            "ProductUnpublished" => Subject::Route("commercetools.product-unpublished"),
            "ProductDeleted" => Subject::Route("commercetools.product-deleted"),
            "ResourceCreated" | "ResourceUpdated" if changes => Subject::Route("commercetools.product-changed"),
            "ResourceDeleted" if changes => Subject::Route("commercetools.product-deleted"),
            _ => self.of_no_concern(),
        }
    }

    /// Changes and Messages; credentials and customer groups are of no concern (C 4.1).
    fn of_customer(&self) -> Subject {
        let kind = self.message_type.as_str();
        match kind {
            "ResourceDeleted" | "CustomerDeleted" => Subject::Route("commercetools.customer-deleted"),
            _ if kind.contains("Password") || kind.contains("Token") || kind.contains("CustomerGroup") => {
                self.of_no_concern()
            }
            _ => Subject::Route("commercetools.customer-changed"),
        }
    }

    /// Messages only: a change says no more than they do (C 5.1, 7, 8.1).
    fn of_order(&self) -> Subject {
        let kind = self.message_type.as_str();
        match kind {
            _ if ORDER_CREATED.contains(&kind) => Subject::Route("commercetools.order-created"),
            "OrderDeleted" => Subject::Route("commercetools.order-deleted"),
            "OrderStateChanged" if self.order_state.as_deref() == Some("Cancelled") => {
                Subject::Route("commercetools.order-cancelled")
            }
            _ if ORDER_CHANGED.iter().any(|start| kind.starts_with(start)) => {
                Subject::Route("commercetools.order-changed")
            }
            _ => self.of_no_concern(),
        }
    }

    fn of_no_concern(&self) -> Subject {
        Subject::Skip(Skip::Ignored, format!("No route takes {} of {}.", self.message_type, self.resource_type))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: Taken<'static> = Taken { own_client: "ours", product_changes: false };

    fn message(kind: &str, client: &str) -> Value {
        json!({"notificationType": "Message", "projectKey": "p", "id": "m", "version": 1, "sequenceNumber": 3,
               "resource": {"typeId": "order", "id": "o-1"}, "resourceVersion": 7, "type": kind,
               "lastModifiedBy": {"clientId": client}})
    }

    #[test]
    fn both_formats_say_the_same() {
        let platform = Notification::read(message("OrderCreated", "shop")).unwrap();
        let event = json!({"specversion": "1.0", "id": "e", "data": message("OrderCreated", "shop")});
        assert_eq!(platform, Notification::read(event).unwrap());
        assert_eq!(platform.key(), "o-1@3");
        assert_eq!(platform.subject(OURS), Subject::Route("commercetools.order-created"));
    }

    #[test]
    fn changes_are_keyed_by_version_and_our_own_writes_are_told_apart() {
        let change = json!({"notificationType": "ResourceUpdated", "projectKey": "p", "version": 9,
                            "resource": {"typeId": "order", "id": "o-1"}});
        assert_eq!(Notification::read(change).unwrap().key(), "o-1#9");
        let own = Notification::read(message("OrderStateChanged", "ours")).unwrap().subject(OURS);
        assert!(matches!(own, Subject::Skip(Skip::OwnWrite, _)));
        let created = Notification::read(message("OrderCreated", "ours")).unwrap().subject(OURS);
        assert_eq!(created, Subject::Route("commercetools.order-created"), "we never create orders");
    }

    #[test]
    fn orders_payments_and_customers_have_their_routes() {
        let routed = |type_id: &str, kind: &str, more: Value| {
            let mut document = message(kind, "shop");
            document["resource"] = json!({"typeId": type_id, "id": "x"});
            document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            match Notification::read(document).unwrap().subject(OURS) {
                Subject::Route(route) => route.strip_prefix("commercetools.").unwrap(),
                Subject::Skip(..) => "",
            }
        };
        let plain = |type_id: &str, kind: &str| routed(type_id, kind, json!({}));
        assert_eq!(routed("order", "OrderStateChanged", json!({"orderState": "Cancelled"})), "order-cancelled");
        assert_eq!(routed("order", "OrderStateChanged", json!({"orderState": "Complete"})), "order-changed");
        for kind in ["OrderBillingAddressSet", "OrderEditApplied", "OrderPaymentAdded", "OrderCustomFieldRemoved"] {
            assert_eq!(plain("order", kind), "order-changed", "{kind}");
        }
        for kind in [
            "OrderShipmentStateChanged",
            "DeliveryAdded",
            "ParcelTrackingDataUpdated",
            "ReturnInfoAdded",
            "LineItemStateTransition",
            "OrderReturnShipmentStateChanged",
        ] {
            assert_eq!(plain("order", kind), "", "{kind}");
        }
        assert_eq!(plain("order", "OrderDeleted"), "order-deleted");
        assert_eq!(plain("payment", "PaymentTransactionStateChanged"), "payment-changed");
        assert_eq!(plain("payment", "PaymentInteractionAdded"), "");
        assert_eq!(plain("customer", "CustomerEmailChanged"), "customer-changed");
        assert_eq!(plain("customer", "CustomerDeleted"), "customer-deleted");
        for kind in ["CustomerPasswordUpdated", "CustomerEmailTokenCreated", "CustomerGroupSet"] {
            assert_eq!(plain("customer", kind), "", "{kind}");
        }
    }

    #[test]
    fn the_catalogue_is_told_of_by_changes_and_messages() {
        let subject = |type_id: &str, kind: &str, staged: bool, product_changes: bool| {
            let mut document = message(kind, "shop");
            if kind.starts_with("Resource") {
                document = json!({"notificationType": kind, "projectKey": "p", "version": 9, "resource": {}});
            }
            document["resource"] = json!({"typeId": type_id, "id": "x"});
            document["staged"] = staged.into();
            match Notification::read(document).unwrap().subject(Taken { product_changes, ..OURS }) {
                Subject::Route(route) => route,
                Subject::Skip(..) => "",
            }
        };
        for kind in ["ResourceCreated", "ResourceUpdated", "CategoryCreated", "CategorySlugChanged"] {
            assert_eq!(subject("category", kind, false, false), "commercetools.category-changed", "{kind}");
        }
        assert_eq!(subject("category", "ResourceDeleted", false, false), "commercetools.category-deleted");
        for kind in ["ProductPublished", "ProductCreated", "ProductPriceAdded", "ProductPricesSet", "ProductImageAdded"]
        {
            assert_eq!(subject("product", kind, false, false), "commercetools.product-changed", "{kind}");
        }
        assert_eq!(subject("product", "ProductUnpublished", false, false), "commercetools.product-unpublished");
        assert_eq!(subject("product", "ProductDeleted", false, false), "commercetools.product-deleted");
        assert_eq!(subject("product", "ProductPriceAdded", true, false), "", "only staged");
        for kind in ["ProductSlugChanged", "ProductStateTransition", "ProductRevertedStagedChanges", "ResourceUpdated"]
        {
            assert_eq!(subject("product", kind, false, false), "", "{kind}");
        }
        assert_eq!(subject("product", "ResourceUpdated", false, true), "commercetools.product-changed");
    }

    #[test]
    fn an_event_of_the_platform_concerns_nobody() {
        let event = json!({"notificationType": "Event", "id": "e-1", "type": "ImportUnresolved",
                           "resourceType": "import-api", "data": {}, "createdAt": "2026-06-15T10:00:00.000Z"});
        let read = Notification::read(event).unwrap();
        assert_eq!((read.key().as_str(), read.project_key.as_deref()), ("e-1#0", None));
        let Subject::Skip(Skip::Ignored, why) = read.subject(OURS) else { panic!("{read:?}") };
        assert_eq!(why, "No route takes ImportUnresolved of import-api.");
    }

    #[test]
    fn what_is_missing_is_said() {
        let error = Notification::read(json!({"notificationType": "Message", "projectKey": "p"})).unwrap_err();
        assert_eq!(error, "resource.typeId is missing");
    }
}
