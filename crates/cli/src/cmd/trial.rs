//! `try`: a virtual computer starts from the disk; what it writes is kept apart and goes with it.

use super::Tools;
use crate::args::TryArgs;
use crate::exit::Exit;
use crate::nbd::{self, Export};
use crate::ui::say;
use block::{Error, ErrorKind, FillAbsent, Result, Source, WriteAt};
use engine::OpenOptions;
use image::Overlay;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Between two looks at the flag that ends it.
const PATIENCE: Duration = Duration::from_millis(100);

/// Carries out `try`.
pub fn run(args: &TryArgs, tools: &Tools) -> Result<Exit> {
    let opening = OpenOptions { live: args.live, exclusive: true, sector: args.sector_size };
    let subject = tools.opener().open(&args.source, opening)?;
    let survey = engine::survey(&subject.source, subject.sector, false)?;
    let stop = tools.signals.begin_job();
    let sector = survey.layout.sector.bytes();
    let (started, changes, [socket, mut line]) =
        tools.monitor.start_guest(engine::has_esp(&survey), sector)?;
    started.notes.iter().for_each(|note| say(&format!("note: {note}")));
    let filled: Source = Arc::new(FillAbsent(Arc::clone(&subject.source)));
    let place = PathBuf::from("what the virtual computer writes");
    let overlay = Arc::new(Overlay::of(filled, "try", changes, place)?);
    let export = Export {
        name: String::new(),
        description: String::new(),
        source: Arc::clone(&overlay) as Source,
        overlay: Some(overlay as Arc<dyn WriteAt>),
    };
    let firmware = if started.uefi { "UEFI firmware" } else { "a BIOS" };
    say(&format!(
        "{} starts in a virtual computer with {firmware} and without network; nothing of it is changed. To end it \
         close its window, or press Ctrl-C",
        subject.name
    ));
    // The guest's own words, as they come: who asked for its serial line wants those.
    let line = std::thread::spawn(move || io::copy(&mut line, &mut io::stdout()));
    let client = std::thread::spawn(move || nbd::converse(socket, &[Arc::new(export)]));
    while !client.is_finished() {
        if stop.load(Ordering::SeqCst) {
            say("DONE. It was ended; what it wrote is gone");
            return Ok(Exit::Done);
        }
        std::thread::sleep(PATIENCE);
    }
    let code = tools.monitor.guest_ended()?;
    // All of it is there before the last line; a reader that has seen enough is no error.
    let _ = line.join();
    match code {
        Some(0) => {
            say("DONE. It has ended; what it wrote is gone");
            Ok(Exit::Done)
        }
        Some(code) => Err(Error::new(ErrorKind::Io, format!("QEMU ended with exit code {code}"))),
        None => Err(Error::new(ErrorKind::Io, "QEMU was killed")),
    }
}
