//! Looking and writing, one resource at a time (F 11.2).

use super::{Found, Row, Verdict, Wanted, judge};
use crate::commercetools::Client;
use crate::commercetools::definition::{Collection, DefinedState, DefinedType};
use crate::failure::Class;
use crate::remote::{Error, Kind};

/// How often a resource is looked at again because somebody else was there meanwhile, or an answer got lost.
const ROUNDS: usize = 3;

/// Looks at everything and changes nothing.
pub async fn plan(client: &Client, wanted: &[Wanted], project_key: &str) -> Vec<Row> {
    run(client, wanted, project_key, false).await
}

/// Looks at everything and does what there is to do. What is refused is told in its row; the others are done.
pub async fn apply(client: &Client, wanted: &[Wanted], project_key: &str) -> Vec<Row> {
    run(client, wanted, project_key, true).await
}

async fn run(client: &Client, wanted: &[Wanted], project_key: &str, write: bool) -> Vec<Row> {
    let mut found = Found::default();
    let mut unseen = None;
    if wanted.iter().any(|wanted| wanted.collection() == Some(Collection::Types)) {
        // A field must have the same type in all Types of a resource, so all are looked at once.
        match client.definitions(Collection::Types).await {
            Ok(types) => found.types = types,
            Err(error) => unseen = Some(error),
        }
    }
    let mut rows = Vec::new();
    for wanted in wanted {
        let unseen = unseen.clone().filter(|_| wanted.collection() == Some(Collection::Types));
        rows.push(match unseen {
            Some(error) => row(wanted, "unknown").failing(error),
            None => one(client, wanted, &mut found, project_key, write).await,
        });
    }
    rows
}

/// Look, compare, write; and again after a conflict, a key that was taken meanwhile or a lost answer.
async fn one(client: &Client, wanted: &Wanted, found: &mut Found, project_key: &str, write: bool) -> Row {
    let mut row = row(wanted, "unknown");
    for round in 1.. {
        if let Err(error) = look(client, wanted, found).await {
            return row.failing(error);
        }
        let verdict = judge(wanted, found);
        // What a lost answer did is not "kept": the row goes on saying what was planned.
        if round == 1 || !matches!(verdict, Verdict::Keep) {
            row.verdict = verdict.name();
            row.call = wanted.call(&verdict, project_key);
            row.sentences = sentences(wanted, &verdict);
        }
        if !write {
            return row;
        }
        let sent = match &verdict {
            Verdict::Create => create(client, wanted).await,
            Verdict::Change { id, version, actions, .. } => match wanted.collection() {
                Some(collection) => client.redefine(collection, id, *version, actions).await,
                None => client.update_project(*version, actions).await,
            },
            Verdict::Keep | Verdict::Foreign(_) | Verdict::Conflict(_) => return row,
        };
        match sent {
            Ok(()) => return row,
            Err(error) if round < ROUNDS && is_open(&error) => {}
            Err(error) => return row.failing(error),
        }
    }
    row
}

/// Reads the one resource as it is now.
///
/// # Errors
/// As the client's error table says.
pub async fn look(client: &Client, wanted: &Wanted, found: &mut Found) -> Result<(), Error> {
    let key = wanted.key();
    match wanted.collection() {
        Some(Collection::Types) => {
            let read = client.definition(Collection::Types, key).await?;
            found.types.retain(|known: &DefinedType| known.key != key);
            found.types.extend(read);
        }
        Some(Collection::Channels) => {
            let read = client.channel(key).await?;
            found.channels.retain(|known| known.key != key);
            found.channels.extend(read);
        }
        Some(Collection::States) => {
            let read = client.definition(Collection::States, key).await?;
            found.states.retain(|known: &DefinedState| known.key.as_deref() != Some(key));
            found.states.extend(read);
        }
        Some(Collection::Subscriptions) => found.subscriptions = client.definitions(Collection::Subscriptions).await?,
        None => found.settings = Some(client.settings().await?),
    }
    Ok(())
}

async fn create(client: &Client, wanted: &Wanted) -> Result<(), Error> {
    match (wanted.collection(), wanted.draft()) {
        (Some(collection), Some(draft)) => client.define(collection, &draft).await,
        // Only what has a draft is ever judged to be created.
        _ => Ok(()),
    }
}

/// Somebody may have been faster, or it may have been done: look again.
fn is_open(error: &Error) -> bool {
    let taken = error.code == "DuplicateField";
    taken || matches!(error.kind, Kind::Temporary(Class::Conflict | Class::UnknownOutcome))
}

fn row(wanted: &Wanted, verdict: &'static str) -> Row {
    let key = wanted.key().to_owned();
    Row { resource: wanted.resource(), key, verdict, call: None, sentences: Vec::new(), failed: None }
}

fn sentences(wanted: &Wanted, verdict: &Verdict) -> Vec<String> {
    match verdict {
        Verdict::Create => {
            vec![format!("provision.created: {} {} was created.", wanted.resource(), wanted.key())]
        }
        Verdict::Change { got, .. } => got.clone(),
        Verdict::Keep => Vec::new(),
        Verdict::Foreign(sentence) | Verdict::Conflict(sentence) => vec![sentence.clone()],
    }
}

impl Row {
    fn failing(mut self, error: Error) -> Self {
        self.sentences = vec![error.sentence.clone()];
        self.failed = Some(error);
        self
    }
}
