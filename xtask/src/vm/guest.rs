//! The guest's root: an initrd of the host's tools with their libraries, the kernel's modules and /init.

use super::cpio::Archive;
use super::{files, kernel};
use crate::Result;
use crate::shell::{ROOT, Shell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Component, Path, PathBuf};

/// Modules that a guest may need; those of its buses are loaded at once, the others when they are asked for.
const MODULES: &[&str] = &[
    "virtio_pci",
    "virtio_console",
    "virtio-rng",
    "9pnet_virtio",
    "9p",
    "virtio_blk",
    "virtio_scsi",
    "ata_piix",
    "ahci",
    "sd_mod",
    "sg",
    "nvme",
    "usb-storage",
    "uas",
    "xhci-pci",
    "sym53c8xx",
    "loop",
    "dm-mod",
    "dm-crypt",
    "dm-snapshot",
    "xts",
    "ecb",
    "cbc",
    "essiv",
    "sha256_generic",
    "algif_skcipher",
    "md-mod",
    "raid1",
    "raid0",
    "ext4",
    "vfat",
    "exfat",
    "udf",
    "btrfs",
    "xfs",
    "fuse",
    "nls_cp437",
    "nls_iso8859-1",
    "nls_ascii",
    "nls_utf8",
    "crc32c_generic",
    "libcrc32c",
    "overlay",
];

/// Programs of the host. What is missing here is missing there: the case that needs it fails.
const TOOLS: &[&str] = &[
    "bash",
    "awk",
    "basename",
    "blkid",
    "blockdev",
    "btrfs",
    "cat",
    "chmod",
    "cmp",
    "cp",
    "cryptsetup",
    "cut",
    "date",
    "dd",
    "debugfs",
    "df",
    "diff",
    "dirname",
    "dmsetup",
    "du",
    "e2fsck",
    "env",
    "find",
    "findmnt",
    "flock",
    "fsck.exfat",
    "fuser",
    "grep",
    "head",
    "jq",
    "kill",
    "ln",
    "losetup",
    "ls",
    "lsblk",
    "lvm",
    "mdadm",
    "mkdir",
    "mkfifo",
    "mkfs.btrfs",
    "mkfs.exfat",
    "mkfs.ext2",
    "mkfs.ext3",
    "mkfs.ext4",
    "mkfs.vfat",
    "mkfs.xfs",
    "mknod",
    "mkntfs",
    "mkswap",
    "mkudffs",
    "mktemp",
    "mount",
    "mv",
    "nsenter",
    "ntfs-3g",
    "od",
    "partx",
    "pkill",
    "ps",
    "readlink",
    "realpath",
    "rm",
    "rmdir",
    "script",
    "sed",
    "seq",
    "setpriv",
    "sfdisk",
    "sgdisk",
    "sha256sum",
    "sleep",
    "sort",
    "stat",
    "strace",
    "swapoff",
    "swapon",
    "sync",
    "tail",
    "tee",
    "timeout",
    "touch",
    "tr",
    "truncate",
    "udevadm",
    "umount",
    "uniq",
    "unshare",
    "wc",
    "wipefs",
    "xargs",
    "zstd",
];

/// Programs that do not lie in the PATH, and folders, taken whole.
const WHOLE: &[&str] = &["/usr/lib/systemd/systemd-udevd", "/usr/lib/udev", "/etc/mke2fs.conf"];

/// What is left out of those folders: it is large and nobody looks at it.
const LEFT_OUT: &[&str] = &["/usr/lib/udev/hwdb.bin", "/usr/lib/udev/hwdb.d"];

/// Folders that are only places to mount things.
const FOLDERS: &[&str] = &[
    "dev",
    "etc",
    "lab",
    "mnt",
    "proc",
    "root",
    "run",
    "sys",
    "tmp",
    "usr",
    "usr/bin",
    "usr/sbin",
    "usr/lib",
    "usr/lib64",
    "usr/lib/busybox",
    "var",
    "var/lib",
];

/// As in a system whose /bin is /usr/bin.
const LINKS: &[(&str, &str)] = &[
    ("bin", "usr/bin"),
    ("sbin", "usr/sbin"),
    ("lib", "usr/lib"),
    ("lib64", "usr/lib64"),
    ("usr/bin/sh", "bash"),
    ("var/run", "../run"),
    ("etc/mtab", "../proc/mounts"),
    ("usr/sbin/modprobe", "../bin/busybox"),
    ("init", "usr/sbin/init"),
    ("usr/sbin/mount.ntfs-3g", "../bin/ntfs-3g"),
];

/// What was unpacked from packages.
pub(crate) struct Cache(PathBuf);

impl Cache {
    /// `$SELFSAME_VM_CACHE`, or `target/vm` of the project.
    pub(crate) fn here() -> Result<Self> {
        let told = std::env::var_os("SELFSAME_VM_CACHE").map(PathBuf::from);
        let path = told.unwrap_or_else(|| "target/vm".into());
        let path = Path::new(ROOT).join(path);
        std::fs::create_dir_all(&path)?;
        Ok(Self(path.canonicalize()?))
    }

