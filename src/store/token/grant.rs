//! What a token may do: roles, scopes, and the rules for handing them out (`surfaces.md` 3.3, 3.4).

use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use sqlx::types::Json;

use super::{Token, generate, hash};
use crate::clock::{Millis, parse_rfc3339};

/// Role → scopes; a role is a bundle, a token holds the scopes.
pub const ROLES: &[(&str, &[&str])] = &[
    ("storefront", &["availability:read"]),
    ("sender", &["intake:commercetools", "intake:external"]),
    ("scheduler", &["jobs:run", "jobs:read"]),
    ("monitor", &["metrics:read", "status:read"]),
    ("viewer", VIEWER),
    ("operator", OPERATOR),
    ("admin", ADMIN),
];

const VIEWER: &[&str] = &["status:read", "messages:read", "jobs:read", "mappings:read", "webhooks:read", "config:read"];
const OPERATOR: &[&str] = &[
    "status:read",
    "messages:read",
    "jobs:read",
    "mappings:read",
    "webhooks:read",
    "config:read",
    "messages:write",
    "jobs:run",
    "jobs:write",
    "mappings:export",
    "reconcile:plan",
    "reconcile:apply",
    "webhooks:write",
    "notifications:test",
];
/// Everything a person can do. Does not include what only machines do (intake, availability, metrics).
const ADMIN: &[&str] = &[
    "status:read",
    "messages:read",
    "jobs:read",
    "mappings:read",
    "webhooks:read",
    "config:read",
    "messages:write",
    "jobs:run",
    "jobs:write",
    "mappings:export",
    "reconcile:plan",
    "reconcile:apply",
    "webhooks:write",
    "notifications:test",
    "cursors:write",
    "routes:write",
    "tokens:manage",
    "audit:read",
    "personal-data:read",
];

const DAY: Millis = 86_400_000;
/// Days a token lives if nobody says otherwise, and at most.
const DAYS: (Millis, Millis) = (90, 400);
const LONGEST_NAME: usize = 64;

/// What somebody wants a new token to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    /// Who or what will use it; for lists and logs.
    pub name: String,
    /// A role instead of scopes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// Names of connections; `*` = all, for role `admin` only. Empty = the only one there is, and all
    /// of them for role `admin`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<String>,
    /// `30d`, an RFC 3339 time, or `never` (role `sender` only); absent = 90 days.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// A wish that keeps the rules; what its maker may hand on is still to be compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    pub name: String,
    pub scopes: Vec<String>,
    pub connections: Vec<String>,
    pub expires: Option<Millis>,
}

impl Wanted {
    /// Fills what was left out and checks the rest. `known` are the connections that its maker sees.
    ///
    /// # Errors
    /// One sentence for the operator.
    pub fn grant(&self, known: &[&str], now: Millis) -> Result<Grant, String> {
        let name = self.name.trim();
        if name.is_empty() || name.chars().count() > LONGEST_NAME || name.chars().any(char::is_control) {
            return Err(format!("The name of a token has 1 to {LONGEST_NAME} characters."));
        }
        let scopes = self.scopes()?;
        let is = |role: &[&str]| scopes.iter().all(|scope| role.contains(&scope.as_str()));
        let (is_admin, is_sender) =
            (ADMIN.iter().all(|scope| scopes.iter().any(|held| held == scope)), is(role("sender")));
        let connections = self.connections(known, is_admin)?;
        let expires = self.expires(now, is_sender)?;
        Ok(Grant { name: name.to_owned(), scopes, connections, expires })
    }

    fn scopes(&self) -> Result<Vec<String>, String> {
        let scopes = match (&self.role, &self.scopes[..]) {
            (Some(name), []) => match ROLES.iter().find(|(role, _)| role == name) {
                Some((_, scopes)) => scopes.iter().map(ToString::to_string).collect(),
                None => {
                    let names: Vec<_> = ROLES.iter().map(|(role, _)| *role).collect();
                    return Err(format!("There is no role {name}; roles are {}.", names.join(", ")));
                }
            },
            (None, scopes @ [_, ..]) => {
                let mut scopes = scopes.to_vec();
                scopes.sort();
                scopes.dedup();
                scopes
            }
            _ => return Err("Give a role or at least one scope, not both.".into()),
        };
        match scopes.iter().find(|scope| !every_scope().any(|known| known == *scope)) {
            Some(unknown) => Err(format!("There is no scope {unknown}.")),
            None => Ok(scopes),
        }
    }

