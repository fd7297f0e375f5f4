//! The resources of the simulated project, one line each, and how their paths read.

use axum::http::Method;
use serde_json::Value;

use super::import::Import;
use super::project::Project;
use super::refusal::Answer;
use super::{channel, fields, inventory, order, states, subscriptions, types};

/// One kind of resource.
pub(super) struct Resource {
    /// In the path and in the test interface: `orders`.
    pub path: &'static str,
    /// In references and messages: `order`.
    pub type_id: &'static str,
    /// The unique user-defined identifier: field name and name in the path.
    pub key: Option<(&'static str, &'static str)>,
    /// What else is unique, if anything.
    pub unique: Option<fn(&Value) -> Option<String>>,
    /// Scopes of which one is needed to read, and to write.
    pub view: &'static [&'static str],
    pub manage: &'static [&'static str],
    /// What predicates and sort expressions may name.
    pub fields: &'static [&'static str],
    /// Draft to document without id and dates; `None` = not simulated.
    pub create: Option<Create>,
    /// Applies one update action; `None` = not simulated.
    pub change: Option<Change>,
}

pub(super) type Create = fn(&Project, &Value) -> Answer<Value>;
pub(super) type Change = fn(&Project, &mut Value, &str, &Value) -> Answer<()>;

const PLAIN: Resource = Resource {
    path: "",
    type_id: "",
    key: Some(("key", "key")),
    unique: None,
    view: &[],
    manage: &[],
    fields: &[],
    create: None,
    change: None,
};

#[rustfmt::skip]
static RESOURCES: [Resource; 15] = [
    Resource { path: "orders", type_id: "order", key: Some(("orderNumber", "order-number")), view: &["view_orders", "manage_orders"], manage: &["manage_orders"], fields: fields::ORDER, change: Some(order::change), ..PLAIN },
    Resource { path: "payments", type_id: "payment", view: &["view_payments", "manage_payments"], manage: &["manage_payments"], fields: fields::PAYMENT, ..PLAIN },
    Resource { path: "customers", type_id: "customer", view: &["view_customers", "manage_customers"], manage: &["manage_customers"], fields: fields::CUSTOMER, ..PLAIN },
    Resource { path: "channels", type_id: "channel", view: &["view_channels", "view_products", "manage_channels", "manage_products"], manage: &["manage_channels", "manage_products"], fields: fields::CHANNEL, create: Some(channel::create), change: Some(channel::change), ..PLAIN },
    Resource { path: "types", type_id: "type", view: &["view_types", "manage_types"], manage: &["manage_types"], fields: fields::TYPE, create: Some(types::create), change: Some(types::change), ..PLAIN },
    Resource { path: "states", type_id: "state", view: &["view_states", "manage_states"], manage: &["manage_states"], fields: fields::STATE, create: Some(states::create), change: Some(states::change), ..PLAIN },
    Resource { path: "subscriptions", type_id: "subscription", view: &["manage_subscriptions"], manage: &["manage_subscriptions"], fields: fields::SUBSCRIPTION, create: Some(subscriptions::create), change: Some(subscriptions::change), ..PLAIN },
    Resource { path: "shipping-methods", type_id: "shipping-method", view: &["view_shipping_methods", "manage_shipping_methods"], manage: &["manage_shipping_methods"], fields: fields::SHIPPING_METHOD, ..PLAIN },
    Resource { path: "categories", type_id: "category", view: &["view_categories", "view_products", "manage_categories", "manage_products"], fields: fields::CATEGORY, ..PLAIN },
    Resource { path: "products", type_id: "product", view: &["view_products", "manage_products"], fields: fields::PRODUCT, ..PLAIN },
    Resource { path: "product-projections", type_id: "product-projection", view: &["view_products", "view_published_products", "manage_products"], fields: fields::PRODUCT_PROJECTION, ..PLAIN },
    Resource { path: "standalone-prices", type_id: "standalone-price", view: &["view_standalone_prices", "manage_standalone_prices"], fields: fields::STANDALONE_PRICE, ..PLAIN },
    Resource { path: "tax-categories", type_id: "tax-category", view: &["view_tax_categories", "manage_tax_categories"], fields: fields::TAX_CATEGORY, ..PLAIN },
    Resource { path: "inventory", type_id: "inventory-entry", unique: Some(inventory::place), view: &["view_products", "manage_products"], manage: &["manage_products"], fields: fields::INVENTORY, create: Some(inventory::create), change: Some(inventory::change), ..PLAIN },
    Resource { path: "messages", type_id: "message", key: None, view: &["view_messages"], fields: fields::MESSAGE, ..PLAIN },
];

