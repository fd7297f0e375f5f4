//! The checker: reads what the driver wrote down and the ledgers of both platforms, and judges.
//!
//! It shares no code with the connector: what a status of Fluent means in commercetools, and which
//! key a delivery has, is written down here once more.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::path::Path;

use anyhow::Context;
use serde_json::{Value, json};

/// Findings of one kind that are told; the rest is counted.
const TOLD: usize = 10;
/// Share of the kills at which there must have been something to do.
const LOADED: f64 = 0.7;

/// Judges a run; true = nothing is wrong. Ends with one line of JSON.
///
/// # Errors
/// When something that the driver should have written cannot be read.
pub fn check(folder: &Path) -> anyhow::Result<bool> {
    let evidence = Evidence::read(folder)?;
    let mut verdict = Verdict::default();
    deliveries(&evidence, &mut verdict);
    open_work(&evidence, &mut verdict);
    orders(&evidence, &mut verdict);
    buyers(&evidence, &mut verdict);
    creations(&evidence, &mut verdict);
    updates(&evidence, &mut verdict);
    locks(&evidence, &mut verdict);
    balance(&evidence, &mut verdict);
    Ok(verdict.tell(&evidence))
}

/// What there is to read.
struct Evidence {
    journal: Vec<Value>,
    messages: Vec<Value>,
    status: Value,
    fluent_ledger: Vec<Value>,
    fluent_orders: Vec<Value>,
    shop_ledger: Vec<Value>,
    /// By id.
    shop_orders: BTreeMap<String, Value>,
    /// Postgres only.
    locks: Vec<Value>,
}

impl Evidence {
    fn read(folder: &Path) -> anyhow::Result<Self> {
        let lines = std::fs::read_to_string(folder.join("driver.jsonl"))?;
        let journal = lines.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("driver.jsonl")?;
        let shop_orders = list(folder, "commercetools-orders")?.into_iter();
        Ok(Self {
            journal,
            messages: list(folder, "messages")?,
            status: document(folder, "status")?,
            fluent_ledger: list(folder, "fluent-ledger")?,
            fluent_orders: list(folder, "fluent-orders")?,
            shop_ledger: list(folder, "commercetools-ledger")?,
            shop_orders: shop_orders.map(|order| (text(&order, "id").to_owned(), order)).collect(),
            locks: if folder.join("locks.json").exists() { list(folder, "locks")? } else { Vec::new() },
        })
    }

    fn events(&self, name: &str) -> impl Iterator<Item = &Value> {
        self.journal.iter().filter(move |line| line["event"] == name)
    }

    /// What the driver says of the run.
    fn run(&self) -> Value {
        self.events("run").next().cloned().unwrap_or_default()
    }

    /// Effects of the connector: nobody else writes through the platforms' own API.
    fn effects(&self) -> impl Iterator<Item = &Value> {
        let others = ["workflow", "another-system", "event"];
        let fluent = self.fluent_ledger.iter().filter(move |effect| !others.contains(&text(effect, "operation")));
        fluent.chain(&self.shop_ledger).filter(|effect| effect["changed"] == true)
    }
}

fn document(folder: &Path, name: &str) -> anyhow::Result<Value> {
    let path = folder.join(format!("{name}.json"));
    let content = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&content).with_context(|| path.display().to_string())
}

fn list(folder: &Path, name: &str) -> anyhow::Result<Vec<Value>> {
    match document(folder, name)? {
        Value::Array(list) => Ok(list),
        _ => anyhow::bail!("{name}.json is no list"),
    }
}

fn text<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

fn items<'a>(of: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    of[name].as_array().into_iter().flatten()
}

/// What was found, as sentences.
#[derive(Default)]
struct Verdict {
    lost: Vec<String>,
    duplicate: Vec<String>,
    stale: Vec<String>,
    unaccounted: u64,
    /// Work of a stopped daemon that another one took over.
    taken_over: usize,
}

