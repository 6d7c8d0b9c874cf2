//! Values of options as they are typed.

use block::SectorSize;
use clap::ValueEnum;
use image::Level;

/// A number of bytes: `700M`, `4GiB`, `1000000`, `25GB`. Letters alone and `iB` count in 1024, `B` in 1000,
/// as dd does.
pub(super) fn size(typed: &str) -> Result<u64, String> {
    let digits = typed.find(|c: char| !c.is_ascii_digit()).unwrap_or(typed.len());
    let (number, unit) = typed.split_at(digits);
    let (letter, base) = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => return number.parse().map_err(|_| usage(typed)),
        unit => match unit.strip_suffix("IB").or(unit.strip_suffix('B')) {
            Some(letter) if !unit.ends_with("IB") => (letter.to_owned(), 1000_u64),
            Some(letter) => (letter.to_owned(), 1024),
            None => (unit.to_owned(), 1024),
        },
    };
    let power = ["K", "M", "G", "T", "P"].iter().position(|known| *known == letter);
    let power = power.and_then(|power| u32::try_from(power).ok()).ok_or_else(|| usage(typed))?;
    let number: u64 = number.parse().map_err(|_| usage(typed))?;
    number.checked_mul(base.pow(power + 1)).ok_or_else(|| usage(typed))
}

/// Bytes of a sector: of nearly all disks, or of those that are called 4Kn.
pub(super) fn sector_size(typed: &str) -> Result<SectorSize, String> {
    match typed {
        "512" => Ok(SectorSize::B512),
        "4096" => Ok(SectorSize::B4096),
        _ => Err("a sector has 512 or 4096 bytes".to_owned()),
    }
}

/// zstd's, without its ultra levels, or the one that there is time for.
pub(super) fn level(typed: &str) -> Result<Level, String> {
    match typed.parse() {
        Ok(level) if (1..=19).contains(&level) => Ok(Level::Fixed(level)),
        Err(_) if typed == "auto" => Ok(Level::Auto),
        _ => Err("a level is 1 to 19, or auto".to_owned()),
    }
}

fn usage(typed: &str) -> String {
    format!("{typed:?} is not a size: write 700M, 4G, 25GB or a number of bytes")
}

/// How stored files are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Compressed; `zstd -d` opens it.
    Zst,
    /// As they are, sparse; the kernel can loop-mount them.
    Raw,
}

/// Filesystems of a disk for backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Fs {
    /// For Linux: files of any size, holes.
    Ext4,
    /// That Windows and macOS read too.
    Exfat,
}

impl From<Fs> for engine::NewFs {
    fn from(fs: Fs) -> Self {
        match fs {
            Fs::Ext4 => Self::Ext4,
            Fs::Exfat => Self::Exfat,
        }
    }
}

/// Digests for comparison with other tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Digest {
    /// What sha256sum prints.
    Sha256,
    /// What sha1sum prints.
    Sha1,
    /// What md5sum prints.
    Md5,
    /// What b3sum prints.
    Blake3,
}

/// How progress is shown on stderr.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProgressMode {
    /// A bar on a terminal, else plain.
    #[default]
    Auto,
    /// A line every few seconds.
    Plain,
    /// One JSON object per line.
    Json,
    /// Nothing but messages.
    None,
}

#[cfg(test)]
mod tests {
    use super::{level, size};
    use image::Level;

    #[test]
    fn levels_of_zstd_or_auto() {
        assert_eq!(level("1"), Ok(Level::Fixed(1)));
        assert_eq!(level("19"), Ok(Level::Fixed(19)));
        assert_eq!(level("auto"), Ok(Level::Auto));
        for typed in ["0", "20", "-1", "", "Auto", "99999999999"] {
            assert!(level(typed).is_err(), "{typed}");
        }
    }

    #[test]
    fn sizes_as_dd_reads_them() {
        let cases =
            [("512", 512), ("4k", 4096), ("700M", 700 << 20), ("4GiB", 4 << 30), ("25GB", 25_000_000_000)];
        for (typed, bytes) in cases {
            assert_eq!(size(typed), Ok(bytes), "{typed}");
        }
        for typed in ["", "G", "4X", "-1", "1.5G", "4 G", "99999999P", "iB", "4IBB"] {
            assert!(size(typed).is_err(), "{typed}");
        }
    }
}
