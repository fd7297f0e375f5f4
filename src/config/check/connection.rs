//! Checks of one connection: its name, its remotes, and the values that the platforms define.

use std::collections::BTreeMap;

use super::{Findings, http_url, imports, is_unsigned};
use crate::clock::parse_rfc3339;
use crate::config::model::{Axis, AxisName, Connection, OnForeign, OrderStatus, Poll, Signature};
use crate::config::node::join;
use crate::config::remote::REGIONS;
use crate::config::timing::Timing;

// The commercetools enumerations (API reference, types OrderState, ShipmentState, PaymentState and
// TransactionState). A cancelled shipment is spelt with one l, a cancelled order with two.
const ORDER_STATES: [&str; 4] = ["Open", "Confirmed", "Complete", "Cancelled"];
const SHIPMENT_STATES: [&str; 8] =
    ["Shipped", "Delivered", "Ready", "Pending", "Delayed", "Partial", "Backorder", "Canceled"];
const PAYMENT_STATES: [&str; 5] = ["BalanceDue", "Failed", "Pending", "CreditOwed", "Paid"];
const TRANSACTION_STATES: [&str; 4] = ["Initial", "Pending", "Success", "Failure"];

/// What a Channel may be for (API reference, type ChannelRoleEnum).
const CHANNEL_ROLES: [&str; 5] = ["ProductDistribution", "InventorySupply", "OrderExport", "OrderImport", "Primary"];

/// Tax types that Fluent names.
const TAX_TYPES: [&str; 3] = ["GST", "VAT", "EXCLTAX"];

/// Checks everything that concerns `connection` alone.
pub(super) fn check(findings: &mut Findings<'_>, connection: &Connection, routes: &[&str]) {
    let mut check = Check { path: format!("connections[{}]", connection.name), findings };
    check.name(connection);
    check.remotes(connection);
    check.webhooks(connection, routes);
    check.customer(connection);
    check.catalogue(connection);
    check.order(connection);
    check.order_status(&connection.order_status);
    check.fulfilment(connection);
    check.location(connection);
    check.inventory(connection);
    check.provision(connection);
    let types = &connection.custom_types;
    let types = [
        ("order", &types.order),
        ("line_item", &types.line_item),
        ("delivery", &types.delivery),
        ("parcel", &types.parcel),
        ("channel", &types.channel),
    ];
    for (name, _) in types.iter().filter(|(_, custom)| custom.on_foreign == OnForeign::Replace) {
        let path = format!("custom_types.{name}.on_foreign");
        check.warning(&path, "replaces custom types of other integrations and their fields");
    }
}

struct Check<'c, 'l> {
    path: String,
    findings: &'c mut Findings<'l>,
}

impl Check<'_, '_> {
    /// A destination has all that commercetools wants of its type.
    fn provision(&mut self, connection: &Connection) {
        let given = connection.provision.destination.as_ref();
        let missing = given.into_iter().flat_map(|given| given.members()).filter(|(_, value)| value.is_none());
        for (member, _) in missing {
            let kind = given.map_or("", |given| given.name());
            self.problem("provision.destination", format!("a destination of type {kind} needs {member}"));
        }
    }

    fn name(&mut self, connection: &Connection) {
        let name = &connection.name;
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if !(1..=32).contains(&name.len()) || !name.chars().all(legal) {
            self.problem("name", format!("{name:?} must be 1 to 32 characters out of a-z, 0-9 and -"));
        }
    }

