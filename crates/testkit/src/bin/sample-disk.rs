//! `sample-disk FILE`: writes the sample disk of the tests into a new file, for the demonstration.

use std::io::{Error, ErrorKind, Result};

#[expect(clippy::disallowed_methods, reason = "a tool of the tests; it makes a new file and opens no device")]
fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(path), None) = (arguments.next(), arguments.next()) else {
        return Err(Error::new(ErrorKind::InvalidInput, "usage: sample-disk FILE"));
    };
    testkit::sample::write_to(&mut std::fs::File::create_new(path)?)
}
