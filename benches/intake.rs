//! How fast webhooks are acknowledged, measured against what the disk allows.
//!
//! `cargo bench --bench intake` (`-- --scale 0.3` for a shorter run, `-- --postgres URL` to include
//! Postgres). The release daemon is a process of its own; pre-signed Fluent events of 1.6 KiB come
//! over 32 and 256 keep-alive connections in a closed loop. The floor is a bare loop that writes the
//! same rows in one multi-row statement and one durable commit per n rows, on the same file system,
//! before and after. Prints a table, then one JSON line.
#![expect(clippy::print_stdout, reason = "a benchmark prints its figures")]
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time, on tasks of its own")]

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fluent_connector::clock::Clock;
use fluent_connector::simulator::fluent::{Fluent, Options};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, SqliteConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Compared designs run interleaved, so many pairs; the median counts.
const PAIRS: usize = 5;
const CONNECTIONS: [usize; 2] = [32, 256];

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let value = |name: &str| arguments.iter().position(|a| a == name).and_then(|at| arguments.get(at + 1)).cloned();
    let scale: f64 = value("--scale").map_or(1.0, |scale| scale.parse().expect("--scale takes a number"));
    let postgres = value("--postgres");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure(scale, postgres));
}

async fn measure(scale: f64, postgres: Option<String>) {
    let seconds = Duration::from_secs_f64(2.0 * scale);
    let folder = tempfile::tempdir_in(".").unwrap();
    let fluent = Fluent::start(Clock::system(), Options::default()).await.unwrap();
    let events = Arc::new(Events::sign(&fluent, (150_000.0 * scale) as usize));
    let flush_before = flush(folder.path());
    let mut figures = serde_json::Map::new();
    let mut engines = vec![("sqlite", format!("sqlite://{}", folder.path().join("intake.db").display()))];
    engines.extend(postgres.map(|url| ("postgres", url)));
    println!(
        "{:<10} {:>5} {:>12} {:>12} {:>7} {:>9} {:>9}",
        "database", "conns", "acks/s", "floor rows/s", "ratio", "p50 ms", "p99 ms"
    );
    for (engine, url) in &engines {
        for connections in CONNECTIONS {
            let (mut rates, mut floors, mut middles, mut tails) = (vec![], vec![], vec![], vec![]);
            for _ in 0..PAIRS {
                floors.push(floor(engine, url, connections, seconds / 2).await);
                let daemon = Daemon::start(folder.path(), &fluent, engine, url, 256).await;
                let mut run = load(&daemon, &events, connections, seconds).await;
                rates.push(run.rate());
                middles.push(run.percentile(0.50));
                tails.push(run.percentile(0.99));
                drop(daemon);
                wipe(engine, url).await;
            }
            let (rate, rows) = (median(&mut rates), median(&mut floors));
            let (middle, tail) = (median(&mut middles), median(&mut tails));
            println!(
                "{engine:<10} {connections:>5} {rate:>12.0} {rows:>12.0} {:>7.2} {:>9.2} {:>9.2}",
                rate / rows,
                middle,
                tail
            );
            figures.insert(format!("{engine}_ratio_{connections}"), json!(rate / rows));
            if (*engine, connections) == ("sqlite", 32) {
                figures.insert("sqlite_p99_over_little_32".into(), json!(tail / 1000.0 / (32.0 / rate)));
                figures.insert("acks_per_second_32".into(), json!(rate));
            }
        }
    }
    let (engine, url) = &engines[0];
    let mut naive = vec![];
    for _ in 0..PAIRS {
        let daemon = Daemon::start(folder.path(), &fluent, engine, url, 1).await;
        naive.push(load(&daemon, &events, 32, seconds).await.rate());
        drop(daemon);
        wipe(engine, url).await;
    }
    let naive = median(&mut naive);
    println!("{:<10} {:>5} {naive:>12.0}   (one transaction per request)", engine, 32);
    let flush_after = flush(folder.path());
    let grouped = figures["acks_per_second_32"].as_f64().unwrap_or(0.0);
    figures.insert("factor_over_naive".into(), json!(grouped / naive));
    figures.insert("flush_ms".into(), json!(flush_before));
    figures.insert("floor_drift".into(), json!((flush_after / flush_before - 1.0).abs()));
    println!("{}", serde_json::Value::Object(figures));
    fluent.stop();
}

/// Requests that are ready to be written to a socket.
struct Events {
    requests: Vec<Vec<u8>>,
    next: AtomicUsize,
}

impl Events {
    /// Signs on both cores before anything is measured.
    fn sign(fluent: &Fluent, count: usize) -> Self {
        let half = |from: usize, to: usize| {
            let fluent = fluent.clone();
            std::thread::spawn(move || (from..to).map(|n| request(&fluent, n)).collect::<Vec<_>>())
        };
        let parts = [half(0, count / 2), half(count / 2, count)];
        let requests = parts.into_iter().flat_map(|part| part.join().unwrap()).collect();
        Self { requests, next: AtomicUsize::new(0) }
    }