    /// A path in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// Are the packages there?
    pub(crate) fn is_filled(&self) -> bool {
        ["kernel", "busybox", "qemu"].iter().all(|name| self.join(name).is_dir())
    }

    /// Waits until no other laboratory uses it; ours until the file is dropped.
    pub(crate) fn lock(&self) -> Result<std::fs::File> {
        let file = files::create(&self.join("lock"))?.into_inner()?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
        Ok(file)
    }

    /// Version of the unpacked kernel.
    pub(crate) fn kernel_version(&self) -> Result<String> {
        let folder = self.join("kernel/lib/modules");
        let first = std::fs::read_dir(&folder)?.next().ok_or("there is no kernel in the cache")??;
        Ok(first.file_name().to_string_lossy().into_owned())
    }

    /// The compressed kernel, as a boot loader wants it.
    pub(crate) fn compressed_kernel(&self) -> Result<PathBuf> {
        Ok(self.join(&format!("kernel/boot/vmlinuz-{}", self.kernel_version()?)))
    }

    /// A program of the unpacked QEMU: it needs its libraries named.
    pub(crate) fn qemu(&self, program: &str) -> std::process::Command {
        let mut command = std::process::Command::new(self.join("qemu/usr/bin").join(program));
        let libraries =
            ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/pulseaudio"];
        let libraries = libraries.map(|folder| self.join("qemu").join(folder).display().to_string());
        command.env("LD_LIBRARY_PATH", libraries.join(":"));
        command
    }

    /// Makes the plain kernel, unless it is there.
    pub(crate) fn make_kernel(&self) -> Result<PathBuf> {
        let plain = self.join("vmlinux");
        if !plain.exists() {
            let part = self.join("vmlinux.part");
            files::write(&part, &kernel::unpack(&files::read(&self.compressed_kernel()?)?)?)?;
            std::fs::rename(part, &plain)?;
        }
        Ok(plain)
    }

    /// Makes the initrd anew, with what `program` needs: that takes a second, and nothing old is ever in it.
    pub(crate) fn make_initrd(&self, program: &Path) -> Result<PathBuf> {
        let modules = self.stage_modules()?;
        let mut tree = Tree::default();
        tree.add_tools(program)?;
        tree.add_folder(&modules, Path::new("/usr/lib/modules"))?;
        let busybox = self.join("busybox/bin/busybox");
        let applets = Shell::new().run(&format!("{} --list", busybox.display()))?;
        tree.files.insert("/usr/bin/busybox".into(), busybox);
        for applet in applets.lines() {
            tree.links.insert(format!("/usr/lib/busybox/{applet}").into(), "/usr/bin/busybox".into());
        }
        tree.files.insert("/usr/sbin/init".into(), Path::new(ROOT).join("tests/vm/init"));
        let path = self.join("initrd");
        tree.write(files::create(&path)?)?;
        Ok(path)
    }

    /// The modules of the guest in a folder of their own, with the lists that modprobe and udev read.
    pub(crate) fn stage_modules(&self) -> Result<PathBuf> {
        let version = self.kernel_version()?;
        let (all, staged) = (self.join("kernel"), self.join("modules"));
        let mut shell = Shell::new();
        for (name, value) in [("ALL", all.as_path()), ("STAGED", &staged), ("VERSION", Path::new(&version))] {
            shell.set(name, value);
        }
        shell.run("[ -s \"$ALL/lib/modules/$VERSION/modules.dep\" ] || depmod -b \"$ALL\" \"$VERSION\"")?;
        let from = all.join("lib/modules").join(&version);
        let dependencies = std::fs::read_to_string(from.join("modules.dep"))?;
        let wanted = kernel::with_needed(&dependencies, MODULES);
        shell.set("WANTED", Vec::from_iter(wanted).join("\n"));
        shell.run(
            "rm -rf \"$STAGED\"; to=$STAGED/lib/modules/$VERSION; mkdir -p \"$to\"
             cd \"$ALL/lib/modules/$VERSION\"; cp modules.order modules.builtin* \"$to\"
             xargs -d '\\n' cp --parents -t \"$to\" <<<\"$WANTED\"; depmod -b \"$STAGED\" \"$VERSION\"",
        )?;
        Ok(staged.join("lib/modules"))
    }
}

/// Files and links by their absolute path in the guest.
#[derive(Default)]
struct Tree {
    files: BTreeMap<PathBuf, PathBuf>,
    links: BTreeMap<PathBuf, PathBuf>,
}

impl Tree {
    /// The tools, and the libraries of them all and of `program`, which is not in the archive itself.
    fn add_tools(&mut self, program: &Path) -> Result<()> {
        let shell = Shell::new();
        for tool in TOOLS {
            // A shell's own words have no path.
            match shell.run(&format!("type -P {tool}")) {
                Ok(path) => self.add_program(Path::new(&path))?,
                Err(_) => println!("not in the guest: {tool}"),
            }
        }
        for whole in WHOLE.iter().map(Path::new).filter(|path| path.exists()) {
            if whole.is_dir() { self.add_folder(whole, whole)? } else { self.add_program(whole)? }
        }
        let programs: Vec<PathBuf> = self.files.values().cloned().chain([program.to_owned()]).collect();
        self.add_libraries(&shell, &programs)
    }

