//! Random changes of a mounted filesystem, the same ones for one seed: what a log has to know about.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use testkit::tools::shell;

/// `steps` changes in `dir`, of which some are synced: one file, or one directory. What does not work does not
/// matter.
pub(crate) fn stress(dir: &Path, seed: u64, steps: usize) {
    let mut random = blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof();
    let mut next = |below: u64| {
        let mut bytes = [0; 8];
        random.fill(&mut bytes);
        u64::from_le_bytes(bytes) % below
    };
    for _ in 0..steps {
        let mut place = || -> PathBuf {
            let (depth, name) = (next(3), next(40));
            let mut path = dir.to_owned();
            (0..depth).for_each(|_| path.push(format!("dir {}", next(4))));
            path.join(match next(6) {
                0 => format!("dir {}", name % 4),
                _ => format!("a name of some length {name}"),
            })
        };
        let (one, other) = (place(), place());
        let (at, len) = (next(1 << 18), next(1 << 16));
        let write = |at: u64| {
            let bytes = vec![(at % 250) as u8 + 1; len as usize];
            let file = OpenOptions::new().create(true).truncate(false).write(true).open(&one)?;
            file.write_all_at(&bytes, at)
        };
        let _done = match next(16) {
            0..=3 => write(at),
            4 => write(0),
            5 => OpenOptions::new().write(true).open(&one).and_then(|file| file.set_len(at)),
            6 | 7 => fs::rename(&one, &other),
            8 => fs::hard_link(&one, &other),
            9 => fs::remove_file(&one),
            10 => fs::create_dir(&one),
            11 => fs::remove_dir(&one),
            12 => symlink("t".repeat(1 + at as usize % 900), &one),
            13 => {
                let line = match at % 4 {
                    0 => format!("fallocate -o {at} -l {len} \"$F\""),
                    1 => format!("fallocate -p -o {at} -l {len} \"$F\""),
                    2 => {
                        format!("setfattr -n user.n{} -v {} \"$F\"", at % 5, "v".repeat(len as usize % 3000))
                    }
                    _ => format!("cp --reflink=always \"$F\" '{}'", other.display()),
                };
                shell(&line, &one).map(drop).map_err(std::io::Error::other)
            }
            14 => File::open(&one).and_then(|file| file.sync_all()),
            _ => File::open(one.parent().unwrap()).and_then(|dir| dir.sync_all()),
        };
    }
}
