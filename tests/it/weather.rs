//! Stories of bad weather: limits, tokens that end, permissions that lack, and everything at once.

use std::time::Duration;

use fluent_connector::simulator::commercetools::{ADA, ARTICLES, BORIS, CHIARA, Options, Push};
use fluent_connector::simulator::fluent::{self, WebhookFaults};
use fluent_connector::simulator::{Fault, Rule};

use crate::database::Engine;
use crate::on_both_databases;
use crate::world::{START, Settings, World};

on_both_databases! {
    a_rate_limit_without_a_hint,
    a_rate_limit_with_a_hint_is_obeyed,
    a_limit_in_the_body_waits_a_minute,
    a_service_that_is_overloaded,
    tokens_end_in_the_middle_of_everything,
    a_revoked_token_is_replaced_at_once,
    a_scope_that_lacks_is_named,
    a_permission_that_lacks_is_named,
    sixty_orders_in_a_storm,
}

async fn a_rate_limit_without_a_hint(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(rule(Fault::RateLimited, "CreateOrder", 1));
    world.commercetools.front().fault(rule(Fault::RateLimited, "POST /orders/{id}", 1));
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(180), Duration::from_secs(10)).await;

    world.arrived(&id);
    assert_eq!(world.fluent_requests("CreateOrder").len(), 2);
    world.nothing_lost().await;
}

async fn a_rate_limit_with_a_hint_is_obeyed(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.front().fault(rule(Fault::RetryAfter(8), "CreateOrder", 1));
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(30), Duration::from_secs(1)).await;

    world.arrived(&id);
    let [first, second] = seconds(&world, "CreateOrder")[..] else { panic!("not two creates") };
    assert!(second - first >= 8, "{} s after the refusal", second - first);
    world.nothing_lost().await;
}

async fn a_limit_in_the_body_waits_a_minute(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.graphql_fault("CreateOrder", "C0011E", 1);
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(75), Duration::from_secs(5)).await;

    world.arrived(&id);
    assert_eq!(seconds(&world, "CreateOrder"), [0, 60]);
    world.nothing_lost().await;
}

async fn a_service_that_is_overloaded(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.commercetools.front().fault(rule(Fault::ErrorBefore(503), "GET /orders/{id}", 1));
    world.commercetools.front().fault(rule(Fault::ErrorBefore(503), "POST /orders/{id}", 1));
    world.fluent.front().fault(rule(Fault::ErrorBefore(503), "OrdersByRef", 1));
    let id = order(&world, "1");
    world.settle().await;
    world.pass(Duration::from_secs(120), Duration::from_secs(5)).await;

    world.arrived(&id);
    world.nothing_lost().await;
}

async fn tokens_end_in_the_middle_of_everything(engine: Engine) {
    let settings = Settings {
        commercetools: Some(Options { token_seconds: 30, client_id: "connector".into(), ..Options::default() }),
        fluent: Some(fluent::Options { token_seconds: 30, ..fluent::Options::default() }),
        ..Settings::default()
    };
    let Some(world) = World::with(engine, settings).await else { return };
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(order(&world, &number.to_string()));
        world.settle().await;
        world.advance(Duration::from_secs(11)).await;
        world.fluent.set_order_status(&format!("HD_{number}"), "BOOKED");
    }
    world.settle().await;
    for id in &ids {
        world.arrived(id);
        assert_eq!(world.states(id), ["Confirmed", "Pending"]);
    }
    assert!(world.commercetools.front().received("POST /oauth/token") >= 4);
    assert!(world.fluent.front().received("POST /oauth/token") >= 4);
    never_tried_twice(&world).await;
    world.nothing_lost().await;
}

async fn a_revoked_token_is_replaced_at_once(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    let first = order(&world, "1");
    world.settle().await;
    world.fluent.revoke_tokens();
    world.commercetools.front().fault(rule(Fault::Unauthorized, "GET /orders/{id}", 1));
    world.commercetools.front().fault(rule(Fault::Unauthorized, "POST /orders/{id}", 1));
    let second = order(&world, "2");
    world.settle().await;

    for id in [&first, &second] {
        world.arrived(id);
    }
    never_tried_twice(&world).await;
    world.nothing_lost().await;
}

async fn a_scope_that_lacks_is_named(engine: Engine) {
    for (without, with, lacks) in [
        ("manage_orders", None, "view_orders"),
        ("manage_orders", Some("view_orders"), "manage_orders"),
        ("view_customers", None, "view_customers"),
        ("view_payments", None, "view_payments"),
    ] {
        let mut options = Options::default();
        options.scopes.retain(|scope| scope != without);
        options.scopes.extend(with.map(str::to_owned));
        // The order alone: what looks for customers and payments by itself lacks the scope, too.
        let connection = "    customer: { poll: 0s }\n    order: { payment_poll: 0s }".to_owned();
        let settings = Settings { commercetools: Some(options), connection, ..Settings::default() };
        let Some(world) = World::with(engine, settings).await else { return };
        order(&world, "1");
        world.settle().await;

        let sentence = world.the_parked().await.detail.unwrap();
        assert!(sentence.starts_with("The commercetools API client lacks a scope: "), "{sentence}");
        assert!(sentence.contains(lacks), "{sentence}");
        let arrives = lacks == "manage_orders";
        assert_eq!(world.fluent.orders().len(), usize::from(arrives), "without {lacks}");
        world.nothing_lost().await;
    }
}