    fn take(&self) -> &[u8] {
        &self.requests[self.next.fetch_add(1, Ordering::Relaxed) % self.requests.len()]
    }
}

fn request(fluent: &Fluent, number: usize) -> Vec<u8> {
    let filler = "x".repeat(1200);
    let body = json!({
        "id": format!("3f0c2a10-77aa-4c1e-9d00-{number:012}"), "name": "fc.connect.order.webhook.status-update",
        "accountId": "ACME", "retailerId": "5", "entityId": format!("{}", 6000 + number),
        "entityRef": format!("HD_{number}"), "entityType": "ORDER", "entitySubtype": "HD",
        "rootEntityId": format!("{}", 6000 + number), "rootEntityRef": format!("HD_{number}"),
        "rootEntityType": "ORDER", "entityStatus": "RECEIVED", "type": "NORMAL",
        "attributes": {"filler": filler}, "meta": {}, "source": null,
    })
    .to_string();
    let (signature, _) = fluent.sign(body.as_bytes());
    let mut request = format!(
        "POST /api/v1/fluent-connect/webhook HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
         fluent-signature: {signature}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body.as_bytes());
    request
}

/// The daemon as a process of its own; killed when dropped.
struct Daemon {
    child: Child,
    address: SocketAddr,
    _silent: TcpListener,
}