/// The resource of this path name.
pub(super) fn resource(path: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.path == path)
}

/// The resource of this `typeId`.
pub(super) fn of_type(type_id: &str) -> Option<&'static Resource> {
    RESOURCES.iter().find(|resource| resource.type_id == type_id)
}

/// What a path stands for.
pub(super) enum Target {
    Token,
    Project,
    Collection(&'static Resource),
    Id(&'static Resource, String),
    Key(&'static Resource, String),
    /// A path of the Import API.
    Import(Import),
    /// A path under another project's key.
    Foreign,
    /// A path that is not simulated.
    Unknown,
}

impl Target {
    /// Reads a path without its query string.
    pub fn of(project_key: &str, path: &str) -> Self {
        let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
        match segments.as_slice() {
            ["oauth", "token"] => Self::Token,
            [project, ..] if decoded(project) != project_key => Self::Foreign,
            [_] => Self::Project,
            [_, "import-containers"] => Self::Import(Import::Containers),
            [_, "import-containers", key, "import-operations"] => Self::Import(Import::Operations(decoded(key))),
            [_, "inventories", "import-containers", key] => Self::Import(Import::Inventories(decoded(key))),
            [_, path] => resource(path).map_or(Self::Unknown, Self::Collection),
            [_, path, name] => match resource(path) {
                Some(_) if matches!(*name, "import" | "search") => Self::Unknown,
                Some(resource) => Self::one(resource, name),
                None => Self::Unknown,
            },
            _ => Self::Unknown,
        }
    }

    fn one(resource: &'static Resource, name: &str) -> Self {
        let key = resource.key.and_then(|(_, path)| name.strip_prefix(path)?.strip_prefix('='));
        match key {
            Some(key) => Self::Key(resource, decoded(key)),
            None => Self::Id(resource, decoded(name)),
        }
    }

    /// The operation's stable name: `GET /orders/{id}`.
    pub fn operation(&self, method: &Method) -> String {
        match self {
            Self::Token => format!("{method} /oauth/token"),
            Self::Project => format!("{method} /{{projectKey}}"),
            Self::Collection(resource) => format!("{method} /{}", resource.path),
            Self::Id(resource, _) => format!("{method} /{}/{{id}}", resource.path),
            Self::Key(resource, _) => {
                let (_, name) = resource.key.unwrap_or_default();
                let variable = if name == "key" { "key" } else { "n" };
                format!("{method} /{}/{name}={{{variable}}}", resource.path)
            }
            Self::Import(import) => import.operation(method),
            Self::Foreign | Self::Unknown => format!("{method} unknown"),
        }
    }
}

/// Resolves percent-encoding; bytes that are no UTF-8 become replacement characters.
fn decoded(segment: &str) -> String {
    let bytes = segment.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let hex = segment.get(at + 1..at + 3).filter(|_| bytes[at] == b'%');
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operation(path: &str) -> String {
        Target::of("demo-project", path).operation(&Method::GET)
    }

    #[test]
    fn operations_have_stable_names() {
        assert_eq!(operation("/oauth/token"), "GET /oauth/token");
        assert_eq!(operation("/demo-project"), "GET /{projectKey}");
        assert_eq!(operation("/demo-project/orders"), "GET /orders");
        assert_eq!(operation("/demo-project/orders/abc"), "GET /orders/{id}");
        assert_eq!(operation("/demo-project/orders/order-number=10001"), "GET /orders/order-number={n}");
        assert_eq!(operation("/demo-project/channels/key=a"), "GET /channels/key={key}");
        assert_eq!(operation("/demo-project/orders/import"), "GET unknown");
        assert_eq!(operation("/other/orders"), "GET unknown");
    }

    #[test]
    fn keys_are_decoded() {
        let Target::Key(_, key) = Target::of("p", "/p/orders/order-number=A%2F7%20%C3%BC%") else { panic!("no key") };
        assert_eq!(key, "A/7 ü%");
    }
}
