//! Image files of other programs: which one it is, by its first and last bytes, and what is not read.
//!
//! Only enough is looked at here to know the format and to refuse what would lead to other files; the rest is read
//! by a [`Bridge`], which is another program.

use crate::vmdk;
use block::{ByteRange, Error, ErrorKind, ReadAt, Result, Slice, Source};
use std::fmt;
use std::sync::Arc;

/// Reads formats that are not ours.
pub trait Bridge: Send + Sync {
    /// The disk that a file of this format shows.
    fn read(&self, format: Format, file: Source) -> Result<Source>;
}

/// A format that a bridge reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Of QEMU.
    Qcow2,
    /// Of VMware: sparse, or compressed as in an OVA.
    Vmdk,
    /// Of Virtual PC and Hyper-V: dynamic.
    Vhd,
    /// Of Hyper-V.
    Vhdx,
    /// Of VirtualBox.
    Vdi,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Qcow2 => "qcow2",
            Self::Vmdk => "VMDK",
            Self::Vhd => "VHD",
            Self::Vhdx => "VHDX",
            Self::Vdi => "VDI",
        })
    }
}

/// What an image file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Detected {
    /// The disk itself.
    Raw,
    /// The disk itself with a footer behind it.
    FixedVhd(u64),
    /// The text that says which files the disk is kept in.
    VmdkText,
    /// To be read by a bridge.
    Foreign(Format),
}

impl Detected {
    /// The disk that `file` shows; `None` if it lies in other files.
    pub(crate) fn disk(self, file: Source, bridge: &dyn Bridge) -> Result<Option<Source>> {
        Ok(Some(match self {
            Self::Raw => file,
            Self::FixedVhd(size) => Arc::new(Slice::new(file, ByteRange::span(0, size))?),
            Self::Foreign(format) => bridge.read(format, file)?,
            Self::VmdkText => return Ok(None),
        }))
    }
}

/// Bytes at the beginning that say what it is.
const HEAD: usize = 1 << 16;
/// Bytes of the footer of a VHD.
const FOOTER: u64 = 512;

