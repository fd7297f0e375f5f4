//! The workflows ORDER::HD, ORDER::CC and ORDER::MULTI, moving by the clock (platform document 7).
//!
//! One step is what one actor does in one go, so it may pass several statuses:
//!
//! | order before | step |
//! |---|---|
//! | CREATED | → RECEIVED; → ESCALATED if a choice has neither address nor pickup location |
//! | RECEIVED | → BOOKED; one fulfilment per choice: CREATED → PROCESSING → AWAITING_WAVE |
//! | BOOKED | fulfilments → ASSIGNED; order → PICK_PACK (CC: PICK_PACK_CC) |
//! | PICK_PACK | fulfilments → FULFILLED; articles → PENDING_CONSIGNMENT; consignments CREATED → PROCESSING |
//! | PICK_PACK, booked | consignments → ACTIVE_LODGED; articles, fulfilments, order → AWAITING_COURIER_COLLECTION |
//! | PICK_PACK_CC | fulfilments → FULFILLED; articles → AWAITING_COLLECTION; order → AWAITING_CUSTOMER_COLLECTION |
//! | AWAITING_… | articles → COLLECTED; fulfilments → COMPLETE; order → COMPLETE |
//!
//! Everything is picked in full; splits and rejections are driven by hand. MULTI goes the way of HD,
//! its CC fulfilments without consignment.

use std::time::Duration;

use serde_json::{Value, json};

use super::Fluent;
use super::account::{Account, members};
use super::store::{Document, link, linked, text};
use crate::clock::Millis;

/// How orders move without anybody's doing.
#[derive(Clone, Copy, Debug)]
pub struct Workflow {
    /// Do orders move on their own?
    pub automatic: bool,
    /// Time between two steps of an order, by the clock.
    pub step: Duration,
}

impl Default for Workflow {
    fn default() -> Self {
        Self { automatic: true, step: Duration::from_secs(5) }
    }
}

/// Something that is due at a time.
#[derive(Clone, Debug)]
pub enum Step {
    /// The next step of an order.
    Advance(u64),
    /// The catalogue workflow makes a new product or category ACTIVE.
    Activate(u64),
    /// An event that came through the asynchronous endpoint.
    Event(usize),
}

