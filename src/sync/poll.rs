//! The frame of every poll (C 1.8, F 1.5): a window over the source's timeline, walked page by page.
//!
//! A window ends `settle` before the source's clock, because rows may become visible late, and is
//! fixed for the whole walk. It begins `overlap` before the end of the last one. A page and the
//! place behind it are one transaction, so a walk that stops goes on where it stopped; the window is
//! closed only by its last page. A row that is new within the overlap came later than `settle` allows
//! for: the poll keeps half as much again from then on, for a day.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::app::App;
use crate::clock::Millis;
use crate::config::value::Span;
use crate::failure::Failure;
use crate::queue::{Draft, Message, Range};
use crate::store::{Counted, Error, New, Position, Put, Tx, Urgency};

/// How long a greater `settle` lasts, and what it is at most (F 1.5), in milliseconds.
const RAISED: Millis = 24 * 60 * 60 * 1000;
const MOST: Millis = 10 * 60 * 1000;

/// How a poll keeps its distance from what may still change.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub settle: Span,
    pub overlap: Span,
}

/// A row of a page that may be news.
pub struct Found {
    /// When it changed, by the source's clock.
    pub at: Millis,
    pub draft: Draft,
    /// Is it news for certain, or does its handler count it if it turns out to be?
    pub counts: bool,
}

/// The window of one run.
pub struct Window<'a> {
    app: &'a App,
    message: &'a Message,
    stream: String,
    pub from: Millis,
    pub to: Millis,
    /// Up to here, this moment included, an earlier window has looked; what is new there came late.
    fresh: Millis,
    /// Where the very first window began; no timed one begins before it.
    since: Millis,
    after: Option<Value>,
    /// The distance kept from the source's clock, in milliseconds.
    settle: Millis,
    /// The cursor as this run knows it; `None` = there is none yet.
    stored: Option<Position>,
    /// An extra run over a given range moves no cursor.
    extra: bool,
    /// Rows of this run that became messages.
    pub found: usize,
}

impl<'a> Window<'a> {
    /// The window under way, else the next one, else the range that the message asks for. `None`:
    /// there is nothing to look at yet.
    ///
    /// `now` is the source's clock, `start` the beginning of the very first window.
    ///
    /// # Errors
    /// When the database fails, or the message asks for something unreadable.
    pub async fn open(
        app: &'a App,
        message: &'a Message,
        stream: &str,
        now: Millis,
        pace: Pace,
        start: Option<Millis>,
    ) -> Result<Option<Self>, Failure> {
        let stored = app.store().read().await?.cursor(message.connection(), stream).await?;
        let raised = stored.as_ref().and_then(|cursor| cursor.settle.zip(cursor.settle_until));
        let raised = raised.filter(|(_, until)| app.clock().now() < *until).map_or(0, |(settle, _)| settle);
        let settle = pace.settle.millis().max(raised);
        let until = now - settle;
        let blank = Self {
            app,
            message,
            stream: stream.to_owned(),
            from: until,
            to: until,
            fresh: until,
            since: until,
            after: None,
            settle,
            stored: None,
            extra: false,
            found: 0,
        };
        if let Some(range) = message.payload::<Option<Range>>()? {
            let to = range.to.map_or(until, |to| to.min(until));
            let window = Self { from: range.from, to, fresh: range.from - 1, extra: true, ..blank };
            return Ok((range.from <= to).then_some(window));
        }
        match stored.map(|cursor| cursor.position.0) {
            Some(Position::Window { from, to, fresh, since, after }) => {
                let stored = Some(Position::Window { from, to, fresh, since, after: after.clone() });
                Ok(Some(Self { from, to, fresh, since, after, stored, ..blank }))
            }
            Some(Position::Done { end, since }) => {
                let from = (end - pace.overlap.millis()).max(since);
                let window = Self { from, fresh: end, since, stored: Some(Position::Done { end, since }), ..blank };
                Ok((until > end).then_some(window))
            }
            None => {
                let since = start.unwrap_or(until);
                let mut window = Self { from: since, fresh: since - 1, since, ..blank };
                if until > since {
                    return Ok(Some(window));
                }
                // There is no history to look at; from here on nothing is missed.
                window.advance(Vec::new(), Position::Done { end: since, since }).await?;
                Ok(None)
            }
        }
    }

    /// Where the next page begins; `None` = at the beginning of the window.
    ///
    /// # Errors
    /// A rejection if the stored place has another form.
    pub fn after<T: for<'de> Deserialize<'de>>(&self) -> Result<Option<T>, Failure> {
        let read = self.after.clone().map(serde_json::from_value).transpose();
        read.map_err(|error| Failure::rejected(format!("The cursor of {} cannot be read: {error}", self.stream)))
    }