/// Formats that are not read, by their first bytes, and what to do instead.
const REFUSED: &[(&[u8], &str, &str)] = &[
    (b"\x1f\x8b", "compressed with gzip", "unpack it first: gzip -dk FILE"),
    (b"\xfd7zXZ\0", "compressed with xz", "unpack it first: xz -dk FILE"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it first: zstd -d FILE"),
    (b"BZh", "compressed with bzip2", "unpack it first: bzip2 -dk FILE"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive", "unpack it first: 7z x FILE"),
    (b"PK\x03\x04", "a ZIP archive", "unpack it first: unzip FILE"),
    (b"EVF\x09\x0d\x0a\xff\0", "an EnCase image (E01)", "make it raw first: ewfexport -f raw FILE"),
    (b"EVF2\x0d\x0a\x81", "an EnCase image (Ex01)", "make it raw first: ewfexport -f raw FILE"),
    (b"LVF\x09\x0d\x0a\xff\0", "an EnCase file of files (L01)", "it holds no disk"),
    (
        b"partclone-image",
        "an image of partclone",
        "make it raw first: partclone.restore --restore_raw_file -s FILE -o partition.img",
    ),
    (b"QED\0", "a QED image", "make it raw first: qemu-img convert -O raw FILE disk.img"),
    (b"WithoutFreeSpace", "a Parallels image", "make it raw first: qemu-img convert -O raw FILE disk.img"),
    (b"WithouFreSpacExt", "a Parallels image", "make it raw first: qemu-img convert -O raw FILE disk.img"),
];

/// Looks what a file is. `word`: how it is called in errors.
pub(crate) fn detect(file: &dyn ReadAt, word: &str) -> Result<Detected> {
    let len = usize::try_from(file.size()).unwrap_or(HEAD).min(HEAD);
    let mut head = vec![0; len];
    if file.read_at(0, &mut head).is_err() {
        // A file on a disk that fails: what it is cannot be seen, and every other format begins with what it is.
        return Ok(Detected::Raw);
    }
    let refused = REFUSED.iter().find(|(magic, ..)| head.starts_with(magic));
    if let Some((_, what, instead)) = refused {
        return Err(Error::new(ErrorKind::Unsupported, format!("{word} is {what}; {instead}")));
    }
    if head.starts_with(b"QFI\xfb") {
        qcow2(&head, word)?;
        return Ok(Detected::Foreign(Format::Qcow2));
    }
    if head.starts_with(b"KDMV") {
        sparse_vmdk(&head, word)?;
        return Ok(Detected::Foreign(Format::Vmdk));
    }
    if head.starts_with(b"COWD") {
        return Ok(Detected::Foreign(Format::Vmdk));
    }
    if head.starts_with(b"vhdxfile") {
        return Ok(Detected::Foreign(Format::Vhdx));
    }
    if head.get(64..68) == Some(&[0x7F, 0x10, 0xDA, 0xBE]) && head.starts_with(b"<<<") {
        return Ok(Detected::Foreign(Format::Vdi));
    }
    if vmdk::is_text(&head) {
        return Ok(Detected::VmdkText);
    }
    vhd(file, &head, word)
}

fn refuse(word: &str, why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, format!("{word} {why}"))
}

/// A number, big-endian as QEMU and Virtual PC have them.
fn be<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let bytes = at.checked_add(N).and_then(|end| bytes.get(at..end)).unwrap_or(&[]);
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn le<const N: usize>(bytes: &[u8], at: usize) -> u64 {
    let bytes = at.checked_add(N).and_then(|end| bytes.get(at..end)).unwrap_or(&[]);
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn qcow2(head: &[u8], word: &str) -> Result<()> {
    /// Incompatible features: the data are in another file.
    const EXTERNAL_DATA: u64 = 1 << 2;
    let version = be::<4>(head, 4);
    if !(2..=3).contains(&version) {
        return Err(refuse(word, "is a qcow image of a version that is not read"));
    }
    if be::<8>(head, 8) != 0 {
        let why = "keeps only what differs from a backing file, which is not followed; make one image of both \
                   first: qemu-img convert -O qcow2 FILE whole.qcow2";
        return Err(refuse(word, why));
    }
    if version == 3 && be::<8>(head, 72) & EXTERNAL_DATA != 0 {
        return Err(refuse(word, "keeps its data in another file, which is not followed"));
    }
    if be::<4>(head, 32) != 0 {
        return Err(refuse(word, "is encrypted"));
    }
    Ok(())
}

fn sparse_vmdk(head: &[u8], word: &str) -> Result<()> {
    let [capacity, text, sectors] = [12, 28, 36].map(|at| le::<8>(head, at));
    if capacity == 0 {
        return Err(refuse(word, "is a VMDK that only names other files"));
    }
    let start = usize::try_from(text).ok().and_then(|sector| sector.checked_mul(512));
    let len = usize::try_from(sectors).ok().and_then(|sectors| sectors.checked_mul(512));
    match start.zip(len).and_then(|(start, len)| head.get(start..)?.get(..len)) {
        // An extent of a disk that is described elsewhere.
        _ if text == 0 => Ok(()),
        Some(inside) => vmdk::alone(inside, word),
        None => Err(refuse(word, "is a VMDK whose description is not where it should be")),
    }
}

/// The kind of a VHD is in its footer; one that is dynamic has a copy of it in front.
fn vhd(file: &dyn ReadAt, head: &[u8], word: &str) -> Result<Detected> {
    const MAGIC: &[u8] = b"conectix";
    const FIXED: u64 = 2;
    const DYNAMIC: u64 = 3;
    let kind = |footer: &[u8]| be::<4>(footer, 60);
    if head.starts_with(MAGIC) {
        return match kind(head) {
            DYNAMIC => Ok(Detected::Foreign(Format::Vhd)),
            _ => Err(refuse(
                word,
                "is a VHD that keeps only what differs from another one, which is not followed",
            )),
        };
    }
    let Some(size) = file.size().checked_sub(FOOTER) else { return Ok(Detected::Raw) };
    let mut footer = [0; 512];
    if file.read_at(size, &mut footer).is_err() || !footer.starts_with(MAGIC) {
        return Ok(Detected::Raw);
    }
    let others = footer.iter().enumerate().filter(|(at, _)| !(64..68).contains(at));
    let sum = others.fold(0_u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)));
    let is_footer = u64::from(!sum) == be::<4>(&footer, 64) && kind(&footer) == FIXED;
    // A disk that happens to end so is taken as it is.
    Ok(match be::<8>(&footer, 48) {
        current if is_footer && current == size => Detected::FixedVhd(size),
        _ => Detected::Raw,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use testkit::Memory;

    fn of(head: &[u8]) -> Result<Detected> {
        let mut bytes = head.to_vec();
        bytes.resize(1 << 16, 0);
        detect(&Memory::new(bytes), "x.img")
    }

    fn refused(head: &[u8], words: &str) {
        let error = of(head).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.to_string().contains(words), "{error}");
    }

    fn qcow2_with(at: usize, byte: u8) -> Vec<u8> {
        let mut head = b"QFI\xfb\0\0\0\x03".to_vec();
        head.resize(104, 0);
        head[at] = byte;
        head
    }

    #[test]
    fn other_files_are_not_followed() {
        assert_eq!(of(&qcow2_with(30, 1)).unwrap(), Detected::Foreign(Format::Qcow2));
        refused(&qcow2_with(15, 1), "backing file");
        refused(&qcow2_with(79, 4), "another file");
        refused(&qcow2_with(35, 2), "encrypted");
        refused(&qcow2_with(7, 9), "version");
        let mut differing = b"conectix".to_vec();
        differing.resize(512, 0);
        differing[63] = 4;
        refused(&differing, "differs from another");
        let mut stub = b"KDMV\x01\0\0\0".to_vec();
        stub.resize(512, 0);
        refused(&stub, "names other files");
    }

    #[test]
    fn what_is_packed_is_said_with_how_to_unpack_it() {
        refused(b"\x1f\x8b\x08", "gzip -dk");
        refused(b"\xfd7zXZ\0", "xz -dk");
        refused(b"\x28\xb5\x2f\xfd", "zstd -d");
        refused(b"EVF\x09\x0d\x0a\xff\0", "ewfexport");
        refused(b"partclone-image", "partclone.restore");
    }

    #[test]
    fn a_disk_is_a_disk() {
        for head in [&b"\xeb\x3c\x90MSDOS5.0"[..], b"", b"QFI", b"<<< Oracle VM"] {
            assert_eq!(of(head).unwrap(), Detected::Raw);
        }
        assert_eq!(detect(&Memory::new(vec![]), "x").unwrap(), Detected::Raw);
        let bad = vec![block::ByteRange::span(0, 512)];
        assert_eq!(detect(&Memory::new(vec![0; 4096]).with(|d| d.bad = bad), "x").unwrap(), Detected::Raw);
    }

    #[test]
    fn only_a_whole_footer_makes_a_vhd_of_a_disk() {
        let mut disk = vec![0; 4096 + 512];
        let footer = &mut disk[4096..];
        footer[..8].copy_from_slice(b"conectix");
        footer[54] = 0x10;
        footer[63] = 2;
        let sum = footer.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        footer[64..68].copy_from_slice(&(!sum).to_be_bytes());
        assert_eq!(detect(&Memory::new(disk.clone()), "x").unwrap(), Detected::FixedVhd(4096));
        for at in [48, 63, 67, 100] {
            let mut other = disk.clone();
            other[4096 + at] ^= 1;
            assert_eq!(detect(&Memory::new(other), "x").unwrap(), Detected::Raw, "{at}");
        }
    }
}
