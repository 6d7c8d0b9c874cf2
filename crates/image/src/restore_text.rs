//! RESTORE.txt: how to restore this disk with `zstd`, `dd` and `sfdisk`, in thirty years if need be.
//!
//! The lines that are indented by four spaces are a script for `sh`, to be run in the backup's folder; a
//! test runs them. All of them go by names of FORMAT 1, which need no quotes.

use crate::{Encoding, FileInfo, Manifest, RegionInfo, Sums, TableKind};
use block::{Role, SectorSize};
use std::fmt::{self, Display, Write};

/// The text for a finished manifest.
pub fn restore_text(manifest: &Manifest) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write!(text, "{}", Text(manifest));
    text
}

struct Text<'a>(&'a Manifest);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.what_it_is(f)?;
        self.what_is_missing(f)?;
        self.how_to_write(f)
    }
}

impl Text<'_> {
    fn what_it_is(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let disk = &self.0.disk;
        // What a drive says of itself is quoted, so that it cannot look like a line of ours.
        writeln!(f, "RESTORE {}\n", self.0.name)?;
        writeln!(f, "This folder holds a bit-for-bit copy of a disk of {} bytes", disk.size)?;
        writeln!(f, "(sectors of {} bytes), saved from {:?},", disk.sector_size, disk.source)?;
        writeln!(f, "model {:?}, serial {:?},", disk.model, disk.serial)?;
        writeln!(f, "made by {:?}, begun {}.", self.0.program, self.0.started)?;
        writeln!(f, "That program checks while it restores. It is not needed: the files are ordinary,")?;
        writeln!(f, "and the indented lines below restore the disk with sh, zstd, dd and sfdisk.\n")?;
        writeln!(f, "  .zst            is for zstd -d")?;
        writeln!(f, "  .000, .001, ..  are one file in parts, to be joined in this order")?;
        writeln!(f, "  {}   says which bytes of the disk each file holds\n", crate::MANIFEST)
    }

    fn what_is_missing(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bad = self.0.totals.map_or(0, |totals| totals.bad);
        if bad > 0 {
            writeln!(f, "NOT ALL COULD BE READ: {bad} bytes on bad sectors are zeroes in these files.")?;
            writeln!(f, "{}.map lists them.\n", self.0.name)?;
        }
        let free: u64 = self.0.free_space.iter().flatten().map(|volume| volume.absent).sum();
        if free > 0 {
            writeln!(
                f,
                "FREE SPACE WAS LEFT OUT: {free} bytes that no filesystem used are zeroes in these files."
            )?;
            writeln!(f, "What is restored holds the same files; it is not the same disk bit for bit.\n")?;
        }
        let mut left_out = self.0.regions.iter().filter(|region| region.file.is_none()).peekable();
        if left_out.peek().is_some() {
            writeln!(f, "LEFT OUT, not in this backup; what is there on the target stays as it is:")?;
            left_out.try_for_each(|region| writeln!(f, "  {}", self.place(region)))?;
            writeln!(f)?;
        }
        Ok(())
    }

    fn how_to_write(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "1. Which disk is to be overwritten? ALL THAT IS ON IT WILL BE LOST. `lsblk -d -o")?;
        writeln!(
            f,
            "   NAME,SIZE,MODEL,SERIAL` shows what there is. It needs {} bytes at least,",
            self.0.disk.size
        )?;
        writeln!(f, "   sectors of {} bytes, and nothing of it may be mounted.\n", self.0.disk.sector_size)?;
        writeln!(f, "    TARGET=/dev/sdX\n")?;
        writeln!(f, "2. Is the backup intact? Every line must end in OK; else stop here.\n")?;
        writeln!(f, "    sha256sum -c {}\n", Sums::NAME)?;
        writeln!(f, "3. Write, as root, in this folder. Stop if a command says anything. The first sectors")?;
        writeln!(f, "   come last: a blank disk stays blank to all programs until it is whole.\n")?;
        let (last, first): (Vec<_>, Vec<_>) =
            self.0.files.iter().enumerate().partition(|(number, _)| {
                self.regions_of(*number).next().is_some_and(|region| region.start == 0)
            });
        for (number, file) in first.into_iter().chain(last) {
            self.write_file(f, number, file)?;
        }
        writeln!(f, "    sync\n")?;
        if self.0.table.kind != TableKind::None {
            writeln!(f, "4. This shows the partitions.\n")?;
            writeln!(f, "    sfdisk -l \"$TARGET\"\n")?;
        }
        writeln!(f, "On a larger disk the rest stays unused.")?;
        if self.0.table.kind == TableKind::Gpt {
            writeln!(f, "There `sfdisk --relocate gpt-bak-std` moves the backup table to the end.")?;
        }
        Ok(())
    }

    fn write_file(&self, f: &mut fmt::Formatter<'_>, number: usize, file: &FileInfo) -> fmt::Result {
        let names = if file.parts.is_empty() {
            file.name.clone()
        } else {
            file.parts.iter().map(|part| part.name.as_str()).collect::<Vec<_>>().join(" ")
        };
        let plain = match (file.encoding, file.parts.len()) {
            (Encoding::Zst, 0 | 1) => format!("zstd -dc {names}"),
            (Encoding::Zst, _) => format!("cat {names} | zstd -dc"),
            (Encoding::Raw, _) => format!("cat {names}"),
        };
        let regions: Vec<_> = self.regions_of(number).collect();
        regions.iter().try_for_each(|region| writeln!(f, "   {}:", self.place(region)))?;
        match regions.as_slice() {
            [region] => writeln!(f, "\n    {plain} | {}\n", dd("bs=1M iflag=fullblock", region, ",fsync")),
            regions => {
                writeln!(f, "\n    {plain} | {{")?;
                for region in regions {
                    // 64 KiB: many of them are one sector.
                    let count = format!("bs=64K iflag=fullblock,count_bytes count={}", region.length);
                    writeln!(f, "        {}", dd(&count, region, ""))?;
                }
                writeln!(f, "    }}\n")
            }
        }
    }

    /// In disk order, which is the order in the stored file.
    fn regions_of(&self, file: usize) -> impl Iterator<Item = &RegionInfo> {
        self.0.regions.iter().filter(move |region| region.file == Some(file))
    }

    /// "partition 2, sectors 63 to 4095".
    fn place(&self, region: &RegionInfo) -> String {
        let role = match region.role() {
            Role::Tail => "end of the disk".to_owned(),
            Role::Preamble => "beginning of the disk".to_owned(),
            role => role.to_string(),
        };
        let sector = SectorSize::new(self.0.disk.sector_size).unwrap_or(SectorSize::B512);
        let (first, last) = (sector.lba(region.start), sector.lba(region.range().end().saturating_sub(1)));
        if first == last {
            format!("{role}, sector {first}")
        } else {
            format!("{role}, sectors {first} to {last}")
        }
    }
}

/// dd from a pipe to the place of a region on the target, which exists: a name mistyped makes no file.
fn dd(input: &str, region: &RegionInfo, flush: &str) -> String {
    let seek = region.start;
    format!("dd of=\"$TARGET\" {input} oflag=seek_bytes seek={seek} conv=notrunc,nocreat{flush} status=none")
}
