//! A file in the columns of `ls -l`, and in JSON.

use crate::ui::json::Name;
use disk::fs::{FileKind, Metadata, Stream, Time};
use engine::browse::Unread;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;

/// `drwxr-xr-x`; of filesystems without modes the attributes of DOS instead, `-rhsa`.
pub(super) fn mode(meta: &Metadata) -> String {
    let mut text = String::from(meta.kind.letter());
    let Some(mode) = meta.mode else {
        let attributes = meta.attributes.unwrap_or(0);
        let flags = [(1, 'r'), (2, 'h'), (4, 's'), (32, 'a')];
        text.extend(flags.map(|(bit, letter)| if attributes & bit != 0 { letter } else { '-' }));
        return text;
    };
    for (shift, special, letter) in [(6, 0o4000, 's'), (3, 0o2000, 's'), (0, 0o1000, 't')] {
        let bits = mode >> shift;
        text.push(if bits & 4 != 0 { 'r' } else { '-' });
        text.push(if bits & 2 != 0 { 'w' } else { '-' });
        text.push(match (mode & special != 0, bits & 1 != 0) {
            (false, false) => '-',
            (false, true) => 'x',
            (true, true) => letter,
            (true, false) => letter.to_ascii_uppercase(),
        });
    }
    text
}

/// `2026-11-23 09:25`, UTC.
pub(super) fn minute(time: Option<Time>) -> String {
    match time {
        None => "-".to_owned(),
        Some(time) => stamp(time).map_or_else(
            || format!("@{}", time.seconds),
            |stamp| stamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%d %H:%M").to_string(),
        ),
    }
}

/// With all that is known of it, UTC; `None` also for one that no calendar has.
pub(super) fn rfc3339(time: Option<Time>) -> Option<String> {
    time.and_then(stamp).map(|stamp| stamp.to_string())
}

fn stamp(time: Time) -> Option<Timestamp> {
    Timestamp::new(time.seconds, i32::try_from(time.nanos).ok()?).ok()
}

/// Mode, links, owner, group, size, time.
pub(super) fn columns(meta: &Metadata) -> [String; 6] {
    let number = |id: Option<u32>| id.map_or_else(|| "-".to_owned(), |id| id.to_string());
    let size = match meta.kind {
        FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor) => {
            format!("{major}, {minor}")
        }
        _ => meta.size.to_string(),
    };
    [mode(meta), meta.links.to_string(), number(meta.uid), number(meta.gid), size, minute(meta.modified)]
}

/// One of `entries[]`; docs/JSON.md.
#[derive(Serialize)]
pub(super) struct EntryOut {
    #[serde(flatten)]
    name: Name,
    path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_bytes: Option<Vec<u8>>,
    kind: &'static str,
    size: u64,
    allocated: Option<u64>,
    links: u32,
    mode: Option<u16>,
    uid: Option<u32>,
    gid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    attributes: Option<u32>,
    modified: Option<String>,
    accessed: Option<String>,
    changed: Option<String>,
    created: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    device: Option<[u32; 2]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target_bytes: Option<Vec<u8>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    streams: Vec<StreamOut>,
    #[serde(skip_serializing_if = "is_zero")]
    bad: u64,
    #[serde(skip_serializing_if = "is_zero")]
    absent: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(bytes: &u64) -> bool {
    *bytes == 0
}

#[derive(Serialize)]
struct StreamOut {
    #[serde(flatten)]
    name: Name,
    size: u64,
}

impl EntryOut {
    pub(super) fn new(
        path: &[u8],
        meta: &Metadata,
        target: Option<&[u8]>,
        streams: &[Stream],
        Unread { bad, absent }: Unread,
    ) -> Self {
        let name = Name::new(path.rsplit(|byte| *byte == b'/').next().unwrap_or_default());
        let (Name { name: path, name_bytes: path_bytes }, target) = (Name::new(path), target.map(Name::new));
        let (target, target_bytes) = target.map_or((None, None), |name| (Some(name.name), name.name_bytes));
        let streams =
            streams.iter().map(|stream| StreamOut { name: Name::new(&stream.name), size: stream.size });
        Self {
            name,
            path,
            path_bytes,
            kind: kind_word(meta.kind),
            size: meta.size,
            allocated: meta.allocated,
            links: meta.links,
            mode: meta.mode,
            uid: meta.uid,
            gid: meta.gid,
            attributes: meta.attributes,
            modified: rfc3339(meta.modified),
            accessed: rfc3339(meta.accessed),
            changed: rfc3339(meta.changed),
            created: rfc3339(meta.created),
            device: match meta.kind {
                FileKind::CharDevice(major, minor) | FileKind::BlockDevice(major, minor) => {
                    Some([major, minor])
                }
                _ => None,
            },
            target,
            target_bytes,
            streams: streams.collect(),
            bad,
            absent,
        }
    }
}

fn kind_word(kind: FileKind) -> &'static str {
    match kind {
        FileKind::File => "file",
        FileKind::Directory => "directory",
        FileKind::Symlink => "symlink",
        FileKind::Fifo => "fifo",
        FileKind::CharDevice(..) => "char device",
        FileKind::BlockDevice(..) => "block device",
        FileKind::Socket => "socket",
        FileKind::Other => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_as_ls_prints_them() {
        let of = |kind, mode| mode_of(kind, Some(mode), 0);
        fn mode_of(kind: FileKind, mode: Option<u16>, attributes: u32) -> String {
            super::mode(&Metadata { mode, attributes: Some(attributes), ..Metadata::new(kind, 0) })
        }
        assert_eq!(of(FileKind::Directory, 0o1777), "drwxrwxrwt");
        assert_eq!(of(FileKind::File, 0o4755), "-rwsr-xr-x");
        assert_eq!(of(FileKind::File, 0o6640), "-rwSr-S---");
        assert_eq!(of(FileKind::Symlink, 0o777), "lrwxrwxrwx");
        assert_eq!(mode_of(FileKind::File, None, 1 | 32), "-r--a");
    }

    #[test]
    fn times_are_utc_and_any_number_is_one() {
        assert_eq!(minute(Some(Time { seconds: 1_795_770_300, nanos: 5 })), "2026-11-27 09:05");
        assert_eq!(minute(Some(Time { seconds: i64::MAX, nanos: 0 })), format!("@{}", i64::MAX));
        assert_eq!(minute(None), "-");
    }
}
