//! Backups in which sectors are marked as unread, made by the engine itself: no real disk fails where a test wants it.

use block::Source;
use engine::{Bridge, Context, Format, OnError, OpenOptions, Opener, SaveOptions, Saved, Subject, plan_save};
use std::path::Path;

/// No foreign format is read here.
struct NoBridge;

impl Bridge for NoBridge {
    fn read(&self, _: Format, _: Source) -> block::Result<Source> {
        panic!("an image of another program")
    }
}

/// Saves `image` below `dest`, read through `source`, which fails where something is to be lost. `check`: reads the
/// backup back.
pub(crate) fn save(image: &Path, source: Source, dest: &Path, check: bool) -> Saved {
    let monitor = device::InProcess { machine: device::Machine::host() };
    let files = image::LocalFiles::default();
    let opener = Opener { monitor: &monitor, files: &files, bridge: &NoBridge };
    let subject = opener.open(image, OpenOptions::default()).unwrap();
    let subject = Subject { source, ..subject };
    let options = SaveOptions {
        name: Some("t".to_owned()),
        format: image::Encoding::Zst,
        whole: false,
        level: image::Level::Fixed(1),
        digests: vec![],
        parts: None,
        skip_free: false,
        split: None,
        note: None,
        check,
        command_line: String::new(),
        host: "t".to_owned(),
    };
    let plan = plan_save(&subject, &opener, dest, options).unwrap();
    let mut ctx = Context::new(plan.grid(), |_| {});
    ctx.on_error = OnError::Mark;
    engine::save(&subject, plan, &files, &ctx).unwrap()
}