    fn remotes(&mut self, connection: &Connection) {
        let (commercetools, fluent) = (&connection.commercetools, &connection.fluent);
        let urls_given = commercetools.api_url.is_some() && commercetools.auth_url.is_some();
        match &commercetools.region {
            Some(region) if !urls_given && !REGIONS.contains(&region.as_str()) => {
                let sentence =
                    format!("{region:?} is not a region; known are {}; or give both URLs", REGIONS.join(", "));
                self.problem("commercetools.region", sentence);
            }
            None if !urls_given => {
                self.problem("commercetools.region", "is needed unless api_url and auth_url are given");
            }
            _ => {}
        }
        if imports(connection) && commercetools.region.is_none() && commercetools.import_url.is_none() {
            self.problem("commercetools.import_url", "is needed unless a region is given, or inventory.write is http");
        }
        let urls = [
            ("commercetools.api_url", &commercetools.api_url),
            ("commercetools.auth_url", &commercetools.auth_url),
            ("commercetools.import_url", &commercetools.import_url),
            ("fluent.base_url", &fluent.base_url),
        ];
        for (path, url) in urls {
            if let Some(url) = url.as_ref().filter(|url| http_url(url).is_none()) {
                self.problem(path, format!("{url:?} is not an http or https URL"));
            }
        }
        let host_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if fluent.base_url.is_none() && (fluent.account.is_empty() || !fluent.account.chars().all(host_name)) {
            self.problem("fluent.account", format!("{:?} cannot be part of a host name", fluent.account));
        }
        for (path, value) in [
            ("commercetools.project_key", &commercetools.project_key),
            ("commercetools.client_id", &commercetools.client_id),
            ("fluent.username", &fluent.username),
            ("fluent.client_id", &fluent.client_id),
            ("fluent.product_catalogue.ref", &fluent.product_catalogue.reference),
            ("order_link.channel", &connection.order_link.channel),
            ("custom_types.order.key", &connection.custom_types.order.key),
            ("custom_types.channel.key", &connection.custom_types.channel.key),
        ] {
            if value.is_empty() {
                self.problem(path, "must not be empty");
            }
        }
        self.positive("commercetools.timeout", commercetools.timeout);
        self.positive("fluent.timeout", fluent.timeout);
    }

    fn webhooks(&mut self, connection: &Connection, routes: &[&str]) {
        let path = "fluent.webhook.signature";
        if is_unsigned(connection) && self.findings.loaded.config.server.public_url.is_some() {
            self.problem(path, "must not be off when server.public_url is set: anybody could send webhooks");
        }
        if connection.fluent.webhook.signature == Signature::Sha512OrMd5 {
            self.warning(path, "MD5 signatures can be forged");
        }
        let mut bound: BTreeMap<&str, &str> = BTreeMap::new();
        for (route, names) in &connection.webhooks.names {
            let path = join("webhooks.names", route);
            self.findings.known_route(&format!("{}.{path}", self.path), route, routes);
            for name in names {
                match bound.insert(name, route) {
                    Some(other) if other != route => {
                        self.problem(&path, format!("the webhook name {name:?} is bound to route {other} already"));
                    }
                    _ => {}
                }
            }
        }
    }

    fn customer(&mut self, connection: &Connection) {
        let customer = &connection.customer;
        let tokens = ["id", "email", "customer_number", "key"];
        self.pattern("customer.username_pattern", &customer.username_pattern, &tokens, &tokens);
        let countries =
            customer.timezone_by_country.keys().map(|country| (join("timezone_by_country", country), country));
        let default = customer.country_default.iter().map(|country| ("country_default".to_owned(), country));
        for (path, country) in countries.chain(default) {
            if !is_country(country) {
                self.problem(&format!("customer.{path}"), format!("{country:?} is not a country code: DE, GB"));
            }
        }
    }

    fn catalogue(&mut self, connection: &Connection) {
        let (category, product) = (&connection.category, &connection.product);
        self.positive("category.wait_limit", category.wait_limit);
        if let Some(country) = product.price_country.as_ref().filter(|country| !is_country(country)) {
            self.problem("product.price_country", format!("{country:?} is not a country code: DE, GB"));
        }
        for (path, value) in [
            ("category.type", &category.kind),
            ("category.status_active", &category.status_active),
            ("category.status_inactive", &category.status_inactive),
            ("product.status_active", &product.status_active),
            ("product.status_inactive", &product.status_inactive),
            ("product.price_types.default", &product.price_types.default),
        ] {
            if value.is_empty() {
                self.problem(path, "must not be empty");
            }
        }
        if product.price_types.special.as_ref() == Some(&product.price_types.default) {
            self.problem("product.price_types.special", "must differ from the default type, or both are one price");
        }
    }

