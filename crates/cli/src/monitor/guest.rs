//! A virtual computer that starts from what the job serves: QEMU, as the user who asked for it.

use super::made::find;
use block::{Error, ErrorKind, Result};
use rustix::fs::{Mode, OFlags};
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What a command line wants to be started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct GuestWanted {
    /// `None`: as the disk looks.
    pub(super) uefi: Option<bool>,
    /// MiB.
    pub(super) memory: u32,
    /// No window: its serial line is standard output.
    pub(super) headless: bool,
    /// Without KVM.
    pub(super) emulate: bool,
}

/// How it was started. Beside it are a file for what it writes, the socket by which it asks for the disk, and
/// its serial line.
#[derive(Debug, Serialize, Deserialize)]
pub struct GuestAnswer {
    /// By UEFI firmware, not by a BIOS.
    pub uefi: bool,
    /// What should be known.
    pub notes: Vec<String>,
}

/// A started one, ended with this.
#[derive(Debug)]
pub(super) struct Guest(Child);

impl Guest {
    /// Waits for its end. Its exit code, if it was not killed.
    pub(super) fn wait(&mut self) -> Result<Option<i32>> {
        let status = self.0.wait().map_err(|error| Error::io(error, "waiting for QEMU"))?;
        Ok(status.code())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const PROGRAM: &str = "qemu-system-x86_64";
/// The user nobody, where root is nobody else.
const NOBODY: (u32, u32) = (65534, 65534);

/// Where distributions keep UEFI firmware below /usr: the code, and its empty variables.
const FIRMWARE: &[(&str, &str)] = &[
    ("share/OVMF/OVMF_CODE_4M.fd", "share/OVMF/OVMF_VARS_4M.fd"),
    ("share/OVMF/OVMF_CODE.fd", "share/OVMF/OVMF_VARS.fd"),
    ("share/edk2/x64/OVMF_CODE.4m.fd", "share/edk2/x64/OVMF_VARS.4m.fd"),
    ("share/edk2/ovmf/OVMF_CODE.fd", "share/edk2/ovmf/OVMF_VARS.fd"),
    ("share/edk2-ovmf/x64/OVMF_CODE.fd", "share/edk2-ovmf/x64/OVMF_VARS.fd"),
    ("share/qemu/ovmf-x86_64-code.bin", "share/qemu/ovmf-x86_64-vars.bin"),
];

/// Where files of one firmware are.
type Firmware = (PathBuf, PathBuf);

/// What was installed with this QEMU comes first: it may be elsewhere than in /usr.
fn firmware(program: &Path) -> Option<Firmware> {
    let own = program.parent().and_then(Path::parent);
    let places = own.into_iter().chain([Path::new("/usr")]);
    let mut files =
        places.flat_map(|place| FIRMWARE.iter().map(|(code, vars)| (place.join(code), place.join(vars))));
    files.find(|(code, vars)| code.is_file() && vars.is_file())
}

/// Starts one. `esp`: the disk has an EFI system partition; `sector`: bytes of its sectors.
pub(super) fn start(
    wanted: &GuestWanted,
    owner: Option<(u32, u32)>,
    esp: bool,
    sector: u64,
) -> Result<(GuestAnswer, Guest, Vec<OwnedFd>)> {
    let program = find(PROGRAM).ok_or_else(|| {
        let words = format!("to try a disk takes the program {PROGRAM}: install the package qemu-system-x86");
        Error::new(ErrorKind::NotFound, words)
    })?;
    let mut notes = vec![];
    let firmware = match (wanted.uefi, firmware(&program)) {
        (Some(false), _) => None,
        (Some(true), None) => {
            let words = "there is no UEFI firmware for virtual computers: install the package ovmf";
            return Err(Error::new(ErrorKind::NotFound, words));
        }
        (None, None) if esp => {
            notes.push(
                "it has an EFI system partition, but there is no UEFI firmware (package ovmf): as a BIOS"
                    .into(),
            );
            None
        }
        (None, _) if !esp => None,
        (_, found) => found,
    };
    let failed = |error| Error::io(error, format!("starting {PROGRAM}"));
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let changes = unnamed_file()?;
    let (line, its_line) = UnixStream::pair().map_err(failed)?;
    let mut command = Command::new(program);
    command.args(arguments(wanted, firmware.as_ref(), sector));
    command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::from(OwnedFd::from(its_line)));
    if geteuid().is_root() {
        let (uid, gid) = owner.unwrap_or(NOBODY);
        command.uid(uid).gid(gid);
    }
    let child = command.spawn().map_err(failed)?;
    Ok((
        GuestAnswer { uefi: firmware.is_some(), notes },
        Guest(child),
        vec![changes, ours.into(), line.into()],
    ))
}

/// A computer of the plainest kind, without a network: what starts is a twin of a machine that may be on it.
fn arguments(wanted: &GuestWanted, firmware: Option<&Firmware>, sector: u64) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![];
    let mut add = |line: &str| words.extend(line.split(' ').map(OsString::from));
    add("-nodefaults -no-user-config -cpu max -nic none -vga std -smp 2");
    add(&format!("-m {}", wanted.memory));
    add(if wanted.emulate { "-accel tcg" } else { "-accel kvm -accel tcg" });
    // Old systems know the IDE controllers of a PC and no others.
    add(if firmware.is_some() { "-machine q35" } else { "-machine pc" });
    // The socket is its standard input.
    add("-blockdev driver=raw,node-name=disk,file.driver=nbd,file.server.type=fd,file.server.str=0");
    add(match sector {
        4096 => "-device nvme,serial=selfsame,drive=disk,logical_block_size=4096,physical_block_size=4096",
        _ => "-device ide-hd,drive=disk,bootindex=0",
    });
    if wanted.headless {
        // As its standard output, which is a socket too.
        add("-display none -chardev socket,id=line,fd=1 -serial chardev:line");
    }
    if let Some((code, vars)) = firmware {
        words.extend(["-drive".into(), flash("unit=0,readonly=on", code)]);
        words.extend(["-drive".into(), flash("unit=1,snapshot=on", vars)]);
    }
    words
}