async fn a_permission_that_lacks_is_named(engine: Engine) {
    let Some(world) = World::new(engine).await else { return };
    world.fluent.graphql_fault("CreateOrder", "C0020E", 1);
    let id = order(&world, "1");
    world.settle().await;

    let parked = world.the_parked().await;
    let sentence = "The Fluent user may not run createOrder. Give it the permission, then retry.";
    assert_eq!(parked.detail.as_deref(), Some(sentence));
    world.retry(&parked).await;
    world.arrived(&id);
    world.nothing_lost().await;
}

async fn sixty_orders_in_a_storm(engine: Engine) {
    let Some(world) = World::with(engine, Settings { without_push: true, ..Settings::default() }).await else { return };
    let (url, token) =
        (format!("{}/intake/commercetools/plain/main", world.url(0)), world.token(&["intake:commercetools"]).await);
    world.commercetools.subscribe(Push { url, token, drop: 0.0, duplicate: 0.3, reorder: true });
    world.fluent.webhook_faults(WebhookFaults { drop: 0.05, duplicate: 0.3, reorder: 0.3, bad_signature: 0.0 });
    storm(&world);
    let mut ids = Vec::new();
    for number in 0..60 {
        let draft = world.commercetools.order(Some(&number.to_string()));
        let draft = match number % 4 {
            0 => draft.customer(ADA),
            1 => draft.customer(BORIS),
            2 => draft.customer(CHIARA),
            _ => draft.guest(&format!("guest-{}@example.org", number / 12)),
        };
        let (one, two) = (ARTICLES[number % 20], ARTICLES[(number * 7 + 3) % 20]);
        let draft = draft.line(one.sku, 2, one.cent_amount).line(two.sku, 1, two.cent_amount).total_discount(123);
        ids.push(draft.shipping(495).payment("CREDIT_CARD", 5_000).payment("GIFT_CARD", 700).place());
        if number % 6 == 0 {
            world.advance(Duration::from_secs(2)).await;
        }
    }
    world.pass(Duration::from_secs(600), Duration::from_secs(20)).await;
    for status in ["BOOKED", "PICK_PACK", "AWAITING_COURIER_COLLECTION", "COMPLETE"] {
        for number in 0..60 {
            world.fluent.set_order_status(&format!("HD_{number}"), status);
        }
        world.pass(Duration::from_secs(300), Duration::from_secs(20)).await;
    }
    world.fluent.front().heal();
    world.commercetools.front().heal();
    world.fluent.webhook_faults(WebhookFaults::default());
    world.pass(Duration::from_secs(3 * 3600), Duration::from_secs(300)).await;
    // Orders that came late start at their first status.
    for number in 0..60 {
        world.fluent.set_order_status(&format!("HD_{number}"), "COMPLETE");
    }
    world.pass(Duration::from_secs(3600), Duration::from_secs(300)).await;

    assert!(world.parked().await.is_empty(), "{:#?}", world.parked().await);
    for id in &ids {
        world.arrived(id);
        assert_eq!(world.states(id), ["Complete", "Shipped"]);
    }
    assert_eq!(world.fluent.orders().len(), 60);
    assert_eq!(world.fluent.transactions().len(), 120);
    assert_eq!(world.fluent.customers().len(), 3 + 5);
    world.nothing_lost().await;
}

/// Each fault hits one request in twenty, on both platforms. What makes us pause comes a few times only:
/// a pause is real time.
fn storm(world: &World) {
    for front in [world.fluent.front(), world.commercetools.front()] {
        for (fault, times) in [
            (Fault::RateLimited, Some(2)),
            (Fault::RetryAfter(1), Some(2)),
            (Fault::ErrorBefore(503), Some(2)),
            (Fault::ErrorBefore(500), None),
            (Fault::ErrorAfter(500), None),
            (Fault::ErrorAfter(502), None),
            (Fault::LostAnswer, None),
            (Fault::Reset, None),
            (Fault::Unauthorized, None),
        ] {
            front.fault(Rule { fault, operation: None, times, rate: 0.05 });
        }
    }
}

async fn never_tried_twice(world: &World) {
    for row in world.messages(Default::default()).await {
        assert!(row.attempts <= 1, "{row:#?}");
    }
    assert!(world.parked().await.is_empty());
}

fn order(world: &World, number: &str) -> String {
    world.commercetools.order(Some(number)).customer(ADA).payment("CREDIT_CARD", 2_999).place()
}

fn rule(fault: Fault, operation: &str, times: u32) -> Rule {
    Rule { fault, operation: Some(operation.into()), times: Some(times), rate: 1.0 }
}

/// When requests came, in seconds since the world began.
fn seconds(world: &World, operation: &str) -> Vec<i64> {
    world.fluent_requests(operation).iter().map(|exchange| (exchange.at - START) / 1000).collect()
}
