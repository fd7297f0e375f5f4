//! Does the budget find and use a limit that nobody told it, in real time?
//!
//! Three simulated Fluent platforms, each a process of its own that allows 5, 50 or 500 requests per
//! second (a token bucket that holds one second) and gives no hint when it refuses, are asked as fast
//! as the budget lets 32 callers ask. Measured: the share of the limit that is used and the share of
//! requests that is refused, for a minute after the first minute, and from the sixth second on after
//! a restart that knows only what was stored. All limits at once, so the whole takes three minutes:
//!
//!     cargo bench --bench budget
//!
//! Ends with one line of JSON: `use_<limit>`, `share_429_<limit>`, and the same with `restart_`.
#![expect(clippy::print_stdout, reason = "a benchmark reports to a person")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time and runs callers side by side")]

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use fluent_connector::clock::Clock;
use fluent_connector::config::model::FluentRemote;
use fluent_connector::failure::Class;
use fluent_connector::fluent::{Client, operation};
use fluent_connector::remote::{Budget, Call, Gate, Kind, Learned, Limits, Rule, Terms, breaker};
use fluent_connector::simulator::fluent::Options;
use serde_json::{Value, json};

const LIMITS: [u32; 3] = [5, 50, 500];
const CALLERS: usize = 32;
const LATENCY: &str = "20ms";
/// The budget's own limits: more than any of the three.
const START: f64 = 10.0;
const MAX: f64 = 1000.0;

fn main() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        let tasks = LIMITS.map(|limit| tokio::spawn(measure(limit)));
        let mut measured = Vec::new();
        for task in tasks {
            measured.push(task.await??);
        }
        anyhow::Ok(measured)
    })?;
    println!(
        "{:>9}  {:>14} {:>12} {:>8}  {:>14} {:>12}",
        "limit/s", "used", "refused", "learned", "after restart", "refused"
    );
    let mut figures = BTreeMap::new();
    for (limit, [first, restart], learned) in measured {
        let (used, refused) = first.shares(limit);
        let (used_again, refused_again) = restart.shares(limit);
        println!(
            "{limit:>9}  {:>12.1} % {:>10.2} % {learned:>8}  {:>12.1} % {:>10.2} %",
            used * 100.0,
            refused * 100.0,
            used_again * 100.0,
            refused_again * 100.0
        );
        figures.insert(format!("use_{limit}"), used);
        figures.insert(format!("share_429_{limit}"), refused);
        figures.insert(format!("restart_use_{limit}"), used_again);
        figures.insert(format!("restart_share_429_{limit}"), refused_again);
    }
    println!("{}", json!(figures));
    Ok(())
}

/// Answers within a span of time.
#[derive(Clone, Copy)]
struct Answers {
    passed: u64,
    refused: u64,
    seconds: f64,
}

impl Answers {
    /// Used share of the limit, refused share of the requests.
    fn shares(self, limit: u32) -> (f64, f64) {
        let all = (self.passed + self.refused).max(1) as f64;
        (self.passed as f64 / self.seconds / f64::from(limit), self.refused as f64 / all)
    }
}

async fn measure(limit: u32) -> anyhow::Result<(u32, [Answers; 2], String)> {
    let platform = Platform::start(limit)?;
    let budget = budget();
    let first = run(&platform, &budget, Duration::from_secs(60), Duration::from_secs(60)).await?;
    let stored = budget.standing().learned.map(|learned| learned.to_string()).unwrap_or_default();
    // Nothing of the first budget remains but what would be in the database.
    let budget = self::budget();
    budget.recall(stored.parse::<Learned>().with_context(|| format!("nothing was learned of {limit}/s"))?);
    let restart = run(&platform, &budget, Duration::from_secs(5), Duration::from_secs(50)).await?;
    Ok((limit, [first, restart], stored))
}

fn budget() -> Budget {
    let rule = Rule::Auto { start: START, max: MAX };
    Budget::new(Limits { rule, in_flight: CALLERS, reserve: BTreeMap::new() })
}

/// Lets all callers ask, and counts what is answered after `warm_up` for `span`.
async fn run(platform: &Platform, budget: &Budget, warm_up: Duration, span: Duration) -> anyhow::Result<Answers> {
    let rule = breaker::Rule { failures: 1.0, of: 1000, open: Duration::from_secs(1), enforce: false };
    let terms = Terms { budget: budget.clone(), breaker: rule, gate: Gate::default(), clock: Clock::system() };
    let client = Client::new(&platform.account()?, terms)?;
    let (passed, refused, stop) =
        (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicBool>::default());
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let client = client.on(Call { lane: "order".into(), correlation: "benchmark".into() });
            let (passed, refused, stop) = (passed.clone(), refused.clone(), stop.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match client.run::<Value>(&operation::ME, json!({})).await {
                        Ok(_) => passed.fetch_add(1, Ordering::Relaxed),
                        Err(error) if error.kind == Kind::Temporary(Class::RateLimited) => {
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        // Logging in was refused: that is a request, too.
                        Err(error) if error.status == 429 => refused.fetch_add(1, Ordering::Relaxed),
                        Err(error) => anyhow::bail!("{error}"),
                    };
                }
                Ok(())
            })
        })
        .collect();
    tokio::time::sleep(warm_up).await;
    let count = || (passed.load(Ordering::Relaxed), refused.load(Ordering::Relaxed));
    let before = count();
    tokio::time::sleep(span).await;
    let after = count();
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await??;
    }
    Ok(Answers { passed: after.0 - before.0, refused: after.1 - before.1, seconds: span.as_secs_f64() })
}

/// A simulated Fluent in a process of its own; ends with this value.
struct Platform {
    process: Child,
    url: String,
    /// Closed with the platform: who prints into a closed pipe dies of it.
    _output: BufReader<ChildStdout>,
}

impl Platform {
    fn start(limit: u32) -> anyhow::Result<Self> {
        let mut process = Command::new(env!("CARGO_BIN_EXE_fluent-connector"))
            .args(["simulate", "fluent", "--limit", &format!("{limit}/s"), "--latency", LATENCY])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut output = BufReader::new(process.stdout.take().context("standard output is piped")?);
        let mut url = String::new();
        output.read_line(&mut url)?;
        Ok(Self { process, url: url.trim().to_owned(), _output: output })
    }

    fn account(&self) -> anyhow::Result<FluentRemote> {
        let options = Options::default();
        Ok(serde_json::from_value(json!({
            "account": options.account, "environment": "sandbox", "base_url": self.url,
            "retailer_id": 5, "username": options.username, "password": options.password,
            "client_id": options.client_id, "client_secret": options.client_secret,
            "product_catalogue": {"ref": options.catalogue, "type": "MASTER"}, "timeout": "30s",
            "webhook": {"public_keys": [], "signature": "sha512", "path_token": null},
        }))?)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // A process that is gone already is what we want.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
