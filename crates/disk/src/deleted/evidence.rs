//! What entries of FAT and exFAT say of time. Neither filesystem keeps when a file was deleted, and an entry that
//! was given to another file leaves no trace: whether others had a place meanwhile shows only in what is around.

use super::claims::settle;
use super::{Chance, DeletedFile};
use crate::fs::Time;

/// Entries that are remembered; of more nothing is proved.
const ENTRIES: usize = 2_000_000;
const NEVER: Time = Time { seconds: i64::MAX, nanos: 0 };
const LONG_AGO: Time = Time { seconds: i64::MIN, nanos: 0 };

/// An entry of a folder, of a file that is there or not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen {
    pub(super) born: Option<Time>,
    /// Its first cluster; 0 if it has none.
    pub(super) cluster: u32,
    pub(super) is_gone: bool,
}

/// What is needed of a deleted file to judge it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trace {
    /// The folder, by a number of its own.
    pub(super) folder: u64,
    /// The latest of its times.
    pub(super) last: Option<Time>,
    pub(super) cluster: u32,
}

/// What was seen on a volume.
#[derive(Default)]
pub(super) struct Evidence {
    /// The newest deleted entry, with its folder, and the newest of any other folder.
    gone: Option<(Time, u64)>,
    gone_elsewhere: Option<(Time, u64)>,
    /// The newest entry in front of an older one: its place was that of another before.
    reused: Option<Time>,
    /// When each entry was made, with its first cluster.
    places: Vec<(Time, u32)>,
    too_many: bool,
}

impl Evidence {
    /// All entries of a folder, in its order.
    pub(super) fn folder(&mut self, folder: u64, entries: &[Seen]) {
        let mut oldest_behind = NEVER;
        for entry in entries.iter().rev() {
            let Some(born) = entry.born else { continue };
            if born > oldest_behind {
                self.reused = self.reused.max(Some(born));
            }
            oldest_behind = oldest_behind.min(born);
            if entry.is_gone {
                self.note_gone(born, folder);
            }
            if entry.cluster == 0 {
                continue;
            }
            if self.places.len() < ENTRIES {
                self.places.push((born, entry.cluster));
            } else {
                self.too_many = true;
            }
        }
    }

    /// A deleted folder of which the entries are not there any more: they can be of any time.
    pub(super) fn lost_folder(&mut self) {
        self.note_gone(NEVER, u64::MAX);
    }

    fn note_gone(&mut self, born: Time, folder: u64) {
        match self.gone {
            Some((newest, of)) if of == folder => self.gone = Some((newest.max(born), of)),
            Some((newest, _)) if born > newest => {
                self.gone_elsewhere = self.gone;
                self.gone = Some((born, folder));
            }
            Some(_) => {
                if self.gone_elsewhere.is_none_or(|(newest, _)| born > newest) {
                    self.gone_elsewhere = Some((born, folder));
                }
            }
            None => self.gone = Some((born, folder)),
        }
    }

    /// The last cluster that any entry begins in.
    pub(super) fn last_cluster(&self) -> u32 {
        self.places.iter().map(|(_, cluster)| *cluster).max().unwrap_or(0)
    }

    /// Says of each file what goes against it. `has_gaps`: there are free clusters between those of the entries
    /// that none of them ever had, so there were files of which nothing is left.
    pub(super) fn settle(mut self, files: &mut [DeletedFile], traces: &[Trace], has_gaps: bool) {
        settle(files);
        // Newest first, each with the lowest cluster of those that are newer or as new.
        self.places.sort_unstable_by(|one, other| other.cmp(one));
        let mut lowest = u32::MAX;
        for (_, cluster) in &mut self.places {
            lowest = lowest.min(*cluster);
            *cluster = lowest;
        }
        for (file, trace) in files.iter_mut().zip(traces) {
            if file.content.places(file.size).next().is_none() {
                continue;
            }
            let last = trace.last.unwrap_or(LONG_AGO);
            let elsewhere = [self.gone, self.gone_elsewhere].into_iter().flatten();
            let newer_gone =
                elsewhere.filter(|(_, folder)| *folder != trace.folder).any(|(born, _)| born >= last);
            let newer = self.places.partition_point(|(born, _)| *born > last);
            let below = newer.checked_sub(1).and_then(|index| self.places.get(index));
            let why = if self.too_many {
                Some("there are too many files to tell whether others had its place since")
            } else if newer_gone && has_gaps {
                Some("files came and went elsewhere since, and may have had its place")
            } else if self.reused.is_some_and(|reused| reused > last) {
                Some("entries of folders changed hands since, and so may have its place")
            } else if below.is_some_and(|(_, cluster)| *cluster < trace.cluster) {
                Some("newer files lie in front of it, so others may have had its place")
            } else {
                None
            };
            if let Some(why) = why {
                file.worsen(Chance::Partial, why);
            }
        }
    }
}

#[cfg(test)]
#[allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_possible_truncation
)]
mod tests {
    use super::super::content::{Content, Place, Run};
    use super::*;

    fn at(seconds: i64) -> Option<Time> {
        Some(Time { seconds, nanos: 0 })
    }

    fn seen(born: i64, cluster: u32, is_gone: bool) -> Seen {
        Seen { born: at(born), cluster, is_gone }
    }

    /// What is said of a file made at 10, in cluster 50, in folder 1.
    fn verdict(folders: &[(u64, &[Seen])], has_gaps: bool) -> Chance {
        let mut evidence = Evidence::default();
        evidence.folder(1, &[seen(5, 40, false), seen(10, 50, true)]);
        for (folder, entries) in folders {
            evidence.folder(*folder, entries);
        }
        let run = Run { len: 100, place: Place::At(5000) };
        let mut files = [DeletedFile::new(1, 100, Content::Runs([run].into()))];
        evidence.settle(&mut files, &[Trace { folder: 1, last: at(10), cluster: 50 }], has_gaps);
        files[0].chance
    }

    #[test]
    fn what_goes_against_a_file() {
        assert_eq!(verdict(&[], true), Chance::Intact);
        // Others, older or behind it, change nothing; nor do deleted ones where all that there was is known.
        assert_eq!(verdict(&[(2, &[seen(7, 45, true), seen(20, 60, false)])], true), Chance::Intact);
        assert_eq!(verdict(&[(2, &[seen(20, 60, true)])], false), Chance::Intact);
        assert_eq!(verdict(&[(2, &[seen(20, 60, true)])], true), Chance::Partial);
        // A newer one in front of it, by entry and by cluster.
        assert_eq!(verdict(&[(2, &[seen(20, 60, false), seen(15, 61, false)])], true), Chance::Partial);
        assert_eq!(verdict(&[(2, &[seen(20, 45, false)])], false), Chance::Partial);
    }

    #[test]
    fn a_lost_folder_can_have_held_anything() {
        let mut evidence = Evidence::default();
        evidence.lost_folder();
        evidence.folder(3, &[seen(99, 7, true)]);
        assert_eq!(evidence.gone, Some((NEVER, u64::MAX)));
        assert_eq!((evidence.gone_elsewhere, evidence.last_cluster()), (Some((at(99).unwrap(), 3)), 7));
    }
}
