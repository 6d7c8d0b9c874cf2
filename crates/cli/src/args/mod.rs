//! The command line: what can be typed, in clap's words.

mod values;

use crate::exit;
use block::SectorSize;
use clap::{Args, Parser, Subcommand};
use image::Level;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
pub use values::{Digest, Format, Fs, ProgressMode};

/// Everything that was typed.
#[derive(Debug, Parser)]
#[command(
    name = "selfsame",
    version,
    about = "Bit-for-bit copies of whole disks that anyone can open, check and restore",
    after_help = "SOURCE is a disk (sda, /dev/sda), a backup's folder or an image file (./sda.img).\n\
                  More about one command, with examples: selfsame help save",
    after_long_help = exit::HELP,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100,
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// One row a verb. The hidden aliases are the words that people type too.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// List the disks of this machine: who is who, what is on them, in use by whom
    #[command(alias = "list", after_long_help = help("selfsame disks\nselfsame disks --json"))]
    Disks(DisksArgs),
    /// List the backups in a folder
    #[command(after_long_help = help("selfsame backups /mnt/big"))]
    Backups(BackupsArgs),
    /// Show the layout, region by region, and what each one holds
    #[command(after_long_help = help("selfsame show sda\nselfsame show ./cassandra.img --deep\nselfsame show ./4kn.img --sector-size 4096\n\
                                      selfsame show /mnt/big/cassandra-sda-20261123T092500Z --json"))]
    Show(ShowArgs),
    /// Back up a disk, partition or image file into a new folder
    #[command(aliases = ["backup", "image"],
              after_long_help = help("selfsame save sda /mnt/big --name cassandra\n\
                                      selfsame save sda /mnt/big --dry-run\n\
                                      selfsame save sda /mnt/big --format raw --digest sha256,md5\n\
                                      selfsame save ./old.img /mnt/big --split 4G"))]
    Save(SaveArgs),
    /// Prove a backup intact, or compare it with a disk
    #[command(alias = "check",
              after_long_help = help("selfsame verify /mnt/big/cassandra-sda-20261123T092500Z\n\
                                      selfsame verify BACKUP --expect SEAL\nselfsame verify BACKUP --against sda\n\
                                      selfsame verify BACKUP --files"))]
    Verify(VerifyArgs),
    /// Write a backup to a disk or a new image file
    #[command(aliases = ["write", "flash"],
              after_long_help = help("selfsame restore BACKUP sdb\nselfsame restore BACKUP ./disk.img\n\
                                      selfsame restore BACKUP sdb5 --part 5\n\
                                      selfsame restore BACKUP sdb --yes --target-id 0123456789"))]
    Restore(RestoreArgs),
    /// Copy a disk to a disk, without an image between
    #[command(alias = "copy",
              after_long_help = help("selfsame clone sda sdb\nselfsame clone sda sdb --new-ids\n\
                                      selfsame clone sda sdb --move-backup-gpt\nselfsame clone sda sdb --mend\nselfsame clone ./old.img sdb\n\
                                      selfsame clone sda ./copy.img\n\
                                      selfsame clone sda sdb --yes --target-id 0123456789"))]
    Clone(CloneArgs),
    /// List the files inside a partition; without PART, the partitions
    #[command(after_long_help = help("selfsame ls sda\nselfsame ls ./cassandra.img 5/home -l\n\
                                      selfsame ls /mnt/big/cassandra-sda-20261123T092500Z '2/Documents and Settings' -R\n\
                                      selfsame ls BACKUP '5/home/anna/*.jpg' --json\n\
                                      selfsame ls BACKUP 5/vms/old.img/"))]
    Ls(LsArgs),
    /// Print the content of files
    #[command(after_long_help = help("selfsame cat BACKUP 5/etc/fstab\nselfsame cat ./cassandra.img 2/notes.txt:stream"))]
    Cat(CatArgs),
    /// Copy files out, with all that is known of them
    #[command(alias = "extract",
              after_long_help = help("selfsame get BACKUP 5/home/anna/photo.jpg .\n\
                                      selfsame get -r /mnt/big/cassandra-sda-20261123T092500Z 5/home ./home\n\
                                      selfsame get ./cassandra.img '2/Documents and Settings/*/Desktop/*.doc' ./found\n\
                                      selfsame ls BACKUP 2 --deleted\nselfsame get --deleted BACKUP 2 5123 ./found"))]
    Get(GetArgs),
    /// Give the disk to other programs over NBD, read-only or with changes kept apart
    #[command(after_long_help = help("selfsame serve BACKUP\nselfsame serve BACKUP --socket ./disk.sock\n\
                                      qemu-img convert -O qcow2 'nbd+unix:///?socket=./disk.sock' disk.qcow2\n\
                                      selfsame serve BACKUP --part 2 --listen 127.0.0.1:10809\n\
                                      selfsame serve BACKUP --overlay ./changes --socket ./disk.sock\n\
                                      qemu-system-x86_64 -m 1024 -drive format=raw,file='nbd+unix:///?socket=./disk.sock'"))]
    Serve(ServeArgs),
    /// Show the files and the raw partitions of a disk, backup or image as a read-only folder
    #[command(alias = "browse",
              after_long_help = help("selfsame mount BACKUP ./look\nls ./look/1 ./look/images\n\
                                      mount -o ro,loop ./look/images/cassandra-sda5.ext3 /mnt\n\
                                      selfsame mount sda ./look --allow-other"))]
    Mount(MountArgs),
    /// Will it boot? Start it in a virtual computer, which changes nothing
    #[command(after_long_help = help("selfsame try BACKUP\nselfsame try BACKUP --bios --memory 512\n\
                                      selfsame try sda\nselfsame try BACKUP --headless | tee serial.log"))]
    Try(TryArgs),
    /// Partition, format and label a disk that is to keep backups
    #[command(after_long_help = help("selfsame prepare sdb --label 'cassandra backup' --mount /mnt/big\n\
                                      selfsame prepare sdb --fs exfat\n\
                                      selfsame prepare sdb --yes --target-id 0123456789"))]
    Prepare(PrepareArgs),
    /// Write the man pages into a folder
    #[command(hide = true)]
    Man(ManArgs),
}

