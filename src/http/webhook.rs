//! `POST /api/v1/fluent-connect/webhook…`: Fluent tells us that something changed (`surfaces.md` 2.3).
//!
//! Size → signature over the raw bytes → members → connection → route → one row → 200. The body is
//! a hint, never data: the handler reads the entity again.

use axum::Json;
use axum::body::Bytes;
use axum::extract::{ConnectInfo, Path, State};
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use secrecy::ExposeSecret;
use serde_json::{Value, json};
use subtle::ConstantTimeEq;

use super::answer::{self, Problem};
use super::auth::Peer;
use super::{Surface, body};
use crate::app::Connection;
use crate::config::model::Signature;
use crate::fluent::webhook::{Signatures, Webhook};
use crate::store::{Ending, Put, Source};

/// Largest webhook body, in bytes.
pub const BODY: usize = 256 * 1024;

/// Routes that webhooks feed: entity type and default contract names (F 1.3).
const FEEDS: &[(&str, &str, &[&str])] = &[
    ("fluent.order-updated", "ORDER", &["fc.connect.order.webhook.status-update"]),
    ("fluent.fulfilment-updated", "FULFILMENT", &["fc.connect.fulfilment.webhook.status-update"]),
    ("fluent.consignment-updated", "CONSIGNMENT", &["fc.connect.consignment.webhook.status-update"]),
    ("fluent.return-updated", "RETURN_ORDER", &["fc.connect.return.webhook.status-update"]),
    ("fluent.location-updated", "LOCATION", &["fc.connect.location.create", "fc.connect.location.update"]),
    // Fluent advises against webhooks for stock; who sends them names them.
    ("fluent.position-updated", "VIRTUAL_POSITION", &[]),
];

type Answer = Result<Json<Value>, Problem>;

/// The general address; the connection follows from account and retailer.
pub async fn receive(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    accept(&surface, peer, None, None, &headers, body).await
}

/// The address of one connection.
pub async fn receive_for(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path(connection): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    accept(&surface, peer, Some(&connection), None, &headers, body).await
}

/// The address of one connection with its path token.
pub async fn receive_with_token(
    State(surface): State<Surface>,
    ConnectInfo(peer): ConnectInfo<Peer>,
    Path((connection, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Answer {
    accept(&surface, peer, Some(&connection), Some(&token), &headers, body).await
}

async fn accept(
    surface: &Surface,
    peer: Peer,
    named: Option<&str>,
    token: Option<&str>,
    headers: &HeaderMap,
    body: Bytes,
) -> Answer {
    if surface.0.closing.is_refusing() {
        return Err(Problem::unavailable("The connector is stopping.").after(2));
    }
    json_only(headers)?;
    let candidates = candidates(surface, named, token).await?;
    let signed = signers(surface, &candidates, headers, &body);
    let signed = signed.map_err(|refusal| surface.0.failures.count(surface, peer, refusal))?;
    if signed.is_empty() {
        let refusal = Problem::unauthenticated("No key of this connector verifies the signature of this webhook.");
        return Err(surface.0.failures.count(surface, peer, refusal));
    }
    let webhook: Webhook = serde_json::from_slice(&body)
        .map_err(|error| Problem::malformed(format!("This is not a Fluent webhook: {error}.")))?;
    let Some(connection) = candidates.iter().find(|connection| owns(connection, &webhook)) else {
        return Err(Problem::not_found(format!(
            "Webhook {} is for Fluent account {}, retailer {}, which no connection serves.",
            webhook.name, webhook.account_id, webhook.retailer_id
        )));
    };
    if !signed.contains(&connection.config.name.as_str()) {
        let refusal = Problem::unauthenticated("The key that signed this webhook belongs to another connection.");
        return Err(surface.0.failures.count(surface, peer, refusal));
    }
    store(surface, connection, webhook, headers, body).await
}

fn json_only(headers: &HeaderMap) -> Result<(), Problem> {
    body::not_compressed(headers)?;
    let Some(kind) = headers.get(CONTENT_TYPE) else { return Ok(()) };
    let essence = kind.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    match essence.trim().eq_ignore_ascii_case("application/json") {
        true => Ok(()),
        false => Err(Problem::unsupported_media_type("A webhook is application/json.")),
    }
}

/// Connections that this address can mean. A connection with a path token answers only there.
async fn candidates<'a>(
    surface: &'a Surface,
    named: Option<&str>,
    token: Option<&str>,
) -> Result<Vec<&'a Connection>, Problem> {
    let mut candidates = Vec::new();
    for connection in surface.queue().app.connections() {
        if named.is_some_and(|name| name != connection.config.name) {
            continue;
        }
        let expected = match &connection.config.fluent.webhook.path_token {
            None => None,
            Some(secret) => Some(secret.read().await.map_err(|problem| {
                tracing::error!("the webhook path token of {} cannot be read: {problem}", connection.config.name);
                Problem::unavailable("The connector cannot check this address at the moment.").after(2)
            })?),
        };
        let meant = match (&expected, token) {
            (None, None) => true,
            (Some(expected), Some(token)) => expected.expose_secret().as_bytes().ct_eq(token.as_bytes()).into(),
            _ => false,
        };
        if meant {
            candidates.push(connection);
        }
    }
    if candidates.is_empty() {
        return Err(Problem::not_found("There is no webhook address like this."));
    }
    Ok(candidates)
}

/// Names of the candidates one of whose keys signed these bytes.
fn signers<'a>(
    surface: &Surface,
    candidates: &[&'a Connection],
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<&'a str>, Problem> {
    let signatures = Signatures {
        sha512: single(headers, &["fluent-signature", "x-fluent-signature"])?,
        md5: single(headers, &["flex.signature", "flex-signature"])?,
    };
    let signs = |connection: &&Connection| {
        let accepted = connection.config.fluent.webhook.signature;
        let keys = surface.0.keys.get(&connection.config.name).map_or(&[][..], Vec::as_slice);
        // Every key is tried, so that the time tells nothing about which one is right.
        let verified = keys.iter().filter(|key| key.verifies(body, signatures, accepted)).count();
        accepted == Signature::Off || verified > 0
    };
    Ok(candidates.iter().copied().filter(signs).map(|connection| connection.config.name.as_str()).collect())
}

/// One value of a header; two different ones are an attempt to confuse.
fn single<'a>(headers: &'a HeaderMap, names: &[&str]) -> Result<Option<&'a str>, Problem> {
    let values: Vec<_> = names.iter().flat_map(|name| headers.get_all(*name)).collect();
    match values.split_first() {
        None => Ok(None),
        Some((first, rest)) if rest.iter().all(|value| value == first) => Ok(first.to_str().ok()),
        Some(_) => Err(Problem::unauthenticated("The signature header came twice with different values.")),
    }
}