/// Runs due steps until the simulator stops.
pub async fn run(fluent: Fluent) {
    let bell = fluent.account().step_bell.clone();
    loop {
        let due = fluent.account().steps.first_key_value().map(|((due, _), _)| *due);
        let wait = async {
            match due {
                Some(due) => fluent.front().clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = bell.notified() => {}
            () = fluent.stopped() => return,
        }
        fluent.account().run_due();
    }
}

impl Account {
    /// Plans a step.
    pub fn schedule(&mut self, at: Millis, step: Step) {
        self.step_number += 1;
        self.steps.insert((at, self.step_number), step);
        self.step_bell.notify_one();
    }

    pub fn step_length(&self) -> Millis {
        self.options.workflow.step.as_millis() as Millis
    }

    fn run_due(&mut self) {
        while let Some(entry) = self.steps.first_entry() {
            let due = entry.key().0;
            if due > self.front.clock.now() {
                return;
            }
            match entry.remove() {
                Step::Advance(order) => {
                    if self.advance(order) {
                        self.schedule(due + self.step_length(), Step::Advance(order));
                    }
                }
                Step::Activate(id) => {
                    let fresh = self.store.any(id).is_some_and(|document| text(&document, "status") == "CREATED");
                    if fresh {
                        self.set_status(id, "ACTIVE", "CREATE");
                    }
                }
                Step::Event(number) => self.run_event(number),
            }
        }
    }

    /// One step of an order. False if nothing is left to do, or nobody has said what to do.
    pub fn advance(&mut self, order: u64) -> bool {
        let Some(document) = self.store.find("Order", order) else { return false };
        let pick = if text(&document, "type") == "CC" { "PICK_PACK_CC" } else { "PICK_PACK" };
        if !matches!(text(&document, "type"), "HD" | "CC" | "MULTI") {
            return false;
        }
        match text(&document, "status") {
            "CREATED" if self.is_deliverable(order) => self.set_status(order, "RECEIVED", "CREATE"),
            "CREATED" => self.set_status(order, "ESCALATED", "ProcessError"),
            "RECEIVED" => {
                self.set_status(order, "BOOKED", "ProcessOrder");
                self.source(order, &document);
            }
            "BOOKED" => {
                self.set_fulfilments(order, "AWAITING_WAVE", "ASSIGNED", "WaveCreate");
                self.set_status(order, pick, "FulfilmentAssigned");
            }
            "PICK_PACK" if self.fulfilments(order, "ASSIGNED").is_empty() => self.lodge(order),
            "PICK_PACK" => self.pack(order),
            "PICK_PACK_CC" => {
                self.pack(order);
                self.set_status(order, "AWAITING_CUSTOMER_COLLECTION", "OrderAwaitingCustomerCollection");
            }
            "AWAITING_COURIER_COLLECTION" | "AWAITING_CUSTOMER_COLLECTION" => {
                self.collect(order);
                self.set_status(order, "COMPLETE", "OrderComplete");
            }
            _ => return false,
        }
        true
    }

    /// Has each choice what its type needs: an address, or a location to collect at? (platform document 7.1:
    /// the first step checks the address.)
    fn is_deliverable(&self, order: u64) -> bool {
        let choices = self.linked_to(order, "fulfilmentChoices");
        choices.iter().filter_map(|id| self.store.any(*id)).all(|choice| match text(&choice, "type") {
            "CC" => !text(&choice, "pickupLocationRef").is_empty(),
            "HD" => choice.get("deliveryAddress").and_then(linked).is_some(),
            _ => false,
        })
    }

    /// OrderCancel: CREATED, RECEIVED and BOOKED orders become CANCELLED with their fulfilments; false
    /// for the others (platform document 7.1).
    pub fn cancel(&mut self, order: u64) -> bool {
        let Some(document) = self.store.find("Order", order) else { return false };
        if !matches!(text(&document, "status"), "CREATED" | "RECEIVED" | "BOOKED") {
            return false;
        }
        self.set_status(order, "CANCELLED", "OrderCancel");
        for status in ["CREATED", "PROCESSING", "AWAITING_WAVE"] {
            self.set_fulfilments(order, status, "CANCELLED", "CancelFulfilment");
        }
        true
    }

    /// Sets a status as the workflow does: ledger row, event, webhook.
    pub fn set_status(&mut self, id: u64, status: &str, event: &str) {
        let now = self.now();
        let changed = self.store.edit(id, now, |document| drop(document.insert("status".into(), status.into())));
        let operation = if event == "OrderCancel" || event == "CancelFulfilment" { "event" } else { "workflow" };
        self.record(operation, id, changed, json!({"event": event, "status": status}));
        self.raise(event, id);
        if changed {
            self.announce(id);
        }
    }

    fn fulfilments(&self, order: u64, status: &str) -> Vec<u64> {
        let fulfilments = self.linked_to(order, "fulfilments").into_iter();
        fulfilments
            .filter(|id| self.store.any(*id).is_some_and(|document| text(&document, "status") == status))
            .collect()
    }

    fn linked_to(&self, owner: u64, list: &str) -> Vec<u64> {
        let owner = self.store.any(owner);
        let links = owner.as_ref().and_then(|owner| owner.get(list)).and_then(Value::as_array);
        links.into_iter().flatten().filter_map(linked).collect()
    }

    fn set_fulfilments(&mut self, order: u64, from: &str, to: &str, event: &str) {
        for id in self.fulfilments(order, from) {
            self.set_status(id, to, event);
        }
    }

    /// Finds a location for every choice and creates its fulfilment.
    fn source(&mut self, order: u64, document: &Document) {
        for (number, choice) in self.linked_to(order, "fulfilmentChoices").into_iter().enumerate() {
            let Some(wanted) = self.store.any(choice) else { continue };
            let location = match text(&wanted, "pickupLocationRef") {
                "" => "LOC-1",
                pickup => pickup,
            };
            let fulfilment = members(json!({
                "ref": format!("{}-F{}", text(document, "ref"), number + 1), "status": "CREATED",
                "type": wanted.get("fulfilmentType").filter(|kind| !kind.is_null()).cloned().unwrap_or_else(|| "HD_PFS".into()),
                "deliveryType": wanted["deliveryType"], "fulfilmentChoiceRef": wanted.get("ref").cloned().unwrap_or_default(),
                "workflowRef": document["workflowRef"], "workflowVersion": 1, "order": link(order),
                "retailer": document["retailer"], "user": document["customer"], "articles": [], "items": [],
                "toAddress": wanted.get("deliveryAddress").cloned().unwrap_or_default(), "fromLocation": {"ref": location},
            }));
            let id = self.create("workflow", "Fulfilment", fulfilment, &json!({"event": "CreateFulfilment"}));
            self.store.attach(order, "fulfilments", id);
            self.store.attach(choice, "fulfilments", id);
            for item in self.linked_to(choice, "items") {
                self.request_item(id, item);
            }
            self.set_status(id, "PROCESSING", "CREATE");
            self.set_status(id, "AWAITING_WAVE", "StoreFulfilment");
        }
    }

    fn request_item(&mut self, fulfilment: u64, item: u64) {
        let Some(ordered) = self.store.any(item) else { return };
        let now = self.now();
        let requested =
            members(json!({"ref": ordered["ref"], "status": "CREATED", "requestedQuantity": ordered["quantity"],
            "filledQuantity": 0, "rejectedQuantity": 0, "fulfilment": link(fulfilment), "orderItem": link(item)}));
        let id = self.store.insert("FulfilmentItem", now, requested);
        self.store.attach(fulfilment, "items", id);
    }

    /// Picks and packs: fulfilments are filled, one article each; home deliveries get a consignment.
    fn pack(&mut self, order: u64) {
        let now = self.now();
        for fulfilment in self.fulfilments(order, "ASSIGNED") {
            for item in self.linked_to(fulfilment, "items") {
                self.store.edit(item, now, |item| {
                    let requested = item.get("requestedQuantity").cloned().unwrap_or_default();
                    item.insert("filledQuantity".into(), requested);
                    item.insert("status".into(), "FULFILLED".into());
                });
            }
            self.set_status(fulfilment, "FULFILLED", "AllFulfilled");
            let article = self.pack_article(fulfilment);
            let collected =
                self.store.any(fulfilment).is_some_and(|document| text(&document, "type").starts_with("CC"));
            if collected {
                self.set_status(article, "AWAITING_COLLECTION", "CREATE");
            } else {
                self.set_status(article, "PENDING_CONSIGNMENT", "CREATE");
                self.consign(fulfilment, article);
            }
        }
    }

    fn pack_article(&mut self, fulfilment: u64) -> u64 {
        let now = self.now();
        let document = self.store.any(fulfilment).unwrap_or_default();
        let article = members(
            json!({"ref": format!("{}-A1", text(&document, "ref")), "type": "PARCEL", "status": "CREATED",
            "name": "Parcel", "description": "Parcel", "height": 10.0, "length": 30.0, "width": 20.0, "weight": 1.5, "quantity": 1,
            "workflowRef": document.get("workflowRef").cloned().unwrap_or_default(), "workflowVersion": 1, "items": [],
            "retailer": document.get("retailer").cloned().unwrap_or_default(),
            "fulfilments": [link(fulfilment)], "consignmentArticles": []}),
        );
        let article = self.create("workflow", "Article", article, &json!({"event": "WaveDispatchInitiated"}));
        self.store.attach(fulfilment, "articles", article);
        for item in self.linked_to(fulfilment, "items") {
            let filled = self.store.any(item).unwrap_or_default();
            let packed = members(
                json!({"quantity": filled["filledQuantity"], "article": link(article), "orderItem": filled["orderItem"]}),
            );
            let id = self.store.insert("ArticleItem", now, packed);
            self.store.attach(article, "items", id);
        }
        article
    }

    fn consign(&mut self, fulfilment: u64, article: u64) {
        let document = self.store.any(fulfilment).unwrap_or_default();
        let number = format!("SIM{fulfilment:010}");
        let consignment = members(
            json!({"ref": format!("{}-C1", text(&document, "ref")), "type": "DEFAULT", "status": "CREATED",
            "consignmentReference": number, "trackingLabel": number,
            "labelUrl": format!("https://carrier.invalid/label/{number}"), "orderSummaryUrl": format!("https://carrier.invalid/track/{number}"),
            "carrier": link(self.carrier), "retailer": document.get("retailer").cloned().unwrap_or_default(),
            "order": document.get("order").cloned().unwrap_or_default(),
            "workflowRef": document.get("workflowRef").cloned().unwrap_or_default(), "workflowVersion": 1, "consignmentArticles": []}),
        );
        let id = self.create("workflow", "Consignment", consignment, &json!({"event": "CreateConsignment"}));
        let now = self.now();
        let pair = members(json!({"article": link(article), "consignment": link(id)}));
        let pair = self.store.insert("ConsignmentArticle", now, pair);
        self.store.attach(id, "consignmentArticles", pair);
        self.store.attach(article, "consignmentArticles", pair);
        self.set_status(id, "PROCESSING", "CREATE");
    }

    /// The carrier has booked: consignments, articles, fulfilments and order wait for the courier.
    fn lodge(&mut self, order: u64) {
        for fulfilment in self.fulfilments(order, "FULFILLED") {
            let mut consigned = false;
            for article in self.linked_to(fulfilment, "articles") {
                for pair in self.linked_to(article, "consignmentArticles") {
                    let consignment = self.store.any(pair).and_then(|pair| linked(&pair["consignment"]));
                    if let Some(consignment) = consignment {
                        self.set_status(consignment, "ACTIVE_LODGED", "ConsignmentBooked");
                        self.set_status(article, "AWAITING_COURIER_COLLECTION", "ConsignmentFinalised");
                        consigned = true;
                    }
                }
            }
            if consigned {
                self.set_status(fulfilment, "AWAITING_COURIER_COLLECTION", "AllArticlesAwaitingCourierCollection");
            }
        }
        self.set_status(order, "AWAITING_COURIER_COLLECTION", "OrderAwaitingCourierCollection");
    }

    fn collect(&mut self, order: u64) {
        let open = ["FULFILLED", "PARTIALLY_FULFILLED", "AWAITING_COURIER_COLLECTION"];
        for fulfilment in open.iter().flat_map(|status| self.fulfilments(order, status)).collect::<Vec<_>>() {
            for article in self.linked_to(fulfilment, "articles") {
                self.set_status(article, "COLLECTED", "ARTICLE_COLLECTED");
            }
            self.set_status(fulfilment, "COMPLETE", "AllArticlesCollected");
        }
    }
}
