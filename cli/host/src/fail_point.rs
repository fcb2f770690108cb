//! The boundaries between the steps that change something: where a crash is worth thinking about.
//!
//! In a debug build `BOTTLE_DIE_AFTER` names one, and the process that comes to it is killed there,
//! as by `kill -9`; `tests/tests/crash.rs` does that at each. A release build has nothing of it.

macro_rules! fail_points {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// A boundary between two steps.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum FailPoint {
            $($(#[$doc])* $variant,)*
        }

        impl FailPoint {
            /// Every one, in the order in which a bottle's life comes to them.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// Its name: the process, and what was done last.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

fail_points! {
    /// `up` has the bottle to itself.
    UpLocked = "up-locked",
    /// `up` knows what it will start.
    UpResolved = "up-resolved",
    /// `up` has remembered the configuration.
    UpTrusted = "up-trusted",
    /// The folders are made.
    Folders = "files-folders",
    /// The plan is written.
    Plan = "files-plan",
    /// What the keeper does is written.
    Services = "files-services",
    /// The Smolfile is written.
    Smolfile = "files-smolfile",
    /// gvproxy's file is written.
    Gvproxy = "files-gvproxy",
    /// The project is copied, and that is not remembered yet.
    CopyMade = "files-copy-made",
    /// The project is copied.
    Copied = "files-copied",
    /// The helper is where the guest will find it.
    Helper = "files-helper",
    /// The guest's socket is there.
    GuestSocket = "guest-socket",
    /// The keeper has the bottle to itself.
    KeeperLocked = "keeper-locked",
    /// The keeper's log is open.
    KeeperLog = "keeper-log",
    /// The socket for commands is there.
    KeeperControl = "keeper-control",
    /// gvproxy runs in its jail.
    KeeperJail = "keeper-jail",
    /// The keeper has said that it is ready.
    KeeperReady = "keeper-ready",
    /// `up` has a keeper.
    UpKeeper = "up-keeper",
    /// What the machine is to be is remembered, and it is not made yet.
    UpRemembered = "up-remembered",
    /// The machine follows a changed configuration, and that is not remembered yet.
    UpFollowed = "up-followed",
    /// The machine is ready to start.
    UpMachine = "up-machine",
    /// The machine runs.
    UpStarted = "up-started",
    /// The keeper is to live as long as the machine.
    KeeperAdopted = "keeper-adopted",
    /// `up` knows that.
    UpAdopted = "up-adopted",
    /// The helper is started.
    UpHelper = "up-helper",
    /// The keeper has greeted a guest.
    KeeperGreeted = "keeper-greeted",
    /// The guest is connected.
    UpConnected = "up-connected",
    /// `run` has the bottle to itself.
    RunLocked = "run-locked",
    /// `run` has a keeper.
    RunKeeper = "run-keeper",
    /// smolvm is started.
    RunMachine = "run-machine",
    /// The guest's command has ended.
    RunEnded = "run-ended",
    /// `stop` has the bottle to itself.
    StopLocked = "stop-locked",
    /// The machine is stopped.
    StopMachine = "stop-machine",
    /// The keeper was told to end.
    EndTold = "end-told",
    /// The keeper has ended.
    EndKeeper = "end-keeper",
    /// The keeper's last line is in the log.
    KeeperStopped = "keeper-stopped",
    /// `rm` has the bottle to itself.
    RmLocked = "rm-locked",
    /// The machine is deleted.
    RmMachine = "rm-machine",
    /// The copy of the project is in the trash, if the guest changed something in it.
    RmTrash = "rm-trash",
    /// Sockets and helper are gone.
    RmRuntime = "rm-runtime",
    /// The copy of the project is gone.
    RmCopy = "rm-copy",
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
