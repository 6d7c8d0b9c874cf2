//! A boot entry of UEFI firmware: which program on which partition it starts (UEFI 2.10, 3.1.3 and 10.3).

use crate::guid::Guid;
use block::field::{bytes_at, u16_at, u32_at};

/// Characters of a description or path that are kept.
const MOST: usize = 1024;
/// Nodes of a device path that are looked at.
const NODES: usize = 64;

/// What a variable `Boot####` says. Texts are as the firmware keeps them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BootEntry {
    /// The firmware starts it by itself when its turn comes.
    pub active: bool,
    /// Its name in the firmware's menu.
    pub description: String,
    /// The partition that its program lies on; `None`: it names none.
    pub partition: Option<BootPartition>,
    /// The program: `\EFI\debian\shimx64.efi`.
    pub path: Option<String>,
}

/// How a boot entry names a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootPartition {
    /// Its number.
    pub number: u32,
    /// Of which disk or partition.
    pub id: BootId,
}

/// The id by which firmware finds a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootId {
    /// The disk signature of an MBR.
    Mbr(u32),
    /// The unique GUID of a GPT partition.
    Gpt(Guid),
}

impl BootEntry {
    /// From the bytes of an `EFI_LOAD_OPTION`; `None` if they are none.
    pub fn parse(option: &[u8]) -> Option<Self> {
        const LOAD_OPTION_ACTIVE: u32 = 1;
        let attributes = u32_at(option, 0)?;
        let file_path_list_length = usize::from(u16_at(option, 4)?);
        let rest = option.get(6..)?;
        let units = rest.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
        let length = units.clone().position(|unit| unit == 0)?;
        let list = rest.get(length.checked_add(1)?.checked_mul(2)?..)?.get(..file_path_list_length)?;
        let mut entry = Self {
            active: attributes & LOAD_OPTION_ACTIVE != 0,
            description: text(units),
            partition: None,
            path: None,
        };
        entry.follow(list)?;
        Some(entry)
    }

    /// Takes partition and path from a device path.
    fn follow(&mut self, mut list: &[u8]) -> Option<()> {
        const MEDIA: u8 = 4;
        const HARD_DRIVE: u8 = 1;
        const FILE_PATH: u8 = 4;
        const END: u8 = 0x7F;
        for _ in 0..NODES {
            let Some([kind, subtype]) = bytes_at(list, 0) else { return Some(()) };
            let length = usize::from(u16_at(list, 2)?);
            if length < 4 {
                return None;
            }
            let (node, rest) = list.split_at_checked(length)?;
            match (kind, subtype) {
                (END, _) => return Some(()),
                (MEDIA, HARD_DRIVE) => self.partition = hard_drive(node),
                (MEDIA, FILE_PATH) => {
                    let units = node.get(4..)?.as_chunks().0.iter().map(|unit| u16::from_le_bytes(*unit));
                    // A path may be cut into several nodes.
                    let path = self.path.get_or_insert_default();
                    if path.len() < MOST {
                        path.push_str(&text(units));
                    }
                }
                _ => {}
            }
            list = rest;
        }
        Some(())
    }
}

/// UEFI 2.10, 10.3.5.1.
fn hard_drive(node: &[u8]) -> Option<BootPartition> {
    let number = u32_at(node, 4)?;
    let [signature_type] = bytes_at(node, 41)?;
    let id = match signature_type {
        1 => BootId::Mbr(u32_at(node, 24)?),
        2 => BootId::Gpt(Guid(bytes_at(node, 24)?)),
        _ => return None,
    };
    Some(BootPartition { number, id })
}

/// UTF-16 up to its zero.
fn text(units: impl Iterator<Item = u16>) -> String {
    let units = units.take_while(|unit| *unit != 0).take(MOST);
    char::decode_utf16(units).map(|c| c.unwrap_or('\u{FFFD}')).collect()
}

#[cfg(test)]
#[allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
mod tests {
    use super::*;

    fn utf16(text: &str) -> Vec<u8> {
        text.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect()
    }

    fn node(kind: u8, subtype: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len() + 4).unwrap().to_le_bytes();
        [&[kind, subtype], &length[..], body].concat()
    }

    fn hard_drive(signature: [u8; 16], format: u8, kind: u8) -> Vec<u8> {
        let mut body = [&3u32.to_le_bytes()[..], &[0; 16], &signature].concat();
        body.extend([format, kind]);
        node(4, 1, &body)
    }

    /// As efibootmgr writes it for a disk with a GPT.
    fn option(list: &[Vec<u8>]) -> Vec<u8> {
        let list = list.concat();
        let length = u16::try_from(list.len()).unwrap().to_le_bytes();
        [&1u32.to_le_bytes()[..], &length, &utf16("debian"), &list, b"more"].concat()
    }

    #[test]
    fn a_program_on_a_partition() {
        let path = node(4, 4, &utf16(r"\EFI\debian\shimx64.efi"));
        let end = node(0x7F, 0xFF, &[]);
        for (drive, id) in [
            (hard_drive([7; 16], 2, 2), BootId::Gpt(Guid([7; 16]))),
            (hard_drive([7; 16], 1, 1), BootId::Mbr(0x0707_0707)),
        ] {
            let entry = BootEntry::parse(&option(&[drive, path.clone(), end.clone()])).unwrap();
            assert_eq!(entry.path.as_deref(), Some(r"\EFI\debian\shimx64.efi"));
            assert_eq!((entry.active, entry.description.as_str()), (true, "debian"));
            assert_eq!(entry.partition, Some(BootPartition { number: 3, id }));
        }
        // A network card has neither.
        let entry = BootEntry::parse(&option(&[node(3, 11, &[1; 33]), end])).unwrap();
        assert_eq!((entry.partition, entry.path), (None, None));
    }

    #[test]
    fn cut_short_anywhere_it_is_no_panic() {
        let whole = option(&[hard_drive([7; 16], 2, 2), node(4, 4, &utf16("x")), node(0x7F, 0xFF, &[])]);
        for length in 0..whole.len() {
            let _ = BootEntry::parse(&whole[..length]);
        }
        let mut zero_length = whole.clone();
        zero_length[6 + 14 + 2..6 + 14 + 4].fill(0);
        assert_eq!(BootEntry::parse(&zero_length), None);
    }
}
