//! UFS 1 and 2 of the BSDs and Solaris, in either byte order (FreeBSD, `sys/ufs/ffs/fs.h`).

use super::{Content, Window};

const UFS2: u32 = 0x1954_0119;
const MAGICS: [u32; 6] = [UFS2, 0x0001_1954, 0x0019_5612, 0x0009_5014, 0x0061_2195, 0x0523_1994];

pub(super) fn probe(disk: &Window) -> Option<Content> {
    [0u64, 8, 64, 256].iter().find_map(|kib| {
        let sb = disk.get(kib.checked_mul(1024)?, 1380)?;
        let big = MAGICS.contains(&sb.be32(1372)?);
        let fs_magic = sb.n32(1372, big)?;
        if !MAGICS.contains(&fs_magic) {
            return None;
        }
        let (title, version) = if fs_magic == UFS2 { ("UFS2", "2") } else { ("UFS1", "1") };
        let content = Content::filesystem("ufs", title).version(version);
        let (high, low) = (sb.n32(144, big)?, sb.n32(148, big)?);
        let content = if high | low == 0 { content } else { content.id(format!("{high:08x}{low:08x}")) };
        let fs_clean = sb.u8(209)?;
        let content = if fs_magic == UFS2 { content.label(sb.slice(680, 32)?) } else { content };
        Some(content.clean_if(fs_clean != 0))
    })
}
