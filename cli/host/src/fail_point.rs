//! Fail points: boundaries between steps that change something, where a crash could do harm.
//!
//! In a debug build `BOTTLE_DIE_AFTER` names one, and the process that reaches it dies there, as if by
//! `kill -9`. `tests/tests/crash.rs` does that at each of them. A release build contains none of this.

macro_rules! fail_points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A boundary between two steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailPoint {
            $($(#[$doc])* $variant,)*
        }

        impl FailPoint {
            /// All fail points, in the order in which a bottle's life reaches them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Returns its name: the process, and what it did last.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

fail_points! {
    /// `up` holds the bottle's lock.
    UpLocked = "up-locked",
    /// `up` knows what it will start.
    UpResolved = "up-resolved",
    /// `up` has recorded the configuration as trusted.
    UpTrusted = "up-trusted",
    /// The folders exist.
    Folders = "files-folders",
    /// The plan is written.
    Plan = "files-plan",
    /// The keeper's services are written.
    Services = "files-services",
    /// The Smolfile is written.
    Smolfile = "files-smolfile",
    /// gvproxy's configuration is written.
    Gvproxy = "files-gvproxy",
    /// The project is copied, but the record of it is not written yet.
    CopyMade = "files-copy-made",
    /// The record of the copy is written, but the copy does not have its name yet.
    CopyRecorded = "files-copy-recorded",
    /// The copy has its name, and the record says what is in it.
    Copied = "files-copied",
    /// The helper is where the guest will find it.
    Helper = "files-helper",
    /// The guest's socket exists.
    GuestSocket = "guest-socket",
    /// The keeper holds the bottle's lock.
    KeeperLocked = "keeper-locked",
    /// The keeper's log is open.
    KeeperLog = "keeper-log",
    /// The socket for commands exists.
    KeeperControl = "keeper-control",
    /// gvproxy runs in its jail.
    KeeperJail = "keeper-jail",
    /// The keeper has said that it is ready.
    KeeperReady = "keeper-ready",
    /// `up` has a keeper.
    UpKeeper = "up-keeper",
    /// The machine's configuration is recorded, but the machine does not exist yet.
    UpRemembered = "up-remembered",
    /// The machine has the changed configuration, but that is not recorded yet.
    UpFollowed = "up-followed",
    /// The machine is ready to start.
    UpMachine = "up-machine",
    /// The machine runs.
    UpStarted = "up-started",
    /// The keeper lives as long as the machine from now on.
    KeeperAdopted = "keeper-adopted",
    /// `up` knows that the keeper has adopted the machine.
    UpAdopted = "up-adopted",
    /// The helper is started.
    UpHelper = "up-helper",
    /// The keeper has accepted a guest.
    KeeperGreeted = "keeper-greeted",
    /// The guest is connected.
    UpConnected = "up-connected",
    /// `fork` has copied the copy of the project, and the new bottle has no machine yet.
    ForkCopied = "fork-copied",
    /// `fork` has created the new bottle's machine, whose disks are not there yet.
    ForkMachine = "fork-machine",
    /// `fork` has copied everything, and the new bottle still has its mark.
    ForkMarked = "fork-marked",
    /// `run` holds the bottle's lock.
    RunLocked = "run-locked",
    /// `run` has a keeper.
    RunKeeper = "run-keeper",
    /// smolvm is started.
    RunMachine = "run-machine",
    /// The guest's command has ended.
    RunEnded = "run-ended",
    /// `run` has claimed a machine of the pool.
    PoolClaimed = "pool-claimed",
    /// The first name of the copy is in the machine's folder.
    PoolPouring = "pool-pouring",
    /// The machine's folder for a copy is the bottle's, and the copy is not recorded yet.
    PoolPoured = "pool-poured",
    /// The machine's folder for a copy is the bottle's, and recorded.
    PoolCopy = "pool-copy",
    /// The machine's folder for the helper is the bottle's.
    PoolHelper = "pool-helper",
    /// The machine can reach the keeper.
    PoolConnected = "pool-connected",
    /// The machine has ended, but its folders are still there.
    PoolEnded = "pool-ended",
    /// The folders of a machine of the pool exist.
    WarmFolder = "warm-folder",
    /// The machine exists, but does not run.
    WarmCreated = "warm-created",
    /// The machine runs, but does not wait yet.
    WarmStarted = "warm-started",
    /// `stop` holds the bottle's lock.
    StopLocked = "stop-locked",
    /// The machine is stopped.
    StopMachine = "stop-machine",
    /// The keeper has been told to stop.
    EndTold = "end-told",
    /// The keeper has ended.
    EndKeeper = "end-keeper",
    /// The keeper's last line is in the log.
    KeeperStopped = "keeper-stopped",
    /// `apply` has recorded what it is about to do, but has done nothing yet.
    ApplyJournal = "apply-journal",
    /// Everything that `apply` will put into the project is beside it.
    ApplyStaged = "apply-staged",
    /// What `apply` will replace or remove is kept for `undo`.
    ApplyKept = "apply-kept",
    /// `apply` has recorded that it begins to change the project.
    ApplyMoving = "apply-moving",
    /// `apply` has done a step. It is reached once per step: `apply-step:0` is the first.
    ApplyStep = "apply-step",
    /// `apply` is between the two halves of a step, on a file system that needs two.
    ApplyHalf = "apply-half",
    /// `apply` has recorded that the project has every change.
    ApplyDone = "apply-done",
    /// The copy's record and what `undo` needs are in place.
    ApplyRecorded = "apply-recorded",
    /// The stage beside the project is gone.
    ApplyCleared = "apply-cleared",
    /// One step of an `apply` or `undo` has been undone.
    ApplyBack = "apply-back",
    /// Every step has been undone, and the journal says so.
    ApplyUndone = "apply-undone",
    /// The stage of the undone steps is gone.
    ApplyUndoneCleared = "apply-undone-cleared",
    /// `rm` holds the bottle's lock.
    RmLocked = "rm-locked",
    /// The machine is deleted.
    RmMachine = "rm-machine",
    /// The copy of the project is in the trash, if the guest changed something in it.
    RmTrash = "rm-trash",
    /// The sockets and the helper are gone.
    RmRuntime = "rm-runtime",
    /// The copy of the project is gone.
    RmCopy = "rm-copy",
    /// `rename` has deleted the machine.
    RenameMachine = "rename-machine",
    /// `rename` has put the copy of the project into the trash.
    RenameCopy = "rename-copy",
    /// The state folder has the new name.
    RenameState = "rename-state",
    /// The trash knows the new name.
    RenameTrash = "rename-trash",
}

/// Dies here if a test asked for it at this occasion.
pub fn reached_nth(point: FailPoint, nth: usize) {
    #[cfg(debug_assertions)]
    if std::env::var("BOTTLE_DIE_AFTER").is_ok_and(|name| name == format!("{}:{nth}", point.name())) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = (point, nth);
}

/// Dies here if a test asked for it.
pub fn reached(point: FailPoint) {
    #[cfg(debug_assertions)]
    if std::env::var_os("BOTTLE_DIE_AFTER").is_some_and(|name| name == point.name()) {
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
    #[cfg(not(debug_assertions))]
    let _ = point;
}