fn owns(connection: &Connection, webhook: &Webhook) -> bool {
    let fluent = &connection.config.fluent;
    fluent.account.eq_ignore_ascii_case(&webhook.account_id) && fluent.retailer_id.to_string() == webhook.retailer_id
}

async fn store(
    surface: &Surface,
    connection: &Connection,
    webhook: Webhook,
    headers: &HeaderMap,
    body: Bytes,
) -> Answer {
    let queue = surface.queue();
    let key = format!("{}:{}", webhook.account_id.to_uppercase(), webhook.id);
    let payload = json!({
        "entity_type": webhook.entity_type, "entity_id": webhook.entity_id, "entity_ref": webhook.entity_ref,
        "entity_status": webhook.entity_status, "root_entity_type": webhook.root_entity_type,
        "root_entity_id": webhook.root_entity_id, "root_entity_ref": webhook.root_entity_ref,
    });
    let (route, unrouted) = match route(connection, &webhook) {
        Some(route) => (route, None),
        None => {
            let (name, entity) = (&webhook.name, &webhook.entity_type);
            let why = format!(
                "Webhook {name} ({entity}) has no route; add the name to webhooks.names if it should be handled."
            );
            ("fluent.unrouted", Some(why))
        }
    };
    let mut draft =
        queue.draft(&connection.config.name, route, &key, Source::Webhook).payload(payload).body(body.to_vec());
    if let Some(theirs) = answer::correlation(headers) {
        draft = draft.correlation(theirs);
    }
    if let Some(why) = unrouted {
        draft = draft.ended(Ending::Skipped("ignored"), why);
    }
    let put = queue.put(vec![draft]).await?;
    let (id, status) = match put.first() {
        Some(Put::Accepted(id)) => (Some(*id), "accepted"),
        _ => (queue.app.store().read().await?.message_id(&connection.config.name, route, &key).await?, "duplicate"),
    };
    Ok(Json(json!({"id": id, "status": status})))
}

/// By name, else by entity type (F 1.3).
fn route(connection: &Connection, webhook: &Webhook) -> Option<&'static str> {
    let config = &connection.config.webhooks;
    let named = |(route, _, defaults): &&(&str, &str, &[&str])| match config.names.get(*route) {
        Some(names) => names.contains(&webhook.name),
        None => defaults.contains(&webhook.name.as_str()),
    };
    let typed = |(_, entity, _): &&(&str, &str, &[&str])| config.match_entity_type && *entity == webhook.entity_type;
    FEEDS.iter().find(named).or_else(|| FEEDS.iter().find(typed)).map(|(route, _, _)| *route)
}
