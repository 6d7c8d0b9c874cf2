//! `ls`, `cat` and `get`, run as a user runs them, on filesystems that mke2fs made and debugfs spoiled.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods)]
#![allow(clippy::print_stdout)]

mod marked;

use block::ByteRange;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

/// Where the only partition of a disk begins, in sectors.
const FIRST: u64 = 2048;

struct Lab {
    dir: tempfile::TempDir,
}

impl Lab {
    /// A disk with one ext4 partition that holds the tree which `grow` makes; `None` where mke2fs is missing.
    fn new(test: &str, grow: impl Fn(&Path)) -> Option<Self> {
        if !testkit::tools::has(test, &["mkfs.ext4", "debugfs"]) {
            return None;
        }
        let lab = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(lab.at("tree")).unwrap();
        grow(&lab.at("tree"));
        File::create(lab.at("part")).unwrap().set_len(32 << 20).unwrap();
        lab.sh("mkfs.ext4 -q -F -b 4096 -d tree part");
        // mke2fs keeps whole seconds only: 123456789 ns, shifted by the two bits of the epoch.
        lab.sh("debugfs -w -R 'sif home/anna/note.txt mtime_extra 493827156' part 2>/dev/null");
        Some(lab)
    }

    /// The partition behind a table.
    fn disk(self) -> Self {
        let mut sector = [0; 512];
        let sectors = u32::try_from((32_u64 << 20) / 512).unwrap().to_le_bytes();
        sector[446 + 4] = 0x83;
        sector[446 + 8..446 + 12].copy_from_slice(&u32::try_from(FIRST).unwrap().to_le_bytes());
        sector[446 + 12..446 + 16].copy_from_slice(&sectors);
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        let disk = File::create(self.at("disk.img")).unwrap();
        disk.write_all_at(&sector, 0).unwrap();
        disk.write_all_at(&fs::read(self.at("part")).unwrap(), FIRST * 512).unwrap();
        self
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn sh(&self, script: &str) -> Output {
        let output = Command::new("sh").current_dir(self.dir.path()).args(["-ec", script]).output().unwrap();
        assert!(output.status.success(), "{script}: {}", text(&output.stderr));
        output
    }

    fn run(&self, words: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_selfsame"));
        command.current_dir(self.dir.path()).args(words).output().unwrap()
    }

    /// Its standard output; fails unless it ends with `code`.
    fn said(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
        text(&output.stdout).to_owned()
    }

    /// All that is below a folder, by path.
    fn below(&self, name: &str) -> Vec<String> {
        let output = self.sh(&format!("cd '{name}'; find . -mindepth 1 | sort"));
        text(&output.stdout).lines().map(str::to_owned).collect()
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

fn small(tree: &Path) {
    fs::create_dir_all(tree.join("home/anna/deep")).unwrap();
    fs::write(tree.join("home/anna/note.txt"), "hello\n").unwrap();
    fs::write(tree.join("home/anna/one.jpg"), vec![7; 400_000]).unwrap();
    fs::write(tree.join("home/anna/two.jpg"), vec![8; 100]).unwrap();
    fs::hard_link(tree.join("home/anna/note.txt"), tree.join("home/anna/deep/same")).unwrap();
    symlink("anna/note.txt", tree.join("home/link")).unwrap();
    symlink("/home/anna", tree.join("anna")).unwrap();
    fs::write(tree.join("paint\u{1b}[2J\u{202e}"), "x").unwrap();
    let mut sparse = File::create(tree.join("sparse")).unwrap();
    sparse.seek(SeekFrom::Start(8 << 20)).unwrap();
    sparse.write_all(b"end").unwrap();
    fs::set_permissions(tree.join("home/anna"), fs::Permissions::from_mode(0o2750)).unwrap();
    // A little before 2002, with nanoseconds.
    testkit::tools::run(
        "touch -d '2001-12-31 23:59:58.123456789 UTC' \"$F\"",
        &tree.join("home/anna/note.txt"),
    );
}

#[test]
fn partitions_and_files_are_listed() {
    let Some(lab) = Lab::new("partitions_and_files_are_listed", small).map(Lab::disk) else { return };
    let parts = lab.said(0, &["ls", "./disk.img"]);
    assert!(parts.contains("\n1     32.0 MiB  ext4"), "{parts}");
    assert!(lab.said(0, &["ls", "./part"]).contains("\n0     32.0 MiB  ext4"));
    assert_eq!(lab.said(0, &["ls", "./disk.img", "1/home"]), "anna\nlink\n");
    assert_eq!(lab.said(0, &["ls", "./disk.img", "1/anna/"]), lab.said(0, &["ls", "./part", "0/home/anna"]));
    assert_eq!(lab.said(0, &["ls", "./part", "0/home/anna/*.jpg"]), "home/anna/one.jpg\nhome/anna/two.jpg\n");
    let long = lab.said(0, &["ls", "-l", "./part", "0/home"]);
    assert!(long.starts_with("drwxr-s--- 3 "), "{long}");
    assert!(long.contains(" link -> anna/note.txt\n"), "{long}");
    let note = lab.said(0, &["ls", "-l", "./part", "0/home/anna/note.txt"]);
    assert!(note.contains(" 2 ") && note.contains(" 6 2001-12-31 23:59 home/anna/note.txt\n"), "{note}");
    let all = lab.said(0, &["ls", "-R", "./part", "0"]);
    assert!(all.starts_with("/:\n") && all.contains("\n\nhome/anna/deep:\nsame\n"), "{all}");
    assert!(all.contains(r"paint\u{1b}[2J\u{202e}") && !all.contains('\u{1b}'), "{all}");
}

#[test]
fn a_document_has_every_entry() {
    let Some(lab) = Lab::new("a_document_has_every_entry", small) else { return };
    let document: Value = serde_json::from_str(&lab.said(0, &["ls", "-R", "--json", "./part", "0"])).unwrap();
    let entries = document["entries"].as_array().unwrap();
    let of = |path: &str| entries.iter().find(|entry| entry["path"] == path).unwrap();
    let mut paths: Vec<_> =
        entries.iter().map(|entry| format!("./{}", entry["path"].as_str().unwrap())).collect();
    paths.retain(|path| !path.contains("lost+found"));
    paths.sort();
    assert_eq!(paths, lab.below("tree"));
    let note = of("home/anna/note.txt");
    assert_eq!(note["name"], "note.txt");
    assert_eq!(note["modified"], "2001-12-31T23:59:58.123456789Z");
    assert_eq!((&note["size"], &note["links"]), (&6.into(), &2.into()));
    assert_eq!(of("home/link")["target"], "anna/note.txt");
    assert_eq!(of("home/anna")["mode"], 0o2750);
    assert_eq!((&document["part"], &document["filesystem"]["type"]), (&"0".into(), &"ext4".into()));
    let empty: Value =
        serde_json::from_str(&lab.said(0, &["ls", "--json", "./part", "0/lost+found"])).unwrap();
    assert_eq!(empty["entries"].as_array().unwrap().len(), 0);
}

#[test]
fn bytes_come_out_and_folders_do_not() {
    let Some(lab) = Lab::new("bytes_come_out_and_folders_do_not", small).map(Lab::disk) else { return };
    assert_eq!(lab.said(0, &["cat", "./disk.img", "1/home/link", "1/anna/deep/same"]), "hello\nhello\n");
    let sparse = lab.run(&["cat", "./disk.img", "1/sparse"]);
    assert!(sparse.stdout == fs::read(lab.at("tree/sparse")).unwrap());
    // What can be had is had.
    assert_eq!(lab.said(1, &["cat", "./disk.img", "1/home", "1/home/anna/note.txt"]), "hello\n");
    for (code, words) in [
        (1, ["cat", "./disk.img", "1/nothing"]),
        (1, ["ls", "./disk.img", "1/home/nothing"]),
        (1, ["ls", "./disk.img", "7"]),
        (1, ["ls", "./disk.img", "1:root"]),
        (2, ["ls", "./disk.img", "home"]),
        (2, ["cat", "./disk.img", "home/x"]),
        (1, ["ls", "./nothing.img", "1"]),
    ] {
        assert_eq!(lab.said(code, &words), "", "{words:?}");
    }
    let seven = lab.run(&["ls", "./disk.img", "7"]);
    assert!(text(&seven.stderr).contains("no partition 7; there are: 1"), "{}", text(&seven.stderr));
    // Nobody reads on.
    let mut ls = Command::new(env!("CARGO_BIN_EXE_selfsame"))
        .current_dir(lab.dir.path())
        .args(["cat", "./disk.img", "1/sparse"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    ls.stdout.take().unwrap().read_exact(&mut [0; 10]).unwrap();
    let ended = ls.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), text(&ended.stderr)), (Some(0), ""));
}

#[test]
fn a_tree_comes_out_as_it_was() {
    let Some(lab) = Lab::new("a_tree_comes_out_as_it_was", small).map(Lab::disk) else { return };
    lab.said(0, &["save", "./disk.img", "backups", "--name", "t", "--no-check"]);
    let backup = lab.below("backups").into_iter().find(|path| path.ends_with('Z')).unwrap();
    let backup = format!("backups/{backup}");
    let told = lab.said(0, &["get", "-r", &backup, "1", "out"]);
    assert!(told.starts_with("out: 5 files, 5 folders, 2 symbolic links, 1 hard link"), "{told}");
    let mut below = lab.below("out");
    below.retain(|path| path != "./lost+found");
    assert_eq!(below, lab.below("tree"));
    for path in &below {
        let [was, is] = ["tree", "out"].map(|dir| fs::symlink_metadata(lab.at(dir).join(path)).unwrap());
        assert_eq!(was.mode(), is.mode(), "{path}");
        assert_eq!(was.mtime(), is.mtime(), "{path}");
        assert_eq!(was.len() * u64::from(!was.is_dir()), is.len() * u64::from(!is.is_dir()), "{path}");
        if was.is_file() {
            assert!(
                fs::read(lab.at("tree").join(path)).unwrap() == fs::read(lab.at("out").join(path)).unwrap()
            );
        }
    }
    assert_eq!(fs::metadata(lab.at("out/home/anna/note.txt")).unwrap().mtime_nsec(), 123_456_789);
    let same = |path: &str| fs::metadata(lab.at(path)).unwrap().ino();
    assert_eq!(same("out/home/anna/note.txt"), same("out/home/anna/deep/same"));
    assert!(fs::metadata(lab.at("out/sparse")).unwrap().blocks() < 64);
    assert_eq!(fs::read_link(lab.at("out/anna")).unwrap(), Path::new("/home/anna"));
}

#[test]
fn out_is_a_folder_or_a_new_name() {
    let Some(lab) = Lab::new("out_is_a_folder_or_a_new_name", small) else { return };
    fs::create_dir(lab.at("there")).unwrap();
    lab.said(0, &["get", "./part", "0/home/anna/note.txt", "there"]);
    lab.said(0, &["get", "./part", "0/home/anna/note.txt", "there/new name"]);
    lab.said(0, &["get", "./part", "0/home/link", "there"]);
    lab.said(0, &["get", "-r", "./part", "0/home/anna/[dot]*", "there"]);
    assert_eq!(
        lab.below("there"),
        ["./deep", "./deep/same", "./link", "./new name", "./note.txt", "./one.jpg", "./two.jpg"]
    );
    assert!(fs::symlink_metadata(lab.at("there/link")).unwrap().is_symlink());
}

#[test]
fn what_is_there_stays() {
    let Some(lab) = Lab::new("what_is_there_stays", small) else { return };
    fs::create_dir_all(lab.at("there/anna")).unwrap();
    fs::write(lab.at("there/anna/note.txt"), "mine").unwrap();
    fs::write(lab.at("there/anna/deep"), "no folder").unwrap();
    let mode = fs::metadata(lab.at("there/anna")).unwrap().mode();
    let output = lab.run(&["get", "-r", "./part", "0/home/anna", "there"]);
    assert_eq!(output.status.code(), Some(1));
    let told = text(&output.stderr);
    assert!(told.contains("home/anna/note.txt: something of this name is there already"), "{told}");
    assert!(told.contains("home/anna/deep: something of this name is there that is no folder"), "{told}");
    assert_eq!(fs::read(lab.at("there/anna/note.txt")).unwrap(), b"mine");
    assert_eq!(fs::read(lab.at("there/anna/deep")).unwrap(), b"no folder");
    assert_eq!(fs::metadata(lab.at("there/anna/two.jpg")).unwrap().len(), 100);
    assert_eq!(fs::metadata(lab.at("there/anna")).unwrap().mode(), mode);
    fs::remove_file(lab.at("there/anna/deep")).unwrap();
    lab.said(0, &["get", "-r", "--force", "./part", "0/home/anna", "there"]);
    assert_eq!(fs::read(lab.at("there/anna/note.txt")).unwrap(), b"hello\n");
    for (code, words) in [
        (1, &["get", "./part", "0/home", "there"][..]),
        (1, &["get", "./part", "0/nothing", "there"]),
        (1, &["get", "./part", "0/sparse", "no/such/folder/x"]),
        (2, &["get", "./part", "0/home/anna/*.jpg", "one name"]),
        (2, &["get", "./part", "0/sparse"]),
        (1, &["get", "./part", "0/sparse", "there/anna/note.txt"]),
    ] {
        lab.said(code, words);
    }
    assert!(!lab.below(".").iter().any(|path| path.ends_with(".part") || path.ends_with("one name")));
}

/// A name is given to another file; what was there is never written into.
#[test]
fn force_replaces_files_and_nothing_else() {
    let Some(lab) = Lab::new("force_replaces_files_and_nothing_else", small) else { return };
    fs::create_dir_all(lab.at("there/sparse")).unwrap();
    fs::write(lab.at("there/sparse/mine"), "mine").unwrap();
    fs::write(lab.at("there/note.txt"), "mine").unwrap();
    fs::set_permissions(lab.at("there/note.txt"), fs::Permissions::from_mode(0o400)).unwrap();
    fs::hard_link(lab.at("there/note.txt"), lab.at("same")).unwrap();
    fs::write(lab.at("link"), "mine").unwrap();
    symlink("../link", lab.at("there/link")).unwrap();
    let line = ["get", "./part", "0/home/anna/note.txt", "0/home/link", "0/sparse", "there"];
    let told = lab.run(&line);
    assert_eq!(told.status.code(), Some(1));
    assert_eq!(text(&told.stderr).matches("--force replaces files").count(), 3, "{}", text(&told.stderr));
    assert_eq!(fs::read(lab.at("there/note.txt")).unwrap(), b"mine");
    assert_eq!(fs::read_link(lab.at("there/link")).unwrap(), Path::new("../link"));

    let told = lab.run(&[&line[..], &["--force"]].concat());
    assert_eq!(told.status.code(), Some(1), "a folder is no file");
    let said = text(&told.stderr);
    assert!(said.contains("sparse: ") && !said.contains("note.txt: "), "{said}");
    assert_eq!(fs::read(lab.at("there/note.txt")).unwrap(), b"hello\n");
    assert_eq!(fs::read_link(lab.at("there/link")).unwrap(), Path::new("anna/note.txt"));
    for mine in ["there/sparse/mine", "same", "link"] {
        assert_eq!(fs::read(lab.at(mine)).unwrap(), b"mine", "{mine}");
    }
    // Under a name of its own.
    lab.said(1, &["get", "./part", "0/home/anna/two.jpg", "same"]);
    assert_eq!(fs::read(lab.at("same")).unwrap(), b"mine");
    lab.said(0, &["get", "--force", "./part", "0/home/anna/two.jpg", "same"]);
    assert_eq!(fs::read(lab.at("same")).unwrap(), [8; 100]);
    assert!(!lab.below(".").iter().any(|path| path.ends_with(".part")));
}

#[test]
fn streams_come_as_files() {
    let test = "streams_come_as_files";
    if !testkit::tools::has(test, &["mkntfs", "ntfscp"]) {
        return;
    }
    let lab = Lab { dir: tempfile::tempdir().unwrap() };
    fs::write(lab.at("plain"), "what is in it").unwrap();
    fs::write(lab.at("zone"), "[ZoneTransfer]\nZoneId=3\n").unwrap();
    // Too large to lie in the file's record.
    fs::write(lab.at("large"), testkit::pattern(100_000)).unwrap();
    lab.sh("truncate -s 16M part; mkntfs -qFf part
            for each in letter.txt other.txt; do ntfscp part plain $each; done
            ntfscp -N Zone.Identifier part zone letter.txt; ntfscp -N large part large letter.txt");
    let told = lab.said(0, &["get", "--json", "--progress", "none", "./part", "0/*.txt", "."]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["files"], &told["bytes"]), (&2.into(), &26.into()));
    assert!(told["notes"].to_string().contains("2 streams left out; --streams copies them"), "{told}");
    assert!(!lab.below(".").iter().any(|path| path.contains(':')), "{:?}", lab.below("."));

    fs::create_dir(lab.at("out")).unwrap();
    let told = lab.said(0, &["get", "--streams", "./part", "0/*.txt", "out"]);
    assert!(told.starts_with("out: 4 files, ") && !told.contains("left out"), "{told}");
    assert_eq!(
        lab.below("out"),
        ["./letter.txt", "./letter.txt:Zone.Identifier", "./letter.txt:large", "./other.txt"]
    );
    for (file, of) in
        [("letter.txt", "plain"), ("letter.txt:Zone.Identifier", "zone"), ("letter.txt:large", "large")]
    {
        assert!(fs::read(lab.at("out").join(file)).unwrap() == fs::read(lab.at(of)).unwrap(), "{file}");
    }
    // A stream alone, and nothing beside it.
    assert_eq!(lab.said(0, &["cat", "./part", "0/letter.txt:Zone.Identifier"]), "[ZoneTransfer]\nZoneId=3\n");
}

#[test]
fn devices_come_as_root_only() {
    let test = "devices_come_as_root_only";
    let Some(lab) = Lab::new(test, small) else { return };
    lab.sh("debugfs -w -f - part >/dev/null 2>&1 <<END
cd home
mknod pipe p
mknod char c 7 99
mknod block b 8 1
sif char mode 020640
END");
    let told = lab.said(0, &["get", "-r", "./part", "0/home", "without"]);
    assert!(told.contains("3 pipes, sockets or device nodes left out; --devices"), "{told}");
    assert!(!lab.at("without/pipe").exists() && lab.at("without/anna/note.txt").exists());

    fs::set_permissions(lab.dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = if rustix::process::geteuid().is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.arg(env!("CARGO_BIN_EXE_selfsame"));
        command
    } else {
        Command::new(env!("CARGO_BIN_EXE_selfsame"))
    };
    let line = ["get", "-r", "--devices", "./part", "0/home"];
    let output = command.current_dir(lab.dir.path()).args(line).arg("as a user").output().unwrap();
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    for name in ["pipe", "char", "block"] {
        assert!(said.contains(&format!("home/{name}: Operation not permitted")), "{said}");
        assert!(fs::symlink_metadata(lab.at("as a user").join(name)).is_err());
    }
    assert_eq!(fs::read(lab.at("as a user/anna/note.txt")).unwrap(), b"hello\n");

    if !rustix::process::geteuid().is_root() {
        return println!("SKIPPED: {test}: needs root");
    }
    lab.said(0, &[&line[..], &["as root"]].concat());
    let of = |name: &str| fs::symlink_metadata(lab.at("as root").join(name)).unwrap();
    let number = |name: &str| (rustix::fs::major(of(name).rdev()), rustix::fs::minor(of(name).rdev()));
    assert!(of("pipe").file_type().is_fifo());
    assert!(of("char").file_type().is_char_device() && of("block").file_type().is_block_device());
    assert_eq!((number("char"), number("block")), ((7, 99), (8, 1)));
    assert_eq!(of("char").mode() & 0o7777, 0o640);
}

/// Names and links as no driver makes them: nothing is written outside, and the rest comes out.
#[test]
fn nothing_is_written_outside() {
    let grow = |tree: &Path| {
        small(tree);
        symlink("../outside", tree.join("aaaaa")).unwrap();
        symlink(".", tree.join("round")).unwrap();
        fs::create_dir(tree.join("bbbbb")).unwrap();
        fs::write(tree.join("bbbbb/planted"), "planted").unwrap();
        for name in ["QQ1xyz", "QQ2xyz", "QQ3xyz", "QQ4"] {
            fs::write(tree.join(name), "evil").unwrap();
        }
    };
    let Some(lab) = Lab::new("nothing_is_written_outside", grow) else { return };
    fs::create_dir(lab.at("outside")).unwrap();
    // Names of the same length, in the directory's block. Its checksum is then wrong; so is that of a reader
    // who believes it, hence no checksums.
    lab.sh("tune2fs -O ^metadata_csum part >/dev/null 2>&1 && e2fsck -fy part >/dev/null 2>&1 || true");
    let mut bytes = fs::read(lab.at("part")).unwrap();
    for (from, to) in [
        (&b"QQ1xyz"[..], &b"../xyz"[..]),
        (b"QQ2xyz", b"/tmp/x"),
        (b"QQ3xyz", b"a\0bxyz"),
        // Two of one name: a link, and then a folder.
        (b"bbbbb", b"aaaaa"),
    ] {
        let places: Vec<_> =
            (0..bytes.len() - from.len()).filter(|at| bytes[*at..].starts_with(from)).collect();
        for at in places {
            bytes[at..at + to.len()].copy_from_slice(to);
        }
    }
    fs::write(lab.at("part"), bytes).unwrap();
    // A folder that holds the one above it.
    lab.sh("debugfs -w -R 'link <2> home/anna/loop' part 2>/dev/null");
    let output = lab.run(&["get", "-r", "./part", "0", "out"]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{told}");
    let unusable = "/: 3 names in it cannot be those of files and are not shown";
    assert!(told.contains(unusable), "{told}");
    let listed = lab.run(&["ls", "./part", "0"]);
    assert_eq!(listed.status.code(), Some(1));
    assert!(text(&listed.stderr).contains(unusable), "{}", text(&listed.stderr));
    assert!(text(&listed.stdout).starts_with("QQ4\naaaaa\n"), "{}", text(&listed.stdout));
    let document: Value = serde_json::from_str(&lab.said(1, &["ls", "--json", "./part", "0"])).unwrap();
    assert_eq!(document["failed"][0]["path"], "/");
    // A pattern matches what is there, and more may match.
    let matching = lab.run(&["ls", "./part", "0/QQ*"]);
    assert_eq!((matching.status.code(), text(&matching.stdout)), (Some(1), "QQ4\n"));
    assert!(text(&matching.stderr).contains(unusable), "{}", text(&matching.stderr));
    let told = lab.said(1, &["get", "--json", "--progress=none", "./part", "0/QQ*", "four"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((&told["files"], &told["failed"]), (&1.into(), &1.into()));
    fs::remove_file(lab.at("four")).unwrap();
    lab.said(0, &["save", "./part", "backups", "--name", "t", "--no-check"]);
    let backup = lab.below("backups").into_iter().find(|path| path.ends_with('Z')).unwrap();
    let told = lab.said(4, &["verify", "--files", &format!("backups/{backup}")]);
    assert!(told.contains(unusable), "{told}");
    fs::remove_dir_all(lab.at("backups")).unwrap();
    assert_eq!(fs::read_dir(lab.at("outside")).unwrap().count(), 0);
    let below = lab.below("out");
    assert!(below.iter().any(|path| path == "./home/anna/note.txt"), "{below:?}");
    assert!(!below.iter().any(|path| path.contains("xyz") || path.contains("tmp")), "{below:?}");
    assert!(!lab.at("xyz").exists());
    let top: Vec<_> = fs::read_dir(lab.dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(top.len(), 4, "{top:?}");
}

#[test]
fn links_of_the_target_are_not_followed() {
    let Some(lab) = Lab::new("links_of_the_target_are_not_followed", small) else { return };
    fs::create_dir_all(lab.at("out")).unwrap();
    fs::create_dir_all(lab.at("outside")).unwrap();
    symlink("../outside", lab.at("out/home")).unwrap();
    symlink("../outside/made", lab.at("out/sparse")).unwrap();
    for force in [&[][..], &["--force"]] {
        let words = [&["get", "-r"][..], force, &["./part", "0", "out"]].concat();
        assert_eq!(lab.run(&words).status.code(), Some(1));
        assert_eq!(fs::read_dir(lab.at("outside")).unwrap().count(), 0, "{force:?}");
    }
    assert!(fs::symlink_metadata(lab.at("out/home")).unwrap().is_symlink());
    assert!(fs::symlink_metadata(lab.at("out/sparse")).unwrap().is_file());
}

/// Saves the disk, of which these places cannot be read.
fn save_damaged(lab: &Lab, bad: Vec<ByteRange>) -> PathBuf {
    let bytes = fs::read(lab.at("disk.img")).unwrap();
    let source = testkit::Memory::new(bytes).with(|disk| disk.bad = bad);
    marked::save(&lab.at("disk.img"), Arc::new(source), &lab.at("damaged"), false).folder
}

/// A file is marked with the bytes of it that could not be read; what lies beside it is not.
#[test]
fn files_with_unread_places_are_marked() {
    let Some(lab) = Lab::new("files_with_unread_places_are_marked", small).map(Lab::disk) else { return };
    let bytes = fs::read(lab.at("disk.img")).unwrap();
    let at = (0..bytes.len()).step_by(512).find(|at| bytes[*at..].starts_with(&[7; 512])).unwrap() as u64;
    let bad = vec![ByteRange::span(at + 8192, at + 16384), ByteRange::span(at + 65536, at + 65536 + 512)];
    let backup = save_damaged(&lab, bad);
    let backup = backup.to_str().unwrap();
    let long = lab.said(0, &["ls", "-l", backup, "1/home/anna"]);
    assert!(long.contains(" one.jpg  (8704 bytes unread)\n"), "{long}");
    assert!(long.contains(" two.jpg\n") && long.contains(" note.txt\n"), "{long}");
    assert!(!lab.said(0, &["ls", backup, "1/home/anna"]).contains("unread"));
    let document: Value =
        serde_json::from_str(&lab.said(0, &["ls", "--json", backup, "1/home/anna"])).unwrap();
    let entries = document["entries"].as_array().unwrap();
    let of = |name: &str| entries.iter().find(|entry| entry["name"] == name).unwrap();
    assert_eq!((&of("one.jpg")["bad"], of("one.jpg").get("absent")), (&8704.into(), None));
    assert_eq!((of("two.jpg").get("bad"), of("deep").get("bad")), (None, None));
    // Of the disk itself nothing is known before it is read.
    assert!(!lab.said(0, &["ls", "-l", "./disk.img", "1/home/anna"]).contains("unread"));
}

#[test]
fn what_could_not_be_read_is_named() {
    let Some(lab) = Lab::new("what_could_not_be_read_is_named", small).map(Lab::disk) else { return };
    lab.said(0, &["save", "./disk.img", "backups", "--name", "t", "--no-check", "--format", "raw"]);
    let whole = lab.below("backups").into_iter().find(|path| path.ends_with('Z')).unwrap();
    let backup = format!("backups/{whole}");
    let told = lab.said(0, &["verify", "--files", &backup]);
    assert!(told.contains("1: ext4 read: 6 files, 5 folders"), "{told}");
    // A byte of one.jpg is flipped in the stored file.
    let stored = lab.below(&backup).into_iter().find(|path| path.ends_with("1.ext4")).unwrap();
    let stored = lab.at(&backup).join(stored);
    let bytes = fs::read(&stored).unwrap();
    let mut places = (0..bytes.len()).step_by(512).filter(|at| bytes[*at..].starts_with(&[7; 512]));
    // In its middle: a frame that holds nothing else.
    let at = places.nth(390).unwrap();
    File::options().write(true).open(&stored).unwrap().write_all_at(&[9], at as u64).unwrap();
    let output = lab.run(&["get", "-r", &backup, "1/home", "out"]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("home/anna/one.jpg: ") && said.contains("of the disk"), "{said}");
    let name = "out/anna";
    assert_eq!(fs::read(lab.at(name).join("note.txt")).unwrap(), b"hello\n");
    let got = fs::read(lab.at(name).join("one.jpg")).unwrap();
    let zeroes = got.iter().filter(|byte| **byte == 0).count();
    assert!(got.len() == 400_000 && zeroes == 64 << 10, "{zeroes}");
    let output = lab.run(&["cat", &backup, "1/home/anna/one.jpg"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("LBA "), "{}", text(&output.stderr));
}

#[test]
fn deleted_files_come_back() {
    let grow = |tree: &Path| {
        small(tree);
        fs::write(tree.join("gone.txt"), "it was deleted".repeat(1000)).unwrap();
    };
    let Some(lab) = Lab::new("deleted_files_come_back", grow) else { return };
    let mounted = lab.dir.path().join("mnt");
    fs::create_dir(&mounted).unwrap();
    let done = Command::new("sh")
        .current_dir(lab.dir.path())
        .args(["-ec", "mount -o loop part mnt; trap 'umount mnt' EXIT; touch mnt/x; sync; rm mnt/gone.txt"])
        .output()
        .unwrap();
    if !done.status.success() {
        println!("SKIPPED: deleted_files_come_back: needs mount: {}", text(&done.stderr));
        return;
    }
    let list: Value =
        serde_json::from_str(&lab.said(0, &["ls", "--deleted", "--json", "./part", "0"])).unwrap();
    let files = list["deleted"].as_array().unwrap();
    let gone = files.iter().find(|file| file["name"] == "gone.txt" && file["chance"] == "intact").unwrap();
    let id = gone["id"].as_u64().unwrap().to_string();
    assert!(lab.said(0, &["ls", "--deleted", "./part", "0"]).contains("gone.txt"));
    lab.said(0, &["get", "--deleted", "./part", "0", &id, "found.txt"]);
    assert_eq!(fs::read(lab.at("found.txt")).unwrap(), fs::read(lab.at("tree/gone.txt")).unwrap());
    fs::create_dir(lab.at("found")).unwrap();
    lab.said(0, &["get", "--deleted", "./part", "0", "found"]);
    assert!(lab.at("found/gone.txt").exists());
    lab.said(1, &["get", "--deleted", "./part", "0", "987654321", "found"]);
    lab.said(2, &["get", "--deleted", "./part", "0", "gone.txt", "found"]);
}

/// A volume of two pieces with another one between them, as lvm made them.
#[test]
fn logical_volumes_are_read() {
    let test = "logical_volumes_are_read";
    let Some(lab) = Lab::new(test, small) else { return };
    if !testkit::tools::has(test, &["pvcreate", "vgcreate", "lvcreate", "lvextend"]) {
        return;
    }
    File::create(lab.at("pv")).unwrap().set_len(64 << 20).unwrap();
    let Some(device) = testkit::LoopDevice::attach(&lab.at("pv"), 512) else {
        return println!("SKIPPED: {test}: needs loop devices");
    };
    let group = format!("selfsame{}", std::process::id());
    let device_path = device.path().display();
    lab.sh(&format!(
        "exec 2>&1; o='-q --devices {device_path}'; n=\"$o --driverloaded n\"
         pvcreate $o {device_path}; vgcreate $o {group} {device_path}
         lvcreate $n -an -Zn -Wn -l 4 -n root {group}; lvcreate $n -an -Zn -Wn -l 1 -n home {group}
         lvextend $n -l +4 {group}/root"
    ));
    drop(device);
    // Extents of 4 MiB behind the first MiB: 0 to 3, then 5 to 8.
    lab.sh("dd if=part of=pv bs=1M count=16 seek=1 conv=notrunc status=none
            dd if=part of=pv bs=1M skip=16 seek=21 conv=notrunc status=none");
    let parts = lab.said(0, &["ls", "./pv"]);
    assert!(parts.contains("0:home") && parts.contains("0:root  32.0 MiB  ext4"), "{parts}");
    assert_eq!(lab.said(0, &["cat", "./pv", "0:root/home/anna/note.txt"]), "hello\n");
    lab.said(0, &["get", "-r", "./pv", "0:root", "out"]);
    assert!(fs::read(lab.at("out/sparse")).unwrap() == fs::read(lab.at("tree/sparse")).unwrap());
    let refused = lab.run(&["ls", "./pv", "0"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(text(&refused.stderr).contains("volumes: 0:home, 0:root"), "{}", text(&refused.stderr));
    lab.said(1, &["ls", "./pv", "0:nothing"]);
}

/// Disk images in a filesystem in a disk image in a filesystem, all of it in a compressed backup.
#[test]
fn a_disk_image_in_a_filesystem_is_a_disk() {
    let Some(lab) = Lab::new("a_disk_image_in_a_filesystem_is_a_disk", small).map(Lab::disk) else { return };
    lab.sh("mkdir -p mid/vms out dest; cp --sparse=always disk.img mid/vms/win.img; ln -s win.img mid/vms/link
            echo 'no disk' > mid/text; gzip -c mid/text > mid/text.gz
            truncate -s 64M middle; mkfs.ext4 -q -F -b 1024 -d mid middle
            cp --sparse=always middle out/middle; truncate -s 96M outer; mkfs.ext4 -q -F -b 4096 -d out outer");
    lab.said(0, &["save", "./outer", "dest", "--name", "b", "--progress", "none"]);
    let backup = lab.sh("ls -d dest/b-*");
    let backup = text(&backup.stdout).trim();
    let cat = |place: &str| lab.said(0, &["cat", backup, place]);
    assert_eq!(cat("0/middle/0/text"), "no disk\n");
    assert_eq!(cat("0/middle/0/vms/win.img/1/home/anna/note.txt"), "hello\n");
    assert_eq!(cat("0/middle/0/vms/link/1/home/link"), "hello\n");
    let two = lab.said(0, &["cat", backup, "0/middle/0/vms/link/1/home/link", "0/middle/0/text"]);
    assert_eq!(two, "hello\nno disk\n");
    // A slash behind it shows the disk, none the file.
    let file = lab.said(0, &["ls", "-l", backup, "0/middle/0/vms/win.img"]);
    assert!(file.starts_with("-rw") && file.contains("win.img"), "{file}");
    let disk = lab.said(0, &["ls", backup, "0/middle/0/vms/win.img/"]);
    assert!(disk.contains("0/middle/0/vms/win.img/1  32.0 MiB  ext4"), "{disk}");
    let document = lab.said(0, &["ls", "--json", backup, "0/middle/"]);
    let document: Value = serde_json::from_str(&document).unwrap();
    assert_eq!(document["volumes"][0]["part"], "0/middle/0");
    lab.said(0, &["ls", "--deleted", backup, "0/middle/0/vms/win.img/1"]);
    lab.said(0, &["get", "-r", backup, "0/middle/0/vms/win.img/1/home", "got"]);
    lab.sh("diff -r --no-dereference got tree/home");
    // What is no disk is said to be none.
    for (code, place, words) in [
        (1, "0/middle/0/text/", "is no folder, and no disk image"),
        (1, "0/middle/0/text/1/x", "is no folder, and no disk image"),
        (1, "0/middle/0/text/x", "text is no folder"),
        (1, "0/middle/0/text.gz/", "gzip"),
        (1, "0/middle/0/vms/win.img/7/x", "no partition 7; there are: 1"),
    ] {
        let output = lab.run(&["ls", backup, place]);
        let told = text(&output.stderr);
        assert!(output.status.code() == Some(code) && told.contains(words), "{place}: {told}");
    }
    let two = lab.said(1, &["cat", backup, "0/middle/0/text/1/x", "0/middle/0/text"]);
    assert_eq!(two, "no disk\n", "what is wrong with one file is no matter of the next");
    let both = ["get", backup, "0/middle/0/vms/win.img/1/home/link", "0/middle/0/text", "got"];
    assert_eq!(lab.run(&both).status.code(), Some(2), "of two filesystems");
    let disk = lab.run(&["cat", backup, "0/middle/"]);
    assert!(text(&disk.stderr).contains("say which partition"), "{}", text(&disk.stderr));
}
