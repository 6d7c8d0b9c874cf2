//! Writes inputs to begin with into the folder `corpus`: right files, which mutation alone does not find.

use selfsame_fuzz::build::backup;
use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let made = backup();
    let seed = |target: &str, bytes: &[u8]| {
        let folder = Path::new("corpus").join(target);
        fs::create_dir_all(&folder)?;
        fs::write(folder.join("seed"), bytes)
    };
    seed("manifest", &made.files["manifest.json"])?;
    seed("sums", &made.files["SHA256SUMS"])?;
    seed("mapfile", b"0x0 + 1\n0x0 0x200 +\n0x200 0x400 -\n0x600 0xA00 ?\n")?;
    seed("seek_table", &made.files["t.zst"][made.frames_end as usize..])?;
    let stored = &made.files["t.zst"][..made.frames_end as usize];
    seed("frame", &[&[0, 0, 2], stored].concat())?;
    let disk = testkit::sample::disk();
    seed("layout", &[&[1], &disk[..65_536]].concat())?;
    seed("identify", &disk[63 * 512..][..65_536])?;
    seed("deleted", &disk[63 * 512..][..65_536])?;
    seed("esp", &disk[63 * 512..][..65_536])
}
