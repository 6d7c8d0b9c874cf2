//! Identification against `blkid -p`, on images that tools make and on images made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![allow(clippy::disallowed_methods)]

mod boot_sectors;
mod hand;
mod hostile;
mod made;
mod mutated;
mod states;

use block::{ByteRange, ReadAt, Result};
use disk::probe::{Content, identify};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::{Command, Output};

struct Image(std::fs::File, u64);

impl ReadAt for Image {
    fn size(&self) -> u64 {
        self.1
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.1, offset, buf.len() as u64)?;
        self.0.read_exact_at(buf, offset).map_err(|error| block::Error::io(error, "image"))
    }
}

/// What we say that the image holds.
fn recognise(path: &Path) -> Option<Content> {
    let file = std::fs::File::open(path).unwrap();
    let size = file.metadata().unwrap().len();
    identify(&Image(file, size)).unwrap()
}

/// TYPE, LABEL, UUID and VERSION.
type Tags = [Option<String>; 4];

/// What blkid says, without the escapes of its export format.
fn blkid(path: &Path) -> Tags {
    ["TYPE", "LABEL", "UUID", "VERSION"].map(|name| blkid_tag(path, name))
}

fn blkid_tag(path: &Path, name: &str) -> Option<String> {
    let output = Command::new("blkid").args(["-p", "-o", "value", "-s", name]).arg(path).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).trim_end_matches('\n').to_owned();
    (!text.is_empty()).then_some(text)
}

/// The same, as we say it.
fn tags(content: Option<&Content>) -> Tags {
    content.map_or([None, None, None, None], |c| {
        [Some(c.type_name.to_owned()), c.label.clone(), c.uuid.clone(), c.version.clone()]
    })
}

/// Runs a line of the shell with `$F` for the image and `$D` for a folder of files, both below `folder`.
fn shell(line: &str, folder: &Path, image: &Path) -> Output {
    let line = format!("export PATH=$PATH:/usr/sbin:/sbin\n{line}");
    let mut sh = Command::new("sh");
    // hformat and others keep a state in the home folder.
    sh.args(["-ec", &line]).env("HOME", folder).env("F", image).env("D", folder.join("files"));
    sh.current_dir(folder).output().unwrap()
}

/// Is it installed? If not says so, in words that continuous integration looks for.
fn has(tool: &str, test: &str) -> bool {
    let there = shell(&format!("command -v {tool}"), Path::new("/"), Path::new("/")).status.success();
    if !there {
        println!("SKIPPED: {test}: needs {tool}");
    }
    there
}
