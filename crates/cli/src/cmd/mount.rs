//! `mount`: the disk as a read-only filesystem.

use super::Tools;
use crate::args::MountArgs;
use crate::exit::Exit;
use crate::fuse::{self, Image, Owner, Tree, Volume};
use crate::ui::text::printable;
use crate::ui::{answer, say};
use block::{FillAbsent, Result, Role, Slice, Source};
use engine::{OpenOptions, Survey};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// The whole disk in `images/`.
const WHOLE: &str = "disk.img";
/// Between two looks at the flag that ends it.
const PATIENCE: Duration = Duration::from_millis(100);
/// How long the kernel may take to say that it is unmounted.
const UNMOUNTING: u32 = 50;

/// Carries out `mount`.
pub fn run(args: &MountArgs, tools: &Tools) -> Result<Exit> {
    let opening = OpenOptions { live: args.live, exclusive: true, sector: args.sector_size };
    let subject = tools.opener().open(&args.source, opening)?;
    let survey = engine::survey(&subject.source, subject.sector, false)?;
    let filled: Source = Arc::new(FillAbsent(Arc::clone(&subject.source)));
    let host = rustix::system::uname();
    let pieces = engine::pieces(&subject, &filled, &survey, &host.nodename().to_string_lossy())?;
    let mut images = vec![Image { name: WHOLE.to_owned(), source: filled }];
    images.extend(pieces.into_iter().map(|piece| Image { name: piece.name, source: piece.source }));
    let volumes = volumes(&subject.source, &survey)?;

    let stop = tools.signals.begin_job();
    let (place, fd) = tools.monitor.mount()?;
    let dir = Path::new(&place.dir).display().to_string();
    let owner = Owner { uid: place.uid, gid: place.gid };
    let ended = fuse::serve(Tree::new(volumes, images, subject.source.size(), owner), fd)?;
    answer(&dir)?;
    say(&format!("{} is mounted at {dir}, read-only; Ctrl-C or umount ends it", printable(&subject.name)));
    loop {
        match ended.recv_timeout(PATIENCE) {
            Ok(result) => {
                result?;
                say("DONE. It was unmounted");
                return Ok(Exit::Done);
            }
            Err(RecvTimeoutError::Timeout) if !stop.load(Ordering::SeqCst) => {}
            Err(_) => break,
        }
    }
    if tools.monitor.unmount()? {
        say("note: files of it were still open; they cannot be read any more");
    } else {
        wait(&ended)?;
    }
    say("DONE. Nothing is mounted any more");
    Ok(Exit::Done)
}

/// What the kernel still asks is answered.
fn wait(ended: &Receiver<Result<()>>) -> Result<()> {
    ended.recv_timeout(PATIENCE * UNMOUNTING).unwrap_or(Ok(()))
}

/// A folder for each partition whose files can be read; 0 is a disk without a table.
fn volumes(source: &Source, survey: &Survey) -> Result<Vec<Volume>> {
    let mut volumes = vec![];
    for surveyed in &survey.regions {
        let number = match surveyed.region.role {
            Role::Partition(number) => number,
            Role::Whole => 0,
            _ => continue,
        };
        if !surveyed.content.as_ref().is_some_and(disk::fs::is_readable) {
            continue;
        }
        let bytes: Source = Arc::new(Slice::new(Arc::clone(source), surveyed.region.range)?);
        let refused = move |error: &block::Error| {
            say(&format!("{number}: {error}; its folder is empty, its bytes are in images/"));
        };
        volumes.push(Volume::new(number.to_string(), move || opened(number, &bytes), refused));
    }
    Ok(volumes)
}

/// Says what is not shown, once.
fn opened(number: u32, bytes: &Source) -> Result<Arc<dyn disk::fs::FileSystem>> {
    let files = disk::fs::open(bytes)?;
    if files.info().condition != disk::fs::Condition::Clean {
        say(&format!("{number}: {}", files.info().condition));
    }
    for missing in &files.info().missing {
        say(&format!("{number}: {missing}"));
    }
    Ok(files)
}