    /// A program under the name that it was found by; scripts and links too.
    fn add_program(&mut self, path: &Path) -> Result<()> {
        let real = path.canonicalize()?;
        let place = merged(path);
        if real.file_name() != place.file_name() || merged(&real) != place {
            self.links.insert(place, merged(&real));
        }
        self.files.insert(merged(&real), real);
        Ok(())
    }

    /// A folder of the host with all that is in it.
    fn add_folder(&mut self, from: &Path, to: &Path) -> Result<()> {
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let (path, place) = (entry.path(), to.join(entry.file_name()));
            if LEFT_OUT.iter().any(|left_out| Path::new(left_out) == path) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                self.add_folder(&path, &place)?;
            } else if path.is_file() {
                self.files.insert(merged(&place), path);
            }
        }
        Ok(())
    }

    /// The libraries of all programs, as the loader of the host finds them.
    fn add_libraries(&mut self, shell: &Shell, programs: &[PathBuf]) -> Result<()> {
        let mut list = shell.program("ldd");
        list.args(programs).env("LC_ALL", "C");
        // It fails for scripts, which have none.
        let text = String::from_utf8_lossy(&list.output()?.stdout).into_owned();
        for library in libraries(&text) {
            self.files.insert(merged(Path::new(library)), PathBuf::from(library));
        }
        Ok(())
    }

    /// Writes the archive, folders before what is in them.
    fn write(&self, out: impl Write) -> Result<()> {
        let mut archive = Archive::new(out);
        let mut folders: BTreeSet<PathBuf> = FOLDERS.iter().map(PathBuf::from).collect();
        for path in self.files.keys().chain(self.links.keys()) {
            folders
                .extend(path.ancestors().skip(1).map(relative).filter(|path| !path.as_os_str().is_empty()));
        }
        for folder in &folders {
            archive.folder(&folder.to_string_lossy())?;
        }
        for (path, from) in &self.files {
            archive.file(&relative(path).to_string_lossy(), &files::read(from)?)?;
        }
        for (path, target) in &self.links {
            archive.link(&relative(path).to_string_lossy(), &target.to_string_lossy())?;
        }
        for (path, target) in LINKS {
            archive.link(path, target)?;
        }
        archive.file("etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:::/bin/sh\n")?;
        archive.file("etc/group", b"root:x:0:\ndisk:x:6:\nnogroup:x:65534:\n")?;
        archive.finish().map(drop)
    }
}

/// `/lib/x` is `/usr/lib/x`, as on a system whose folders are merged.
fn merged(path: &Path) -> PathBuf {
    let mut parts = path.components().skip_while(|part| *part == Component::RootDir);
    let first = parts.next().map_or_else(PathBuf::new, |part| PathBuf::from(part.as_os_str()));
    let top = ["bin", "sbin", "lib", "lib64"].iter().any(|name| Path::new(name) == first);
    let below = Path::new("/").join(if top { Path::new("usr").join(first) } else { first });
    parts.fold(below, |path, part| path.join(part))
}

/// As the archive has it: without the first slash.
fn relative(path: &Path) -> PathBuf {
    path.components().filter(|part| *part != Component::RootDir).collect()
}

/// The paths in what `ldd` prints: `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)` and the loader's own.
fn libraries(text: &str) -> BTreeSet<&str> {
    let words = text.lines().filter(|line| line.starts_with('\t')).flat_map(str::split_whitespace);
    words.filter(|word| word.starts_with('/')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_of_ldd() {
        let text = "/usr/bin/a:\n\tlinux-vdso.so.1 (0x7)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x7)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x7)\n/usr/bin/b:\n\tnot a dynamic executable\n";
        assert_eq!(Vec::from_iter(libraries(text)), ["/lib/x/libc.so.6", "/lib64/ld-linux-x86-64.so.2"]);
    }

    #[test]
    fn folders_are_merged() {
        for (path, place) in [
            ("/lib/x/libc.so.6", "/usr/lib/x/libc.so.6"),
            ("/usr/bin/dd", "/usr/bin/dd"),
            ("/etc/a", "/etc/a"),
        ] {
            assert_eq!(merged(Path::new(path)), Path::new(place));
        }
        assert_eq!(relative(Path::new("/usr/bin")), Path::new("usr/bin"));
    }

    #[test]
    fn a_tree_as_an_archive() {
        let folder = tempfile::tempdir().unwrap();
        files::write(&folder.path().join("a"), b"content").unwrap();
        let mut tree = Tree::default();
        tree.add_folder(folder.path(), Path::new("/lib/modules")).unwrap();
        tree.links.insert("/usr/bin/b".into(), "/usr/bin/busybox".into());
        let mut out = vec![];
        tree.write(&mut out).unwrap();
        let text = String::from_utf8_lossy(&out);
        let at = |what: &str| text.find(what).unwrap();
        assert!(at("usr/lib/modules\0") < at("usr/lib/modules/a\0"));
        assert!(text.contains("usr/bin/b\0") && text.contains("/usr/bin/busybox"));
    }
}
