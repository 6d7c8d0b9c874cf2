//! Where the kernel and udev tell about hardware; tests point it at a tree of their own.

use std::fs;
use std::path::{Path, PathBuf};

/// The roots that every reader takes.
#[derive(Clone, Debug)]
pub struct Machine {
    /// sysfs.
    pub sys: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// Device nodes.
    pub dev: PathBuf,
    /// udev's database, which may be missing.
    pub run_udev: PathBuf,
}

impl Machine {
    /// The machine that this program runs on.
    pub fn host() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), dev: "/dev".into(), run_udev: "/run/udev".into() }
    }

    /// The sysfs directory of any block device, partitions included, by its name in sysfs or in /dev.
    pub(crate) fn block(&self, name: &str) -> PathBuf {
        self.sys.join("class/block").join(name.replace('/', "!"))
    }

    /// Its node. sysfs writes `!` where the node's name has a slash.
    pub(crate) fn node(&self, name: &str) -> PathBuf {
        self.dev.join(name.replace('!', "/"))
    }

    /// The name in sysfs of what a path under `/dev` means, links followed; `None` outside of it.
    pub(crate) fn name_of(&self, path: &Path) -> Option<String> {
        let inside = |path: &Path| {
            let name = path.strip_prefix(&self.dev).ok()?.to_str()?.replace('/', "!");
            self.block(&name).exists().then_some(name)
        };
        fs::canonicalize(path).ok().and_then(|real| inside(&real)).or_else(|| inside(path))
    }
}

/// The text of a small file, without blanks around it; `None` if there is none or it is empty.
pub(crate) fn text(path: impl AsRef<Path>) -> Option<String> {
    let bytes = fs::read(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

/// The number in a small file.
pub(crate) fn number<T: std::str::FromStr>(path: impl AsRef<Path>) -> Option<T> {
    text(path)?.parse().ok()
}

/// `MAJOR:MINOR`, as in `dev` files and mountinfo.
pub(crate) fn devno(text: &str) -> Option<(u32, u32)> {
    let (major, minor) = text.trim().split_once(':')?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// The names in a directory, sorted; none if there is no such directory.
pub(crate) fn names(dir: impl AsRef<Path>) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(dir)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    names
}
