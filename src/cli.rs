//! The command line: arguments, and every verb that is a client of the daemon or works offline.
//!
//! `run`, `demo` and `simulate` are only described here; the library starts them. A client verb talks
//! to the daemon through the admin socket, or with `--url` and a token. Standard output is data only;
//! what went wrong is one sentence on standard error, with an exit code of [`refusal::Code`].

mod client;
mod config;
mod connection;
mod cursor;
mod explain;
mod job;
mod mapping;
mod message;
mod output;
mod provision;
mod refusal;
mod simulation;
mod status;
mod token;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::config::Sources;
pub use simulation::{Demo, Platform, Simulate};

use client::Client;
use output::Output;
use refusal::Refusal;

/// Heading of what every verb takes.
const EVERYWHERE: &str = "With every verb";

/// Connects commercetools and Fluent Commerce.
#[derive(Debug, Parser)]
#[command(name = "fluent-connector", version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// Configuration file; may be given several times, later ones win. Without it:
    /// FLUENT_CONNECTOR_CONFIG, /etc/fluent-connector/config.yml, ./config.yml.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE")]
    pub config: Vec<PathBuf>,
    /// Lays x-NAME.yml over each x.yml. Without it: FLUENT_CONNECTOR_PROFILE.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "NAME")]
    pub profile: Option<String>,
    #[command(flatten)]
    reach: Reach,
    /// One JSON document instead of tables.
    #[arg(long, global = true, help_heading = EVERYWHERE)]
    json: bool,
}

/// Where the daemon is.
#[derive(Clone, Debug, Args)]
struct Reach {
    /// Socket of the daemon. Without it: server.admin_socket of the configuration.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "PATH", env = "FLUENT_CONNECTOR_ADMIN_SOCKET")]
    admin_socket: Option<PathBuf>,
    /// Talk to a daemon elsewhere; needs --token-file or FLUENT_CONNECTOR_TOKEN.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "URL", conflicts_with = "admin_socket")]
    url: Option<String>,
    /// File with the API token for --url; only its owner may be able to read it.
    #[arg(long, global = true, help_heading = EVERYWHERE, value_name = "FILE", requires = "url")]
    token_file: Option<PathBuf>,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon.
    Run,
    /// Run offline with both platforms simulated and a sample shop. No credentials, no network.
    Demo(Demo),
    /// Run one simulated platform, for rehearsals.
    Simulate(Simulate),
    /// Check and show the configuration (offline).
    #[command(subcommand)]
    Config(ConfigVerb),
    /// Show or create what the connector needs in commercetools. Needs no daemon.
    Provision(provision::Provision),
    /// Show what the daemon does and what stands still.
    Status {
        /// Also count all messages and compare with the counters.
        #[arg(long)]
        recount: bool,
    },
    /// Connections: which platforms are tied together, and whether anything is written to them.
    #[command(subcommand)]
    Connection(connection::ConnectionVerb),
    /// Jobs: what runs by itself, and when.
    #[command(subcommand)]
    Job(JobVerb),
    /// How far each stream was read.
    #[command(subcommand)]
    Cursor(CursorVerb),
    /// Messages of the queue.
    #[command(subcommand)]
    Message(MessageVerb),
    /// Which commercetools entity is which Fluent entity.
    #[command(subcommand)]
    Mapping(MappingVerb),
    /// What happened to one thing, on both platforms.
    #[command(subcommand)]
    Explain(ExplainVerb),
    /// API tokens.
    #[command(subcommand)]
    Token(token::TokenVerb),
    /// Ask the daemon whether it lives; for containers and supervisors.
    Healthcheck {
        /// Also whether it takes messages in.
        #[arg(long)]
        ready: bool,
    },
    /// Print the version (offline).
    Version,
}

/// `config …`
#[derive(Debug, Subcommand)]
pub enum ConfigVerb {
    /// Tell everything that is wrong; exit code 3 if anything is.
    Check,
    /// Print the effective configuration; secrets are only described.
    Show {
        /// With the place each value comes from.
        #[arg(long)]
        origin: bool,
    },
    /// Print the JSON Schema of a configuration file, for editors.
    Schema,
}

/// `message …`
#[derive(Debug, Subcommand)]
pub enum MessageVerb {
    /// List messages, newest first.
    List(MessageFilters),
    /// Show one message with its failed tries.
    Show {
        id: String,
        /// Also the body as it was received (may hold personal data).
        #[arg(long)]
        payload: bool,
    },
    /// Try parked or waiting messages again, now.
    Retry {
        #[arg(required = true)]
        ids: Vec<String>,
    },
    /// End messages that need no effect any more.
    Skip {
        #[arg(required = true)]
        ids: Vec<String>,
        /// Why; kept with the message.
        #[arg(long, value_name = "SENTENCE")]
        reason: String,
    },
}

