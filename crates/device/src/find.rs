//! What a word names: a disk or partition by kernel name, path, mapper name, serial or lasting name.

use crate::list::no_such_disk;
use crate::machine::text;
use crate::{Disk, Identity, Instance, Machine};
use block::{Error, ErrorKind, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// A disk, or a partition of one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The whole disk.
    pub disk: Disk,
    /// The partition's number; `None` for the whole disk.
    pub partition: Option<u32>,
    /// Major and minor number of what was named.
    pub devno: (u32, u32),
    /// Its node.
    pub path: PathBuf,
    name: String,
    size: u64,
}

impl Place {
    fn of_disk(disk: Disk, name: String) -> Self {
        let (devno, path, size) = (disk.instance.devno, disk.path.clone(), disk.identity.size);
        Self { disk, partition: None, devno, path, name, size }
    }

    /// Which attachment: a partition has its own numbers and the disk's diskseq.
    pub fn instance(&self) -> Instance {
        Instance { devno: self.devno, diskseq: self.disk.instance.diskseq }
    }

    /// As the kernel calls it (`sda1`); a device mapper volume by its mapper name.
    pub fn name(&self) -> String {
        self.name.clone()
    }

    /// Of the whole disk.
    pub fn identity(&self) -> Identity {
        self.disk.identity.clone()
    }

    /// Bytes of what was named.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of a logical sector.
    pub fn sector(&self) -> u32 {
        self.disk.identity.sector
    }

    /// Not a partition.
    pub fn is_whole_disk(&self) -> bool {
        self.partition.is_none()
    }
}

impl Machine {
    /// The disk or partition that `word` names exactly: a kernel name (`sda1`), a mapper name, a path or
    /// link to a node, or, for a whole disk, its serial, WWN or name in `/dev/disk/by-id`.
    ///
    /// Fails with [`ErrorKind::NotFound`], listing the disks there are, and with [`ErrorKind::Usage`] if
    /// several disks share the serial.
    pub fn find(&self, word: &str) -> Result<Place> {
        let disks = self.disks()?;
        let found = if word.contains('/') {
            self.node_place(&disks, Path::new(word))
        } else {
            self.place(&disks, |name, _| name == word).or_else(|| self.mapped(&disks, word))
        };
        match found {
            Some(place) => Ok(place),
            None => self.marked(&disks, word)?.ok_or_else(|| no_such_disk(word, &disks)),
        }
    }

    /// The disk or partition that is attached so. Fails with [`ErrorKind::Gone`] if it is not there now.
    pub fn place_of(&self, instance: Instance) -> Result<Place> {
        let place = self.place(&self.disks()?, |_, devno| devno == instance.devno);
        place.filter(|place| place.instance() == instance).ok_or_else(|| {
            let (major, minor) = instance.devno;
            Error::new(ErrorKind::Gone, format!("the disk with number {major}:{minor} is gone"))
        })
    }

    /// What a node or a link to one is for.
    fn node_place(&self, disks: &[Disk], path: &Path) -> Option<Place> {
        match fs::metadata(path) {
            // The numbers count, not where the node lies.
            Ok(node) if node.file_type().is_block_device() => {
                let numbers = (rustix::fs::major(node.rdev()), rustix::fs::minor(node.rdev()));
                self.place(disks, |_, devno| devno == numbers)
            }
            _ => {
                let name = self.name_of(path)?.replace('!', "/");
                self.place(disks, |other, _| other == name)
            }
        }
    }

    /// The disk or partition whose kernel name and numbers are the ones that are meant.
    fn place(&self, disks: &[Disk], is_meant: impl Fn(&str, (u32, u32)) -> bool) -> Option<Place> {
        disks.iter().find_map(|disk| {
            if is_meant(&disk.name, disk.instance.devno) {
                let mapper_name = text(self.block(&disk.name).join("dm/name"));
                return Some(Place::of_disk(disk.clone(), mapper_name.unwrap_or_else(|| disk.name.clone())));
            }
            let partition = disk.partitions.iter().find(|p| is_meant(&p.name, p.devno))?;
            Some(Place {
                disk: disk.clone(),
                partition: Some(partition.number),
                devno: partition.devno,
                path: partition.path.clone(),
                name: partition.name.clone(),
                size: partition.range.len(),
            })
        })
    }

    /// The volume with this mapper name.
    fn mapped(&self, disks: &[Disk], mapper_name: &str) -> Option<Place> {
        let named =
            |disk: &&Disk| text(self.block(&disk.name).join("dm/name")).as_deref() == Some(mapper_name);
        let disk = disks.iter().filter(|disk| disk.is_volume()).find(named)?;
        Some(Place::of_disk(disk.clone(), mapper_name.to_owned()))
    }

    /// The one disk with this serial, WWN or lasting name.
    fn marked(&self, disks: &[Disk], mark: &str) -> Result<Option<Place>> {
        let is_meant = |disk: &&Disk| {
            let Identity { serial, wwn, .. } = &disk.identity;
            !mark.is_empty() && (serial == mark || wwn == mark || disk.stable_names.iter().any(|s| s == mark))
        };
        let meant: Vec<&Disk> = disks.iter().filter(is_meant).collect();
        match meant.as_slice() {
            [] => Ok(None),
            [disk] => Ok(self.place(disks, |_, devno| devno == disk.instance.devno)),
            several => {
                let names: Vec<&str> = several.iter().map(|disk| disk.name.as_str()).collect();
                let names = names.join(", ");
                Err(Error::new(
                    ErrorKind::Usage,
                    format!("{mark} is the serial of several disks: name one of {names}"),
                ))
            }
        }
    }
}
