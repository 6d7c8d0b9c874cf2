//! selfsame: bit-for-bit copies of whole disks.

use clap::Parser;
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

fn run(verb: &Verb) -> block::Result<Exit> {
    let tools = Tools::host(Signals::install()?);
    match verb {
        Verb::Disks(args) => cmd::disks::run(args, &tools),
        Verb::Backups(args) => cmd::backups::run(args),
        Verb::Show(args) => cmd::show::run(args, &tools),
        Verb::Save(args) => cmd::save::run(args, &tools),
        Verb::Verify(args) => cmd::verify::run(args, &tools),
        Verb::Restore(args) => cmd::restore::run(args, &tools),
        Verb::Man(args) => cmd::man::run(args),
    }
}
