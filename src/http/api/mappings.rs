//! `GET /api/v1/mappings`: which commercetools entity is which Fluent entity.

use axum::extract::State;
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Parameters, after, instant, limit, page, seen, time};
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::{Mapping, MappingFilter};

/// Filters of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filters {
    connection: Option<String>,
    kind: Option<String>,
    commercetools_id: Option<String>,
    commercetools_key: Option<String>,
    fluent_id: Option<String>,
    fluent_ref: Option<String>,
    state: Option<String>,
    /// An id, key or ref of either side.
    any: Option<String>,
    from: Option<String>,
    to: Option<String>,
    limit: Option<i64>,
    after: Option<String>,
}

/// Pairs, in the order in which they were first seen.
pub async fn list(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(filters): Parameters<Filters>,
    uri: Uri,
) -> Result<Response, Problem> {
    actor.may("mappings:read")?;
    seen(&actor, filters.connection.as_deref())?;
    let limit = limit(filters.limit)?;
    let filter = MappingFilter {
        among: actor.among(),
        from: instant("from", filters.from.as_deref())?,
        to: instant("to", filters.to.as_deref())?,
        after: after(filters.after.as_deref())?,
        connection: filters.connection,
        kind: filters.kind,
        commercetools_id: filters.commercetools_id,
        commercetools_key: filters.commercetools_key,
        fluent_id: filters.fluent_id,
        fluent_ref: filters.fluent_ref,
        state: filters.state,
        any: filters.any,
    };
    let mut pairs = surface.queue().app.store().read().await?.mappings(&filter, limit + 1).await?;
    let more = pairs.len() as i64 > limit;
    pairs.truncate(limit as usize);
    let next = pairs.last().filter(|_| more).map(|pair| pair.id);
    Ok(page(&uri, pairs.iter().map(view).collect(), next))
}

/// A pair as the API shows it: its id and the columns of the export.
pub fn view(pair: &Mapping) -> Value {
    let mut document = columns(pair);
    document["id"] = json!(pair.id);
    document
}

/// The columns of the reconciliation export, by name.
pub fn columns(pair: &Mapping) -> Value {
    json!({
        "kind": pair.kind, "connection": pair.connection, "commercetools_id": pair.commercetools_id,
        "commercetools_key": pair.commercetools_key, "commercetools_version": pair.commercetools_version,
        "fluent_id": pair.fluent_id, "fluent_ref": pair.fluent_ref, "content_hash": pair.content_hash,
        "first_seen": time(pair.first_seen), "last_synced": time(pair.written),
        "last_source_change": last_source_change(pair), "state": pair.state, "last_message_id": pair.last_message,
    })
}

/// When the source last changed, as far as a flow remembers it.
fn last_source_change(pair: &Mapping) -> Value {
    pair.extra.0.get("fluent_updated_on").cloned().unwrap_or(Value::Null)
}
