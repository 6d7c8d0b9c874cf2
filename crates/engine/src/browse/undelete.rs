//! Copies deleted files out, as far as they are still there.

use super::contents::Contents;
use super::get::{GetFault, Got, plain_time};
use super::{Volumes, is_lost};
use crate::context::UNIT;
use crate::{Context, Side};
use block::{Error, ErrorKind, Result, Source};
use disk::deleted::{Chance, DeletedFile};
use image::{Attrs, Outlet, Step, TOP};
use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStringExt;

/// Files under way at once.
const FILES: usize = 64;

/// Copies `files` of a volume flat into the top folder, or into the folder `only` in it, or one file to that name.
/// What is overwritten is copied only if `named`: each one by its id.
pub fn undelete(
    volumes: &Volumes,
    volume: &Source,
    files: &[&DeletedFile],
    outlet: &mut dyn Outlet,
    only: Option<&OsStr>,
    named: bool,
    ctx: &Context,
) -> Result<Got> {
    let wanted: Vec<_> = files.iter().filter(|file| named || file.chance != Chance::Overwritten).collect();
    let bytes = wanted.iter().map(|file| file.size).fold(0, u64::saturating_add);
    ctx.expect(&[(bytes, UNIT)]);
    ctx.phase("copying files", Side::Source, bytes, UNIT);
    let (mut got, mut contents, mut taken) = (Got::default(), Contents::default(), HashSet::new());
    let single = named && wanted.len() == 1;
    let mut folder = TOP;
    if let Some(only) = only.filter(|_| !single) {
        folder = 1;
        let step = Step::Folder { parent: TOP, name: only.to_owned(), id: folder };
        if let Some(error) = applied(outlet, vec![step])?.into_iter().find_map(std::result::Result::err) {
            return Err(Error::io(error, format!("making {}", only.to_string_lossy())));
        }
    }
    let mut next = folder;
    for batch in wanted.chunks(FILES) {
        let mut steps = vec![];
        let mut ids = vec![];
        for file in batch {
            next += 1;
            let name = only.filter(|_| single).map_or_else(|| free_name(file, &mut taken), OsStr::to_owned);
            steps.push(Step::File { parent: folder, name, id: next });
            ids.push(next);
        }
        let mut done = vec![];
        for ((file, id), made) in batch.iter().zip(ids).zip(applied(outlet, steps)?) {
            ctx.check_cancel()?;
            let made = match made.map(|made| made.file) {
                Ok(Some(made)) => File::from(made),
                Ok(None) => return Err(Error::new(ErrorKind::Bug, "a file without its descriptor")),
                Err(error) => {
                    fault(&mut got, ctx, file, error.to_string());
                    continue;
                }
            };
            volumes.noting().take();
            let copied =
                file.open(volume).and_then(|source| contents.copy(volumes, &*source, &made, true, ctx));
            match copied {
                Ok(written) => {
                    got.files += 1;
                    got.bytes += written.bytes;
                    if let Some(lost) = written.lost {
                        got.lost += lost.bytes;
                        fault(&mut got, ctx, file, lost.words);
                    } else if file.chance != Chance::Intact {
                        let why = file.why.unwrap_or("not all of it is proved to be its own");
                        ctx.warn(format!("{}: {}: {why}", words(file), file.chance));
                    }
                    let attrs = Attrs {
                        accessed: plain_time(file.accessed),
                        modified: plain_time(file.modified),
                        ..Attrs::default()
                    };
                    done.push(Step::Done { id, attrs });
                }
                Err(error) if is_lost(&error) || error.kind() == ErrorKind::Unsupported => {
                    fault(&mut got, ctx, file, volumes.located(error).to_string());
                    done.push(Step::Abandon { id });
                }
                Err(error) => return Err(error),
            }
        }
        for answer in applied(outlet, done)? {
            if let Err(error) = answer {
                got.failed += 1;
                ctx.warn(format!("a file could not get its name: {error}"));
            }
        }
    }
    if folder != TOP {
        applied(outlet, vec![Step::Done { id: folder, attrs: Attrs::default() }])?;
    }
    Ok(got)
}

fn applied(outlet: &mut dyn Outlet, steps: Vec<Step>) -> Result<Vec<std::io::Result<image::Made>>> {
    outlet.apply(steps).map_err(|error| Error::io(error, "making files"))
}

/// Its own name, or one with its id where another has that.
fn free_name(file: &DeletedFile, taken: &mut HashSet<Vec<u8>>) -> OsString {
    let own = file.name.clone().unwrap_or_else(|| format!("deleted-{}", file.id).into_bytes());
    let own: Vec<u8> =
        own.into_iter().map(|byte| if matches!(byte, b'/' | 0) { b'_' } else { byte }).collect();
    let own = if matches!(&own[..], b"" | b"." | b"..") { b"deleted".to_vec() } else { own };
    if taken.insert(own.clone()) {
        return OsString::from_vec(own);
    }
    let other = [&own[..], b".", file.id.to_string().as_bytes()].concat();
    taken.insert(other.clone());
    OsString::from_vec(other)
}

fn words(file: &DeletedFile) -> String {
    let name = file.name.as_ref().map(|name| String::from_utf8_lossy(name).into_owned());
    format!("{} (id {})", name.unwrap_or_else(|| "without a name".to_owned()), file.id)
}

fn fault(got: &mut Got, ctx: &Context, file: &DeletedFile, what: String) {
    ctx.warn(format!("{}: {what}", words(file)));
    got.failed += 1;
    if got.faults.len() < 10_000 {
        got.faults.push(GetFault { path: words(file).into_bytes(), what });
    }
}
