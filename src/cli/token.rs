//! `token …`: API tokens.

use clap::{Args, Subcommand};
use futures_util::FutureExt;
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::Arguments;
use super::client::Client;
use super::output::{Output, local, text};
use super::refusal::{Code, Refusal};
use crate::clock::{Clock, rfc3339};
use crate::config::load;
use crate::store::token::Wanted;
use crate::store::{Options, Store, Urgency};

/// `token …`
#[derive(Debug, Subcommand)]
pub enum TokenVerb {
    /// Make a token; it is printed once. With --config this works without a daemon, too.
    Create(TokenWanted),
    /// List tokens.
    List,
    /// Make a token useless from now on.
    Revoke { id: String },
}

/// What a new token may do.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("grant").required(true).args(["role", "scopes"])))]
pub struct TokenWanted {
    /// Who or what will use it.
    #[arg(long)]
    name: String,
    /// storefront, sender, scheduler, monitor, viewer, operator or admin.
    #[arg(long)]
    role: Option<String>,
    /// A single scope instead of a role; may be given several times.
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,
    /// A connection it is for; may be given several times. `*` = all, for role admin.
    #[arg(long = "connection", value_name = "NAME")]
    connections: Vec<String>,
    /// 30d, a time, or never (role sender). Without it: 90d.
    #[arg(long, value_name = "TIME")]
    expires: Option<String>,
}

/// Runs one of them.
pub async fn perform(verb: &TokenVerb, arguments: &Arguments, output: &Output) -> Result<(), Refusal> {
    let client = Client::new(arguments).await?;
    match verb {
        TokenVerb::Create(wanted) => create(&wanted.wanted(), &client, arguments, output).await,
        TokenVerb::List => list(&client, output).await,
        TokenVerb::Revoke { id } => {
            client.delete(&["api", "v1", "tokens", id]).await?;
            match output.is_json() {
                true => output.document(&json!({"id": id, "revoked": true})),
                false => output.line(&format!("{id} revoked")),
            }
        }
    }
}

/// By the daemon; if there is none and a configuration is named, in the database itself.
async fn create(wanted: &Wanted, client: &Client, arguments: &Arguments, output: &Output) -> Result<(), Refusal> {
    let document = json!(wanted);
    let created = match client.post(&["api", "v1", "tokens"], Some(&document)).await {
        Err(refusal) if refusal.code == Code::Daemon && may_be_offline(arguments) => offline(wanted, arguments).await?,
        answer => answer?,
    };
    if output.is_json() {
        return output.document(&created);
    }
    output.line(&text(&created["token"]))?;
    let expires = match local(&created["expires"]) {
        never if never.is_empty() => "It never expires.".to_owned(),
        at => format!("It expires {at}."),
    };
    eprintln!("Token {} is shown this once; keep it now. {expires}", text(&created["id"]));
    Ok(())
}

fn may_be_offline(arguments: &Arguments) -> bool {
    arguments.reach.url.is_none() && !arguments.config.is_empty()
}

/// Opens the database as the daemon would, which on SQLite nobody else may have open.
async fn offline(wanted: &Wanted, arguments: &Arguments) -> Result<Value, Refusal> {
    let config = load(&arguments.sources())?.config;
    let clock = Clock::system();
    let names: Vec<&str> = config.connections.iter().map(|connection| connection.name.as_str()).collect();
    let grant = wanted.grant(&names, clock.now()).map_err(Refusal::usage)?;
    let store = Store::open(Options::of(&config.database).await?, clock.clone()).await?;
    let (token, secret) = grant.issue("command line", clock.now());
    let stored = token.clone();
    store.write(Urgency::Urgent, move |tx| async move { tx.put_token(&stored).await }.boxed()).await?;
    Ok(json!({
        "id": token.id, "name": token.name, "scopes": token.scopes, "connections": token.connections,
        "created": rfc3339(token.created), "created_by": token.created_by, "expires": token.expires.map(rfc3339),
        "last_used": null, "revoked": null, "valid": true, "token": secret.expose_secret(),
    }))
}

async fn list(client: &Client, output: &Output) -> Result<(), Refusal> {
    let answer = client.read(&["api", "v1", "tokens"], &[]).await?;
    if output.is_json() {
        return output.document(&answer);
    }
    let row = |token: &Value| {
        let joined = |name: &str| token[name].as_array().into_iter().flatten().map(text).collect::<Vec<_>>().join(" ");
        let state = match (token["revoked"].is_null(), &token["valid"]) {
            (false, _) => "revoked",
            (true, Value::Bool(true)) => "valid",
            _ => "expired",
        };
        let expires = if token["expires"].is_null() { "never".into() } else { local(&token["expires"]) };
        let used = output.age(&token["last_used"]);
        let (id, name) = (text(&token["id"]), text(&token["name"]));
        vec![id, name, state.into(), joined("connections"), expires, used, joined("scopes")]
    };
    let rows = answer["items"].as_array().into_iter().flatten().map(row);
    output.table(&["id", "name", "state", "connections", "expires", "used", "scopes"], rows)
}

impl TokenWanted {
    fn wanted(&self) -> Wanted {
        Wanted {
            name: self.name.clone(),
            role: self.role.clone(),
            scopes: self.scopes.clone(),
            connections: self.connections.clone(),
            expires: self.expires.clone(),
        }
    }
}
