//! What happens in the shop and in the warehouse while the connector dies: orders are placed and
//! changed, Fluent's workflow moves them, and both platforms fail some requests.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES, BORIS, CHIARA};
use rand::rngs::StdRng;
use rand::seq::IteratorRandom;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::journal::Journal;
use crate::world::World;

/// Between two rounds: an order, and two steps in Fluent.
const ROUND: Duration = Duration::from_millis(50);
/// With more open messages than this no order is placed: the machine is slower than the load.
const ENOUGH: u64 = 250;
/// No order arrived in Fluent or was finished there for so long: the others never will. The longest
/// wait of the connector's own is a few seconds at the pace at which it settles.
const NEVER: Duration = Duration::from_secs(30);
/// Statuses in which nothing happens to an order any more.
const ENDS: [&str; 2] = ["COMPLETE", "CANCELLED"];

pub struct Load {
    world: Arc<World>,
    journal: Journal,
    over: AtomicBool,
    /// Messages the connector has not done yet, as it last said.
    pub open: AtomicU64,
    orders: Mutex<BTreeMap<String, Order>>,
}

/// An order that was placed, by its Fluent ref.
#[derive(Clone)]
struct Order {
    id: String,
    /// As Fluent last said; empty = not there yet.
    status: String,
}

/// Faults of both platforms, with their shares of all requests.
const FAULTS: [(&str, f64); 4] = [("lost-answer", 0.02), ("rate-limited", 0.02), ("reset", 0.01), ("error", 0.01)];

impl Load {
    pub fn new(world: Arc<World>, journal: Journal) -> Arc<Self> {
        Arc::new(Self {
            world,
            journal,
            over: AtomicBool::new(false),
            open: AtomicU64::new(0),
            orders: Mutex::default(),
        })
    }

    /// Both platforms begin to fail.
    pub async fn trouble(&self) -> anyhow::Result<()> {
        for simulator in [&self.world.fluent, &self.world.commercetools] {
            for (fault, rate) in FAULTS {
                let faults = match fault {
                    "error" => vec![json!({"error-before": 503}), json!({"error-after": 503})],
                    plain => vec![json!(plain)],
                };
                for fault in faults {
                    simulator.write(&self.world.http, "faults", json!({"fault": fault, "rate": rate})).await?;
                }
            }
            self.journal.note("faults", json!({"at_platform": simulator.url}));
        }
        Ok(())
    }

