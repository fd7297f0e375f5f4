//! The connector with its standard flows. A client's own binary looks the same, with routes added or replaced.

// What the intake stores is made on one thread and freed on another, where the system's allocator makes them wait.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    fluent_connector::run(fluent_connector::standard)
}
