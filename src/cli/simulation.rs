//! How the demonstration and the simulated platforms are asked for.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use crate::config::value::{Rate, Share, Span};
use crate::simulator::Fault;

/// How the demonstration runs.
#[derive(Clone, Debug, Args)]
pub struct Demo {
    /// Port of the HTTP surface, on loopback.
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// The same seed makes the same shop and the same faults.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
    /// How many times as fast our own waits pass.
    #[arg(long, value_name = "FACTOR", default_value = "10x", value_parser = speed)]
    pub speed: f64,
    /// Keep the database in this directory; otherwise it is gone at the end.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

/// How a simulated platform behaves.
#[derive(Clone, Debug, Args)]
pub struct Simulate {
    /// Which one.
    #[arg(value_enum)]
    pub platform: Platform,
    /// Port on loopback; 0 = any free one.
    #[arg(long, default_value_t = 0)]
    pub port: u16,
    /// Fail requests on purpose: KIND:RATE, for example lost-answer:5% or error-after=503:1%. Kinds:
    /// rate-limited, retry-after=SECONDS, error-before=STATUS, error-after=STATUS, lost-answer, reset,
    /// unauthorized, half-body, slow=MILLISECONDS, silent, invalid-json; for Fluent also null-data,
    /// failed-alias, refused-cursor.
    #[arg(long = "fault", value_name = "KIND:RATE", value_parser = fault)]
    pub faults: Vec<(Fault, Share)>,
    /// Added to every answer.
    #[arg(long, value_name = "TIME", default_value = "0ms")]
    pub latency: Span,
    /// Requests taken; more get 429. Without it: unlimited.
    #[arg(long, value_name = "RATE")]
    pub limit: Option<Rate>,
    /// The same seed makes the same identifiers and the same faults.
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Platform {
    Commercetools,
    Fluent,
}

/// `10x`, or just the number.
fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text).parse::<f64>();
    number.ok().filter(|factor| *factor > 0.0 && factor.is_finite()).ok_or_else(|| "write a factor such as 10x".into())
}

/// `lost-answer:5%`, `error-before=503:0.5%`
fn fault(text: &str) -> Result<(Fault, Share), String> {
    let (kind, rate) = text.rsplit_once(':').ok_or("write KIND:RATE, for example lost-answer:5%")?;
    let rate: Share = rate.parse()?;
    let (name, number) = kind.split_once('=').map_or((kind, None), |(name, number)| (name, Some(number)));
    let status = || {
        let status = number.and_then(|number| number.parse::<u16>().ok()).filter(|status| (500..600).contains(status));
        status.ok_or(format!("{name} needs a status from 500 to 599: {name}=503"))
    };
    let fault = match (name, number) {
        ("rate-limited", None) => Fault::RateLimited,
        ("lost-answer", None) => Fault::LostAnswer,
        ("reset", None) => Fault::Reset,
        ("unauthorized", None) => Fault::Unauthorized,
        ("half-body", None) => Fault::HalfBody,
        ("silent", None) => Fault::Silent,
        ("invalid-json", None) => Fault::InvalidJson,
        ("null-data", None) => Fault::NullData,
        ("failed-alias", None) => Fault::FailedAlias,
        ("refused-cursor", None) => Fault::RefusedCursor,
        ("error-before", _) => Fault::ErrorBefore(status()?),
        ("error-after", _) => Fault::ErrorAfter(status()?),
        ("retry-after", _) => {
            let seconds = number.and_then(|number| number.parse().ok());
            Fault::RetryAfter(seconds.ok_or("retry-after needs seconds: retry-after=2")?)
        }
        ("slow", _) => {
            let millis = number.and_then(|number| number.parse().ok());
            Fault::Slow(millis.ok_or("slow needs milliseconds: slow=2000")?)
        }
        _ => return Err(format!("there is no fault {kind:?}")),
    };
    Ok((fault, rate))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::{Arguments, Command};

    fn parsed(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn a_demo_and_a_simulation_say_how_they_run() {
        let Command::Demo(demo) = parsed("fluent-connector demo").unwrap().command else { panic!() };
        assert_eq!((demo.port, demo.seed, demo.speed, demo.keep), (8080, None, 10.0, None));
        let line = "fluent-connector simulate fluent --latency 80ms --limit 100/s --fault error-after=503:1% \
                    --fault lost-answer:5% --fault slow=2000:2% --fault failed-alias:3%";
        let Command::Simulate(simulate) = parsed(line).unwrap().command else { panic!() };
        assert_eq!((simulate.platform, simulate.latency.millis()), (Platform::Fluent, 80));
        let faults = [
            (Fault::ErrorAfter(503), Share(0.01)),
            (Fault::LostAnswer, Share(0.05)),
            (Fault::Slow(2000), Share(0.02)),
            (Fault::FailedAlias, Share(0.03)),
        ];
        assert_eq!((&simulate.faults[..], simulate.limit), (&faults[..], Some(Rate(100.0))));
    }
}