impl Verdict {
    /// Tells everything; true = nothing is wrong.
    fn tell(&self, evidence: &Evidence) -> bool {
        for (kind, findings) in [("lost", &self.lost), ("duplicate", &self.duplicate), ("stale", &self.stale)] {
            findings.iter().take(TOLD).for_each(|sentence| println!("{kind}: {sentence}"));
            if findings.len() > TOLD {
                println!("{kind}: and {} more", findings.len() - TOLD);
            }
        }
        let run = evidence.run();
        let kills: Vec<&Value> = evidence.events("kill").chain(evidence.events("pause")).collect();
        let loaded = kills.iter().filter(|kill| kill["open"].as_u64() > Some(0)).count();
        let is_proof = self.is_proof(&run, kills.len(), loaded);
        let clean = self.lost.is_empty() && self.duplicate.is_empty() && self.stale.is_empty() && self.unaccounted == 0;
        println!(
            "{}",
            json!({
                "profile": run["profile"], "database": run["database"], "kills": kills.len(), "under_load": loaded,
                "taken_over": self.taken_over, "orders": evidence.events("placed").count(),
                "deliveries": evidence.events("delivery").count(), "effects": evidence.effects().count(),
                "lost": self.lost.len(), "duplicate": self.duplicate.len(), "stale": self.stale.len(),
                "unaccounted": self.unaccounted, "seed": run["seed"],
            })
        );
        clean && is_proof
    }

    /// Did the run do what it was for?
    fn is_proof(&self, run: &Value, kills: usize, loaded: usize) -> bool {
        let mut missing = Vec::new();
        if run["kills"].as_u64() != Some(kills as u64) {
            missing.push(format!("{} kills were wanted, {kills} were done", run["kills"]));
        }
        if (loaded as f64) < LOADED * kills as f64 {
            missing.push(format!("only {loaded} of {kills} kills were under load"));
        }
        if run["profile"] == "paused" && self.taken_over == 0 {
            missing.push("no pause hit work that another daemon took over".to_owned());
        }
        missing.iter().for_each(|sentence| println!("no proof: {sentence}"));
        missing.is_empty()
    }
}

/// A delivery that was answered with 2xx must be a message.
fn deliveries(evidence: &Evidence, verdict: &mut Verdict) {
    let taken: BTreeSet<u64> = evidence
        .events("answer")
        .filter(|answer| answer["status"].as_u64().is_some_and(|status| (200..300).contains(&status)))
        .filter_map(|answer| answer["number"].as_u64())
        .collect();
    let known: BTreeSet<&str> = evidence.messages.iter().map(|message| text(message, "key")).collect();
    for delivery in evidence.events("delivery") {
        let (key, number) = (text(delivery, "key"), delivery["number"].as_u64().unwrap_or(0));
        if taken.contains(&number) && !known.contains(key) {
            verdict.lost.push(format!("delivery {number} ({key}) was answered with success, and there is no message"));
        }
        if !taken.contains(&number) {
            verdict.lost.push(format!("delivery {number} ({key}) was never taken"));
        }
    }
}

/// After settling nothing is open, and nothing of this run is for an operator.
fn open_work(evidence: &Evidence, verdict: &mut Verdict) {
    for message in &evidence.messages {
        let (state, lane) = (text(message, "state"), text(message, "lane"));
        // There is always a tick of a job.
        let open = ["ready", "running", "waiting"].contains(&state) && lane != "bulk";
        if open || state == "parked" {
            let (route, key, detail) = (text(message, "route"), text(message, "key"), text(message, "detail"));
            verdict.lost.push(format!("{route} {key} is {state} after settling: {detail}"));
        }
    }
}

/// Every order that was placed is in Fluent with its items and payments, is linked, and has the
/// states of its Fluent status.
fn orders(evidence: &Evidence, verdict: &mut Verdict) {
    let mut by_ref: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for order in &evidence.fluent_orders {
        by_ref.entry(text(order, "ref")).or_default().push(order);
    }
    for placed in evidence.events("placed") {
        let reference = format!("HD_{}", text(placed, "number"));
        match by_ref.remove(reference.as_str()).unwrap_or_default()[..] {
            [] => verdict.lost.push(format!("order {reference} is not in Fluent")),
            [order] => {
                contents(placed, order, verdict);
                match evidence.shop_orders.get(text(placed, "id")) {
                    Some(shop) => target(order, shop, verdict),
                    None => verdict.lost.push(format!("commercetools lost the order of {reference}")),
                }
            }
            ref several => verdict.duplicate.push(format!("order {reference} is in Fluent {} times", several.len())),
        }
    }
    verdict.duplicate.extend(by_ref.keys().map(|reference| format!("nobody placed {reference}, which is in Fluent")));
}