/// Examples, then the exit codes.
fn help(examples: &str) -> String {
    let examples: Vec<_> = examples.lines().map(|line| format!("  {}", line.trim())).collect();
    format!("Examples:\n{}\n\n{}", examples.join("\n"), exit::HELP)
}

/// `disks`.
#[derive(Debug, Args)]
pub struct DisksArgs {
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `backups`.
#[derive(Debug, Args)]
pub struct BackupsArgs {
    /// The folder that holds backups
    pub dir: PathBuf,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// A disk, a backup's folder or an image file
    pub source: PathBuf,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// Read gaps and unrecognised regions whole, not only ends and samples
    #[arg(long)]
    pub deep: bool,
    /// How much of each filesystem is in use, by its own map of what is free
    #[arg(long)]
    pub map: bool,
    /// Name the files that sectors hit which could not be read; reads all files of those partitions
    #[arg(long, conflicts_with = "deep")]
    pub lost: bool,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// How a job reports.
#[derive(Clone, Copy, Debug, Args)]
pub struct JobArgs {
    /// Print one JSON document when it is over
    #[arg(long)]
    pub json: bool,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub progress: ProgressMode,
}

/// How a disk that will be written is confirmed where nobody can be asked.
#[derive(Clone, Debug, Default, Args)]
pub struct ConfirmArgs {
    /// Do not ask; needs --target-id
    #[arg(long)]
    pub yes: bool,
    /// The ID of the disk to write to, as `selfsame disks` prints it
    #[arg(long, value_name = "ID")]
    pub target_id: Option<String>,
}

/// `save`.
#[derive(Debug, Args)]
pub struct SaveArgs {
    /// What to copy FROM: a disk, a partition, an LVM, md or dm volume, or an image file
    pub source: PathBuf,
    /// The folder in which the backup's own folder is made; itself made if its parent exists
    pub dest: PathBuf,
    /// The machine's name, for the folder and its files [default: the host's name]
    #[arg(long)]
    pub name: Option<String>,
    /// How it is kept
    #[arg(long, value_enum, default_value = "zst")]
    pub format: Format,
    /// One file of the whole disk instead of one for each partition
    #[arg(long, conflicts_with = "part")]
    pub whole: bool,
    /// Of compression: 1 to 19, or auto: as hard as the slower disk leaves time for
    #[arg(long, value_name = "N|auto", default_value = "1", value_parser = values::level)]
    pub level: Level,
    /// More digests, of the whole disk and of each file
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST")]
    pub digest: Vec<Digest>,
    /// Only these partitions and what makes the disk one
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub part: Option<Vec<u32>>,
    /// Leave out what the filesystems do not use: what is restored holds the same files, not the same bits
    #[arg(long)]
    pub skip_free: bool,
    /// No file larger than this: 4G, 700M
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    pub split: Option<u64>,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// A note to keep with it
    #[arg(long, value_name = "TEXT")]
    pub note: Option<String>,
    /// Copy although it is mounted read-write: the copy may be torn
    #[arg(long)]
    pub live: bool,
    /// Leave out reading back and checking what was stored
    #[arg(long)]
    pub no_check: bool,
    /// Print the plan and the space needed, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Output.
    #[command(flatten)]
    pub job: JobArgs,
}

/// `verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The backup's folder
    pub backup: PathBuf,
    /// The seal that `save` printed: proves that it is this very backup
    #[arg(long, value_name = "SEAL")]
    pub expect: Option<String>,
    /// Also read every file of every filesystem in it
    #[arg(long)]
    pub files: bool,
    /// Also say where a disk or image file differs from it: in files or metadata, free space, journals, the
    /// partition table
    #[arg(long, value_name = "DISK|IMAGE")]
    pub against: Option<PathBuf>,
    /// Output.
    #[command(flatten)]
    pub job: JobArgs,
}

/// `restore`.
#[derive(Debug, Args)]
pub struct RestoreArgs {
    /// The backup's folder, to copy FROM
    pub backup: PathBuf,
    /// The disk or new image file to write TO [default: the disk it came from, if it is here]
    pub target: Option<PathBuf>,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub part: Option<u32>,
    /// Confirmation.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    /// Overwrite an image file that exists
    #[arg(long)]
    pub force: bool,
    /// Leave out reading back and comparing what was written
    #[arg(long)]
    pub no_check: bool,
    /// On a larger disk, move the backup GPT to its end
    #[arg(long, conflicts_with = "part")]
    pub move_backup_gpt: bool,
    /// Output.
    #[command(flatten)]
    pub job: JobArgs,
}

/// `clone`.
#[derive(Debug, Args)]
pub struct CloneArgs {
    /// What to copy FROM: a disk, a partition, a volume, or an image file
    pub source: PathBuf,
    /// The disk or new image file to write TO
    pub target: PathBuf,
    /// Give the copy a disk id and partition GUIDs of its own, so that both can be in one machine
    #[arg(long)]
    pub new_ids: bool,
    /// On a larger disk, move the backup GPT to its end
    #[arg(long)]
    pub move_backup_gpt: bool,
    /// Compare the two disks and write only what differs
    #[arg(long, conflicts_with = "live")]
    pub mend: bool,
    /// Confirmation.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    /// Overwrite an image file that exists
    #[arg(long)]
    pub force: bool,
    /// Copy although it is mounted read-write: the copy may be torn
    #[arg(long)]
    pub live: bool,
    /// Leave out reading back and comparing what was written
    #[arg(long)]
    pub no_check: bool,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// Output.
    #[command(flatten)]
    pub job: JobArgs,
}

/// `ls`.
#[derive(Debug, Args)]
pub struct LsArgs {
    /// A disk, a backup's folder or an image file
    pub source: PathBuf,
    /// The partition as the kernel counts (0: a disk without partitions; 3:root: a logical volume in it) and the
    /// path in it; `*`, `?` and `[..]` match names. A path goes on into a disk image: `5/vms/old.img/1/home`;
    /// with a slash behind the image its partitions are listed
    #[arg(value_name = "PART[/PATH]")]
    pub locator: Option<OsString>,
    /// Mode, links, owner, group, size and time (UTC), targets of links, streams, and what of a file was never read
    #[arg(short, long)]
    pub long: bool,
    /// Also what is in folders
    #[arg(short = 'R', long)]
    pub recursive: bool,
    /// Deleted files instead: whether their bytes are intact, partial or overwritten, and their ids for `get`
    #[arg(long, requires = "locator", conflicts_with_all = ["long", "recursive"])]
    pub deleted: bool,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// Print one JSON document
    #[arg(long)]
    pub json: bool,
}

/// `cat`.
#[derive(Debug, Args)]
pub struct CatArgs {
    /// A disk, a backup's folder or an image file
    pub source: PathBuf,
    /// The partition, the path in it, and a stream if one is wanted
    #[arg(value_name = "PART/PATH[:STREAM]", required = true)]
    pub files: Vec<OsString>,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
}

/// `get`.
#[derive(Debug, Args)]
pub struct GetArgs {
    /// A disk, a backup's folder or an image file
    pub source: PathBuf,
    /// What to copy: the partition and the path in it; `*`, `?` and `[..]` match names. Then OUT: a folder that
    /// exists, to copy into, or a new name
    #[arg(value_name = "PART/PATH... OUT", required = true, num_args = 2..)]
    pub paths: Vec<OsString>,
    /// Also folders, with all that is in them
    #[arg(short, long)]
    pub recursive: bool,
    /// Deleted files instead: PART, then their ids as `ls --deleted` prints them (none: all that is left), then OUT
    #[arg(long, conflicts_with_all = ["recursive", "streams", "devices"])]
    pub deleted: bool,
    /// Replace files that exist
    #[arg(long)]
    pub force: bool,
    /// Also streams, each as a file NAME:STREAM
    #[arg(long)]
    pub streams: bool,
    /// Also named pipes and device nodes; needs root
    #[arg(long)]
    pub devices: bool,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// Output.
    #[command(flatten)]
    pub job: JobArgs,
}

impl GetArgs {
    /// Where to.
    pub fn out(&self) -> &Path {
        // clap takes at least two.
        self.paths.last().map_or(Path::new("."), Path::new)
    }