/// Which messages.
#[derive(Clone, Debug, Default, Args)]
pub struct MessageFilters {
    /// ready, running, waiting, done, skipped or parked.
    #[arg(long)]
    state: Option<String>,
    /// fluent.create-order, commercetools.update-order …
    #[arg(long)]
    route: Option<String>,
    /// order, status …
    #[arg(long)]
    lane: Option<String>,
    /// Name of a connection.
    #[arg(long)]
    connection: Option<String>,
    /// What the message is about: order:ID.
    #[arg(long)]
    subject: Option<String>,
    /// Not older than this: 2h, or a time.
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    #[command(flatten)]
    page: Page,
}

/// Which part of a list.
#[derive(Clone, Debug, Default, Args)]
pub struct Page {
    /// Entries at most, 1 to 200.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=200))]
    limit: Option<u16>,
    /// The `next` of the page before.
    #[arg(long, value_name = "NEXT")]
    after: Option<String>,
}

/// `job …`
#[derive(Debug, Subcommand)]
pub enum JobVerb {
    /// List jobs with their timing, their last and their next run.
    List,
    /// Run a job now.
    Run {
        /// order-sync, job.order-sync, or the Java connector's name for it.
        name: String,
        /// Look again at everything that changed from here on; the cursor stays. A time, or how long ago: 24h.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Look again at everything there is, as with --from at the beginning of time.
        #[arg(long, conflicts_with_all = ["from", "to"])]
        full: bool,
        /// End of that range; without it up to now.
        #[arg(long, value_name = "TIME", requires = "from")]
        to: Option<String>,
        /// Back-fill: narrows the selection: states=Open, stores=de,at, order_numbers=1,2.
        #[arg(long, value_name = "KEY=VALUE", requires = "from")]
        set: Vec<String>,
        /// Back-fill: how many orders may be created, as a dry run told.
        #[arg(long, value_name = "N")]
        confirm: Option<u64>,
        /// Back-fill: only look; unless false.
        #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
        dry_run: Option<bool>,
        /// Name of a connection; needed if there are several.
        #[arg(long)]
        connection: Option<String>,
        /// Wait for its end.
        #[arg(long)]
        wait: bool,
    },
    /// Let a job rest; it stays paused over restarts.
    Pause {
        name: String,
        /// Why; shown wherever the job is.
        #[arg(long, value_name = "SENTENCE")]
        reason: String,
        /// Then it runs again by itself: in how long (2h), or a time.
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
        /// Only for this connection.
        #[arg(long)]
        connection: Option<String>,
    },
    /// Let a run do what it found, though so much is missing that it waits.
    Approve {
        /// As the waiting message names it.
        run: String,
        /// Why; written to the log.
        #[arg(long, value_name = "SENTENCE")]
        reason: String,
    },
    /// Let a paused job run again, from its next planned time on.
    Resume {
        name: String,
        /// Only for this connection.
        #[arg(long)]
        connection: Option<String>,
    },
}

/// `cursor …`
#[derive(Debug, Subcommand)]
pub enum CursorVerb {
    /// List streams and how far each was read.
    List,
    /// Let a stream go on from another moment.
    Set {
        connection: String,
        /// order-sync, order-status-sync …
        stream: String,
        /// Everything before this time counts as read.
        position: String,
        /// Where it stands now, as `cursor list` shows it; refused if it stands elsewhere.
        #[arg(long, value_name = "OLD")]
        expected: String,
        /// Why; written to the log.
        #[arg(long, value_name = "SENTENCE")]
        reason: String,
        /// Give up what changed between where it stands and a later position.
        #[arg(long)]
        accept_gap: bool,
    },
}

