//! What the job gives up before it reads its first untrusted byte: every privilege, every path, the network,
//! and all system calls but those that move bytes between descriptors it was handed.
//!
//! Three layers, each of which would do alone against most of what can go wrong: the user nobody without
//! capabilities (where the program was started by root), Landlock without a single path (Linux 5.13), and a
//! list of system calls (seccomp).

use block::{Error, ErrorKind, Result};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetStatus, Scope, path_beneath_rules,
};
use rustix::fs::Gid;
use rustix::process::{
    Resource, Rlimit, Signal, Uid, geteuid, getpid, set_parent_process_death_signal, setrlimit,
};
use rustix::thread::{
    CapabilitySet, CapabilitySets, clear_ambient_capability_set, remove_capability_from_bounding_set,
    set_capabilities, set_no_new_privs, set_thread_groups, set_thread_res_gid, set_thread_res_uid,
};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch,
};
use std::collections::BTreeMap;

/// The user and group of nobody, by the convention of all distributions.
const NOBODY: u32 = 65534;

/// Bytes of memory that a job may use which goes into filesystems: what damage there can ask for has an end.
pub const MEMORY: u64 = 1 << 30;

/// Sets that limit, for good. A job that wants more ends by SIGABRT; `ended` of the monitor says what that means.
pub fn limit_memory() {
    // Without it, the kernel's own limits are left.
    let _ = setrlimit(Resource::Data, Rlimit { current: Some(MEMORY), maximum: Some(MEMORY) });
}

/// Enters it, for good. Only before the process has other threads. What could not be had comes back, one
/// sentence each: an old kernel, or a container that permits less.
///
/// Fails where the kernel refuses what it should know.
pub fn enter() -> Result<Vec<&'static str>> {
    // What is asked of the system once, and by way of files.
    block::cores();
    rustix::param::page_size();
    let mut missing = vec![];
    if !give_up_privileges()? {
        missing.push("this container has no user nobody: the job runs as root, without its capabilities");
    }
    if !no_paths_but(&[])? {
        missing.push("this kernel has no Landlock: the job is kept from files by seccomp alone");
    }
    let machine = TargetArch::try_from(std::env::consts::ARCH);
    let filters = machine.and_then(filters).unwrap_or_default();
    if filters.is_empty() || filters.iter().any(|filter| seccompiler::apply_filter(filter).is_err()) {
        missing.push("no seccomp on this kernel or machine: the job may use all system calls");
    }
    Ok(missing)
}

/// Before another program that reads untrusted bytes is run in place of this one: the same, but that it may read
/// and run what programs are made of, and may make no connection. Fails where it could read its user's files.
pub fn enter_to_run() -> Result<()> {
    let nobody = give_up_privileges()?;
    let kept = no_paths_but(PROGRAMS)?;
    if !nobody && !kept {
        let words = "this kernel has no Landlock and this container no user nobody: nothing keeps another program \
                     that reads images from the files of root";
        return Err(Error::new(ErrorKind::Refused, words));
    }
    for (resource, most) in [(Resource::As, MAX_MEMORY), (Resource::Fsize, 0), (Resource::Core, 0)] {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        setrlimit(resource, limit).map_err(failed("limiting memory"))?;
    }
    // As far as the machine knows it; Landlock and the user nobody stand without it.
    if let Ok(filter) = TargetArch::try_from(std::env::consts::ARCH).and_then(no_connections) {
        let _ = seccompiler::apply_filter(&filter);
    }
    Ok(())
}

/// Where programs and their libraries are, and what else the C library wants.
const PROGRAMS: &[&str] = &[
    "/usr",
    "/bin",
    "/sbin",
    "/lib",
    "/lib32",
    "/lib64",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/dev/null",
    "/dev/urandom",
];
/// Of address space, in bytes.
const MAX_MEMORY: u64 = 4 << 30;

/// What reaches others by itself fails with EPERM.
fn no_connections(machine: TargetArch) -> std::result::Result<BpfProgram, seccompiler::BackendError> {
    let refused = [
        libc::SYS_socket,
        libc::SYS_connect,
        libc::SYS_bind,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_kill,
        libc::SYS_mount,
        libc::SYS_bpf,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_userfaultfd,
        libc::SYS_perf_event_open,
        libc::SYS_unshare,
        libc::SYS_setns,
    ];
    let rules = refused.into_iter().map(|call| (call, vec![])).collect();
    let errno = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, errno, machine)?.try_into()
}