    /// What.
    pub fn what(&self) -> &[OsString] {
        self.paths.split_last().map_or(&[], |(_, what)| what)
    }
}

/// `serve`.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// A backup's folder, a disk or an image file
    pub source: PathBuf,
    /// Only this partition
    #[arg(long, value_name = "N")]
    pub part: Option<u32>,
    /// Take writes, and keep them in this file; what is served is not changed
    #[arg(long, value_name = "FILE", conflicts_with = "part")]
    pub overlay: Option<PathBuf>,
    /// The socket to be made [default: in the folder for such things of this user]
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,
    /// A port of this machine instead of a socket
    #[arg(long, value_name = "ADDRESS:PORT", conflicts_with = "socket")]
    pub listen: Option<SocketAddr>,
    /// Serve a disk although it is mounted read-write: what is read may be torn
    #[arg(long)]
    pub live: bool,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
    /// Print one JSON document when it is ready
    #[arg(long)]
    pub json: bool,
}

/// `mount`.
#[derive(Debug, Args)]
pub struct MountArgs {
    /// A backup's folder, a disk or an image file
    pub source: PathBuf,
    /// An empty folder to mount at
    pub dir: PathBuf,
    /// Other users may look too, as far as owners and modes of the files let them
    #[arg(long)]
    pub allow_other: bool,
    /// Mount a disk although it is mounted read-write: what is read may be torn
    #[arg(long)]
    pub live: bool,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
}