    /// No more new orders.
    pub fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
    }

    /// Round after round until [`Load::stop`].
    pub async fn run(self: Arc<Self>, seed: u64) -> anyhow::Result<()> {
        let mut dice = StdRng::seed_from_u64(seed);
        let mut number = 10_000;
        while !self.over.load(Ordering::SeqCst) {
            if self.open.load(Ordering::SeqCst) < ENOUGH {
                self.place(number, &mut dice).await?;
                number += 1;
            }
            for _ in 0..2 {
                self.move_one(&mut dice).await?;
            }
            sleep(ROUND).await;
        }
        Ok(())
    }

    async fn place(&self, number: u64, dice: &mut StdRng) -> anyhow::Result<()> {
        let articles = ARTICLES.iter().choose_multiple(dice, 1 + number as usize % 3);
        let lines: Vec<Value> = articles
            .iter()
            .map(|article| {
                let quantity = dice.random_range(1..4);
                json!({"sku": article.sku, "quantity": quantity, "centAmount": article.cent_amount})
            })
            .collect();
        let shipping = 495;
        let product = |line: &Value| line["quantity"].as_i64().unwrap_or(0) * line["centAmount"].as_i64().unwrap_or(0);
        let total = shipping + lines.iter().map(product).sum::<i64>();
        let mut order = json!({
            "number": number.to_string(), "lines": lines, "shipping": shipping, "fromCart": dice.random_bool(0.5),
        });
        if dice.random_bool(0.7) {
            order["payments"] = json!([{"method": "CREDIT_CARD", "centAmount": total}]);
        }
        match dice.random_range(0..6) {
            0 => order["customer"] = ADA.into(),
            1 => order["customer"] = BORIS.into(),
            2 => order["customer"] = CHIARA.into(),
            _ => order["guest"] = format!("guest-{}@example.org", dice.random_range(0..40)).into(),
        }
        self.journal.note("place", json!({"number": number.to_string()}));
        let placed = self.world.commercetools.write(&self.world.http, "orders", order.clone()).await?;
        let id = placed.unwrap_or_default()["id"].as_str().unwrap_or_default().to_owned();
        self.journal.note("placed", json!({"number": number.to_string(), "id": id, "order": order}));
        self.lock().insert(format!("HD_{number}"), Order { id, status: String::new() });
        Ok(())
    }

    /// One step of an order that is not finished; now and then it is cancelled, or the shop changes it.
    async fn move_one(&self, dice: &mut StdRng) -> anyhow::Result<()> {
        let open: Vec<(String, Order)> = self.lock().iter().filter(|(_, order)| !order.is_over()).map(owned).collect();
        let Some((reference, order)) = open.into_iter().choose(dice) else { return Ok(()) };
        // Only orders that are in Fluent: a change must not tell a poll of one that it lost.
        if !order.status.is_empty() && dice.random_bool(0.2) {
            let (path, email) = (format!("orders/{}/email", order.id), format!("new-{}@example.org", order.id));
            self.journal.note("change", json!({"id": order.id, "email": email}));
            self.world.commercetools.write(&self.world.http, &path, json!(email)).await?;
        }
        let status = self.step(&reference, Value::Null).await?;
        // At once: a status that was read a while ago may be that of an order that is complete by now.
        if status == "RECEIVED" && dice.random_bool(0.15) {
            self.step(&reference, json!("CANCELLED")).await?;
        }
        Ok(())
    }

    /// Answers the status the order then has; empty if there is none, or nothing is left to do.
    async fn step(&self, reference: &str, status: Value) -> anyhow::Result<String> {
        self.journal.note("step", json!({"ref": reference, "to": status}));
        let path = format!("orders/{reference}/status");
        let order = self.world.fluent.write(&self.world.http, &path, status).await?.unwrap_or_default();
        self.learn(&order);
        Ok(order["status"].as_str().unwrap_or_default().to_owned())
    }

    fn learn(&self, order: &Value) {
        let text = |name: &str| order[name].as_str().unwrap_or_default();
        if let Some(known) = self.lock().get_mut(text("ref")) {
            known.status = text("status").to_owned();
        }
    }

    /// Lets Fluent finish every order that was placed; false if one does not arrive.
    pub async fn finish(&self) -> anyhow::Result<bool> {
        let (mut since, mut open_before) = (Instant::now(), Vec::new());
        while since.elapsed() < NEVER {
            let orders = self.world.fluent.read(&self.world.http, "orders").await?;
            orders.as_array().into_iter().flatten().for_each(|order| self.learn(order));
            let open: Vec<(String, Order)> =
                self.lock().iter().filter(|(_, order)| !order.is_over()).map(owned).collect();
            if open.is_empty() {
                return Ok(true);
            }
            for (reference, _) in open.iter().filter(|(_, order)| !order.status.is_empty()) {
                self.step(reference, Value::Null).await?;
            }
            let open: Vec<(String, String)> =
                open.into_iter().map(|(reference, order)| (reference, order.status)).collect();
            if open != open_before {
                (since, open_before) = (Instant::now(), open);
            }
            sleep(Duration::from_millis(300)).await;
        }
        Ok(false)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Order>> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Order {
    fn is_over(&self) -> bool {
        ENDS.contains(&self.status.as_str())
    }
}

fn owned((reference, order): (&String, &Order)) -> (String, Order) {
    (reference.clone(), order.clone())
}
