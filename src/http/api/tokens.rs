//! `/api/v1/tokens`: who else may use this surface (`surfaces.md` 3).

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Parameters, Received, body, maybe_time, time};
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use crate::store::token::Wanted;
use crate::store::{Token, Urgency};

/// The list takes no parameters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// All tokens that reach no further than the peer, newest first; never their secrets.
pub async fn list(
    State(surface): State<Surface>,
    actor: Actor,
    Parameters(Nothing {}): Parameters<Nothing>,
) -> Result<Json<Value>, Problem> {
    actor.may("tokens:manage")?;
    let tokens = surface.queue().app.store().read().await?.tokens().await?;
    let now = surface.queue().app.clock().now();
    let items: Vec<_> = tokens.iter().filter(|token| within(&actor, token)).map(|token| view(token, now)).collect();
    Ok(Json(json!({"items": items, "next": null})))
}

/// A new token with at most the peer's own scopes and connections; its text is in this answer and
/// nowhere else.
pub async fn create(
    State(surface): State<Surface>,
    actor: Actor,
    headers: HeaderMap,
    bytes: Received,
) -> Result<(StatusCode, Json<Value>), Problem> {
    actor.may("tokens:manage")?;
    let wanted: Wanted = body(&headers, bytes)?;
    let app = &surface.queue().app;
    let names = app.config().connections.iter().map(|connection| connection.name.as_str());
    let known: Vec<&str> = names.filter(|name| actor.sees(name)).collect();
    let now = app.clock().now();
    let grant = wanted.grant(&known, now).map_err(Problem::invalid)?;
    if let Some(scope) = grant.scopes.iter().find(|scope| !actor.holds(std::slice::from_ref(scope))) {
        return Err(Problem::forbidden(format!("You cannot hand on the scope {scope}, which you do not hold.")));
    }
    if grant.connections.iter().any(|name| !actor.sees(name)) {
        return Err(Problem::forbidden("You cannot hand on all connections, which you do not see; name them."));
    }
    let (token, secret) = grant.issue(&actor.name, now);
    let stored = token.clone();
    app.store().write(Urgency::Urgent, move |tx| async move { tx.put_token(&stored).await }.boxed()).await?;
    tracing::info!(
        token_id = token.id,
        actor = actor.name,
        "token {} ({}) created by {}",
        token.id,
        token.name,
        actor.name
    );
    let mut document = view(&token, now);
    document["token"] = json!(secret.expose_secret());
    Ok((StatusCode::CREATED, Json(document)))
}

/// A token that works no more from now on. Revoking it again changes nothing.
pub async fn revoke(
    State(surface): State<Surface>,
    actor: Actor,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    actor.may("tokens:manage")?;
    let store = surface.queue().app.store();
    let found = store.read().await?.token(&id).await?.filter(|token| within(&actor, token));
    let token = found.ok_or_else(|| Problem::not_found(format!("There is no token {id}.")))?;
    let revoked = store.write(Urgency::Urgent, move |tx| async move { tx.revoke_token(&id).await }.boxed()).await?;
    if revoked {
        tracing::info!(token_id = token.id, actor = actor.name, "token {} revoked by {}", token.id, actor.name);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Does the peer see every connection of this token?
fn within(actor: &Actor, token: &Token) -> bool {
    token.connections.0.iter().all(|name| actor.sees(name))
}

fn view(token: &Token, now: i64) -> Value {
    json!({
        "id": token.id, "name": token.name, "scopes": token.scopes, "connections": token.connections,
        "created": time(token.created), "created_by": token.created_by, "expires": maybe_time(token.expires),
        "last_used": maybe_time(token.last_used), "revoked": maybe_time(token.revoked), "valid": token.valid(now),
    })
}
