//! The text that describes a VMDK: which files the disk is kept in, one line each.

use crate::relocate::patched;
use block::{ByteRange, Error, ErrorKind, Extent, ExtentKind, ReadAt, Result, Source};

/// Its first line.
const FIRST: &[u8] = b"# Disk DescriptorFile";
/// Most files of a disk: 2 TiB in extents of 2 GiB.
const MAX_EXTENTS: usize = 1024;
/// What a disk without parent says.
const NO_PARENT: &str = "ffffffff";

/// A stretch of the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// Bytes.
    pub(crate) len: u64,
    pub(crate) kept: Kept,
}

/// Where its bytes are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Kept {
    /// In a file of this name, from this byte on.
    Flat(String, u64),
    /// In a VMDK of its own.
    Sparse(String),
    /// Nowhere.
    Zero,
}

pub(crate) fn is_text(head: &[u8]) -> bool {
    head.trim_ascii_start().starts_with(FIRST)
}

/// Reads it. Fails where it would lead to anything but files beside it.
pub(crate) fn parse(text: &[u8], word: &str) -> Result<Vec<Part>> {
    let refuse = |why: &str| Error::new(ErrorKind::Unsupported, format!("{word}: {why}"));
    let text = String::from_utf8_lossy(text);
    let mut parts = vec![];
    for line in text.lines().map(|line| line.trim_matches(['\0', ' ', '\t', '\r'])) {
        if value(line, "parentCID").is_some_and(|parent| !parent.eq_ignore_ascii_case(NO_PARENT)) {
            return Err(refuse("a snapshot that needs its parent, which is not followed"));
        }
        let access = ["RW ", "RDONLY ", "NOACCESS "].into_iter().find_map(|word| line.strip_prefix(word));
        let Some(rest) = access else { continue };
        let part =
            extent(rest).ok_or_else(|| refuse(&format!("an extent that is not understood: {line}")))?;
        if parts.len() == MAX_EXTENTS {
            return Err(refuse("too many extents"));
        }
        parts.push(part);
    }
    match parts.is_empty() {
        true => Err(refuse("a VMDK description without extents")),
        false => Ok(parts),
    }
}

/// The description inside a VMDK: it must lead to no other file.
pub(crate) fn alone(text: &[u8], word: &str) -> Result<()> {
    // One of many has none, but room for it.
    if text.iter().all(|byte| *byte == 0) {
        return Ok(());
    }
    let parts = parse(text, word)?;
    match &parts[..] {
        [Part { kept: Kept::Sparse(_), .. }] => Ok(()),
        _ => {
            let words = format!("{word}: a VMDK that leads to other files, which are not followed");
            Err(Error::new(ErrorKind::Unsupported, words))
        }
    }
}

fn value<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let (key, value) = line.split_once('=')?;
    (key.trim() == name).then(|| value.trim().trim_matches('"'))
}

/// `4192256 SPARSE "disk-s001.vmdk"`, `25165824 FLAT "disk-flat.vmdk" 0`, `63 ZERO`.
fn extent(rest: &str) -> Option<Part> {
    let (sectors, rest) = rest.trim_start().split_once(' ')?;
    let len = sectors.parse::<u64>().ok()?.checked_mul(512)?;
    let (kind, rest) = rest.trim_start().split_once(' ').unwrap_or((rest.trim(), ""));
    if kind == "ZERO" {
        return Some(Part { len, kept: Kept::Zero });
    }
    let (name, rest) = rest.trim_start().strip_prefix('"')?.split_once('"')?;
    // One component, beside the description.
    let is_name = !name.is_empty() && !name.contains(['/', '\\', '\0']) && name != "." && name != "..";
    let name = is_name.then(|| name.to_owned())?;
    let kept = match kind {
        "SPARSE" | "VMFSSPARSE" => Kept::Sparse(name),
        "FLAT" | "VMFS" => {
            let first = match rest.trim() {
                "" => 0,
                sector => sector.parse::<u64>().ok()?.checked_mul(512)?,
            };
            Kept::Flat(name, first)
        }
        _ => return None,
    };
    Some(Part { len, kept })
}

