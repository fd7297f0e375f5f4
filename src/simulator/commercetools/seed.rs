//! The simulated shop: what it sells and who buys there.

use serde_json::{Value, json};

use super::id::stable;

/// One sellable variant.
#[derive(Clone, Copy, Debug)]
pub struct Article {
    pub sku: &'static str,
    pub product_key: &'static str,
    pub name: &'static str,
    /// Gross list price in euro cents.
    pub cent_amount: i64,
}

const fn article(sku: &'static str, product_key: &'static str, name: &'static str, cent_amount: i64) -> Article {
    Article { sku, product_key, name, cent_amount }
}

/// What the shop sells.
pub const ARTICLES: [Article; 20] = [
    article("TEE-RED-S", "tee-basic", "Basic T-shirt", 2999),
    article("TEE-RED-M", "tee-basic", "Basic T-shirt", 2999),
    article("TEE-RED-L", "tee-basic", "Basic T-shirt", 2999),
    article("TEE-BLU-M", "tee-basic", "Basic T-shirt", 2999),
    article("HOOD-GRY-M", "hoodie", "Hoodie", 5990),
    article("HOOD-GRY-L", "hoodie", "Hoodie", 5990),
    article("JEANS-32", "jeans-slim", "Slim jeans", 7995),
    article("JEANS-34", "jeans-slim", "Slim jeans", 7995),
    article("SOCK-3P", "socks", "Socks, three pairs", 1290),
    article("CAP-1", "cap", "Cap", 1500),
    article("BELT-90", "belt", "Leather belt", 3450),
    article("SCARF-GRN", "scarf", "Scarf", 2475),
    article("MUG-BLK", "mug", "Mug", 1250),
    article("MUG-WHT", "mug", "Mug", 1250),
    article("LAMP-DESK", "lamp-desk", "Desk lamp", 8999),
    article("BAG-TOTE", "tote", "Tote bag", 1799),
    article("BACKPACK-25", "backpack", "Backpack, 25 l", 11900),
    article("BOTTLE-07", "bottle", "Bottle, 0.7 l", 1995),
    article("NOTE-A5", "notebook", "Notebook A5", 899),
    article("PEN-BLU", "pen", "Pen", 349),
];

/// Key of the channel that carries the order export, and of the Type on orders.
pub const ORDER_CHANNEL: &str = "flOrderExport";
pub const ORDER_TYPE: &str = "flOrder";
/// The customers of the shop.
pub const ADA: &str = "21d12090-6fd3-44b1-9c7a-5ea3e84254bb";
pub const BORIS: &str = "5b0a3c4e-5d7f-4a53-8b53-0a1f4f4d8a02";
pub const CHIARA: &str = "b7d0e9fa-6f0c-4e2b-9d57-3c2b6a7e1c03";

pub(super) const SHIPPING_METHOD: &str = "c3dedcbe-745a-411a-b793-74a681be033d";
/// The built-in initial State of line items.
pub(super) const INITIAL_STATE: &str = "ac1b5c09-61a7-469b-aa05-3ee64276ed0e";

/// What `seed_shop` puts, with fixed ids.
pub(super) fn documents() -> Vec<(&'static str, Value)> {
    vec![
        ("channels", channel()),
        ("types", order_type()),
        ("types", own_type("flFulfilment", "line-item", &["flFulfilmentMetadata"])),
        ("types", own_type("flConsignment", "order-delivery", &["flConsignmentRef", "flConsignmentStatus"])),
        ("types", own_type("flArticle", "order-parcel", &["flTrackingUrl", "flArticleRef"])),
        ("types", store_type()),
        ("shipping-methods", shipping_method()),
        ("customers", customer(ADA, "C-2041", "Ada", "Lindqvist", "Ada.Lindqvist@Example.com", &[home(), office()])),
        ("customers", customer(BORIS, "C-2042", "Boris", "Novak", "boris.novak@example.org", &[prague()])),
        ("customers", customer(CHIARA, "C-2043", "Chiara", "Rossi", "chiara@example.net", &[milan()])),
    ]
}

/// Present in every project from the start.
pub(super) fn initial_state() -> Value {
    json!({
        "id": INITIAL_STATE,
        "key": "Initial",
        "type": "LineItemState",
        "roles": [],
        "name": {"en": "Initial"},
        "builtIn": true,
        "initial": true,
    })
}