fn contents(placed: &Value, order: &Value, verdict: &mut Verdict) {
    let reference = text(order, "ref");
    let mut wanted: BTreeMap<&str, i64> = BTreeMap::new();
    for line in items(&placed["order"], "lines") {
        *wanted.entry(text(line, "sku")).or_default() += line["quantity"].as_i64().unwrap_or(0);
    }
    let mut found: BTreeMap<&str, i64> = BTreeMap::new();
    for item in items(order, "items") {
        *found.entry(text(&item["product"], "ref")).or_default() += item["quantity"].as_i64().unwrap_or(0);
    }
    if wanted != found {
        verdict.lost.push(format!("order {reference} has items {found:?} instead of {wanted:?}"));
    }
    let wanted: Vec<i64> =
        items(&placed["order"], "payments").filter_map(|payment| payment["centAmount"].as_i64()).collect();
    let found: Vec<i64> = items(order, "financialTransactions")
        .filter_map(|transaction| transaction["unscaledValue"].as_i64().filter(|_| transaction["scale"] == 2))
        .collect();
    if wanted != found {
        let sentence = format!("order {reference} has payments {found:?} instead of {wanted:?}");
        let findings = if found.len() > wanted.len() { &mut verdict.duplicate } else { &mut verdict.lost };
        findings.push(sentence);
    }
}

/// Final states: Fluent status, orderState, shipmentState, as `docs/mapping/order-status.md` has them
/// for home deliveries.
const MAPPING: [(&str, &str, Option<&str>); 7] = [
    ("CREATED", "Open", None),
    ("RECEIVED", "Open", Some("Pending")),
    ("BOOKED", "Confirmed", Some("Pending")),
    ("PICK_PACK", "Confirmed", Some("Pending")),
    ("AWAITING_COURIER_COLLECTION", "Confirmed", Some("Ready")),
    ("COMPLETE", "Complete", Some("Shipped")),
    ("CANCELLED", "Cancelled", Some("Canceled")),
];

fn target(order: &Value, shop: &Value, verdict: &mut Verdict) {
    let (reference, status) = (text(order, "ref"), text(order, "status"));
    let links: Vec<&str> = items(shop, "syncInfo").map(|info| text(info, "externalId")).collect();
    match links[..] {
        [] => verdict.lost.push(format!("order {reference} is not linked")),
        [link] if link == text(order, "id") => {}
        _ => verdict.stale.push(format!("order {reference} is linked to {links:?} instead of {}", order["id"])),
    }
    let found = (text(shop, "orderState"), shop["shipmentState"].as_str());
    let wanted = MAPPING.iter().find(|(from, ..)| *from == status).map(|(_, state, shipment)| (*state, *shipment));
    if wanted != Some(found) {
        let sentence = format!("order {reference} is {status} in Fluent and {found:?} in commercetools");
        verdict.stale.push(sentence);
    }
}

/// One customer in Fluent for each buyer, and another one for another.
fn buyers(evidence: &Evidence, verdict: &mut Verdict) {
    let customer_of: BTreeMap<&str, &str> =
        evidence.fluent_orders.iter().map(|order| (text(order, "ref"), text(&order["customer"], "id"))).collect();
    let mut known: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for placed in evidence.events("placed") {
        let (order, reference) = (&placed["order"], format!("HD_{}", text(placed, "number")));
        let buyer = format!("{}{}", text(order, "customer"), text(order, "guest"));
        match customer_of.get(reference.as_str()) {
            Some(&"") => verdict.lost.push(format!("order {reference} has no customer")),
            Some(customer) => drop(known.entry(buyer).or_default().insert(customer)),
            None => {}
        }
    }
    let several = known.iter().filter(|(_, customers)| customers.len() > 1);
    verdict.duplicate.extend(several.map(|(buyer, customers)| format!("buyer {buyer} is customers {customers:?}")));
    let mut owners: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (buyer, customer) in known.iter().flat_map(|(buyer, customers)| customers.iter().map(move |id| (buyer, id))) {
        owners.entry(customer).or_default().push(buyer);
    }
    let shared = owners.iter().filter(|(_, buyers)| buyers.len() > 1);
    verdict.stale.extend(shared.map(|(customer, buyers)| format!("customer {customer} is {buyers:?} at once")));
}