    fn order(&mut self, connection: &Connection) {
        let order = &connection.order;
        self.moment("order.since", order.since.as_deref());
        let tokens = ["type", "order_number", "id", "store"];
        let telling = ["order_number", "id"];
        self.pattern("order.ref_pattern", &order.ref_pattern, &tokens, &telling);
        for (n, pattern) in order.adopt_ref_patterns.iter().enumerate() {
            self.pattern(&format!("order.adopt_ref_patterns[{n}]"), pattern, &tokens, &telling);
        }
        self.words("order.states", &order.states, &ORDER_STATES);
        self.words("order.hold_until_payment_state", &order.hold_until_payment_state, &PAYMENT_STATES);
        self.words("order.transaction_states", &order.transaction_states, &TRANSACTION_STATES);
        for (name, tax_type) in &order.tax_types {
            self.word(&join("order.tax_types", name), tax_type, &TAX_TYPES);
        }
        self.positive("order.wait_limit", order.wait_limit);
    }

    fn order_status(&mut self, order_status: &OrderStatus) {
        for (name, axis) in axes(order_status) {
            let path = format!("order_status.{}", word_of(name));
            self.statuses(&format!("{path}.mapping"), &axis.mapping, Some(states_of(name)));
            for (order_type, mapping) in &axis.by_type {
                self.statuses(&join(&format!("{path}.by_type"), order_type), mapping, Some(states_of(name)));
            }
        }
        // States of a workflow have keys of the operator's own.
        self.statuses("order_status.workflow_state.mapping", &order_status.workflow_state.mapping, None);
        for (n, step) in order_status.allow_back.iter().enumerate() {
            let path = format!("order_status.allow_back[{n}]");
            self.word(&format!("{path}.from"), &step.from, states_of(step.axis));
            self.word(&format!("{path}.to"), &step.to, states_of(step.axis));
        }
        self.poll("order_status", &order_status.poll);
    }

    fn fulfilment(&mut self, connection: &Connection) {
        let states = &connection.fulfilment.line_item_states;
        let order: Vec<&str> = states.order.iter().map(String::as_str).collect();
        self.statuses("fulfilment.line_item_states.mapping", &states.mapping, Some(&order));
        self.word("fulfilment.line_item_states.initial_state", &states.initial_state, &order);
        for (carrier, template) in &connection.consignment.tracking_urls {
            let path = join("consignment.tracking_urls", carrier);
            self.pattern(&path, template, &["tracking_id"], &["tracking_id"]);
        }
        self.poll("fulfilment", &connection.fulfilment.poll);
        self.poll("consignment", &connection.consignment.poll);
        self.poll("returns", &connection.returns.poll);
    }

    fn poll(&mut self, flow: &str, poll: &Poll) {
        self.positive(&format!("{flow}.poll.every"), poll.every);
        self.moment(&format!("{flow}.poll.start_at"), poll.start_at.as_deref());
    }

    fn location(&mut self, connection: &Connection) {
        let location = &connection.location;
        self.pattern("location.channel_key", &location.channel_key, &["ref"], &["ref"]);
        for (kind, roles) in &location.roles {
            self.words(&join("location.roles", kind), roles, &CHANNEL_ROLES);
        }
        self.words("location.inactive_roles", &location.inactive_roles, &CHANNEL_ROLES);
        if location.inactive_roles.is_empty() {
            self.problem("location.inactive_roles", "must name a role: a channel has at least one");
        }
        if location.locales.is_empty() {
            self.problem("location.locales", "must name a language");
        }
        for (name, code) in location.country_map.iter().filter(|(_, code)| !is_country(code)) {
            let sentence = format!("{code:?} is not a country code: DE, GB");
            self.problem(&join("location.country_map", name), sentence);
        }
        self.cron("location.full_sync", location.full_sync.as_deref());
        self.positive("location.poll.every", location.poll.every);
    }

    fn inventory(&mut self, connection: &Connection) {
        let inventory = &connection.inventory;
        self.pattern("inventory.sku", &inventory.sku, &["product_ref"], &["product_ref"]);
        let mut seen = Vec::new();
        for (n, pair) in inventory.pairs.iter().enumerate() {
            let path = format!("inventory.pairs[{n}]");
            if pair.virtual_catalogue.is_empty() {
                self.problem(&format!("{path}.virtual_catalogue"), "must not be empty");
            }
            if pair.channel.is_some() == pair.channel_from.is_some() {
                self.problem(&path, "takes exactly one of channel and channel_from");
            }
            let place = (&pair.virtual_catalogue, &pair.channel);
            if seen.contains(&place)
                || pair.channel.is_some() && seen.iter().any(|(_, channel)| *channel == &pair.channel)
            {
                self.problem(&path, "fills the same channel as another pair");
            }
            seen.push(place);
        }
        if inventory.max_quantity.is_some_and(|most| most < 0) {
            self.problem("inventory.max_quantity", "must not be negative");
        }
        self.cron("inventory.full_sync", inventory.full_sync.as_deref());
        self.positive("inventory.poll.every", inventory.poll.every);
    }

