//! The writer task: group commit.
//!
//! What gathers while one commit is on its way to the disk is the next group; there is no added
//! delay. Consecutive intakes of a group become one multi-row statement; every other job runs under
//! a savepoint of its own, so that a failing one undoes only itself. On SQLite all writes pass here
//! (one connection, no lock fights); on Postgres only the intake does.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use sqlx::SqlitePool;
use tokio::sync::{mpsc, oneshot};

use super::bell::Bell;
use super::line::Lines;
use super::trouble::Watch;
use super::{Body, Db, Error, New, Put, Result, Tx};
use crate::clock::Clock;

/// One thing to write.
pub enum Job {
    Put { messages: Vec<New>, answer: oneshot::Sender<Result<Vec<Put>>> },
    Run { body: Body<()>, eager: bool, answer: oneshot::Sender<Result<()>> },
}

impl Job {
    fn messages(&self) -> &[New] {
        match self {
            Self::Put { messages, .. } => messages,
            Self::Run { .. } => &[],
        }
    }
}

/// Where the writer's connection comes from.
pub enum Source {
    Sqlite(SqlitePool),
    Postgres(Lines),
}

/// Counters of the intake have their own shard, so that they never meet those of other writers.
const SHARD: i64 = 0;

/// Starts the writer; it ends when all handles to the store are gone and its queues are empty.
pub fn start(
    source: Source,
    urgent: mpsc::Receiver<Job>,
    bulk: mpsc::Receiver<Job>,
    rows: usize,
    due: Arc<Bell>,
    clock: Clock,
    watch: Watch,
) {
    #[expect(clippy::disallowed_methods, reason = "the writer outlives every caller, so that none can cancel a write")]
    tokio::spawn(Writer { source, urgent, bulk, rows, due, clock, watch }.run());
}

/// Hands a body to the writer and waits for its commit (or, if `eager`, for its execution).
pub async fn submit<T: Send + 'static>(queue: &mpsc::Sender<Job>, eager: bool, body: Body<T>) -> Result<T> {
    let slot = Arc::new(Mutex::new(None));
    let filled = slot.clone();
    let body: Body<()> = Box::new(move |tx| {
        async move {
            let value = body(tx).await?;
            *filled.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(value);
            Ok(())
        }
        .boxed()
    });
    let (answer, answered) = oneshot::channel();
    queue.send(Job::Run { body, eager, answer }).await.map_err(|_| Error::Busy)?;
    answered.await.map_err(|_| Error::Busy)??;
    let value = slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
    value.ok_or(Error::Busy)
}

/// Runs a database future in a task of its own, so that dropping the caller does not cancel it.
pub async fn detached<T: Send + 'static>(future: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    #[expect(clippy::disallowed_methods, reason = "a dropped request must not cancel a database future")]
    let task = tokio::spawn(future);
    // Only a runtime that shuts down stops it.
    task.await.unwrap_or(Err(Error::Busy))
}

/// Runs a body that may panic: it fails alone, and the writer lives on.
pub async fn guarded<T>(tx: &mut Tx, body: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>>) -> Result<T> {
    AssertUnwindSafe(async { body(tx).await }).catch_unwind().await.unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str);
        let said = said.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
        Err(Error::Panicked(said.to_owned()))
    })
}

struct Writer {
    source: Source,
    urgent: mpsc::Receiver<Job>,
    bulk: mpsc::Receiver<Job>,
    rows: usize,
    due: Arc<Bell>,
    clock: Clock,
    watch: Watch,
}

impl Writer {
    async fn run(mut self) {
        let mut kept = None;
        while let Some(jobs) = self.gather().await {
            // As long as there is more to write the connection is not given back in between.
            kept = self.commit(jobs, kept).await.filter(|_| !self.urgent.is_empty());
        }
    }

    /// Everything urgent that waits; bulk only when nothing urgent does, one at a time.
    async fn gather(&mut self) -> Option<Vec<Job>> {
        let mut jobs = Vec::new();
        tokio::select! {
            biased;
            count = self.urgent.recv_many(&mut jobs, self.rows) => {
                if count == 0 {
                    return self.bulk.recv().await.map(|job| vec![job]);
                }
            }
            job = self.bulk.recv() => match job {
                Some(job) => jobs.push(job),
                None => { self.urgent.recv_many(&mut jobs, self.rows).await; }
            },
        }
        (!jobs.is_empty()).then_some(jobs)
    }

