//! What the values of a configuration mean together, without network (`surfaces.md` 1.4).

mod connection;
mod intake;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::Url;
use tracing_subscriber::EnvFilter;

use super::environment;
use super::load::Loaded;
use super::model::{Connection, Signature, StockWrite};
use super::node::{Origin, join};
use super::problem::{Problem, Problems};
use super::secret::Lookup;
use super::timing::Timing;
use super::validate::nearest;
use super::value::{Pace, Secret, Span};

/// Checks everything that one value alone does not show, secrets included. `routes` are the routes
/// that exist. `Ok` carries warnings: what is allowed, but weak on purpose.
pub async fn check(loaded: &Loaded, routes: &[&str]) -> Result<Problems, Problems> {
    check_in(loaded, routes, &environment::variable).await
}

async fn check_in(loaded: &Loaded, routes: &[&str], environment: Lookup<'_>) -> Result<Problems, Problems> {
    let mut findings = Findings { loaded, problems: Vec::new(), warnings: Vec::new() };
    findings.server();
    findings.database();
    findings.schedule(routes);
    findings.queue();
    findings.retention();
    findings.routes(routes);
    findings.between_connections();
    for connection in &loaded.config.connections {
        connection::check(&mut findings, connection, routes);
        intake::sources(&mut findings, connection);
    }
    intake::check(&mut findings);
    findings.rest();
    findings.secrets(environment).await;
    let Findings { problems, warnings, .. } = findings;
    Problems(problems).into_result().map(|()| Problems(warnings))
}

/// How long a queue may hold a message before it delivers it (SQS; Pub/Sub holds it for a week).
const REDELIVERY: Duration = Duration::from_secs(14 * 86_400);

struct Findings<'l> {
    loaded: &'l Loaded,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
}