/// A chip. A comma of its file's name is written twice, or QEMU takes it for the end of the name.
fn flash(options: &str, file: &Path) -> OsString {
    let mut word = format!("if=pflash,format=raw,{options},file=").into_bytes();
    for byte in file.as_os_str().as_bytes() {
        word.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
    }
    OsString::from_vec(word)
}

/// A file that is gone with its last descriptor. Where much may be kept: /tmp is in memory on many systems.
fn unnamed_file() -> Result<OwnedFd> {
    let dir = std::env::var_os("TMPDIR").map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from);
    let path = dir.join(format!("selfsame-try-{}", std::process::id()));
    let failed = |error| Error::io(error, format!("making {}", path.display()));
    let how = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    #[expect(clippy::disallowed_methods, reason = "a new file, for what a guest writes")]
    let file = rustix::fs::open(&path, how, Mode::RUSR | Mode::WUSR).map_err(|errno| failed(errno.into()))?;
    std::fs::remove_file(&path).map_err(failed)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn the_computer_fits_the_disk() {
        let wanted = GuestWanted { uefi: None, memory: 512, headless: true, emulate: true };
        let line = |firmware: Option<&Firmware>, sector| {
            let words = arguments(&wanted, firmware, sector);
            words.join(OsStr::new(" ")).into_string().unwrap()
        };
        let bios = line(None, 512);
        assert!(bios.contains("-machine pc") && bios.contains("ide-hd") && bios.contains("-m 512"), "{bios}");
        assert!(bios.contains("-nic none") && !bios.contains("kvm") && bios.contains("-serial"), "{bios}");
        let uefi = line(Some(&("/c".into(), "/v, 2".into())), 4096);
        assert!(
            uefi.contains("-machine q35")
                && uefi.contains("nvme")
                && uefi.contains("snapshot=on,file=/v,, 2")
        );
    }

    #[test]
    fn firmware_beside_its_qemu_is_found() {
        let prefix = tempfile::tempdir().unwrap();
        let program = prefix.path().join("bin").join(PROGRAM);
        let (code, vars) = FIRMWARE[1];
        let [code, vars] = [code, vars].map(|file| prefix.path().join(file));
        std::fs::create_dir_all(code.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/proc/self/exe", &code).unwrap();
        assert_ne!(firmware(&program).map(|(code, _)| code), Some(code.clone()), "without its variables");
        std::os::unix::fs::symlink("/proc/self/exe", &vars).unwrap();
        assert_eq!(firmware(&program), Some((code, vars)));
    }
}