    /// Runs and commits a group; answers the connection, if it can be used again.
    async fn commit(&mut self, mut jobs: Vec<Job>, kept: Option<Db>) -> Option<Db> {
        let mut group = Group { waiting: Vec::new(), broken: false, watch: self.watch.clone() };
        let mut tx = match self.open(kept).await {
            Ok(tx) => tx,
            Err(error) => return self.refuse(jobs, &error),
        };
        if jobs.len() > 1 && jobs.iter().all(|job| matches!(job, Job::Put { .. })) {
            match group.put_bare(&mut tx, jobs).await {
                Ok(()) => jobs = Vec::new(),
                Err(again) => {
                    tx.abandon().await;
                    jobs = again;
                    tx = match self.open(None).await {
                        Ok(tx) => tx,
                        Err(error) => return self.refuse(jobs, &error),
                    };
                }
            }
        }
        group.run_all(&mut tx, jobs).await;
        if group.broken {
            tx.abandon().await;
            group.answer(Err(lost()));
            return None;
        }
        let (db, committed) = match tx.commit(SHARD, &self.due).await {
            Ok(db) => (Some(db), Ok(())),
            Err(error) => (None, Err(error)),
        };
        group.answer(committed);
        db
    }

    fn refuse(&self, jobs: Vec<Job>, error: &Error) -> Option<Db> {
        self.watch.failed(error);
        refuse(jobs, error);
        None
    }

    async fn open(&self, kept: Option<Db>) -> Result<Tx> {
        let db = match (kept, &self.source) {
            (Some(db), _) => db,
            (None, Source::Sqlite(pool)) => Db::Sqlite(pool.acquire().await?),
            (None, Source::Postgres(lines)) => lines.take().await?,
        };
        Tx::open(db, self.clock.clone()).await
    }
}

/// The jobs of one commit that ran and now wait for the disk.
struct Group {
    waiting: Vec<Answer>,
    /// The transaction as a whole is gone; nothing of it may be acknowledged.
    broken: bool,
    watch: Watch,
}

enum Answer {
    Put(Vec<Put>, oneshot::Sender<Result<Vec<Put>>>),
    Run(oneshot::Sender<Result<()>>),
}

type Intake = (Vec<New>, oneshot::Sender<Result<Vec<Put>>>);

impl Group {
    /// Intakes and nothing else, all in one statement. It needs no savepoint, because there is nobody
    /// whose work must outlive its failure: then the jobs come back, and the transaction must go.
    async fn put_bare(&mut self, tx: &mut Tx, jobs: Vec<Job>) -> Result<(), Vec<Job>> {
        let messages: Vec<&New> = jobs.iter().flat_map(Job::messages).collect();
        let put = AssertUnwindSafe(tx.put_all(&messages)).catch_unwind().await;
        let Ok(Ok(done)) = put else { return Err(jobs) };
        let mut done = done.into_iter();
        for job in jobs {
            if let Job::Put { messages, answer } = job {
                self.waiting.push(Answer::Put(done.by_ref().take(messages.len()).collect(), answer));
            }
        }
        Ok(())
    }

    /// Jobs in their order, but the eager ones first: they are answered before this commit, so they must
    /// see nothing of it that a reader, who has a connection of his own, would not see.
    async fn run_all(&mut self, tx: &mut Tx, mut jobs: Vec<Job>) {
        jobs.sort_by_key(|job| !matches!(job, Job::Run { eager: true, .. }));
        let alone = jobs.len() == 1;
        let mut puts = Vec::new();
        for job in jobs {
            match job {
                Job::Put { messages, answer } => puts.push((messages, answer)),
                Job::Run { body, eager, answer } => {
                    self.put(tx, std::mem::take(&mut puts), false).await;
                    self.run(tx, body, eager, answer, alone).await;
                }
            }
        }
        self.put(tx, puts, alone).await;
    }

    /// All waiting intakes in one statement; if that fails, one by one, so that a bad one fails alone.
    async fn put(&mut self, tx: &mut Tx, puts: Vec<Intake>, alone: bool) {
        if puts.is_empty() || self.broken {
            return refuse_puts(puts, &lost());
        }
        if let [_] = &puts[..] {
            return self.put_each(tx, puts, alone).await;
        }
        let all: Vec<New> = puts.iter().flat_map(|(messages, _)| messages.iter().cloned()).collect();
        match savepoint(tx, false, |tx| async move { tx.put(all).await }.boxed()).await {
            Ok(done) => {
                let mut done = done.into_iter();
                for (messages, answer) in puts {
                    self.waiting.push(Answer::Put(done.by_ref().take(messages.len()).collect(), answer));
                }
            }
            Err(Broken { transaction: false, .. }) => self.put_each(tx, puts, false).await,
            Err(Broken { error, .. }) => {
                self.broken = true;
                self.watch.failed(&error);
                refuse_puts(puts, &error);
            }
        }
    }

