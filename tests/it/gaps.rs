//! Stories of orders' messages that did not reach us (`surfaces.md` 2.4, C 5.1).

use std::time::Duration;

use fluent_connector::store::{Filter, Row};
use serde_json::{Value, json};

use crate::caller::Request;
use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{Settings, World};

on_both_databases! {
    a_lost_message_is_read_from_the_messages,
    without_messages_the_order_is_read_again,
    a_message_that_is_merely_late_is_no_loss,
    every_message_of_a_hole_is_read,
}

/// A world without the poll that would find the order anyway, and whose notifications come by hand.
struct Relay {
    world: World,
    token: String,
}

impl Relay {
    async fn new(engine: Engine) -> Option<Self> {
        let connection = "    order: { poll: 0s }".to_owned();
        let world = World::with(engine, Settings { without_push: true, connection, ..Settings::default() }).await?;
        let token = world.token(&["intake:commercetools"]).await;
        Some(Self { world, token })
    }

    /// Places an order and changes a few times what is of no concern to Fluent; answers its id and all of
    /// its notifications.
    fn order(&self, changes: usize) -> (String, Vec<Value>) {
        let id = self.world.commercetools.order(Some("1")).place();
        for change in 0..changes {
            let edit = |order: &mut Value| order["shipmentState"] = ["Pending", "Ready"][change % 2].into();
            self.world.commercetools.edit("orders", &id, edit).unwrap();
        }
        let told = self.world.commercetools.notifications();
        let notes: Vec<Value> = told.into_iter().filter(|told| told["resource"]["id"] == id.as_str()).collect();
        assert_eq!(notes.len(), 1 + changes);
        (id, notes)
    }

    async fn deliver(&self, notes: &[&Value]) {
        let request = Request::post("/intake/commercetools/plain/main", json!(notes).to_string()).bearer(&self.token);
        assert_eq!(request.send(&self.world.url(0)).await.status, 202);
        self.world.settle().await;
    }

    fn asked(&self) -> u64 {
        self.world.commercetools.front().received("GET /messages")
    }

    async fn looks(&self) -> Vec<Row> {
        let filter = Filter { route: Some("commercetools.gap-found".into()), ..Filter::default() };
        self.world.messages(filter).await
    }
}

async fn a_lost_message_is_read_from_the_messages(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (id, notes) = relay.order(1);
    relay.deliver(&[&notes[1]]).await;
    assert!(relay.world.fluent.order("HD_1").is_none(), "what would create it was lost");
    relay.world.advance(Duration::from_secs(59)).await;
    assert_eq!(relay.asked(), 0, "it may still come");
    relay.world.advance(Duration::from_secs(1)).await;
    assert!(relay.world.fluent.order("HD_1").is_some());
    assert_eq!(relay.world.fluent_effects("createOrder", "ORDER").len(), 1);
    assert_eq!(relay.asked(), 1);
    let looks = relay.looks().await;
    assert_eq!((looks.len(), looks[0].state.as_str()), (1, "done"));
    let told = looks[0].detail.as_deref().unwrap();
    assert_eq!(told, format!("Messages 1 to 1 of order {id} did not reach us; 1 were read from commercetools."));
    assert!(looks[0].notes.as_ref().unwrap().0.to_string().contains("order_sync.gap_found"));
    let rows = relay.world.messages(Filter::default()).await;
    let found = rows.iter().find(|row| row.key == format!("{id}@1")).unwrap();
    assert_eq!((found.source.as_str(), found.route.as_str()), ("poll", "commercetools.order-created"));
    // It comes after all.
    relay.deliver(&[&notes[0], &notes[1]]).await;
    relay.world.advance(Duration::from_secs(600)).await;
    assert_eq!((relay.asked(), relay.looks().await.len()), (1, 1));
    assert_eq!(relay.world.fluent_effects("createOrder", "ORDER").len(), 1);
    relay.world.nothing_lost().await;
}

async fn without_messages_the_order_is_read_again(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    relay.world.commercetools.messages(false);
    let (_, notes) = relay.order(1);
    relay.deliver(&[&notes[1]]).await;
    relay.world.advance(Duration::from_secs(60)).await;
    assert!(relay.world.fluent.order("HD_1").is_some());
    assert_eq!(relay.asked(), 0);
    assert!(relay.looks().await[0].detail.as_deref().unwrap().ends_with("; 0 were read from commercetools."));
    assert!(relay.world.parked().await.is_empty());
    relay.world.nothing_lost().await;
}

async fn a_message_that_is_merely_late_is_no_loss(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (_, notes) = relay.order(2);
    relay.deliver(&[&notes[2]]).await;
    relay.deliver(&[&notes[1], &notes[0]]).await;
    relay.world.advance(Duration::from_secs(120)).await;
    assert_eq!(relay.asked(), 0);
    let looks = relay.looks().await;
    assert_eq!(looks.len(), 1, "in one delivery the order does not matter");
    assert_eq!((looks[0].state.as_str(), looks[0].reason.as_deref()), ("done", Some("unchanged")));
    assert_eq!(relay.world.fluent_effects("createOrder", "ORDER").len(), 1);
    relay.world.nothing_lost().await;
}

async fn every_message_of_a_hole_is_read(engine: Engine) {
    let Some(relay) = Relay::new(engine).await else { return };
    let (id, notes) = relay.order(5);
    relay.deliver(&[&notes[0]]).await;
    relay.deliver(&[&notes[4], &notes[5]]).await;
    relay.world.advance(Duration::from_secs(60)).await;
    let rows = relay.world.messages(Filter::default()).await;
    for number in 1..=6 {
        let of_it =
            rows.iter().filter(|row| row.key == format!("{id}@{number}") && row.route != "commercetools.gap-found");
        assert_eq!(of_it.count(), 1, "message {number}");
    }
    assert_eq!(relay.asked(), 1);
    relay.world.nothing_lost().await;
}
