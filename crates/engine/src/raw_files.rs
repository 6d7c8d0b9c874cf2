//! The regions of a disk as files, called as `save --format raw` would call them.

use crate::names;
use crate::open::{Kind, Subject};
use crate::survey::Survey;
use block::{ByteRange, Concat, Result, Slice, Source};
use std::path::Path;
use std::sync::Arc;

/// One file of it.
pub struct RawFile {
    /// `cassandra-sda5.ext3`.
    pub name: String,
    /// Its bytes, end to end.
    pub source: Source,
}

/// The regions of `source`, which shows what `subject` holds. `host`: the name of this machine, for its own disks.
pub fn raw_files(subject: &Subject, source: &Source, survey: &Survey, host: &str) -> Result<Vec<RawFile>> {
    let base = base(subject, host);
    let mut named: Vec<(String, Vec<ByteRange>)> = vec![];
    for surveyed in &survey.regions {
        let word = surveyed.content.as_ref().map_or("img", |content| content.file_word());
        let name = names::stored_file(&base, surveyed.region.role, word, false);
        match named.iter_mut().find(|(there, _)| *there == name) {
            Some((_, ranges)) => ranges.push(surveyed.region.range),
            None => named.push((name, vec![surveyed.region.range])),
        }
    }
    let file = |(name, ranges): (String, Vec<ByteRange>)| {
        let slice = |range| Ok(Arc::new(Slice::new(Arc::clone(source), range)?) as Source);
        let mut slices = ranges.into_iter().map(slice).collect::<Result<Vec<_>>>()?;
        let source = match slices.pop() {
            Some(only) if slices.is_empty() => only,
            last => Arc::new(Concat::new(slices.into_iter().chain(last))?),
        };
        Ok(RawFile { name, source })
    };
    named.into_iter().map(file).collect()
}

/// BASE, as `save` without `--name` makes it; of a backup what it has.
pub(crate) fn base(subject: &Subject, host: &str) -> String {
    match (&subject.backup, subject.kind) {
        (Some(backup), _) => names::safe(&backup.manifest().name),
        (None, Kind::Image) => {
            let stem = Path::new(&subject.name).file_stem().unwrap_or_default().to_string_lossy();
            names::base(None, &stem)
        }
        (None, _) => names::base(Some(host), &subject.name),
    }
}