/// `false`: it is still root, without capabilities.
fn give_up_privileges() -> Result<bool> {
    drop_bounding_set();
    let nobody = !geteuid().is_root() || become_nobody().is_ok();
    drop_capabilities().map_err(failed("giving up capabilities"))?;
    set_no_new_privs(true).map_err(failed("giving up new privileges"))?;
    // A change of the user resets it.
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(failed("watching the monitor"))?;
    Ok(nobody)
}

fn failed(what: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
    move |errno| Error::io(errno.into(), what)
}

fn become_nobody() -> rustix::io::Result<()> {
    let (user, group) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    set_thread_groups(&[])?;
    set_thread_res_gid(group, group, group)?;
    set_thread_res_uid(user, user, user)
}

/// So that no exec brings a capability back. Who has no CAP_SETPCAP has none to lose either.
fn drop_bounding_set() {
    for capability in CapabilitySet::all().iter() {
        let _ = remove_capability_from_bounding_set(capability);
    }
    // Linux 4.3; before it there is no such set.
    let _ = clear_ambient_capability_set();
}

fn drop_capabilities() -> rustix::io::Result<()> {
    let none = CapabilitySet::empty();
    set_capabilities(None, CapabilitySets { effective: none, permitted: none, inheritable: none })
}

/// But for reading what is below these. `false`: there is no Landlock.
fn no_paths_but(readable: &[&str]) -> Result<bool> {
    let newest = ABI::V6;
    let enter = || {
        let ruleset = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(newest))?
            .handle_access(AccessNet::from_all(newest))?
            .scope(Scope::from_all(newest))?;
        let ruleset = ruleset.create()?;
        let reading = AccessFs::from_read(newest);
        ruleset.add_rules(path_beneath_rules(readable, reading))?.restrict_self()
    };
    match enter() {
        Ok(status) => Ok(status.ruleset != RulesetStatus::NotEnforced),
        Err(error) => Err(Error::new(ErrorKind::Io, "Landlock").with_source(error)),
    }
}

/// Terminal: is it one, and how wide.
const TCGETS: u64 = 0x5401;
const TIOCGWINSZ: u64 = 0x5413;

/// System calls that are of no use without a descriptor, or concern this process only.
const HARMLESS: &[libc::c_long] = &[
    // Bytes.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_flock,
    // Descriptors.
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_recvmsg,
    libc::SYS_accept4,
    libc::SYS_shutdown,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads; clone has its own rule.
    libc::SYS_clone3,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_membarrier,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Signals to itself; tgkill has its own rule.
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    // Time, chance, and what machine it is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_getrandom,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getrusage,
];

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// What is not on the list fails with EPERM. `clone3` fails with ENOSYS: its flags lie in memory, where no
/// filter sees them, and the C library falls back to `clone`, which makes threads here and no processes.
fn filters(machine: TargetArch) -> std::result::Result<Vec<BpfProgram>, seccompiler::BackendError> {
    let mut rules: Rules = HARMLESS.iter().map(|call| (*call, vec![])).collect();
    let when = |arg, op, value: u64| {
        SeccompRule::new(vec![SeccompCondition::new(arg, SeccompCmpArgLen::Dword, op, value)?])
    };
    let number = |constant: libc::c_int| u64::from(constant.unsigned_abs());
    let thread = number(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, vec![when(0, SeccompCmpOp::MaskedEq(thread), thread)?]);
    let me = number(getpid().as_raw_nonzero().get());
    rules.insert(libc::SYS_tgkill, vec![when(0, SeccompCmpOp::Eq, me)?]);
    rules.insert(libc::SYS_prctl, vec![when(0, SeccompCmpOp::Eq, number(libc::PR_SET_NAME))?]);
    let requests = device::UNPRIVILEGED.into_iter().map(u64::from).chain([TCGETS, TIOCGWINSZ]);
    let requests = requests.map(|request| when(1, SeccompCmpOp::Eq, request));
    rules.insert(libc::SYS_ioctl, requests.collect::<std::result::Result<_, _>>()?);

    let refused = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    let listed = SeccompFilter::new(rules, refused, SeccompAction::Allow, machine)?;
    let clone3 = Rules::from([(libc::SYS_clone3, vec![])]);
    let clone3 = SeccompFilter::new(clone3, SeccompAction::Allow, unknown, machine)?;
    // The second one is installed by way of the first: prctl and seccomp are not on the list.
    Ok(vec![clone3.try_into()?, listed.try_into()?])
}
