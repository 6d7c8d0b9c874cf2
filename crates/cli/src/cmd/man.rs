//! `man DIR`: the man pages, from the definition that `--help` is made of.

use crate::args::{Cli, ManArgs};
use crate::exit::Exit;
use block::{Error, Result};
use clap::CommandFactory;

/// Writes one page a verb.
pub fn run(args: &ManArgs) -> Result<Exit> {
    clap_mangen::generate_to(Cli::command(), &args.dir)
        .map_err(|error| Error::io(error, format!("writing man pages into {}", args.dir.display())))?;
    Ok(Exit::Done)
}