    fn connections(&self, known: &[&str], is_admin: bool) -> Result<Vec<String>, String> {
        match (&self.connections[..], known) {
            ([], _) if is_admin => Ok(vec!["*".into()]),
            ([], [only]) => Ok(vec![only.to_string()]),
            ([], _) => Err("There are several connections; name those of the token.".into()),
            (named, _) if named.iter().any(|name| name == "*") => match is_admin {
                true => Ok(vec!["*".into()]),
                false => Err("Only a token of role admin may have all connections; name them.".into()),
            },
            (named, _) => match named.iter().find(|name| !known.contains(&name.as_str())) {
                Some(unknown) => Err(format!("There is no connection {unknown}.")),
                None => Ok(named.to_vec()),
            },
        }
    }

    fn expires(&self, now: Millis, is_sender: bool) -> Result<Option<Millis>, String> {
        let (usual, most) = DAYS;
        let at = match self.expires.as_deref() {
            None => now + usual * DAY,
            Some("never") if is_sender => return Ok(None),
            Some("never") => return Err("Only a token of role sender may never expire.".into()),
            Some(text) => match (text.parse::<crate::config::value::Span>(), parse_rfc3339(text)) {
                (Ok(span), _) => now + span.millis(),
                (_, Some(at)) => at,
                _ => return Err(format!("{text:?} is no expiry; write 90d, a time, or never.")),
            },
        };
        match at {
            at if at <= now => Err("The token would have expired already.".into()),
            at if at > now + most * DAY => Err(format!("A token lives at most {most} days.")),
            at => Ok(Some(at)),
        }
    }
}

impl Grant {
    /// Makes the token; its text is shown once and never stored.
    pub fn issue(self, by: &str, now: Millis) -> (Token, SecretString) {
        let (id, secret) = generate();
        let token = Token {
            id,
            name: self.name,
            // A token that was just generated has the right form.
            hash: hash(&secret).unwrap_or_default(),
            scopes: Json(self.scopes),
            connections: Json(self.connections),
            created: now,
            created_by: by.to_owned(),
            expires: self.expires,
            last_used: None,
            revoked: None,
        };
        (token, secret)
    }
}

/// Every scope there is.
pub fn every_scope() -> impl Iterator<Item = &'static str> {
    let mut scopes: Vec<&str> = ROLES.iter().flat_map(|(_, scopes)| scopes.iter().copied()).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes.into_iter()
}

/// Scopes of a role; none if there is no such role.
fn role(name: &str) -> &'static [&'static str] {
    ROLES.iter().find(|(role, _)| *role == name).map_or(&[], |(_, scopes)| scopes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(role: &str) -> Wanted {
        Wanted { name: "n".into(), role: Some(role.into()), ..Wanted::default() }
    }

    #[test]
    fn each_role_holds_what_the_smaller_one_holds() {
        assert!(role("viewer").iter().all(|scope| role("operator").contains(scope)));
        assert!(role("operator").iter().all(|scope| role("admin").contains(scope)));
    }

    #[test]
    fn what_was_left_out_is_filled_in_and_only_an_admin_gets_everything() {
        let grant = wanted("viewer").grant(&["main"], 1000).unwrap();
        assert_eq!((&grant.connections[..], grant.expires), (&["main".to_owned()][..], Some(1000 + 90 * DAY)));
        assert_eq!(wanted("admin").grant(&["a", "b"], 0).unwrap().connections, ["*"]);
        assert!(wanted("viewer").grant(&["a", "b"], 0).unwrap_err().contains("name those"));
        let all = Wanted { connections: vec!["*".into()], ..wanted("operator") };
        assert!(all.grant(&["a"], 0).unwrap_err().contains("role admin"));
        let foreign = Wanted { connections: vec!["c".into()], ..wanted("viewer") };
        assert_eq!(foreign.grant(&["a"], 0).unwrap_err(), "There is no connection c.");
    }

    #[test]
    fn only_senders_live_for_ever_and_nobody_longer_than_400_days() {
        let expires = |role: &str, text: &str| {
            Wanted { expires: Some(text.into()), ..wanted(role) }.grant(&["a"], 0).map(|grant| grant.expires)
        };
        assert_eq!(expires("sender", "never"), Ok(None));
        assert!(expires("monitor", "never").is_err());
        assert_eq!(expires("monitor", "400d"), Ok(Some(400 * DAY)));
        assert!(expires("monitor", "401d").is_err());
        assert!(expires("monitor", "1969-01-01T00:00:00Z").is_err());
        assert!(expires("monitor", "soon").is_err());
    }

    #[test]
    fn scopes_and_roles_must_exist() {
        assert!(wanted("king").grant(&["a"], 0).unwrap_err().contains("no role king"));
        let scopes = Wanted { role: None, scopes: vec!["status:write".into()], ..wanted("x") };
        assert!(scopes.grant(&["a"], 0).unwrap_err().contains("no scope status:write"));
        let both = Wanted { scopes: vec!["status:read".into()], ..wanted("viewer") };
        assert!(both.grant(&["a"], 0).is_err());
    }
}
