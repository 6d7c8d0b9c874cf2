//! `mount`: the disk as a read-only filesystem.

use super::Tools;
use crate::args::MountArgs;
use crate::exit::Exit;
use crate::fuse::{self, Image, Owner, Tree};
use crate::ui::text::printable;
use crate::ui::{answer, say};
use block::{Error, FillAbsent, Result, Source};
use disk::fs::{Condition, FileSystem};
use engine::browse::{Volume, Volumes};
use engine::{OpenOptions, Subject};
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
    let files = engine::raw_files(&subject, &filled, &survey, &host.nodename().to_string_lossy())?;
    let mut images = vec![Image { name: WHOLE.to_owned(), source: filled }];
    images.extend(files.into_iter().map(|file| Image { name: file.name, source: file.source }));
    let volumes = volumes(&subject)?;

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

/// A folder for each partition, and each volume in one, whose files can be read; 0 is a disk without a table.
fn volumes(subject: &Subject) -> Result<Vec<fuse::Volume>> {
    let readable = Volumes::of(subject)?.all()?.into_iter().filter(Volume::is_readable);
    let folder = |volume: Volume| {
        let name = volume.name.clone();
        let refused = move |error: &Error| {
            say(&format!("{error}; the folder {name} is empty, its bytes are in images/"));
        };
        fuse::Volume::new(volume.name.clone(), move || opened(&volume), refused)
    };
    Ok(readable.map(folder).collect())
}

/// Says what is not shown, once.
fn opened(volume: &Volume) -> Result<Arc<dyn FileSystem>> {
    let files = volume.open()?;
    let info = files.info();
    if info.condition != Condition::Clean {
        say(&format!("note: {}: {}", volume.name, info.condition));
    }
    info.missing.iter().for_each(|missing| say(&format!("note: {}: {missing}", volume.name)));
    Ok(files)
}
