//! Does a disk fit onto a smaller one? If not: which partition sticks out, by how much, and how it is shrunk.

use crate::survey::Survey;
use block::{ByteRange, SectorSize};
use disk::probe::Content;
use disk::{Partition, Table};

/// How the disk is called in commands.
pub(crate) struct Device(pub(crate) String);

impl Device {
    /// An image file has partitions only as a loop device.
    pub(crate) const LOOP: &str = "/dev/loopN";

    /// `/dev/sda` and 1 give `/dev/sda1`.
    fn partition(&self, number: u32) -> String {
        let digit = self.0.ends_with(|c: char| c.is_ascii_digit()) || self.0 == Self::LOOP;
        let p = if digit { "p" } else { "" };
        format!("{}{p}{number}", self.0)
    }
}

/// Why what `survey` tells of does not fit onto `have` bytes, each a sentence; none: it fits, if the GPT is
/// written for the new size. `device`: where the disk can be shrunk.
pub(crate) fn onto_smaller(survey: &Survey, have: u64, device: &Device) -> Vec<String> {
    let layout = &survey.layout;
    let short = layout.size.saturating_sub(have);
    if let Some(why) = &layout.must_be_whole {
        return vec![format!(
            "the target is too small by {short} bytes, and this disk cannot be cut: {why}: take a larger one"
        )];
    }
    let end = match &layout.table {
        Table::Gpt(gpt) => gpt.usable_end(layout.sector, have),
        Table::Mbr(_) => have,
        Table::None => {
            let content = survey.regions.first().and_then(|region| region.content.as_ref());
            let what = content.map_or("it has no partition table".to_owned(), |c| {
                format!("it is one {} without a partition table", c.title)
            });
            return vec![format!("the target is too small by {short} bytes: {what}: take a larger one")];
        }
    };
    let mut out: Vec<&Partition> = layout.partitions.iter().filter(|p| p.range.end() > end).collect();
    // What lies in an extended partition is shrunk before it.
    out.sort_by_key(|partition| partition.extended);
    out.into_iter().map(|partition| sticks_out(survey, partition, end, device)).collect()
}

fn sticks_out(survey: &Survey, partition: &Partition, end: u64, device: &Device) -> String {
    let Partition { number, range, extended, .. } = partition;
    let over = range.end().saturating_sub(end);
    let region = survey.regions.iter().find(|region| region.region.range == *range);
    let content = region.and_then(|region| region.content.as_ref());
    let what = match content {
        _ if *extended => " (extended)".to_owned(),
        Some(content) => format!(" ({})", content.title),
        None => String::new(),
    };
    if range.start() >= end {
        return format!(
            "partition {number}{what} lies beyond the end of the target: move it forward with a partition editor, \
             or take a larger disk"
        );
    }
    let room = ByteRange::span(range.start(), end);
    let how = how_to_shrink(content, *extended, &device.partition(*number), room, survey.layout.sector);
    let table =
        format!("`echo ',{}' | sfdisk -N {number} {}`", room.len() / survey.layout.sector.bytes(), device.0);
    let how = match how {
        Shrunk::By(command) => format!("shrink it: {command}, then {table}"),
        Shrunk::Table => format!("shrink it: {table}"),
        Shrunk::Not(why) => format!("{why}: take a larger disk"),
    };
    format!("partition {number}{what} sticks out by {over} bytes; {how}")
}

/// How what lies in a partition is made smaller.
enum Shrunk {
    /// By this command; then the partition.
    By(String),
    /// Nothing in it needs to be.
    Table,
    /// For this reason.
    Not(String),
}

fn how_to_shrink(
    content: Option<&Content>,
    extended: bool,
    path: &str,
    room: ByteRange,
    sector: SectorSize,
) -> Shrunk {
    // To whole MiB, which all of them can.
    let bytes = (room.len() - room.len() % (1 << 20)).max(sector.bytes());
    let mib = bytes >> 20;
    let Some(content) = content.filter(|_| !extended) else {
        return match extended {
            true => Shrunk::Table,
            false => Shrunk::Not("nothing is recognised in it that could be shrunk".to_owned()),
        };
    };
    let exact = matches!(content.type_name, "ext2" | "ext3" | "ext4" | "xfs");
    if exact && content.size.is_some_and(|size| size <= room.len()) {
        return Shrunk::Table; // it is smaller than its partition already
    }
    match content.type_name {
        "ext2" | "ext3" | "ext4" => Shrunk::By(format!("`e2fsck -f {path}` and `resize2fs {path} {mib}M`")),
        "ntfs" => Shrunk::By(format!("`ntfsresize --size {bytes} {path}`")),
        "btrfs" => Shrunk::By(format!("mount it and `btrfs filesystem resize {mib}M DIR`")),
        "vfat" => Shrunk::By(format!("`fatresize -s {bytes} {path}`")),
        "swap" => Shrunk::By(format!("`swapoff {path}` (and `mkswap {path}` afterwards)")),
        "LVM2_member" => Shrunk::By(format!("`pvresize --setphysicalvolumesize {mib}M {path}`")),
        "xfs" => Shrunk::Not("XFS cannot shrink".to_owned()),
        _ => Shrunk::Not(format!("{} cannot be shrunk by a command that we know", content.title)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use disk::probe::Usage;

    fn content(type_name: &'static str, size: Option<u64>) -> Content {
        Content {
            type_name,
            title: type_name.to_uppercase(),
            usage: Usage::Filesystem,
            label: None,
            label_bytes: None,
            uuid: None,
            version: None,
            size,
            free: None,
            states: vec![],
            also: vec![],
        }
    }

    const ROOM: u64 = (100 << 20) + 700;

    fn said(content: Option<&Content>, extended: bool) -> String {
        let room = ByteRange::span(1 << 20, (1 << 20) + ROOM);
        match how_to_shrink(content, extended, "/dev/sda1", room, SectorSize::B512) {
            Shrunk::By(command) => command,
            Shrunk::Table => "table".to_owned(),
            Shrunk::Not(why) => why,
        }
    }

    #[test]
    fn each_filesystem_has_its_command_or_none() {
        for (kind, command) in [
            ("ext4", "`e2fsck -f /dev/sda1` and `resize2fs /dev/sda1 100M`"),
            ("ntfs", "`ntfsresize --size 104857600 /dev/sda1`"),
            ("btrfs", "mount it and `btrfs filesystem resize 100M DIR`"),
            ("xfs", "XFS cannot shrink"),
            ("crypto_LUKS", "CRYPTO_LUKS cannot be shrunk by a command that we know"),
        ] {
            assert_eq!(said(Some(&content(kind, None)), false), command);
            assert_eq!(said(Some(&content(kind, Some(ROOM + 1))), false), command);
        }
        assert_eq!(said(Some(&content("ext4", Some(ROOM))), false), "table", "it is small enough");
        assert_ne!(said(Some(&content("btrfs", Some(1))), false), "table", "it may have more devices");
        assert_eq!(said(None, true), "table");
        assert_eq!(said(None, false), "nothing is recognised in it that could be shrunk");
    }

    #[test]
    fn partitions_are_called_as_the_kernel_does() {
        let disks = ["/dev/sda", "/dev/nvme0n1", Device::LOOP];
        let names = disks.map(|disk| Device(disk.to_owned()).partition(2));
        assert_eq!(names, ["/dev/sda2", "/dev/nvme0n1p2", "/dev/loopNp2"]);
    }
}
