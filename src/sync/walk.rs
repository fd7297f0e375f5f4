//! Walking a collection of commercetools by `lastModifiedAt` (C 1.8): pages of a window, behind a
//! place.

use std::collections::HashMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use super::poll::{Found, Pace, Window};
use crate::app::{App, Connection};
use crate::clock::{self, Millis};
use crate::commercetools::client::{Client, Page, Query};
use crate::config::model::CommercetoolsPoll;
use crate::failure::{Class, Failure, Outcome};
use crate::queue::Message;

/// Rows of a page; commercetools gives at most 500 (A2).
pub const PAGE: u16 = 500;

/// The last row of a page. Ids sort by their bytes in an order of the platform's own (A2), so they
/// are handed back and never compared.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct After {
    pub at: String,
    pub id: String,
}

/// A row, as far as it is looked at; the resource is read again by its handler.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    pub id: String,
    pub version: i64,
    pub last_modified_at: String,
}

/// A page whose rows are read one by one: one that cannot be read leaves the others alone.
pub type RawPage = Page<Box<RawValue>>;

/// What a walk looks for.
pub struct Walk {
    /// The cursor's name.
    pub stream: &'static str,
    /// `GET /categories`
    pub collection: &'static str,
    /// Kind in the mapping and in the subject.
    pub kind: &'static str,
    /// Where each row goes.
    pub route: &'static str,
    /// What people call the rows.
    pub plural: &'static str,
}

/// Puts a message for each row that changed and was not read in that version yet. The first walk
/// sees everything there is.
///
/// # Errors
/// A page that cannot be read leaves its window open; the next run goes on behind the last page.
pub async fn walk(app: &App, message: &Message, connection: &Connection, walk: &Walk) -> Outcome {
    let commercetools = connection.commercetools.on(message.call());
    let now = now(&commercetools).await?;
    let CommercetoolsPoll { settle, overlap } = connection.config.poll;
    let window = Window::open(app, message, walk.stream, now, Pace { settle, overlap }, Some(0)).await?;
    let Some(mut window) = window else {
        message.unchanged();
        return Ok(());
    };
    let mut limit = PAGE;
    loop {
        let page: Page<Row> = page(&commercetools, walk.collection, None, &window, &mut limit).await?;
        let ids: Vec<String> = page.results.iter().map(|row| row.id.clone()).collect();
        let rows = app.store().read().await?.mappings_of(message.connection(), walk.kind, &ids).await?;
        let known: HashMap<&str, i64> =
            rows.iter().map(|row| (row.commercetools_id.as_str(), row.commercetools_version)).collect();
        let is_known = |row: &&Row| known.get(row.id.as_str()).is_some_and(|version| *version >= row.version);
        let news = page.results.iter().filter(|row| window.is_extra() || !is_known(row));
        let news = news.map(|row| found(row, message, walk, &window)).collect();
        let last = page.results.last().map(|row| (&row.last_modified_at, &row.id));
        let next = after(last, page.results.len(), limit);
        let more = next.is_some();
        window.commit(news, next).await?;
        if !more {
            break;
        }
    }
    if window.found == 0 {
        message.unchanged();
    }
    message.tell(format!("{} {} without a notification that reached us", window.found, walk.plural));
    Ok(())
}

/// commercetools' clock; it is asked, so that a window never ends by an old answer.
///
/// # Errors
/// As the client says.
pub async fn now(commercetools: &Client) -> Result<Millis, Failure> {
    match commercetools.settings().await {
        Ok(_) => {}
        // The answer has a date, whatever it says.
        Err(error) if error.status == 403 => {}
        Err(error) => return Err(error.into()),
    }
    let now = commercetools.now();
    now.ok_or_else(|| Failure::retry(Class::Server, "commercetools does not say what time it is."))
}

fn found(row: &Row, message: &Message, walk: &Walk, window: &Window<'_>) -> Found {
    let key = window.key(format!("{}#{}", row.id, row.version));
    let draft = message.polled(walk.route, key).subject(format!("{}:{}", walk.kind, row.id));
    let draft = draft.at_least(row.version).payload(json!({"id": row.id}));
    Found { at: clock::parse_rfc3339(&row.last_modified_at).unwrap_or(window.to), draft, counts: true }
}

/// Reads the page that the window stands before. One that is too much for commercetools is asked
/// for again in smaller parts.
///
/// # Errors
/// As the client says.
pub async fn page<T: DeserializeOwned>(
    commercetools: &Client,
    collection: &'static str,
    filter: Option<&str>,
    window: &Window<'_>,
    limit: &mut u16,
) -> Result<Page<T>, Failure> {
    let place = window.after::<After>()?;
    page_between(commercetools, collection, filter, (window.from, window.to), place.as_ref(), limit).await
}

/// Reads the page behind a place of what changed between two moments.
///
/// # Errors
/// As the client says.
pub async fn page_between<T: DeserializeOwned>(
    commercetools: &Client,
    collection: &'static str,
    filter: Option<&str>,
    span: (Millis, Millis),
    place: Option<&After>,
    limit: &mut u16,
) -> Result<Page<T>, Failure> {
    loop {
        match commercetools.query(collection, &query(filter, span, place, *limit)).await {
            Err(error) if *limit > 1 && matches!(error.code.as_str(), "ContentTooLarge" | "QueryTimedOut") => {
                *limit /= 2;
            }
            answer => return Ok(answer?),
        }
    }
}

/// A full page has a successor; a short one is the last.
pub fn after(last: Option<(&String, &String)>, rows: usize, limit: u16) -> Option<After> {
    last.filter(|_| rows >= usize::from(limit)).map(|(at, id)| After { at: at.clone(), id: id.clone() })
}

/// The rows of a window behind a place, oldest first (C 1.8).
fn query(filter: Option<&str>, (from, to): (Millis, Millis), place: Option<&After>, limit: u16) -> Query {
    let mut variables = vec![("until".to_owned(), clock::rfc3339(to))];
    let behind = match place {
        Some(After { at, id }) => {
            variables.extend([("t".to_owned(), at.clone()), ("id".to_owned(), id.clone())]);
            "(lastModifiedAt > :t or (lastModifiedAt = :t and id > :id))"
        }
        None => {
            variables.push(("t".to_owned(), clock::rfc3339(from)));
            "lastModifiedAt >= :t"
        }
    };
    let predicates = filter.map(str::to_owned).into_iter().chain([format!("{behind} and lastModifiedAt <= :until")]);
    Query {
        predicates: predicates.collect(),
        variables,
        sort: vec!["lastModifiedAt asc".into(), "id asc".into()],
        limit,
    }
}