    /// The intake key of a row: an extra run looks again at what was looked at before.
    pub fn key(&self, key: String) -> String {
        if self.extra { format!("{key}@{}", self.message.id()) } else { key }
    }

    /// Does this run look again at everything, whatever was transferred before?
    pub fn is_extra(&self) -> bool {
        self.extra
    }

    /// Commits a page together with the place behind it; `None` = it was the last page.
    ///
    /// # Errors
    /// When the database fails, or the cursor was moved by somebody else: then nothing of the page
    /// remains, and the next try goes on from there.
    pub async fn commit(&mut self, rows: Vec<Found>, next: Option<impl Serialize>) -> Result<(), Failure> {
        let position = match next {
            Some(next) => self.at(Some(json!(next))),
            None => Position::Done { end: self.to, since: self.since },
        };
        self.advance(rows, position).await
    }

    /// The source no longer takes the place we stand at: the same window from its first page.
    ///
    /// # Errors
    /// As [`Window::commit`].
    pub async fn restart(&mut self) -> Result<(), Failure> {
        self.advance(Vec::new(), self.at(None)).await
    }

    fn at(&self, after: Option<Value>) -> Position {
        Position::Window { from: self.from, to: self.to, fresh: self.fresh, since: self.since, after }
    }

    async fn advance(&mut self, rows: Vec<Found>, position: Position) -> Result<(), Failure> {
        let (connection, stream, fresh) = (self.message.connection().to_owned(), self.stream.clone(), self.fresh);
        let (expected, moved, extra) = (self.stored.clone(), position.clone(), self.extra);
        let raised = raised(self.settle, self.app.clock().now());
        let kinds: Vec<(Millis, bool)> = rows.iter().map(|row| (row.at, row.counts)).collect();
        let rows: Vec<New> = rows.into_iter().map(|row| row.draft.into()).collect();
        let put = self.app.store().write(Urgency::Bulk, move |tx| {
            Box::pin(async move {
                let put = tx.put(rows).await?;
                let new = put.iter().zip(kinds).filter(|(put, _)| matches!(put, Put::Accepted(_)));
                let new: Vec<(Millis, bool)> = new.map(|(_, kind)| kind).collect();
                let late = new.iter().filter(|(at, _)| *at <= fresh).count() as i64;
                let found = new.iter().filter(|(_, counts)| *counts).count() as i64;
                let counted = Counted { found, late, settle: (late > 0).then_some(raised) };
                if !extra && !tx.advance(&connection, &stream, expected.as_ref(), &moved, counted).await? {
                    return Err(Error::Fenced { subject: format!("the cursor of {stream}") });
                }
                Ok(new.len())
            })
        });
        self.found += put.await?;
        if let Position::Window { after, .. } = &position {
            self.after = after.clone();
        }
        self.stored = Some(position);
        Ok(())
    }
}

/// What is kept of a greater distance, and until when.
fn raised(settle: Millis, now: Millis) -> (Millis, Millis) {
    ((settle + settle / 2).min(MOST), now + RAISED)
}

/// A window that other messages walk: what they need to know of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Frame {
    pub from: Millis,
    pub to: Millis,
    /// What is new up to here came late.
    pub fresh: Millis,
    /// Does it look again at everything?
    pub extra: bool,
    since: Millis,
    settle: Millis,
    stored: Option<Position>,
}

impl Window<'_> {
    /// The window for others.
    pub fn frame(&self) -> Frame {
        let stored = self.stored.clone();
        let Self { from, to, fresh, extra, since, settle, .. } = *self;
        Frame { from, to, fresh, extra, since, settle, stored }
    }
}

impl Frame {
    fn begun(&self) -> Position {
        Position::Window { from: self.from, to: self.to, fresh: self.fresh, since: self.since, after: None }
    }

    /// The same window once more.
    pub fn again(&mut self) {
        self.stored = Some(self.begun());
    }

    /// The window is under way; `false` = somebody else moved the cursor.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(&self, tx: &mut Tx, connection: &str, stream: &str) -> crate::store::Result<bool> {
        let begun = self.begun();
        if self.extra || self.stored.as_ref() == Some(&begun) {
            return Ok(true);
        }
        tx.advance(connection, stream, self.stored.as_ref(), &begun, Counted::default()).await
    }

    /// The window is walked: so many rows were news, so many of them late. `false` = somebody else moved the
    /// cursor meanwhile.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn end(
        &self,
        tx: &mut Tx,
        connection: &str,
        stream: &str,
        (found, late): (i64, i64),
        now: Millis,
    ) -> crate::store::Result<bool> {
        if self.extra {
            return Ok(true);
        }
        let settle = (late > 0).then(|| raised(self.settle, now));
        let done = Position::Done { end: self.to, since: self.since };
        tx.advance(connection, stream, Some(&self.begun()), &done, Counted { found, late, settle }).await
    }
}
