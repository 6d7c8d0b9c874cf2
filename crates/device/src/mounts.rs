//! What is mounted where, in every mount namespace that can be seen.

use crate::Machine;
use crate::machine::{devno, names};
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::fmt;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// One mounted filesystem.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Of the filesystem; anonymous (`0:N`) for btrfs, overlay and those in memory.
    pub devno: (u32, u32),
    /// Where.
    #[serde(with = "crate::wire::path")]
    pub dir: PathBuf,
    /// Type, as the kernel says it.
    pub fs: String,
    /// What was mounted, as it was given: mostly a device node.
    pub source: String,
    /// Options of the mount and of the filesystem.
    pub options: String,
    /// The filesystem is read-only, not only this mount of it.
    pub read_only: bool,
    /// The process that sees it, if this one does not: another mount namespace.
    pub seen_by: Option<u32>,
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is mounted at {}", self.source, self.dir.display())?;
        match self.seen_by {
            Some(pid) => write!(f, " in the mount namespace of process {pid}"),
            None => Ok(()),
        }
    }
}

impl Machine {
    /// This process's mounts, then those that only other processes see.
    pub(crate) fn mounts(&self) -> Vec<Mount> {
        let mut mounts = self.own_mounts();
        let mut seen = vec![fs::read_link(self.proc.join("self/ns/mnt")).ok()];
        for pid in names(&self.proc).iter().filter_map(|name| name.parse::<u32>().ok()) {
            let dir = self.proc.join(pid.to_string());
            // One process of a namespace is enough, and there may be thousands of processes.
            let namespace = fs::read_link(dir.join("ns/mnt")).ok();
            if namespace.is_some() {
                if seen.contains(&namespace) {
                    continue;
                }
                seen.push(namespace);
            }
            for mount in parse(&fs::read(dir.join("mountinfo")).unwrap_or_default()) {
                let known =
                    |m: &Mount| (m.devno, &m.dir, &m.source) == (mount.devno, &mount.dir, &mount.source);
                if !mounts.iter().any(known) {
                    mounts.push(Mount { seen_by: Some(pid), ..mount });
                }
            }
        }
        mounts
    }

    /// What this process sees.
    pub fn own_mounts(&self) -> Vec<Mount> {
        parse(&fs::read(self.proc.join("self/mountinfo")).unwrap_or_default())
    }

    /// The mount that a path lies on: the last one over the longest part of it.
    pub(crate) fn mount_of<'a>(mounts: &'a [Mount], path: &Path) -> Option<&'a Mount> {
        let over = mounts.iter().filter(|mount| mount.seen_by.is_none() && path.starts_with(&mount.dir));
        over.max_by_key(|mount| mount.dir.components().count())
    }
}

/// proc(5): `36 35 98:0 /root /dir rw,noatime master:1 - ext3 /dev/root rw,errors=continue`.
fn parse(mountinfo: &[u8]) -> Vec<Mount> {
    mountinfo.split(|byte| *byte == b'\n').filter_map(parse_line).collect()
}

fn parse_line(line: &[u8]) -> Option<Mount> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
    let dash = fields.iter().position(|field| *field == b"-")?;
    let text = |field: Option<&&[u8]>| Some(String::from_utf8_lossy(&unescape(field?)).into_owned());
    let (options, super_options) = (text(fields.get(5))?, text(fields.get(dash + 3)).unwrap_or_default());
    // Of the filesystem, not of this mount: others may write to what is only bound read-only here.
    let read_only = super_options.split(',').any(|word| word == "ro");
    Some(Mount {
        devno: devno(std::str::from_utf8(fields.get(2)?).ok()?)?,
        dir: OsString::from_vec(unescape(fields.get(4)?)).into(),
        fs: text(fields.get(dash + 1))?,
        source: text(fields.get(dash + 2))?,
        options: format!("{options},{super_options}"),
        read_only,
        seen_by: None,
    })
}

/// The kernel writes blank, tab, newline and backslash as `\040`: three octal digits.
pub(crate) fn unescape(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, behind)) = rest.split_first() {
        let octal = match (first, behind) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..]) => {
                Some((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'))
            }
            _ => None,
        };
        out.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { behind.get(3..).unwrap_or_default() } else { behind };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mountinfo_with_escapes_and_optional_fields() {
        let lines = b"36 35 8:1 / /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - ext4 /dev/sda1 ro,x\n\
            37 35 0:24 /@ /home ro - btrfs /dev/sdl1 rw\nnonsense\n\n1 2 3 - -\n";
        let mounts = parse(lines);
        assert_eq!(mounts.len(), 2);
        assert_eq!(mounts[0].dir, Path::new("/mnt/a b\\c"));
        assert_eq!((mounts[0].devno, mounts[0].read_only), ((8, 1), true));
        assert_eq!((mounts[1].fs.as_str(), mounts[1].source.as_str()), ("btrfs", "/dev/sdl1"));
        assert!(!mounts[1].read_only);
        assert_eq!(unescape(b"\\04"), b"\\04");
        assert_eq!(unescape(b"\\777"), b"\\777");
    }
}
