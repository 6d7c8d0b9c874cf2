//! The rows: what we do, what others do for the same, and how much of it ours may take.

/// What is made once, before the first row that needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Input {
    /// `$BACKUP`: our backup of the disk.
    Backup,
    /// `$PZST`: the disk as one zstd stream.
    Stream,
    /// `$QCOW`: the disk as compressed qcow2.
    Qcow,
    /// `$PART`: the ext4 partition as a device.
    Part,
    /// `$TREE`: an ext4 with 5,000 files, 150 MB, as an image file, and `$TREEBACKUP`, our backup of it.
    Tree,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// Seconds.
    Wall,
    /// Seconds of all cores.
    Cpu,
    /// The same of all the machine meanwhile.
    Machine,
    /// Memory of the largest process.
    Memory,
    /// What is left on the disk.
    Size,
}

/// How much of the peer's ours may take, and what we aim at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) what: What,
    pub(crate) at_most: f64,
    pub(crate) aim: Option<f64>,
}

/// One comparison. The commands are lines of bash that write into `$OUT`.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    /// The peer in a few words.
    pub(crate) peer: &'static str,
    pub(crate) ours: &'static str,
    pub(crate) theirs: &'static [&'static str],
    pub(crate) inputs: &'static [Input],
    pub(crate) limits: &'static [Limit],
    /// What to know when comparing.
    pub(crate) note: &'static str,
}

const fn at_most(what: What, at_most: f64) -> Limit {
    Limit { what, at_most, aim: None }
}

pub(crate) const fn aiming(what: What, at_most: f64, aim: f64) -> Limit {
    Limit { what, at_most, aim: Some(aim) }
}

/// What one does without any such program. A fifo, not `>(...)`, so that openssl is waited for and counts.
const PIPE: &str = r#"mkfifo "$OUT/fifo"; openssl dgst -sha256 <"$OUT/fifo" >"$OUT/sum" &
dd if="$D" bs=4M status=none | tee "$OUT/fifo" | zstd -1 -T0 -q >"$OUT/p.zst"; wait $!"#;
const SAVE: &str = r#"exec "$SELFSAME" save "$D" "$OUT" --name t --level 1 --no-check --progress=none"#;
const SAVE_FILE: &str =
    r#"exec "$SELFSAME" save "$IMG" "$OUT" --name t --level 1 --no-check --progress=none"#;
const SAVE_CHECKED: &str = r#"exec "$SELFSAME" save "$D" "$OUT" --name t --level 1 --progress=none"#;
const RAW: &str = r#"exec "$SELFSAME" save "$D" "$OUT" --name t --format raw --no-check --progress=none"#;
const RAW_SHA256: &str =
    r#"exec "$SELFSAME" save "$D" "$OUT" --name t --format raw --no-check --digest sha256 --progress=none"#;
const VERIFY: &str = r#"exec "$SELFSAME" verify "$BACKUP" --progress=none"#;
const RESTORE: &str = r#"exec "$SELFSAME" restore "$BACKUP" "$OUT/out.img" --progress=none"#;
const RESTORE_UNCHECKED: &str =
    r#"exec "$SELFSAME" restore "$BACKUP" "$OUT/out.img" --no-check --progress=none"#;
const COPY_AND_SUM: &str = r#"cp --sparse=always "$D" "$OUT/out"; openssl dgst -sha256 "$OUT/out""#;
const TO_QCOW: &str =
    r#"exec qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -m 16 -W "$D" "$OUT/q.qcow2""#;
const GET: &str = r#"exec "$SELFSAME" get -r --progress=none "$TREEBACKUP" 0 "$OUT/out""#;
const LS: &str = r#"exec "$SELFSAME" ls -R "$TREEBACKUP" 0 >"$OUT/list""#;
const FROM_QCOW: &str = r#"exec qemu-img convert -f qcow2 -O raw "$QCOW" "$OUT/out""#;

