//! The life of one order in Fluent, step by step. A step is whatever may happen next, chosen by a
//! number; it answers which events Fluent would raise for it.
//!
//! Lives have no step back that customers have acted on: nothing is rejected or re-sourced once a
//! part was shipped, articles stay in their consignment.

use std::collections::BTreeSet;

use fluent_connector::sync::slice::Slice;
use fluent_connector::sync::source::Source;
use serde_json::{Value, json};

/// Line Item ids with their quantities.
pub type Lines = Vec<(String, i64)>;

/// Statuses an order may be put into by force.
pub const STATUSES: &[&str] = &[
    "CREATED",
    "RECEIVED",
    "PENDING_PAYMENT",
    "ESCALATED",
    "BOOKED",
    "PICK_PACK",
    "AWAITING_COURIER_COLLECTION",
    "COMPLETE",
    "CANCELLED",
    "GIFT_WRAPPING",
];

pub struct Life {
    kind: String,
    pub status: String,
    /// How far the order is; its status never falls behind.
    stage: usize,
    lines: Lines,
    /// Units per line that no fulfilment has.
    open: Vec<i64>,
    fulfilments: Vec<Fulfilment>,
    consignments: Vec<Consignment>,
}

struct Fulfilment {
    id: usize,
    status: &'static str,
    collected: bool,
    /// Line, requested, filled, rejected.
    items: Vec<(usize, i64, i64, i64)>,
}

struct Consignment {
    id: usize,
    fulfilment: usize,
    status: &'static str,
    label: Option<String>,
    /// Line and quantity per article; none = the article names no items.
    articles: Vec<Vec<(usize, i64)>>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Receive,
    Book,
    Cancel,
    /// All that is open, or one unit.
    Source(bool),
    Assign(usize),
    /// Everything found, one unit not, nothing found.
    Pick(usize, usize),
    Pack(usize, bool),
    Process(usize),
    Label(usize),
    Lodge(usize),
    /// Another box for one of the units.
    Box(usize),
    Send(usize),
    Collect(usize),
}

impl Life {
    pub fn new(kind: &str, lines: Lines) -> Self {
        let open = lines.iter().map(|(_, quantity)| *quantity).collect();
        let (fulfilments, consignments) = (Vec::new(), Vec::new());
        Self { kind: kind.into(), status: "CREATED".into(), stage: 0, lines, open, fulfilments, consignments }
    }

    /// What happens next, of all that may; the events it raises.
    pub fn step(&mut self, number: u16) -> Vec<Slice> {
        let steps = self.possible();
        if steps.is_empty() {
            return Vec::new();
        }
        let before = self.status.clone();
        let mut events = self.take(steps[usize::from(number) % steps.len()]);
        self.follow();
        if self.status != before {
            events.push(Slice::Status);
        }
        events
    }

    /// All that the polls would name.
    pub fn everything(&self) -> BTreeSet<Slice> {
        let consignments = self.consignments.iter().map(|one| Slice::Consignment(one.id.to_string()));
        consignments.chain([Slice::Status, Slice::Fulfilment]).collect()
    }

    fn possible(&self) -> Vec<Step> {
        match self.stage {
            0 => return vec![Step::Receive, Step::Cancel],
            1 => return vec![Step::Book, Step::Book, Step::Cancel],
            9 => return vec![],
            _ => {}
        }
        let mut steps = Vec::new();
        let shipped = self.fulfilments.iter().any(|one| one.status == "COMPLETE");
        let is_open = self.open.iter().any(|open| *open > 0);
        if is_open {
            steps.extend([Step::Source(true), Step::Source(false)]);
        }
        if self.fulfilments.is_empty() {
            steps.push(Step::Cancel);
        }
        for (at, one) in self.fulfilments.iter().enumerate() {
            match one.status {
                "AWAITING_WAVE" => steps.push(Step::Assign(at)),
                "ASSIGNED" if shipped => steps.push(Step::Pick(at, 0)),
                "ASSIGNED" => steps.extend([Step::Pick(at, 0), Step::Pick(at, 1), Step::Pick(at, 2)]),
                "FULFILLED" | "PARTIALLY_FULFILLED" if one.collected && !is_open => steps.push(Step::Collect(at)),
                "FULFILLED" | "PARTIALLY_FULFILLED" if !one.collected && !self.is_packed(at) => {
                    steps.extend([Step::Pack(at, true), Step::Pack(at, false)]);
                }
                _ => {}
            }
        }
        for (at, one) in self.consignments.iter().enumerate() {
            match one.status {
                "CREATED" => steps.push(Step::Process(at)),
                "PROCESSING" => steps.extend([Step::Label(at), Step::Lodge(at), Step::Box(at)]),
                "ACTIVE_LODGED" if !is_open => steps.extend([Step::Label(at), Step::Send(at), Step::Box(at)]),
                "ACTIVE_LODGED" => steps.extend([Step::Label(at), Step::Box(at)]),
                _ => {}
            }
        }
        steps
    }

