//! `POST /intake/commercetools/{kind}/{connection}`: commercetools notifications that somebody brings
//! (`surfaces.md` 2.4).
//!
//! Authenticate, store the raw body, answer: one file per kind of sender.

pub mod eventbridge;
pub mod eventgrid;
pub mod plain;
pub mod pubsub;
pub mod sns;

use axum::body::Bytes;
use axum::http::HeaderMap;
use serde_json::Value;

use super::Surface;
use super::answer::{self, Problem};
use super::auth::{Actor, Peer};
use super::body::{self, Sent};
use crate::app::Connection;
use crate::cloud::Untrusted;
use crate::intake::Arrivals;
use crate::store::Source;

/// The connection that a path means, if that kind of intake is on and we do not stop.
fn door<'s>(surface: &'s Surface, name: &str, kind: &str, enabled: bool) -> Result<&'s Connection, Problem> {
    let connection = surface.queue().app.connection(name);
    let connection = connection.ok_or_else(|| no_such_connection(name))?;
    if !enabled {
        return Err(Problem::not_found(format!("This kind of intake is off (intake.push.{kind}.enabled).")));
    }
    if surface.0.closing.is_refusing() {
        return Err(Problem::unavailable("The connector is stopping.").after(2));
    }
    Ok(connection)
}

/// The same for somebody who came with a token: a foreign connection does not exist.
fn door_for<'s>(
    surface: &'s Surface,
    actor: &Actor,
    name: &str,
    kind: &str,
    enabled: bool,
) -> Result<&'s Connection, Problem> {
    actor.may("intake:commercetools")?;
    match actor.sees(name) {
        true => door(surface, name, kind, enabled),
        false => Err(no_such_connection(name)),
    }
}

fn no_such_connection(name: &str) -> Problem {
    Problem::not_found(format!("There is no connection {name}."))
}

/// Nothing yet, tied to the name that the sender gave its request.
fn arrivals<'s>(surface: &'s Surface, connection: &'s Connection, source: Source, headers: &HeaderMap) -> Arrivals<'s> {
    Arrivals::new(surface.queue(), connection, source, answer::correlation(headers))
}

/// The body, inflated if need be.
fn sent(surface: &Surface, headers: &HeaderMap, body: Bytes) -> Result<Sent, Problem> {
    body::inflated(headers, body, surface.queue().app.config().server.limits.body.0 as usize)
}

/// The JSON of a body; what is none is kept for a person.
fn document(arrivals: &mut Arrivals<'_>, body: &[u8]) -> Option<Value> {
    match serde_json::from_slice(body) {
        Ok(document) => Some(document),
        Err(_) => {
            arrivals.unreadable(body, "This is not JSON.");
            None
        }
    }
}

/// Counts what was refused; says whose time has not come.
fn untrusted(surface: &Surface, peer: Peer, why: Untrusted, refusal: fn(String) -> Problem) -> Problem {
    match why {
        Untrusted::Refused(why) => surface.0.failures.count(surface, peer, refusal(why)),
        Untrusted::NotNow(_) => {
            Problem::unavailable("What proves who sends this cannot be fetched at the moment. Try again.").after(2)
        }
    }
}
