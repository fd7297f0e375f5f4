//! The connector with its standard flows. A client's own binary looks the same, with routes added or replaced.

fn main() -> std::process::ExitCode {
    fluent_connector::run(fluent_connector::standard)
}
