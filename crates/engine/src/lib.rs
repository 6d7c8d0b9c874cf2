//! The verbs as a library: plan, copy, save, verify, restore. No printing, no arguments, no signals.
//!
//! Data flows one way: [`Opener::open`] a device, [`survey`] it, make a plan, [`copy`] it into frames or
//! onto a target. Restore is the mirror of save; verify is a copy to nowhere.

#![forbid(unsafe_code)]

mod boot;
pub mod browse;
mod catalog;
mod clone;
mod context;
mod copy;
mod differing;
mod digest;
mod estimate;
mod fit;
mod foreign;
mod mend;
mod names;
mod open;
mod passed;
mod plan;
mod prepare;
mod raw_files;
mod relocate;
mod restore;
mod save;
mod save_plan;
mod sinks;
mod skip_free;
mod survey;
mod verify;
mod vmdk;
mod write_disk;

pub use boot::{BootReport, Esp, Origin, boot_report, firmware, has_esp};
pub use catalog::{Listed, State, backups};
pub use clone::{CloneOptions, ClonePlan, Twin, plan_clone};
pub use context::{Context, Event, OnError, Side};
pub use copy::{Report, copy, copy_steps};
pub use differing::{Class, Differing};
pub use digest::Algorithm;
pub use estimate::Estimate;
pub use foreign::{Bridge, Format};
pub use open::{Kind, OpenOptions, Opener, Subject, folder};
pub use plan::{Placed, Plan, Step};
pub use prepare::{
    NewFs, PrepareOptions, PreparePlan, PrepareStep, alignment, label, mkfs, mount, plan_prepare,
};
pub use raw_files::{RawFile, raw_files};
pub use restore::{Destination, RestoreOptions, plan_restore, propose_target};
pub use save::{Saved, save};
pub use save_plan::{PlannedFile, SaveOptions, SavePlan, plan_save};
pub use sinks::{AsIs, Check, Compare, ToTarget};
pub use skip_free::used_map;
pub use survey::{Survey, Surveyed, survey};
pub use verify::{Differences, Fault, MAX_RANGES, Verified, against, check_rest, verify};
pub use write_disk::{WritePlan, Written, write_disk};