impl Daemon {
    /// `rows` = most jobs of one commit; 1 is one transaction per request.
    async fn start(folder: &Path, fluent: &Fluent, engine: &str, url: &str, rows: usize) -> Self {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        // Only intake is measured: a Fluent that never answers keeps the workers from what was taken in.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let file = folder.join(format!("{engine}.yml"));
        let configuration = format!(
            r#"
server: {{ listen: "{address}", admin_socket: "{folder}/admin.sock" }}
database: {{ url: "{url}", group_commit: {{ rows: {rows} }} }}
security: {{ allow_literal_secrets: true }}
log: {{ level: "error" }}
connections:
  - name: main
    commercetools: {{ project_key: p, api_url: "http://127.0.0.1:9", auth_url: "http://127.0.0.1:9", client_id: c, client_secret: s }}
    fluent:
      account: ACME
      retailer_id: 5
      base_url: "http://{silent}"
      username: u
      password: p
      client_secret: s
      product_catalogue: {{ ref: "PC:MASTER:5" }}
      webhook: {{ public_keys: ["{key}"] }}
    order_status: {{ poll: {{ enabled: false }} }}
"#,
            folder = folder.display(),
            silent = silent.local_addr().unwrap(),
            key = fluent.public_key(),
        );
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_fluent-connector"))
            .args(["run", "--config"])
            .arg(&file)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let daemon = Self { child, address, _silent: silent };
        for _ in 0..200 {
            if TcpStream::connect(address).await.is_ok() {
                return daemon;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
        panic!("the daemon does not listen");
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Run {
    took: Duration,
    latencies: Vec<Duration>,
}

impl Run {
    fn rate(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }

    /// In milliseconds.
    fn percentile(&mut self, share: f64) -> f64 {
        self.latencies.sort();
        let at = ((self.latencies.len() as f64 * share) as usize).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// A closed loop over keep-alive connections.
async fn load(daemon: &Daemon, events: &Arc<Events>, connections: usize, duration: Duration) -> Run {
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let (events, address) = (events.clone(), daemon.address);
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let (mut latencies, mut buffer) = (Vec::new(), vec![0; 4096]);
            while started.elapsed() < duration {
                let sent = Instant::now();
                stream.write_all(events.take()).await.unwrap();
                let answer = read(&mut stream, &mut buffer).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                latencies.push(sent.elapsed());
            }
            latencies
        });
    }
    let mut latencies = Vec::new();
    while let Some(of_one) = tasks.join_next().await {
        latencies.extend(of_one.unwrap());
    }
    Run { took: started.elapsed(), latencies }
}

/// One answer with a content length.
async fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> String {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await.unwrap();
        assert!(count > 0, "the daemon closed the connection");
        filled += count;
        let text = std::str::from_utf8(&buffer[..filled]).unwrap();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length =
                head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
            if body.len() >= length.unwrap_or(0_usize) {
                return text.to_owned();
            }
        }
    }
}

/// Rows per second of a bare loop: the same rows, one multi-row statement and one durable commit per `rows` rows.
async fn floor(engine: &str, url: &str, rows: usize, duration: Duration) -> f64 {
    // The daemon's schema, made by one start that is not measured.
    let payload = json!({
        "entity_type": "ORDER", "entity_id": "6469", "entity_ref": "HD_100234", "entity_status": "RECEIVED",
        "root_entity_type": "ORDER", "root_entity_id": "6469", "root_entity_ref": "HD_100234",
    });
    let body = vec![b'x'; 1640];
    let options = fluent_connector::store::Options {
        url: url.into(),
        pool: 2,
        rows: 256,
        migrate: true,
        answer_within: std::time::Duration::from_secs(10),
        disk_reserve: 0,
    };
    drop(fluent_connector::store::Store::open(options, Clock::system()).await.unwrap());
    tokio::time::sleep(Duration::from_millis(200)).await;
    let statement = {
        let row = |at: usize| {
            let of = |n: usize| at * 12 + n;
            format!(
                "(${}, 'main', 'fluent.order-updated', ${}, null, 'status', 'ready', null, null, ${}, 0, 0, 'webhook', ${}, {}, ${}, ${}, ${})",
                of(1),
                of(2),
                of(3),
                of(4),
                if engine == "postgres" { format!("cast(${} as jsonb)", of(5)) } else { format!("${}", of(5)) },
                of(6),
                of(3),
                of(3)
            )
        };
        // Twelve numbers a row, of which six are used: the text stays readable.
        let rows: Vec<String> = (0..rows).map(row).collect();
        renumbered(&format!(
            "insert into message (id, connection, route, key, subject, lane, state, reason, detail, due, at_least, attempts, \
             source, correlation, payload, body, created, changed) values {} on conflict (connection, route, key) do nothing \
             returning id",
            rows.join(", ")
        ))
    };
    let tally = "insert into tally (shard, connection, lane, state, count) values (0, 'main', 'status', 'accepted', 1), \
                 (0, 'main', 'status', 'ready', 1) on conflict (shard, connection, lane, state) \
                 do update set count = tally.count + excluded.count";
    let (mut written, started) = (0, Instant::now());
    macro_rules! bare_loop {
        ($connection:expr, $begin:literal) => {{
            let mut connection = $connection;
            while started.elapsed() < duration {
                sqlx::raw_sql($begin).execute(&mut connection).await.unwrap();
                let mut insert = sqlx::query(AssertSqlSafe(statement.clone()));
                for _ in 0..rows {
                    let id = uuid::Uuid::now_v7();
                    insert = insert
                        .bind(id)
                        .bind(format!("ACME:{id}"))
                        .bind(1_781_517_600_000_i64)
                        .bind(id.to_string())
                        .bind(payload.to_string())
                        .bind(body.clone());
                }
                insert.fetch_all(&mut connection).await.unwrap();
                sqlx::raw_sql(tally).execute(&mut connection).await.unwrap();
                sqlx::raw_sql("commit").execute(&mut connection).await.unwrap();
                written += rows;
            }
            connection.close().await.unwrap();
        }};
    }
    match engine {
        "postgres" => bare_loop!(PgConnection::connect(url).await.unwrap(), "begin"),
        _ => {
            let mut connection = SqliteConnection::connect(url).await.unwrap();
            sqlx::raw_sql("pragma journal_mode = wal; pragma synchronous = full")
                .execute(&mut connection)
                .await
                .unwrap();
            bare_loop!(connection, "begin immediate");
        }
    }
    let rate = written as f64 / started.elapsed().as_secs_f64();
    wipe(engine, url).await;
    rate
}

/// `$13` of a text with gaps becomes the next free number, equal numbers stay equal.
fn renumbered(text: &str) -> String {
    let (mut known, mut out, mut rest) = (Vec::<usize>::new(), String::new(), text);
    while let Some((before, after)) = rest.split_once('$') {
        let end = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let number: usize = after[..end].parse().unwrap();
        let at = known.iter().position(|seen| *seen == number).unwrap_or_else(|| {
            known.push(number);
            known.len() - 1
        });
        out.push_str(&format!("{before}${}", at + 1));
        rest = &after[end..];
    }
    out + rest
}

/// Empties the database between two runs, so that none is slower for what another left.
async fn wipe(engine: &str, url: &str) {
    if engine == "postgres" {
        let mut connection = PgConnection::connect(url).await.unwrap();
        sqlx::raw_sql("truncate message, subject, tally, lease").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        return;
    }
    let file = url.trim_start_matches("sqlite://");
    for suffix in ["", "-wal", "-shm"] {
        // What is not there needs no removing.
        let _ = std::fs::remove_file(format!("{file}{suffix}"));
    }
}

/// Median of appending 4 KiB and flushing, in milliseconds.
fn flush(folder: &Path) -> f64 {
    let path = folder.join("flush");
    let mut file = std::fs::File::create(&path).unwrap();
    let mut times: Vec<f64> = (0..300)
        .map(|_| {
            let started = Instant::now();
            file.write_all(&[7; 4096]).unwrap();
            file.sync_data().unwrap();
            started.elapsed().as_secs_f64() * 1000.0
        })
        .collect();
    median(&mut times)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