    async fn put_each(&mut self, tx: &mut Tx, puts: Vec<Intake>, alone: bool) {
        for (messages, answer) in puts {
            match savepoint(tx, alone, |tx| async move { tx.put(messages).await }.boxed()).await {
                Ok(done) => self.waiting.push(Answer::Put(done, answer)),
                Err(Broken { error, transaction }) => {
                    self.broken |= transaction;
                    self.watch.failed(&error);
                    // A caller that is gone no longer wants to know.
                    let _ = answer.send(Err(error));
                }
            }
        }
    }

    async fn run(
        &mut self,
        tx: &mut Tx,
        body: Body<()>,
        eager: bool,
        answer: oneshot::Sender<Result<()>>,
        alone: bool,
    ) {
        if self.broken {
            let _ = answer.send(Err(lost()));
            return;
        }
        match savepoint(tx, alone, |tx| body(tx)).await {
            // What it saw of its neighbours is visible to others only after the commit.
            Ok(()) if eager && self.waiting.is_empty() => drop(answer.send(Ok(()))),
            Ok(()) => self.waiting.push(Answer::Run(answer)),
            Err(Broken { error, transaction }) => {
                self.broken |= transaction;
                self.watch.failed(&error);
                let _ = answer.send(Err(error));
            }
        }
    }

    /// Tells everybody who waited for the disk.
    fn answer(self, committed: Result<()>) {
        let failure = committed.err().inspect(|error| self.watch.failed(error));
        let failed = || failure.as_ref().map(Error::again);
        for answer in self.waiting {
            match answer {
                Answer::Put(done, answer) => drop(answer.send(failed().map_or(Ok(done), Err))),
                Answer::Run(answer) => drop(answer.send(failed().map_or(Ok(()), Err))),
            }
        }
    }
}

fn refuse_puts(puts: Vec<Intake>, error: &Error) {
    for (_, answer) in puts {
        let _ = answer.send(Err(error.again()));
    }
}

/// For those whose transaction another job took along.
fn lost() -> Error {
    Error::Down("the transaction was lost with that of another write".into())
}

/// A failed job; `transaction` tells whether the whole group is lost with it.
struct Broken {
    error: Error,
    transaction: bool,
}

/// Runs `body` under a savepoint; when it is `alone` in its transaction it needs none.
async fn savepoint<T>(
    tx: &mut Tx,
    alone: bool,
    body: impl for<'t> FnOnce(&'t mut Tx) -> BoxFuture<'t, Result<T>>,
) -> Result<T, Broken> {
    let whole = |error| Broken { error, transaction: true };
    if alone {
        return guarded(tx, body).await.map_err(whole);
    }
    tx.execute("savepoint job").await.map_err(whole)?;
    let before = tx.tally.clone();
    match guarded(tx, body).await {
        Ok(value) => {
            tx.execute("release savepoint job").await.map_err(whole)?;
            Ok(value)
        }
        Err(error) => {
            tx.tally = before;
            tx.execute("rollback to savepoint job").await.map_err(whole)?;
            tx.execute("release savepoint job").await.map_err(whole)?;
            Err(Broken { error, transaction: false })
        }
    }
}

fn refuse(jobs: Vec<Job>, error: &Error) {
    let refusal = || error.again();
    for job in jobs {
        match job {
            Job::Put { answer, .. } => drop(answer.send(Err(refusal()))),
            Job::Run { answer, .. } => drop(answer.send(Err(refusal()))),
        }
    }
}

impl Tx {
    /// Opens a write transaction; on SQLite it takes the write lock at once.
    pub(super) async fn open(db: Db, clock: Clock) -> Result<Tx> {
        let mut tx = Tx { db, tally: Default::default(), clock };
        let begin = match &tx.db {
            Db::Sqlite(_) => "begin immediate",
            Db::Postgres(_) => "begin",
        };
        tx.execute(begin).await?;
        Ok(tx)
    }

    /// Writes the counters, commits, and wakes the dispatcher; answers the connection.
    pub(super) async fn commit(mut self, shard: i64, due: &Bell) -> Result<Db> {
        let work = self.tally.work();
        let committed = async {
            self.write_tally(shard).await?;
            self.execute("commit").await
        }
        .await;
        match committed {
            Ok(()) => {
                due.ring(work);
                Ok(self.db)
            }
            Err(error) => {
                self.abandon().await;
                Err(error)
            }
        }
    }

    /// Undoes everything; a connection that cannot even do that is closed.
    pub(super) async fn abandon(mut self) {
        if self.execute("rollback").await.is_err() {
            match self.db {
                Db::Sqlite(connection) => drop(connection.close().await),
                Db::Postgres(line) => line.close().await,
            }
        }
    }

    async fn execute(&mut self, statement: &'static str) -> Result<()> {
        super::on!(&mut self.db, |c| sqlx::raw_sql(statement).execute(c).await.map(|_| ()))?;
        Ok(())
    }
}