/// `try`.
#[derive(Debug, Args)]
pub struct TryArgs {
    /// A backup's folder, a disk or an image file
    pub source: PathBuf,
    /// By UEFI firmware [default: if it has an EFI system partition]
    #[arg(long, conflicts_with = "bios")]
    pub uefi: bool,
    /// By a BIOS
    #[arg(long)]
    pub bios: bool,
    /// MiB of memory
    #[arg(long, value_name = "MIB", default_value = "2048", value_parser = clap::value_parser!(u32).range(16..))]
    pub memory: u32,
    /// No window; its serial line goes to standard output as it comes
    #[arg(long)]
    pub headless: bool,
    /// Without KVM: slow, and works everywhere
    #[arg(long)]
    pub emulate: bool,
    /// Start a disk although it is mounted read-write: what is read may be torn
    #[arg(long)]
    pub live: bool,
    /// Bytes of a sector of an image file [default: as it shows, else 512]
    #[arg(long, value_name = "512|4096", value_parser = values::sector_size)]
    pub sector_size: Option<SectorSize>,
}

/// `prepare`.
#[derive(Debug, Args)]
pub struct PrepareArgs {
    /// The disk to write TO; all that it holds is lost
    pub disk: String,
    /// The filesystem
    #[arg(long, value_enum, default_value = "ext4")]
    pub fs: Fs,
    /// The filesystem's label; shortened to 16 bytes (ext4) or 11 characters (exfat)
    #[arg(long, value_name = "TEXT", default_value = "backup")]
    pub label: String,
    /// Mount it at this folder, which exists
    #[arg(long, value_name = "DIR")]
    pub mount: Option<PathBuf>,
    /// Confirmation.
    #[command(flatten)]
    pub confirm: ConfirmArgs,
    /// Output.
    #[command(flatten)]
    pub job: JobArgs,
}

/// `man`.
#[derive(Debug, Args)]
pub struct ManArgs {
    /// A folder that exists
    pub dir: PathBuf,
}

impl Verb {
    /// Does the answer go out as JSON?
    pub fn json(&self) -> bool {
        match self {
            Self::Disks(args) => args.json,
            Self::Backups(args) => args.json,
            Self::Show(args) => args.json,
            Self::Save(args) => args.job.json,
            Self::Verify(args) => args.job.json,
            Self::Restore(args) => args.job.json,
            Self::Clone(args) => args.job.json,
            Self::Ls(args) => args.json,
            Self::Get(args) => args.job.json,
            Self::Serve(args) => args.json,
            Self::Prepare(args) => args.job.json,
            Self::Mount(_) | Self::Try(_) | Self::Cat(_) | Self::Man(_) => false,
        }
    }

    /// Does it go into filesystems of strangers?
    pub fn reads_files(&self) -> bool {
        match self {
            Self::Ls(_) | Self::Cat(_) | Self::Get(_) | Self::Mount(_) => true,
            Self::Show(args) => args.lost,
            Self::Verify(args) => args.files,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_words_that_people_type_work_too() {
        for line in [
            "list",
            "extract a 1/b c",
            "backup a b",
            "image a b",
            "check x",
            "write x sdb",
            "flash x sdb",
            "copy sda sdb",
        ] {
            let words = std::iter::once("selfsame").chain(line.split(' '));
            assert!(Cli::try_parse_from(words).is_ok(), "{line}");
        }
    }
}
