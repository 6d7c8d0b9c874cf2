//! What developers run: `cargo xtask bench`, `frames`, `mutate` and `vm`. Nothing here is shipped.

#![forbid(unsafe_code)]
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for developers that prints its answer"
)]

mod bench;
mod disk;
mod frames;
mod loop_device;
mod mutate;
mod place;
mod program;
mod shell;
mod stats;
mod vm;

use clap::Parser;
use std::process::ExitCode;

/// Whatever failed, as a sentence.
pub(crate) type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Measures selfsame, and tries it on virtual computers.
#[derive(Parser)]
#[command(name = "cargo xtask")]
enum Task {
    /// Compare selfsame with other programs on a disk made on the spot
    Bench(bench::Args),
    /// Print the table for choosing frame size and level
    Frames(frames::Args),
    /// Damage filesystems thousands of ways, and read them
    Mutate(mutate::Args),
    /// Run scenarios on virtual computers with disks of every kind
    Vm(vm::Args),
}

fn main() -> ExitCode {
    let done = match Task::parse() {
        Task::Bench(args) => bench::run(&args),
        Task::Frames(args) => frames::run(&args),
        Task::Mutate(args) => mutate::run(&args),
        Task::Vm(args) => vm::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}
