//! Which machine it is, when, and which versions the peers have.

use crate::Result;
use crate::shell::Shell;
use serde_json::{Value, json};

/// Each line prints one version.
const VERSIONS: &[(&str, &str)] = &[
    ("openssl", "openssl version | cut -d' ' -f2"),
    ("zstd", "zstd --version | grep -o 'v[0-9.]*'"),
    ("b3sum", "b3sum --version | cut -d' ' -f2"),
    ("qemu-img", "qemu-img --version | sed -n '1s/.*version \\([^ ]*\\).*/\\1/p'"),
    ("mksquashfs", "mksquashfs -version | sed -n '1s/.*version \\([^ ]*\\).*/\\1/p'"),
    ("partclone.extfs", "partclone.extfs -v 2>&1 | grep -o '[0-9][0-9.]*' | sed -n 1p"),
    ("ddrescue", "ddrescue --version | sed -n '1s/.* //p'"),
    ("restic", "restic version | cut -d' ' -f2"),
];

/// What figures mean nothing without.
pub(crate) struct Machine {
    pub(crate) date: String,
    cpu: String,
    cores: String,
    memory: String,
    kernel: String,
    selfsame: String,
    versions: Vec<(&'static str, String)>,
}

impl Machine {
    /// This one, now.
    pub(crate) fn look(shell: &Shell) -> Result<Self> {
        let versions = VERSIONS.iter().filter(|(name, _)| shell.has(name));
        let version = |lines: &str| shell.run(lines).unwrap_or_else(|_| "of unknown version".to_owned());
        Ok(Self {
            date: shell.run("date -u +%Y-%m-%dT%H:%M:%SZ")?,
            cpu: shell.run("sed -n 's/^model name.*: //p' /proc/cpuinfo | sort | uniq | paste -s")?,
            cores: shell.run("nproc")?,
            memory: shell.run("awk '/^MemTotal/ { printf \"%.1f GiB\", $2 / 1048576 }' /proc/meminfo")?,
            kernel: shell.run("uname -sr")?,
            selfsame: shell.run("git rev-parse --short HEAD 2>/dev/null || echo unknown")?,
            versions: versions.map(|(name, lines)| (*name, version(lines))).collect(),
        })
    }

    /// As lines.
    pub(crate) fn text(&self) -> String {
        let Self { date, cpu, cores, memory, kernel, selfsame, .. } = self;
        let versions: Vec<String> =
            self.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
        format!(
            "machine: {cpu}, {cores} cores, {memory}, {kernel}\ndate: {date}, commit {selfsame}\npeers: {}",
            versions.join(", ")
        )
    }

    /// For other programs.
    pub(crate) fn json(&self) -> Value {
        let Self { date, cpu, cores, memory, kernel, selfsame, .. } = self;
        let versions: serde_json::Map<String, Value> =
            self.versions.iter().map(|(name, version)| ((*name).to_owned(), json!(version))).collect();
        json!({
            "date": date, "cpu": cpu, "cores": cores, "memory": memory, "kernel": kernel, "commit": selfsame,
            "peers": versions,
        })
    }
}
