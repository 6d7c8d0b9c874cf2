//! selfsame: bit-for-bit copies of whole disks.

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use selfsame::args::{Cli, Verb};
use selfsame::cmd::{self, Tools};
use selfsame::exit::Exit;
use selfsame::signals::Signals;
use selfsame::ui;
use std::process::ExitCode;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let json = cli.verb.json();
    run(&cli.verb).unwrap_or_else(|error| ui::failed(&error, json)).into()
}

/// A backup on FAT32 may be thousands of files, which are read together: as many descriptors as are permitted.
fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer it works too, but for such backups.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

fn run(verb: &Verb) -> block::Result<Exit> {
    many_files();
    let tools = Tools::host(Signals::install()?);
    match verb {
        Verb::Disks(args) => cmd::disks::run(args, &tools),
        Verb::Backups(args) => cmd::backups::run(args),
        Verb::Show(args) => cmd::show::run(args, &tools),
        Verb::Save(args) => cmd::save::run(args, &tools),
        Verb::Verify(args) => cmd::verify::run(args, &tools),
        Verb::Restore(args) => cmd::restore::run(args, &tools),
        Verb::Clone(args) => cmd::clone::run(args, &tools),
        Verb::Prepare(args) => cmd::prepare::run(args, &tools),
        Verb::Man(args) => cmd::man::run(args),
    }
}