/// Fluent's ledger: one creation for each commercetools order, payment and customer.
fn creations(evidence: &Evidence, verdict: &mut Verdict) {
    let mut seen: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for effect in evidence.effects() {
        let key = match (text(effect, "entity"), text(effect, "operation")) {
            ("ORDER", "createOrder") => order_of(effect).to_owned(),
            ("FINANCIAL_TRANSACTION", operation) if operation.starts_with("create") => {
                text(effect, "reference").to_owned()
            }
            ("CUSTOMER", "createCustomer") => text(&effect["detail"], "primaryEmail").to_lowercase(),
            _ => continue,
        };
        *seen.entry((text(effect, "entity"), key)).or_default() += 1;
    }
    let twice = seen.into_iter().filter(|(_, times)| *times > 1);
    verdict.duplicate.extend(twice.map(|((entity, key), times)| format!("{entity} {key} was created {times} times")));
}

/// The commercetools order that a created order names.
fn order_of(effect: &Value) -> &str {
    let named = |attribute: &&Value| attribute["name"] == "commercetoolsOrderId";
    items(&effect["detail"], "attributes").find(named).map_or("", |attribute| text(attribute, "value"))
}

/// States from first to last; none comes before all of them.
const ORDER_STATES: [&[&str]; 3] = [&["Open"], &["Confirmed"], &["Complete", "Cancelled"]];
const SHIPMENT_STATES: [&[&str]; 3] = [&["Pending"], &["Ready"], &["Shipped", "Canceled"]];

/// commercetools' ledger: each order is linked once, and no state is written twice or steps back.
fn updates(evidence: &Evidence, verdict: &mut Verdict) {
    let mut links: BTreeMap<&str, usize> = BTreeMap::new();
    let mut last: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for effect in evidence.shop_ledger.iter().filter(|effect| effect["entity"] == "order") {
        let (order, detail) = (text(effect, "reference"), &effect["detail"]);
        let has = |action: &str| items(detail, "actions").any(|done| done == action);
        if has("updateSyncInfo") {
            *links.entry(order).or_default() += 1;
        }
        let axes = [
            ("orderState", "changeOrderState", ORDER_STATES),
            ("shipmentState", "changeShipmentState", SHIPMENT_STATES),
        ];
        for (field, action, ranks) in axes.into_iter().filter(|(_, action, _)| has(action)) {
            let to = text(detail, field);
            let from = last.insert((order, field), to).unwrap_or_default();
            let rank = |state: &str| ranks.iter().position(|states| states.contains(&state)).map_or(0, |at| at + 1);
            if from == to {
                verdict.duplicate.push(format!("order {order}: {action} {to} was written twice"));
            } else if rank(to) <= rank(from) {
                verdict.stale.push(format!("order {order}: {action} {to} came after {from}"));
            }
        }
    }
    let twice = links.iter().filter(|(_, times)| **times > 1);
    verdict.duplicate.extend(twice.map(|(order, times)| format!("order {order} was linked {times} times")));
}

/// Postgres: a subject is freed by who holds it, or taken away with a new token.
fn locks(evidence: &Evidence, verdict: &mut Verdict) {
    // A daemon has one name, and a holder is one life of a daemon.
    let mut daemons: BTreeMap<&str, &str> = BTreeMap::new();
    for change in &evidence.locks {
        let (old, new, daemon) = (text(change, "old_holder"), text(change, "new_holder"), text(change, "daemon"));
        let same_token = change["old_token"] == change["new_token"];
        let (name, token) = (text(change, "name"), &change["old_token"]);
        match (old, new) {
            ("", holder) if !holder.is_empty() => drop(daemons.insert(holder, daemon)),
            ("", "") if same_token => {
                verdict.stale.push(superseded(daemon, name, token, "which nobody held any more"));
            }
            // What was taken before the trigger was there has no known holder.
            (holder, "") if same_token && daemons.get(holder).is_some_and(|owner| *owner != daemon) => {
                verdict.stale.push(superseded(daemon, name, token, "which another daemon held"));
            }
            (holder, "") if !same_token && !holder.is_empty() => verdict.taken_over += 1,
            _ => {}
        }
    }
}

fn superseded(daemon: &str, name: &str, token: impl Display, why: &str) -> String {
    format!("{daemon} committed with a superseded token: it freed {name} (token {token}), {why}")
}

/// `accepted` is the sum of all states, and the counters are what a recount gives.
fn balance(evidence: &Evidence, verdict: &mut Verdict) {
    let balance = &evidence.status["balance"];
    let differences = balance["recount"]["differences"].as_array().map_or(1, |differences| differences.len() as u64);
    verdict.unaccounted = balance["imbalance"].as_u64().unwrap_or(1) + differences;
}