fn channel() -> Value {
    json!({
        "id": stable("channel:flOrderExport"),
        "key": ORDER_CHANNEL,
        "roles": ["OrderExport"],
        "name": {"en": "Fluent Order Management"},
    })
}

fn order_type() -> Value {
    let fields = ["flOrderId", "flOrderRef", "flPickupLocationRef"];
    own_type(ORDER_TYPE, "order", &fields)
}

/// A Type of the connector on resources of one kind.
fn own_type(key: &str, resource: &str, fields: &[&str]) -> Value {
    let field = |name: &&str| {
        json!({
            "name": name,
            "label": {"en": name},
            "required": false,
            "type": {"name": "String"},
            "inputHint": "SingleLine",
        })
    };
    json!({
        "id": stable(&format!("type:{key}")),
        "key": key,
        "name": {"en": key},
        "resourceTypeIds": [resource],
        "fieldDefinitions": fields.iter().map(field).collect::<Vec<_>>(),
    })
}

fn store_type() -> Value {
    let field = |name: &str| {
        let kind = if matches!(name, "flLatitude" | "flLongitude") { "Number" } else { "String" };
        json!({"name": name, "label": {"en": name}, "required": false, "type": {"name": kind}, "inputHint": "SingleLine"})
    };
    let fields = [
        "flType",
        "flStatus",
        "flEmail",
        "flPhoneNo",
        "flLatitude",
        "flLongitude",
        "flTimezone",
        "flOpeningSchedule",
        "flAttributes",
    ];
    json!({
        "id": stable("type:flStoreDetails"),
        "key": "flStoreDetails",
        "name": {"en": "Fluent Store Details"},
        "resourceTypeIds": ["channel"],
        "fieldDefinitions": fields.map(field),
    })
}

fn shipping_method() -> Value {
    json!({
        "id": SHIPPING_METHOD,
        "key": "dhl-standard",
        "name": "DHL Standard",
        "taxCategory": {"typeId": "tax-category", "id": stable("tax-category:standard")},
        "zoneRates": [],
        "active": true,
        "isDefault": true,
        "stores": [],
    })
}

fn customer(id: &str, number: &str, first: &str, last: &str, email: &str, addresses: &[Value]) -> Value {
    let addresses: Vec<Value> = addresses
        .iter()
        .map(|address| {
            let mut address = address.clone();
            address["firstName"] = first.into();
            address["lastName"] = last.into();
            address
        })
        .collect();
    let (shipping, billing) = (&addresses[0]["id"], &addresses[addresses.len() - 1]["id"]);
    json!({
        "id": id,
        "customerNumber": number,
        "email": email,
        "firstName": first,
        "lastName": last,
        "addresses": addresses,
        "defaultShippingAddressId": shipping,
        "defaultBillingAddressId": billing,
        "shippingAddressIds": [shipping],
        "billingAddressIds": [billing],
        "isEmailVerified": true,
        "stores": [],
        "customerGroupAssignments": [],
        "authenticationMode": "Password",
    })
}

pub(super) fn home() -> Value {
    json!({
        "id": "adrShip1",
        "key": "home",
        "streetName": "Lindenallee",
        "streetNumber": "12a",
        "additionalStreetInfo": "Hinterhaus",
        "postalCode": "10999",
        "city": "Berlin",
        "country": "DE",
        "mobile": "+4915123456789",
    })
}

fn office() -> Value {
    json!({
        "id": "adrBill1",
        "key": "office",
        "company": "Lindqvist GmbH",
        "streetName": "Hauptstraße",
        "streetNumber": "1",
        "postalCode": "1010",
        "city": "Wien",
        "country": "AT",
        "phone": "+43155501",
    })
}

fn prague() -> Value {
    json!({
        "id": "adrPrague",
        "key": "home",
        "streetName": "Vinohradská",
        "streetNumber": "48",
        "postalCode": "120 00",
        "city": "Praha",
        "country": "CZ",
        "phone": "+420222000111",
    })
}

fn milan() -> Value {
    json!({
        "id": "adrMilan",
        "key": "home",
        "streetName": "Via Torino",
        "streetNumber": "7",
        "postalCode": "20123",
        "city": "Milano",
        "country": "IT",
        "mobile": "+393330001112",
    })
}