    fn is_packed(&self, fulfilment: usize) -> bool {
        self.consignments.iter().any(|one| one.fulfilment == fulfilment)
    }

    fn take(&mut self, step: Step) -> Vec<Slice> {
        match step {
            Step::Receive => self.stage = 1,
            Step::Book => self.stage = 2,
            Step::Cancel => {
                self.stage = 9;
                self.status = "CANCELLED".into();
            }
            Step::Source(all) => self.source_units(all),
            Step::Assign(at) => {
                self.fulfilments[at].status = "ASSIGNED";
                self.stage = self.stage.max(3);
            }
            Step::Pick(at, how) => self.pick(at, how),
            Step::Pack(at, told) => return self.pack(at, told),
            Step::Process(at) => return self.consign(at, "PROCESSING"),
            Step::Label(at) => {
                let label = format!(
                    "L{}-{}",
                    self.consignments[at].id,
                    self.consignments[at].label.as_ref().map_or(0, String::len)
                );
                self.consignments[at].label = Some(label);
                return vec![self.slice(at)];
            }
            Step::Lodge(at) => {
                let fulfilment = self.consignments[at].fulfilment;
                self.fulfilments[fulfilment].status = "AWAITING_COURIER_COLLECTION";
                return [self.consign(at, "ACTIVE_LODGED"), vec![Slice::Fulfilment]].concat();
            }
            Step::Box(at) => return self.another_box(at),
            Step::Send(at) => {
                let fulfilment = self.consignments[at].fulfilment;
                self.fulfilments[fulfilment].status = "COMPLETE";
                return [self.consign(at, "ACTIVE_SENT"), vec![Slice::Fulfilment]].concat();
            }
            Step::Collect(at) => self.fulfilments[at].status = "COMPLETE",
        }
        match step {
            Step::Receive | Step::Book | Step::Cancel => vec![],
            _ => vec![Slice::Fulfilment],
        }
    }

    fn source_units(&mut self, all: bool) {
        let mut items = Vec::new();
        for (line, open) in self.open.iter_mut().enumerate().filter(|(_, open)| **open > 0) {
            let quantity = if all { *open } else { 1 };
            *open -= quantity;
            items.push((line, quantity, 0, 0));
            if !all {
                break;
            }
        }
        let id = 7_000 + self.fulfilments.len() * 999;
        let collected = self.kind == "CC" || (self.kind == "MULTI" && self.fulfilments.len() % 2 == 1);
        self.fulfilments.push(Fulfilment { id, status: "AWAITING_WAVE", collected, items });
    }

    fn pick(&mut self, at: usize, how: usize) {
        let Fulfilment { status, items, .. } = &mut self.fulfilments[at];
        for (number, (line, requested, filled, rejected)) in items.iter_mut().enumerate() {
            *rejected = match how {
                0 => 0,
                1 if number == 0 => 1,
                1 => 0,
                _ => *requested,
            };
            *filled = *requested - *rejected;
            self.open[*line] += *rejected;
        }
        let found: i64 = items.iter().map(|(_, _, filled, _)| filled).sum();
        let missed: i64 = items.iter().map(|(.., rejected)| rejected).sum();
        *status = match (found, missed) {
            (0, _) => "REJECTED",
            (_, 0) => "FULFILLED",
            _ => "PARTIALLY_FULFILLED",
        };
    }

    fn pack(&mut self, at: usize, told: bool) -> Vec<Slice> {
        let items = self.fulfilments[at].items.iter();
        let items: Vec<(usize, i64)> =
            items.map(|(line, _, filled, _)| (*line, *filled)).filter(|(_, filled)| told && *filled > 0).collect();
        let id = 9_000 + self.consignments.len() * 999;
        let articles = vec![items];
        self.consignments.push(Consignment { id, fulfilment: at, status: "CREATED", label: None, articles });
        vec![self.slice(self.consignments.len() - 1)]
    }

    fn consign(&mut self, at: usize, status: &'static str) -> Vec<Slice> {
        self.consignments[at].status = status;
        vec![self.slice(at)]
    }

    fn another_box(&mut self, at: usize) -> Vec<Slice> {
        let first = &mut self.consignments[at].articles[0];
        match first.iter_mut().find(|(_, quantity)| *quantity > 1) {
            Some((line, quantity)) => {
                *quantity -= 1;
                let unit = (*line, 1);
                self.consignments[at].articles.push(vec![unit]);
                vec![self.slice(at)]
            }
            None => vec![],
        }
    }