/// A sparse file of several, with a description in its second sector: QEMU wants one in each. Where it has none there
/// is nothing that is needed: a copy of the directory at most.
pub(crate) fn with_text(file: Source, word: &str) -> Result<Source> {
    const TEXT: &[u8] = b"# Disk DescriptorFile\nversion=1\nCID=fffffffe\nparentCID=ffffffff\n";
    let mut head = [0; 1024];
    file.read_at(0, &mut head)?;
    let (head, second) = head.split_at(512);
    if is_text(second) {
        return Ok(file);
    }
    // Where the directory itself is, in sectors.
    if head.get(56..64) == Some(&1_u64.to_le_bytes()) {
        let words = format!("{word} has its directory where its description should be");
        return Err(Error::new(ErrorKind::Unsupported, words));
    }
    let mut text = TEXT.to_vec();
    text.resize(512, 0);
    let size = file.size();
    Ok(patched(file, size, vec![(512, text)]))
}

/// A stretch that is kept nowhere.
pub(crate) struct Nothing(pub(crate) u64);

impl ReadAt for Nothing {
    fn size(&self) -> u64 {
        self.0
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> Result<()> {
        ByteRange::within(self.0, offset, buf.len() as u64)?;
        buf.fill(0);
        Ok(())
    }

    fn extent_at(&self, offset: u64) -> Result<Extent> {
        ByteRange::within(self.0, offset, 1)?;
        Ok(Extent { range: ByteRange::span(offset, self.0), kind: ExtentKind::Zero })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Disk DescriptorFile\nversion=1\nCID=123\nparentCID=ffffffff\n\
                        createType=\"twoGbMaxExtentSparse\"\n\n# Extent description\n";

    #[test]
    fn extents_are_files_beside_it() {
        let text =
            format!("{TEXT}RW 10 SPARSE \"a-s001.vmdk\"\nRW 2 ZERO\nRDONLY 4 FLAT \"a b.vmdk\" 8\n\n#DDB\n");
        let parts = parse(text.as_bytes(), "a.vmdk").unwrap();
        assert_eq!(parts[0], Part { len: 5120, kept: Kept::Sparse("a-s001.vmdk".into()) });
        assert_eq!(parts[1], Part { len: 1024, kept: Kept::Zero });
        assert_eq!(parts[2], Part { len: 2048, kept: Kept::Flat("a b.vmdk".into(), 4096) });
        assert!(is_text(text.as_bytes()) && !is_text(b"# Disk"));
    }

    #[test]
    fn anything_else_is_refused() {
        for line in [
            "RW 10 FLAT \"/etc/shadow\" 0",
            "RW 10 FLAT \"../x\" 0",
            "RW 10 FLAT \"..\" 0",
            "RW 10 SPARSE \"json:{}/x\"",
            "RW 99999999999999999999 ZERO",
            "RW 18446744073709551615 ZERO",
            "RW 10 WHAT \"a\"",
            "RW 10 FLAT a 0",
            "parentCID=12345678",
            "",
        ] {
            assert!(parse(format!("{TEXT}{line}\n").as_bytes(), "a.vmdk").is_err(), "{line}");
        }
    }

    #[test]
    fn a_description_inside_leads_nowhere_else() {
        let inside = |line: &str| alone(format!("{TEXT}{line}\n\0\0").as_bytes(), "a.vmdk");
        assert!(inside("RW 10 SPARSE \"a.vmdk\"").is_ok());
        assert!(alone(&[0; 512], "a.vmdk").is_ok());
        assert!(inside("RW 10 FLAT \"a\" 0").is_err());
        assert!(inside("RW 10 SPARSE \"a\"\nRW 10 SPARSE \"b\"").is_err());
    }
}
