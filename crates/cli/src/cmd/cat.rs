//! `cat`: the bytes of files.

use super::Tools;
use super::files;
use crate::args::CatArgs;
use crate::exit::Exit;
use crate::ui::{Out, say};
use block::{ByteRange, Error, ErrorKind, ExtentKind, Result, extents};
use disk::fs::{FileKind, FileSystem};
use engine::browse::{Volumes, resolve_stream};
use std::ffi::OsStr;

/// Bytes that are read at once.
const BUFFER: usize = 1 << 20;

/// Carries out `cat`.
pub fn run(args: &CatArgs, tools: &Tools) -> Result<Exit> {
    let locators = files::locators(args.files.iter().map(|typed| typed.as_os_str()))?;
    let volumes = files::volumes(tools, &args.source, args.sector_size)?;
    let (mut out, mut exit) = (Out::new(), Exit::Done);
    let mut last: Option<files::Opened> = None;
    for (locator, typed) in locators.into_iter().zip(&args.files) {
        let reached = files::follow(tools, &volumes, locator, last.take());
        let (reached, opened) =
            match reached.and_then(|mut reached| reached.open().map(|opened| (reached, opened))) {
                Ok(open) => open,
                // Alone, it says with its exit code what is wrong.
                Err(error) if args.files.len() == 1 => return Err(error),
                Err(error) => {
                    exit = failed(&mut out, typed, &error)?;
                    continue;
                }
            };
        match cat(&reached.volumes, &*opened.fs, &reached.locator.path, &mut out) {
            Ok(true) => {}
            Ok(false) => return Ok(Exit::Done),
            Err(error) => exit = failed(&mut out, typed, &error)?,
        }
        last = Some(opened);
    }
    out.finish()?;
    Ok(exit)
}

/// Tells of one of several files; what was written of it and those before is out already.
fn failed(out: &mut Out, typed: &OsStr, error: &Error) -> Result<Exit> {
    out.flush()?;
    say(&format!("selfsame: {}: {error}", typed.to_string_lossy()));
    Ok(Exit::Failed)
}

/// `false`: nobody reads any more.
fn cat(volumes: &Volumes, fs: &dyn FileSystem, path: &[u8], out: &mut Out) -> Result<bool> {
    let at_disk = |error| volumes.located(error);
    let (found, stream) = resolve_stream(fs, path).map_err(at_disk)?;
    if stream.is_none() && found.meta.kind != FileKind::File {
        let what = match found.meta.kind {
            FileKind::Directory => "it is a folder",
            _ => "it is no regular file",
        };
        return Err(Error::new(ErrorKind::Usage, what));
    }
    let file = fs.open(found.node, stream.as_deref()).map_err(at_disk)?;
    let mut buf = vec![0; BUFFER.min(usize::try_from(file.size()).unwrap_or(BUFFER))];
    for extent in extents(&*file, ByteRange::span(0, file.size())) {
        let extent = extent.map_err(at_disk)?;
        let (mut at, end) = (extent.range.start(), extent.range.end());
        while at < end {
            let left = usize::try_from(end - at).unwrap_or(usize::MAX);
            let len = left.min(buf.len());
            match extent.kind {
                ExtentKind::Zero => buf[..len].fill(0),
                _ => file.read_at(at, &mut buf[..len]).map_err(at_disk)?,
            }
            if !out.bytes(&buf[..len])? {
                return Ok(false);
            }
            at += len as u64;
        }
    }
    Ok(true)
}