    fn slice(&self, at: usize) -> Slice {
        Slice::Consignment(self.consignments[at].id.to_string())
    }

    /// The order follows its fulfilments, and never goes back.
    fn follow(&mut self) {
        if self.stage == 9 {
            return;
        }
        let live: Vec<&str> =
            self.fulfilments.iter().map(|one| one.status).filter(|status| *status != "REJECTED").collect();
        let ready = |status: &&str| matches!(*status, "AWAITING_COURIER_COLLECTION" | "COMPLETE");
        let is_open = self.open.iter().any(|open| *open > 0);
        if !live.is_empty() && !is_open && live.iter().all(|status| *status == "COMPLETE") {
            self.stage = 5;
        } else if !live.is_empty() && live.iter().all(ready) {
            self.stage = self.stage.max(4);
        }
        let of_stage = match (self.stage, self.kind.as_str()) {
            (0, _) => "CREATED",
            (1, _) => "RECEIVED",
            (2, _) => "BOOKED",
            (3, "CC") => "PICK_PACK_CC",
            (3, _) => "PICK_PACK",
            (4, "CC") => "AWAITING_CUSTOMER_COLLECTION",
            (4, _) => "AWAITING_COURIER_COLLECTION",
            _ => "COMPLETE",
        };
        self.status = of_stage.to_owned();
    }

    /// What Fluent answers now to whoever asks for these slices.
    pub fn source(&self, slices: &BTreeSet<Slice>) -> Source {
        let mut order = json!({
            "id": "6469", "ref": format!("{}_1", self.kind), "type": self.kind, "status": self.status,
            "updatedOn": null, "retailer": null, "attributes": [],
        });
        if slices.contains(&Slice::Fulfilment) {
            order["fulfilments"] = connection(self.fulfilments.iter().map(|one| self.fulfilment(one)).collect());
        }
        let mut source = Source::new(serde_json::from_value(order).unwrap());
        let asked = |one: &&Consignment| slices.contains(&Slice::Consignment(one.id.to_string()));
        for one in self.consignments.iter().filter(asked) {
            source.consignments.push(serde_json::from_value(self.consignment(one)).unwrap());
            let fulfilment = &self.fulfilments[one.fulfilment];
            let items = self.fulfilment(fulfilment)["items"]["edges"].as_array().unwrap().clone();
            let items = items.into_iter().map(|edge| serde_json::from_value(edge["node"].clone()).unwrap());
            source.packed.insert(fulfilment.id.to_string(), items.collect());
        }
        source
    }

    fn fulfilment(&self, one: &Fulfilment) -> Value {
        let item = |(at, (line, requested, filled, rejected)): (usize, &(usize, i64, i64, i64))| {
            json!({
                "id": (one.id * 10 + at).to_string(), "requestedQuantity": requested, "filledQuantity": filled,
                "rejectedQuantity": rejected, "orderItem": self.item(*line),
            })
        };
        json!({
            "id": one.id.to_string(), "ref": format!("F-{}", one.id), "status": one.status, "eta": null,
            "updatedOn": null, "fromLocation": {"ref": "LOC-1"},
            "items": connection(one.items.iter().enumerate().map(item).collect()),
        })
    }

    fn consignment(&self, one: &Consignment) -> Value {
        let fulfilment = &self.fulfilments[one.fulfilment];
        let article = |(at, items): (usize, &Vec<(usize, i64)>)| {
            let items =
                items.iter().map(|(line, quantity)| json!({"quantity": quantity, "orderItem": self.item(*line)}));
            let packed_for =
                json!({"id": fulfilment.id.to_string(), "order": {"id": "6469", "ref": null, "retailer": null}});
            json!({"article": {
                "id": (one.id * 10 + at).to_string(), "ref": format!("A-{}-{at}", one.id),
                "items": connection(items.collect()), "fulfilments": connection(vec![packed_for]),
            }})
        };
        json!({
            "id": one.id.to_string(), "ref": format!("C-{}", one.id), "status": one.status,
            "consignmentReference": format!("R{}", one.id), "trackingLabel": one.label, "updatedOn": null,
            "retailer": null, "carrier": {"ref": "C", "name": "Carrier"},
            "consignmentArticles": connection(one.articles.iter().enumerate().map(article).collect()),
        })
    }

    fn item(&self, line: usize) -> Value {
        json!({"id": line.to_string(), "ref": self.lines[line].0, "product": {"ref": "any"}})
    }
}

fn connection(nodes: Vec<Value>) -> Value {
    let edges: Vec<Value> = nodes.into_iter().map(|node| json!({"cursor": null, "node": node})).collect();
    json!({"edges": edges, "pageInfo": {"hasNextPage": false}})
}