impl Findings<'_> {
    fn server(&mut self) {
        let server = &self.loaded.config.server;
        if server.listen.rsplit_once(':').is_none_or(|(host, port)| host.is_empty() || port.parse::<u16>().is_err()) {
            self.problem("server.listen", format!("{:?} is not an address with a port: 127.0.0.1:8080", server.listen));
        }
        if let Some(url) = &server.public_url {
            match http_url(url) {
                None => {
                    self.problem("server.public_url", format!("{url:?} is not a URL: https://connector.example.com"))
                }
                Some(parsed) if parsed.scheme() != "https" && !is_loopback(&parsed) => {
                    self.problem("server.public_url", "must be https, unless it is on loopback");
                }
                Some(_) => {}
            }
        }
        self.positive("server.limits.request_timeout", server.limits.request_timeout);
        self.positive("server.shutdown.deadline", server.shutdown.deadline);
        if server.limits.body.0 == 0 {
            self.problem("server.limits.body", "must be more than 0B");
        }
        if server.limits.per_ip_unauthenticated.0 <= 0.0 {
            self.problem("server.limits.per_ip_unauthenticated", "must be more than 0/s");
        }
        if server.shutdown.drain > server.shutdown.deadline {
            let sentence = format!("must not be longer than server.shutdown.deadline, {}", server.shutdown.deadline);
            self.problem("server.shutdown.drain", sentence);
        }
    }

    fn database(&mut self) {
        let database = &self.loaded.config.database;
        if !["sqlite:", "postgres:", "postgresql:"].iter().any(|scheme| database.url.starts_with(scheme)) {
            self.problem("database.url", "must begin with sqlite:// or postgres://");
        }
    }

    fn schedule(&mut self, routes: &[&str]) {
        let schedule = &self.loaded.config.schedule;
        if let Err(sentence) = Timing::cron("0 0 * * *", &schedule.time_zone) {
            self.problem("schedule.time_zone", sentence);
        }
        for (name, timing) in &schedule.jobs {
            let path = join("schedule.jobs", name);
            // A job of ours that a client's own binary does not have is timed in the defaults all the same.
            if *self.loaded.origin(&path) != Origin::Default {
                self.known_route(&path, name, routes);
            }
            if !name.starts_with("job.") {
                self.problem(&path, "only jobs are timed: job.order-sync");
            }
            // A wrong zone of all was told already.
            let zone = if schedule.time_zone.parse::<chrono_tz::Tz>().is_ok() { &schedule.time_zone } else { "UTC" };
            if let Err(sentence) = Timing::configured(timing, zone) {
                self.problem(&path, sentence);
            }
            if timing.time_zone.is_some() && timing.cron.is_none() {
                self.problem(&path, "a time zone belongs to a cron expression");
            }
        }
    }

    fn queue(&mut self) {
        let queue = &self.loaded.config.queue;
        // One by one, so that no sum can overflow.
        let left = queue.lanes.values().try_fold(queue.workers, |left, lane| left.checked_sub(lane.reserved));
        if left.is_none() {
            let sentence = format!("the reserved workers are more than queue.workers, {}", queue.workers);
            self.problem("queue.lanes", sentence);
        }
        if queue.lanes.is_empty() {
            self.problem("queue.lanes", "at least one lane is needed");
        }
        if queue.retry.delays.is_empty() {
            self.problem("queue.retry.delays", "at least one delay is needed");
        }
        for (n, delay) in queue.retry.delays.iter().enumerate() {
            self.positive(&format!("queue.retry.delays[{n}]"), *delay);
        }
        self.positive("queue.lease", queue.lease);
        self.positive("queue.retry.give_up", queue.retry.give_up);
        self.positive("queue.retry.recheck", queue.retry.recheck);
        self.budgets();
    }

    fn retention(&mut self) {
        let retention = self.loaded.config.retention;
        self.positive("retention.message", retention.message);
        let known = retention.message.0 + retention.dedupe.0;
        if known < REDELIVERY {
            let sentence = format!(
                "a copy that comes {} after the message was done, or later, is taken for a new one; queues deliver for up to {}",
                Span(known),
                Span(REDELIVERY)
            );
            self.warning("retention.dedupe", sentence);
        }
    }

    fn budgets(&mut self) {
        let budgets = &self.loaded.config.budgets;
        for (platform, budget) in [("commercetools", budgets.commercetools), ("fluent", budgets.fluent)] {
            if budget.requests_per_second == Pace::Auto && budget.start > budget.max {
                let sentence = format!("must not be more than budgets.{platform}.max, {}", budget.max);
                self.problem(&format!("budgets.{platform}.start"), sentence);
            }
        }
        if budgets.breaker.failures.0 <= 0.0 {
            self.problem("budgets.breaker.failures", "must be more than 0%");
        }
        self.positive("budgets.breaker.open", budgets.breaker.open);
        let reserve = &budgets.reserve;
        for lane in reserve.keys() {
            self.lane(&join("budgets.reserve", lane), lane);
        }
        // Shares come from decimals; a sum of 100% may be a little more in binary.
        if reserve.values().map(|share| share.0).sum::<f64>() > 1.0 + 1e-9 {
            self.problem("budgets.reserve", "the shares are more than 100% together");
        }
    }

    fn routes(&mut self, known: &[&str]) {
        for (name, route) in &self.loaded.config.routes {
            let path = join("routes", name);
            self.known_route(&path, name, known);
            if let Some(lane) = &route.lane {
                self.lane(&join(&path, "lane"), lane);
            }
            if let Some(give_up) = route.give_up {
                self.positive(&join(&path, "give_up"), give_up);
            }
        }
    }

    fn between_connections(&mut self) {
        let mut tenants: BTreeMap<_, &Connection> = BTreeMap::new();
        let mut channels: BTreeMap<_, &Connection> = BTreeMap::new();
        for connection in &self.loaded.config.connections {
            let (commercetools, fluent) = (&connection.commercetools, &connection.fluent);
            let tenant = (fluent.account.to_lowercase(), fluent.retailer_id, &commercetools.project_key);
            if let Some(other) = tenants.insert(tenant, connection) {
                let sentence = format!("connection {:?} has the same account, retailer and project", other.name);
                self.problem(&format!("connections[{}]", connection.name), sentence);
            }
            let channel = (&commercetools.project_key, &connection.order_link.channel);
            if let Some(other) = channels.insert(channel, connection) {
                let sentence = format!(
                    "connection {:?} links orders of project {} by the same channel {:?}; give one of them another",
                    other.name, commercetools.project_key, connection.order_link.channel
                );
                self.problem(&format!("connections[{}].order_link.channel", connection.name), sentence);
            }
        }
    }

    fn rest(&mut self) {
        let config = &self.loaded.config;
        if let Err(error) = EnvFilter::try_new(&config.log.level) {
            self.problem(
                "log.level",
                format!("{:?} is not a level or a list of directives: {error}", config.log.level),
            );
        }
        #[expect(clippy::float_cmp, reason = "1 is written in the configuration, not computed")]
        let is_fast = config.simulation.speed != 1.0;
        let urls = config.connections.iter().flat_map(|connection| {
            let (commercetools, fluent) = (&connection.commercetools, &connection.fluent);
            let import = imports(connection).then(|| commercetools.import_url());
            [commercetools.api_url(), commercetools.auth_url(), fluent.base_url()].into_iter().chain(import)
        });
        let queues = config.intake.sqs.iter().map(|queue| queue.endpoint.clone().unwrap_or(queue.queue_url.clone()));
        let clouds = config.simulation.clouds.clone();
        let remote =
            urls.chain(queues).chain(clouds.clone()).find(|url| !http_url(url).is_some_and(|url| is_loopback(&url)));
        if let Some(remote) = remote {
            if is_fast {
                let sentence = format!("must be 1 unless every remote is on loopback, and {remote} is not");
                self.problem("simulation.speed", sentence);
            }
            if clouds.is_some() {
                let sentence = format!("must be null unless it and every remote are on loopback, and {remote} is not");
                self.problem("simulation.clouds", sentence);
            }
        }
    }

    async fn secrets(&mut self, environment: Lookup<'_>) {
        let config = &self.loaded.config;
        let mut secrets: Vec<(String, &Secret)> = Vec::new();
        secrets.extend(config.database.password.iter().map(|secret| ("database.password".to_owned(), secret)));
        for connection in config.connections.iter().filter(|connection| connection.enabled) {
            let path = |below: &str| format!("connections[{}].{below}", connection.name);
            let fluent = &connection.fluent;
            secrets.push((path("commercetools.client_secret"), &connection.commercetools.client_secret));
            secrets.push((path("fluent.password"), &fluent.password));
            secrets.push((path("fluent.client_secret"), &fluent.client_secret));
            secrets.extend(fluent.webhook.path_token.iter().map(|token| (path("fluent.webhook.path_token"), token)));
        }
        for queue in &config.intake.sqs {
            let path = || format!("intake.sqs[{}].secret_access_key", queue.name);
            secrets.extend(queue.secret_access_key.iter().map(|key| (path(), key)));
        }
        for (path, secret) in secrets {
            match (secret, config.security.allow_literal_secrets) {
                (Secret::Literal(_), false) => {
                    self.problem(&path, "a literal secret needs security.allow_literal_secrets: true");
                }
                (Secret::Literal(_), true) => self.warning(&path, "the secret stands in the configuration"),
                _ => {}
            }
            if let Err(problem) = secret.read_from(environment).await {
                self.problem(&path, format!("the secret cannot be read: {problem}"));
            }
        }
    }

    fn known_route(&mut self, path: &str, name: &str, known: &[&str]) {
        if !known.contains(&name) {
            let advice = nearest(name, known.iter().copied());
            let advice = advice.map_or(String::new(), |name| format!("; did you mean {name:?}?"));
            self.problem(path, format!("there is no route {name:?}{advice}"));
        }
    }

    fn lane(&mut self, path: &str, lane: &str) {
        let lanes = &self.loaded.config.queue.lanes;
        if !lanes.contains_key(lane) {
            let names: Vec<&str> = lanes.keys().map(String::as_str).collect();
            self.problem(path, format!("there is no lane {lane:?}; queue.lanes has {}", names.join(", ")));
        }
    }

    fn positive(&mut self, path: &str, span: Span) {
        if span.0 == Duration::ZERO {
            self.problem(path, "must be longer than 0s");
        }
    }

    fn problem(&mut self, path: &str, sentence: impl Into<String>) {
        self.problems.push(Problem::new(self.place(path), path, sentence));
    }

    fn warning(&mut self, path: &str, sentence: impl Into<String>) {
        self.warnings.push(Problem::new(self.place(path), path, sentence));
    }

    /// Where the operator wrote the value or, if it is a default, what it belongs to.
    fn place(&self, path: &str) -> &Origin {
        let mut path = path;
        loop {
            match (self.loaded.origin(path), path.rfind(['.', '['])) {
                (Origin::Default, Some(at)) => path = &path[..at],
                (origin, _) => return origin,
            }
        }
    }
}

fn http_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// May this connection write stock through the Import API?
fn imports(connection: &Connection) -> bool {
    let inventory = &connection.inventory;
    inventory.enabled && !inventory.pairs.is_empty() && inventory.write != StockWrite::Http
}

/// Does this connection accept webhooks that nobody signed?
fn is_unsigned(connection: &Connection) -> bool {
    connection.fluent.webhook.signature == Signature::Off
}

#[cfg(test)]
mod tests;