/// All rows that are commands, in the order they are run in.
pub(crate) const ROWS: &[Row] = &[
    Row {
        name: "save-nc",
        peer: "dd, tee openssl, zstd -1 -T0",
        ours: SAVE,
        theirs: &[PIPE],
        inputs: &[],
        limits: &[aiming(What::Wall, 0.45, 0.40), at_most(What::Cpu, 0.50), at_most(What::Size, 1.04)],
        note: "save --no-check; ours has digests of BLAKE3 in place of SHA-256 of the disk, and SHA256SUMS",
    },
    Row {
        name: "save-qcow2",
        peer: "qemu-img convert -c, zstd, -m 16 -W",
        ours: SAVE,
        theirs: &[TO_QCOW],
        inputs: &[],
        limits: &[aiming(What::Wall, 0.80, 0.60), at_most(What::Cpu, 0.75)],
        note: "the peer makes no digest",
    },
    Row {
        name: "save-squashfs",
        peer: "mksquashfs zstd -1, 128 KiB",
        ours: SAVE,
        theirs: &[
            r#"exec mksquashfs - "$OUT/q.sq" -p "/ d 755 0 0" -p "disk f 644 0 0 dd if=$D bs=4M status=none" \
            -comp zstd -Xcompression-level 1 -b 128K -no-progress -quiet"#,
        ],
        inputs: &[],
        limits: &[aiming(What::Wall, 0.80, 0.65)],
        note: "a device comes to the peer by a pipe: it knows no other way; no digest",
    },
    Row {
        name: "file-squashfs",
        peer: "mksquashfs of the file",
        ours: SAVE_FILE,
        theirs: &[
            r#"exec mksquashfs "$IMG" "$OUT/q.sq" -comp zstd -Xcompression-level 1 -b 128K -no-progress -quiet"#,
        ],
        inputs: &[],
        limits: &[],
        note: "both read the image file; the peer makes no digest",
    },
    Row {
        name: "save",
        peer: "the pipe, then zstd -dc, b3sum",
        ours: SAVE_CHECKED,
        theirs: &[PIPE, r#"zstd -dc "$OUT/p.zst" | b3sum"#],
        inputs: &[],
        limits: &[aiming(What::Wall, 0.45, 0.35)],
        note: "save with its check",
    },
    Row {
        name: "raw",
        peer: "cp --sparse=always, openssl",
        ours: RAW,
        theirs: &[COPY_AND_SUM],
        inputs: &[],
        limits: &[aiming(What::Wall, 0.55, 0.40)],
        note: "save --format raw --no-check, with the digests that are always made",
    },
    Row {
        name: "raw-sha256",
        peer: "cp --sparse=always, openssl",
        ours: RAW_SHA256,
        theirs: &[COPY_AND_SUM],
        inputs: &[],
        limits: &[],
        note: "the same with --digest sha256",
    },
    Row {
        name: "raw-qemu",
        peer: "qemu-img convert to raw, -W",
        ours: RAW,
        theirs: &[r#"exec qemu-img convert -f raw -O raw -W "$D" "$OUT/out""#],
        inputs: &[],
        limits: &[aiming(What::Wall, 1.10, 0.90)],
        note: "the peer makes no digest",
    },
    Row {
        name: "verify",
        peer: "zstd -dc, b3sum",
        ours: VERIFY,
        theirs: &[r#"zstd -dc "$PZST" | b3sum"#],
        inputs: &[Input::Backup, Input::Stream],
        limits: &[aiming(What::Wall, 0.45, 0.30)],
        note: "",
    },
    Row {
        name: "restore",
        peer: "zstd -dc, tee, openssl",
        ours: RESTORE,
        theirs: &[r#"zstd -dc "$PZST" | tee "$OUT/out" | openssl dgst -sha256"#],
        inputs: &[Input::Backup, Input::Stream],
        limits: &[aiming(What::Wall, 0.35, 0.25)],
        note: "ours reads back what it wrote, the peer does not",
    },
    Row {
        name: "restore-qemu",
        peer: "qemu-img convert from qcow2",
        ours: RESTORE,
        theirs: &[FROM_QCOW],
        inputs: &[Input::Backup, Input::Qcow],
        limits: &[aiming(What::Wall, 1.05, 0.85)],
        note: "ours checks digests and reads back what it wrote, the peer neither",
    },
    Row {
        name: "restore-nc",
        peer: "qemu-img convert from qcow2",
        ours: RESTORE_UNCHECKED,
        theirs: &[FROM_QCOW],
        inputs: &[Input::Backup, Input::Qcow],
        limits: &[],
        note: "restore --no-check",
    },
    Row {
        name: "get",
        peer: "tsk_recover -a of the raw image",
        ours: GET,
        theirs: &[r#"exec tsk_recover -a "$TREE" "$OUT/out""#],
        inputs: &[Input::Tree],
        limits: &[at_most(What::Cpu, 1.50)],
        note: "5,000 files out of a compressed backup; the peer restores neither times nor modes nor owners",
    },
    Row {
        name: "get-mount",
        peer: "mount -o loop, cp -a",
        ours: GET,
        theirs: &[
            r#"mkdir "$OUT/mnt"; mount -o ro,loop "$TREE" "$OUT/mnt"; cp -a "$OUT/mnt" "$OUT/out"; umount "$OUT/mnt""#,
        ],
        inputs: &[Input::Tree],
        limits: &[],
        note: "the peer needs root and the raw image",
    },
    Row {
        name: "ls",
        peer: "fls -r of the raw image",
        ours: LS,
        theirs: &[r#"fls -r -p "$TREE" >"$OUT/list""#],
        inputs: &[Input::Tree],
        limits: &[],
        note: "ours is to take less than 0.3 s of CPU",
    },
    Row {
        name: "partclone",
        peer: "partclone.extfs, zstd -3",
        ours: r#"exec "$SELFSAME" save "$PART" "$OUT" --name t --level 3 --no-check --progress=none"#,
        theirs: &[r#"partclone.extfs -c -s "$PART" -L "$OUT/log" 2>/dev/null | zstd -3 -q >"$OUT/p.zst""#],
        inputs: &[Input::Part],
        limits: &[],
        note: "the ext4 partition; the peer leaves out what the filesystem does not use",
    },
    Row {
        name: "ddrescue",
        peer: "ddrescue",
        ours: RAW,
        theirs: &[r#"exec ddrescue -q -f "$D" "$OUT/out" "$OUT/map""#],
        inputs: &[],
        limits: &[],
        note: "the peer makes no digest and keeps no holes",
    },
    Row {
        name: "restic",
        peer: "restic backup --stdin",
        ours: SAVE_CHECKED,
        theirs: &[
            "export RESTIC_PASSWORD=x",
            r#"restic -q --no-cache -r "$OUT/repo" init"#,
            r#"restic -q --no-cache -r "$OUT/repo" backup --stdin --stdin-filename disk <"$D""#,
        ],
        inputs: &[],
        limits: &[],
        note: "the peer finds equal pieces and encrypts; ours reads back",
    },
];

/// Our verbs whose memory is bounded.
pub(crate) const VERBS: &[(&str, &str, &[Input])] = &[
    ("show", r#"exec "$SELFSAME" show "$D""#, &[]),
    ("save", SAVE_CHECKED, &[]),
    ("verify", VERIFY, &[Input::Backup]),
    ("restore", RESTORE, &[Input::Backup]),
    ("get", GET, &[Input::Tree]),
    ("ls", LS, &[Input::Tree]),
];

/// How an input is made, if it is a file. With the program that it needs.
pub(crate) const fn recipe(input: Input) -> Option<&'static str> {
    match input {
        Input::Backup => Some(
            r#""$SELFSAME" save "$D" "$KEPT" --name kept --level 1 --no-check --progress=none; mv "$KEPT"/kept-* "$BACKUP""#,
        ),
        Input::Stream => Some(r#"zstd -1 -T0 -q <"$D" >"$PZST""#),
        Input::Qcow => {
            Some(r#"qemu-img convert -f raw -O qcow2 -c -o compression_type=zstd -m 16 -W "$D" "$QCOW""#)
        }
        Input::Tree => Some(
            r#""$ROOT"/tests/truth/grow "$KEPT/grown"
            truncate -s 400M "$TREE"; mke2fs -q -F -t ext4 -d "$KEPT/grown" "$TREE"; rm -r "$KEPT/grown"
            "$SELFSAME" save "$TREE" "$KEPT" --name tree --level 1 --no-check --progress=none; mv "$KEPT"/tree-* "$TREEBACKUP""#,
        ),
        Input::Part => None,
    }
}

/// Programs of others that the command lines begin with.
pub(crate) const PROGRAMS: &[&str] = &[
    "openssl",
    "zstd",
    "b3sum",
    "qemu-img",
    "mksquashfs",
    "partclone.extfs",
    "ddrescue",
    "restic",
    "tsk_recover",
    "fls",
];

impl Row {
    /// The programs of others that the row needs.
    pub(crate) fn needs(&self) -> impl Iterator<Item = &'static str> + '_ {
        let inputs = self.inputs.iter().filter_map(|input| recipe(*input));
        let lines: Vec<&str> = self.theirs.iter().copied().chain(inputs).collect();
        let mentions = move |program: &str| {
            lines.iter().flat_map(|line| line.split_whitespace()).any(|word| word == program)
        };
        PROGRAMS.iter().copied().filter(move |program| mentions(program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_know_what_they_need() {
        let needs = |name: &str| {
            let row = ROWS.iter().find(|row| row.name == name).unwrap();
            row.needs().collect::<Vec<_>>()
        };
        assert_eq!(needs("save"), ["openssl", "zstd", "b3sum"]);
        assert_eq!(needs("restore-qemu"), ["qemu-img"]);
        assert_eq!(needs("partclone"), ["zstd", "partclone.extfs"]);
        for row in ROWS {
            assert!(
                row.needs().count() > 0 || row.theirs[0].starts_with("cp") || row.name == "get-mount",
                "{}",
                row.name
            );
            assert_eq!(ROWS.iter().filter(|other| other.name == row.name).count(), 1, "{}", row.name);
        }
    }

    #[test]
    fn an_aim_is_below_its_limit() {
        let limits = ROWS.iter().flat_map(|row| row.limits);
        assert!(limits.into_iter().all(|limit| limit.aim.is_none_or(|aim| aim < limit.at_most)));
    }
}
