//! selfsame: bit-for-bit copies of whole disks.

use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use selfsame::args::{Cli, Verb};
use selfsame::cmd::{self, Tools};
use selfsame::exit::Exit;
use selfsame::monitor::{self, Client, sandbox};
use selfsame::signals::Signals;
use selfsame::ui;
use std::process::ExitCode;

fn main() -> ExitCode {
    if monitor::is_bridge() {
        return (ui::failed(&monitor::become_bridge(), false) as u8).into();
    }
    if monitor::is_watcher() {
        return monitor::watch().map_or_else(|error| ui::failed(&error, false) as u8, |()| 0).into();
    }
    let cli = Cli::parse();
    let json = cli.verb.json();
    let failed = |error| ui::failed(&error, json) as u8;
    many_files();
    let code = match &cli.verb {
        // Reads nothing, and writes where it is told to.
        Verb::Man(args) => cmd::man::run(args).map_or_else(failed, |exit| exit as u8),
        verb if monitor::is_job() => job(verb).map_or_else(failed, |exit| exit as u8),
        verb => monitor::run(verb).unwrap_or_else(failed),
    };
    code.into()
}

/// A backup on FAT32 may be thousands of files, which are read together: as many descriptors as are permitted.
fn many_files() {
    let limit = getrlimit(Resource::Nofile);
    // With fewer it works too, but for such backups.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// A panic inside a reader of a filesystem is caught and becomes an error: it prints nothing by itself.
fn quiet_readers() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if !disk::fs::in_reader() {
            usual(panic);
        }
    }));
}

/// The process that works. From the sandbox on it has nothing but what the monitor hands it.
fn job(verb: &Verb) -> block::Result<Exit> {
    quiet_readers();
    if verb.reads_files() {
        sandbox::limit_memory();
    }
    let tools = Tools { monitor: Client::on_stdin()?, signals: Signals::install()? };
    for missing in sandbox::enter()? {
        ui::say(&format!("note: {missing}"));
    }
    match verb {
        Verb::Disks(args) => cmd::disks::run(args, &tools),
        Verb::Backups(args) => cmd::backups::run(args, &tools),
        Verb::Show(args) => cmd::show::run(args, &tools),
        Verb::Save(args) => cmd::save::run(args, &tools),
        Verb::Verify(args) => cmd::verify::run(args, &tools),
        Verb::Restore(args) => cmd::restore::run(args, &tools),
        Verb::Clone(args) => cmd::clone::run(args, &tools),
        Verb::Ls(args) => cmd::ls::run(args, &tools),
        Verb::Cat(args) => cmd::cat::run(args, &tools),
        Verb::Get(args) => cmd::get::run(args, &tools),
        Verb::Serve(args) => cmd::serve::run(args, &tools),
        Verb::Mount(args) => cmd::mount::run(args, &tools),
        Verb::Try(args) => cmd::trial::run(args, &tools),
        Verb::Prepare(args) => cmd::prepare::run(args, &tools),
        Verb::Man(args) => cmd::man::run(args),
    }
}