/// `mapping …`
#[derive(Debug, Subcommand)]
pub enum MappingVerb {
    /// List pairs.
    List(MappingFilters),
    /// Find pairs by an id, key, number or ref of either side.
    Find { name: String },
    /// Write all pairs, for reconciliation; ends with the number of rows and their SHA-256.
    Export {
        /// order, customer, product …; without it all kinds.
        #[arg(long)]
        kind: Option<String>,
        /// How it is written.
        #[arg(long, value_enum, default_value_t)]
        format: ExportFormat,
        /// Name of a connection.
        #[arg(long)]
        connection: Option<String>,
        /// Written at or after this: 24h, or a time.
        #[arg(long, value_name = "TIME")]
        from: Option<String>,
        /// Written before this.
        #[arg(long, value_name = "TIME")]
        to: Option<String>,
        /// Into this file instead of standard output.
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
}

/// Which pairs.
#[derive(Clone, Debug, Default, Args)]
pub struct MappingFilters {
    /// Name of a connection.
    #[arg(long)]
    connection: Option<String>,
    /// order, customer, product …
    #[arg(long)]
    kind: Option<String>,
    /// active, inactive or absent.
    #[arg(long)]
    state: Option<String>,
    /// Written at or after this: 24h, or a time.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Written before this.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ExportFormat {
    #[default]
    Csv,
    Json,
    Ndjson,
}

/// `explain …`
#[derive(Debug, Subcommand)]
pub enum ExplainVerb {
    /// An order, by its number, its id on either platform, or its Fluent ref.
    Order {
        name: String,
        /// From stored data only; asks neither platform.
        #[arg(long)]
        stored: bool,
        /// For a number that more than one connection has.
        #[arg(long)]
        connection: Option<String>,
    },
}

/// Reads the command line; on a wrong one it says so and ends the process with code 2.
pub fn parse() -> Arguments {
    Arguments::parse()
}

impl Arguments {
    /// What the configuration is made of: `--config`, `--profile`, the environment.
    pub fn sources(&self) -> Sources {
        Sources::from_environment(self.config.clone(), self.profile.clone())
    }
}

/// Runs a verb that is a client of the daemon or works offline. `routes` are the names of the routes
/// that exist, for `config check`.
///
/// The three verbs that run something are the library's: for them nothing is done and 2 is answered.
pub fn execute(arguments: &Arguments, routes: &[&str]) -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(async {
            tokio::select! {
                ended = perform(arguments, routes) => ended,
                _ = tokio::signal::ctrl_c() => Err(Refusal::interrupted()),
            }
        }),
        Err(error) => Err(Refusal::failed(format!("This process cannot start its runtime: {error}."))),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(refusal) => refusal.report(),
    }
}

async fn perform(arguments: &Arguments, routes: &[&str]) -> Result<(), Refusal> {
    let output = Output::new(arguments.json);
    match &arguments.command {
        Command::Run | Command::Demo(_) | Command::Simulate(_) => Err(Refusal::usage("This verb is not a client's.")),
        Command::Config(verb) => config::perform(verb, arguments, routes, &output).await,
        Command::Provision(wanted) => provision::perform(wanted, arguments, &output).await,
        Command::Version => version(&output),
        Command::Status { recount } => status::show(&client(arguments).await?, *recount, &output).await,
        Command::Connection(verb) => connection::perform(verb, &client(arguments).await?, &output).await,
        Command::Job(verb) => job::perform(verb, &client(arguments).await?, &output).await,
        Command::Cursor(verb) => cursor::perform(verb, &client(arguments).await?, &output).await,
        Command::Message(verb) => message::perform(verb, &client(arguments).await?, &output).await,
        Command::Mapping(verb) => mapping::perform(verb, &client(arguments).await?, &output).await,
        Command::Explain(verb) => explain::perform(verb, &client(arguments).await?, &output).await,
        Command::Token(verb) => token::perform(verb, arguments, &output).await,
        Command::Healthcheck { ready } => status::health(&client(arguments).await?, *ready, &output).await,
    }
}

async fn client(arguments: &Arguments) -> Result<Client, Refusal> {
    Client::new(arguments).await
}

fn version(output: &Output) -> Result<(), Refusal> {
    let (name, version) = (env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"));
    match output.is_json() {
        true => output.document(&serde_json::json!({"name": name, "version": version})),
        false => output.line(&format!("{name} {version}")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn what_everybody_takes_may_stand_before_and_behind_the_verb() {
        let arguments = parsed("fluent-connector --json message list --state parked --config a.yml --config b.yml");
        let arguments = arguments.unwrap();
        assert!(arguments.json && arguments.config == [PathBuf::from("a.yml"), PathBuf::from("b.yml")]);
        assert!(matches!(arguments.command, Command::Message(MessageVerb::List(_))));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "fluent-connector",
            "fluent-connector demo --speed 0x",
            "fluent-connector simulate erp",
            "fluent-connector simulate fluent --fault lost-answer",
            "fluent-connector simulate fluent --fault lost-answer=3:5%",
            "fluent-connector simulate fluent --fault error-after=200:5%",
            "fluent-connector simulate fluent --fault slow:5%",
            "fluent-connector simulate fluent --fault silent=5:5%",
            "fluent-connector message list --limit 201",
            "fluent-connector message retry",
            "fluent-connector message skip 1",
            "fluent-connector token create --name n",
            "fluent-connector token create --name n --role viewer --scope status:read",
            "fluent-connector provision",
            "fluent-connector provision --plan --apply",
            "fluent-connector provision --plan --extend line-item",
            "fluent-connector provision --plan --extend cart=mine",
            "fluent-connector provision --plan --commercetools-client-id c",
            "fluent-connector status --token-file t",
            "fluent-connector status --url http://a --admin-socket b",
        ] {
            assert!(parsed(line).is_err(), "accepted: {line}");
        }
    }
}
