//! x
use crate::http::Surface;
use crate::http::answer::Problem;
use crate::http::auth::Actor;
use axum::Json;
use axum::extract::State;
use serde_json::Value;
pub async fn order(State(_s): State<Surface>, _a: Actor) -> Result<Json<Value>, Problem> {
    Ok(Json(Value::Null))
}