    fn cron(&mut self, path: &str, expression: Option<&str>) {
        if let Some(Err(why)) = expression.map(|expression| Timing::cron(expression, "UTC")) {
            self.problem(path, why);
        }
    }

    /// Fluent statuses are compared exactly, so one in another case would never be met.
    fn statuses(&mut self, path: &str, mapping: &BTreeMap<String, Option<String>>, states: Option<&[&str]>) {
        for (status, state) in mapping {
            let path = join(path, status);
            if *status != status.to_uppercase() {
                self.problem(&path, format!("Fluent statuses are in capitals: {}", status.to_uppercase()));
            }
            let to_nothing = |state: &str| state.is_empty() || state == "IGNORE";
            match (state, states) {
                (Some(state), Some(states)) if !to_nothing(state) => self.word(&path, state, states),
                _ => {}
            }
        }
    }

    /// A pattern of `tokens`; one of the `telling` ones keeps what it names apart.
    fn pattern(&mut self, path: &str, pattern: &str, tokens: &[&str], telling: &[&str]) {
        let list = |tokens: &[&str]| tokens.iter().map(|token| format!("{{{token}}}")).collect::<Vec<_>>().join(" ");
        let found = pattern.split('{').skip(1).map(|after| after.split('}').next().unwrap_or(after));
        let found: Vec<&str> = found.collect();
        if let Some(unknown) = found.iter().find(|token| !tokens.contains(token)) {
            self.problem(path, format!("{{{unknown}}} is not a token; known are {}", list(tokens)));
        } else if !found.iter().any(|token| telling.contains(token)) {
            self.problem(path, format!("needs one of {}: without, two could be called the same", list(telling)));
        }
    }

    fn words(&mut self, path: &str, words: &[String], known: &[&str]) {
        for (n, word) in words.iter().enumerate() {
            self.word(&format!("{path}[{n}]"), word, known);
        }
    }

    fn word(&mut self, path: &str, word: &str, known: &[&str]) {
        if !known.contains(&word) {
            self.problem(path, format!("{word:?} is not one of {}", known.join(", ")));
        }
    }

    fn moment(&mut self, path: &str, text: Option<&str>) {
        if let Some(text) = text.filter(|text| parse_rfc3339(text).is_none()) {
            self.problem(path, format!("{text:?} is not an instant: 2026-06-15T10:00:00Z"));
        }
    }

    fn positive(&mut self, path: &str, span: crate::config::value::Span) {
        self.findings.positive(&format!("{}.{path}", self.path), span);
    }

    fn problem(&mut self, path: &str, sentence: impl Into<String>) {
        self.findings.problem(&format!("{}.{path}", self.path), sentence);
    }

    fn warning(&mut self, path: &str, sentence: impl Into<String>) {
        self.findings.warning(&format!("{}.{path}", self.path), sentence);
    }
}

/// ISO 3166-1 alpha-2.
fn is_country(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|c| c.is_ascii_uppercase())
}

fn axes(order_status: &OrderStatus) -> [(AxisName, &Axis); 3] {
    [
        (AxisName::Order, &order_status.order),
        (AxisName::Shipment, &order_status.shipment),
        (AxisName::Payment, &order_status.payment),
    ]
}

fn word_of(axis: AxisName) -> &'static str {
    match axis {
        AxisName::Order => "order",
        AxisName::Shipment => "shipment",
        AxisName::Payment => "payment",
    }
}

fn states_of(axis: AxisName) -> &'static [&'static str] {
    match axis {
        AxisName::Order => &ORDER_STATES,
        AxisName::Shipment => &SHIPMENT_STATES,
        AxisName::Payment => &PAYMENT_STATES,
    }
}
