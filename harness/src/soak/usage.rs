//! The resources that a bottle's processes on the host use.

use crate::compare::measure;
use crate::environment::RunningBottle;
use crate::processes::descendants;
use anyhow::Result;
use serde::Serialize;
use std::fmt;
use std::fs;

/// The resources of the keeper and of the processes below it.
#[derive(Clone, Debug, Serialize)]
pub struct Usage {
    keeper: u32,
    /// The resident memory of the keeper, in MiB.
    memory: f64,
    /// The resident memory of the processes below the keeper, including gvproxy, in MiB.
    below: f64,
    /// The keeper's descriptors.
    descriptors: usize,
    /// The keeper's threads.
    threads: usize,
    /// The number of processes below the keeper.
    processes: usize,
    /// How often gvproxy had to be restarted.
    restarts: u32,
}

impl Usage {
    /// Measures a running bottle.
    pub fn of(bottle: &RunningBottle) -> Result<Self> {
        let status = bottle.status()?;
        let proc = |what: &str| {
            Ok::<_, anyhow::Error>(fs::read_dir(format!("/proc/{}/{what}", status.pid))?.count())
        };
        let below = descendants(status.pid);
        Ok(Self {
            keeper: status.pid,
            memory: measure::resident(status.pid.into())?,
            // A process that has just ended uses nothing.
            below: below
                .iter()
                .filter_map(|pid| measure::resident((*pid).into()).ok())
                .fold(0.0, |a, b| a + b),
            descriptors: proc("fd")?,
            threads: proc("task")?,
            processes: below.len(),
            restarts: status.jail_restarts,
        })
    }

    /// Lists what has grown. Memory may grow by `slack` MiB.
    pub fn grown_to(&self, after: &Self, slack: f64) -> Vec<String> {
        let mut grown = Vec::new();
        let mut check = |what: &str, was: f64, is: f64, slack: f64| {
            if is > was + slack {
                grown.push(format!("{what}: {was:.1} before, {is:.1} after"));
            }
        };
        #[expect(clippy::cast_precision_loss, reason = "there are few of them")]
        let count = |n: usize| n as f64;
        check("the keeper's memory, MiB", self.memory, after.memory, slack);
        // gvproxy's garbage collector keeps the memory of its busiest moment.
        check("memory below it, MiB", self.below, after.below, 16.0 * slack);
        check("descriptors", count(self.descriptors), count(after.descriptors), 0.0);
        // The runtime keeps a thread that resolved a name for another ten seconds.
        check("threads", count(self.threads), count(after.threads), 1.0);
        check("processes", count(self.processes), count(after.processes), 0.0);
        check("restarts of gvproxy", self.restarts.into(), after.restarts.into(), 0.0);
        if self.keeper != after.keeper {
            grown.push("it has another keeper".to_owned());
        }
        grown
    }
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { memory, below, descriptors, threads, processes, .. } = self;
        write!(
            f,
            "keeper {memory:.1} MiB, {descriptors} descriptors, {threads} threads; below it {processes} processes, {below:.1} MiB"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_grows_is_listed() {
        let before = Usage {
            keeper: 1,
            memory: 10.0,
            below: 30.0,
            descriptors: 20,
            threads: 6,
            processes: 3,
            restarts: 0,
        };
        assert_eq!(before.grown_to(&before, 4.0), Vec::<String>::new());
        let slack = Usage { memory: 13.9, below: 93.0, threads: 7, ..before.clone() };
        assert_eq!(before.grown_to(&slack, 4.0), Vec::<String>::new());
        for (after, what) in [
            (Usage { memory: 14.1, ..before.clone() }, "the keeper's memory"),
            (Usage { below: 95.0, ..before.clone() }, "memory below it"),
            (Usage { descriptors: 21, ..before.clone() }, "descriptors"),
            (Usage { threads: 8, ..before.clone() }, "threads"),
            (Usage { processes: 4, ..before.clone() }, "processes"),
            (Usage { restarts: 1, ..before.clone() }, "restarts"),
            (Usage { keeper: 2, ..before.clone() }, "another keeper"),
        ] {
            let grown = before.grown_to(&after, 4.0);
            assert!(grown.len() == 1 && grown[0].contains(what), "{what}: {grown:?}");
        }
    }
}
