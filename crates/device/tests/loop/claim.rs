//! Who gets a device, and who does not.

use super::*;

#[test]
fn a_mounted_source_is_refused_unless_live() {
    let _alone = alone();
    let Some(disk) = Disk::new(16 * MIB, 512) else { return };
    let free = disk.open(false, true).unwrap();
    assert!(!free.live);
    drop(free);
    let Some(mounted) = mount(&disk) else { return };
    let refused = disk.open(false, true).err().unwrap();
    assert_eq!(refused.kind(), ErrorKind::Refused, "{refused}");
    assert!(disk.open(true, true).unwrap().live);
    assert!(!disk.open(false, false).unwrap().live);
    drop(mounted);
    let held = disk.open(true, true).unwrap();
    assert!(!held.live, "live is permitted, not claimed");
    let dir = disk.folder.path().join("mnt");
    let mounted = Command::new("mount").arg(disk.path()).arg(&dir).output().unwrap();
    assert!(!mounted.status.success(), "nobody mounts what is held");
}

#[test]
fn a_held_source_keeps_others_from_claiming_it() {
    let _alone = alone();
    let Some(disk) = Disk::new(4 * MIB, 512) else { return };
    let held = disk.open(false, true).unwrap();
    assert_eq!(disk.claim().err().unwrap(), [Refusal::Busy]);
    assert_eq!(kind(disk.open(false, true)), ErrorKind::Refused);
    drop(held);
    disk.claim().unwrap();
}

#[test]
fn what_is_in_use_is_not_claimed() {
    let _alone = alone();
    let Some(disk) = Disk::new(16 * MIB, 512) else { return };
    {
        let Some(_mounted) = mount(&disk) else { return };
        assert_eq!(disk.claim().err().unwrap(), [Refusal::Busy]);
        // What the facts say is better than that the kernel refused.
        let used = |handle: &Handle| {
            let usage = Usage { swap: vec!["it".into()], ..Usage::default() };
            Ok(Facts { usage, ..free(handle)? })
        };
        let why = Target::claim(disk.path(), &disk.want(), used).unwrap().err().unwrap();
        assert_eq!(why, [Refusal::Swap("it".into())]);
    }
    {
        run(&["mkswap"], disk.path(), &[]);
        run(&["swapon"], disk.path(), &[]);
        let _swap = Undo(&["swapoff"], disk.path().to_owned());
        assert_eq!(disk.claim().err().unwrap(), [Refusal::Busy]);
    }
    {
        let _other = File::options().read(true).custom_flags(O_EXCL).open(disk.path()).unwrap();
        assert_eq!(disk.claim().err().unwrap(), [Refusal::Busy]);
    }
    {
        let other = File::open(disk.path()).unwrap();
        other.lock_shared().unwrap();
        let why = disk.claim().err().unwrap();
        assert!(matches!(why.as_slice(), [Refusal::OpenElsewhere(_)]), "{why:?}");
    }
    let target = disk.claim().unwrap();
    assert!(
        File::open(disk.path()).unwrap().try_lock_shared().is_err(),
        "it is locked as long as it is held"
    );
    assert_eq!(disk.claim().err().unwrap(), [Refusal::Busy]);
    drop(target);
}

#[test]
fn another_disk_under_the_name_is_not_taken() {
    let _alone = alone();
    let Some(disk) = Disk::new(4 * MIB, 512) else { return };
    let shown = disk.instance();
    let old = Instance { diskseq: shown.diskseq - 1, ..shown };
    let how = SourceOptions::default();
    let error = DeviceSource::open(disk.path(), old, how, false).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert!(error.to_string().contains("another disk took its place"), "{error}");
    let want = Wanted { instance: old, ..disk.want() };
    let why = Target::claim(disk.path(), &want, free).unwrap().err().unwrap();
    assert_eq!(why, [Refusal::NotTheOneShown]);
    // Nor is what the facts say about it believed.
    let lie = |handle: &Handle| Ok(Facts { instance: old, size: u64::MAX, ..free(handle)? });
    let want = Wanted { need: 5 * MIB, ..want };
    let why = Target::claim(disk.path(), &want, lie).unwrap().err().unwrap();
    assert_eq!(why, [Refusal::NotTheOneShown, Refusal::TooSmall { need: 5 * MIB, have: 4 * MIB }]);
}

#[test]
fn a_read_only_target_is_refused() {
    let _alone = alone();
    let Some(disk) = Disk::new(4 * MIB, 512) else { return };
    run(&["blockdev", "--setro"], disk.path(), &[]);
    let read_only = Undo(&["blockdev", "--setrw"], disk.path().to_owned());
    assert_eq!(disk.claim().err().unwrap(), [Refusal::ReadOnly]);
    drop(read_only);
    disk.claim().unwrap();
}

/// Two loop devices over equal images: a backup on one does not keep the other one from being written, nor
/// do equal disks that nothing tells apart.
#[test]
fn a_disk_is_not_taken_for_its_equal() {
    let _alone = alone();
    let (Some(one), Some(two)) = (Disk::new(4 * MIB, 512), Disk::new(4 * MIB, 512)) else { return };
    let machine = Machine::host();
    let monitor = InProcess { machine: machine.clone() };
    let attached = |disk: &Disk| machine.find(disk.path().to_str().unwrap()).unwrap().disk.attached();
    let same_file = LoopDevice::attach(&one.file(), 512).unwrap();
    let same_file = machine.find(same_file.path().to_str().unwrap()).unwrap().disk.attached();
    for (never, is_refused) in [(attached(&one), true), (attached(&two), false), (same_file, true)] {
        let source = monitor.open_source(one.instance(), SourceOptions::default()).unwrap().source;
        let id = device::disk_id(&attached(&one).identity, &*source).unwrap();
        let want = Wanted { id, never: vec![never.clone()], ..one.want() };
        let refused = monitor.claim(&want).unwrap().err().unwrap_or_default();
        assert_eq!(refused.contains(&Refusal::SourceOrBackup), is_refused, "{never:?}: {refused:?}");
    }
    // As if they were hardware without serial and WWN.
    let plain = |disk: &Disk| {
        let identity = Identity { size: 4 * MIB, sector: 512, ..Identity::default() };
        Attached { identity, instance: disk.instance() }
    };
    let facts = |handle: &Handle| Ok(Facts { disk: plain(&one), ..free(handle)? });
    for (never, is_refused) in [(plain(&two), false), (plain(&one), true)] {
        let want = Wanted { never: vec![never], ..one.want() };
        // It may be busy for a moment: a program that another test starts has its descriptor until exec.
        let refused = Target::claim(one.path(), &want, facts).unwrap().err().unwrap_or_default();
        assert_eq!(refused.contains(&Refusal::SourceOrBackup), is_refused, "{refused:?}");
    }
}
