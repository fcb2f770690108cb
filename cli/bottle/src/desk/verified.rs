//! Verifications that somebody started, one at a time for each bottle.

use crate::verification::{self, How};
use bottle_core::slug::Slug;
use bottle_core::visible::Line;
use bottle_guest::probe::Answer;
use bottle_host::audit::now_ms;
use bottle_host::failure::Outcome;
use bottle_host::state::Folder;
use bottle_ui::desk::{Strip, Verified};
use bottle_verify::report::Judged;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// How many sentences and ports of a guest are shown.
const SHOWN: usize = 50;

/// The state of each bottle's verification.
#[derive(Clone, Default)]
pub struct Verifications(Arc<Mutex<HashMap<Slug, Verified>>>);

impl Verifications {
    /// Begins to verify a bottle, unless that is under way.
    ///
    /// # Errors
    /// Returns an error if there is no thread for it.
    pub fn begin(&self, folder: Folder) -> Outcome {
        let state = &mut *self.lock();
        let known = state.entry(folder.slug().clone()).or_default();
        if known.running {
            return Ok(());
        }
        let of = self.clone();
        let work = move || {
            let how = How { every_port: false, host_only: false };
            let found = verification::verify(&folder, how, &|_| ());
            let mut found = match &found {
                Ok(judged) => shown(judged),
                Err(failure) => Verified { failed: Some(failure.what().to_owned()), ..Verified::default() },
            };
            found.at_ms = Some(now_ms());
            of.lock().insert(folder.slug().clone(), found);
        };
        thread::Builder::new().name("verify".to_owned()).spawn(work).map_err(anyhow::Error::from)?;
        known.running = true;
        Ok(())
    }

    /// Returns the state of a bottle's verification.
    pub fn of(&self, slug: &Slug) -> Verified {
        self.lock().get(slug).cloned().unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Slug, Verified>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn shown(judged: &Judged) -> Verified {
    let mut found = Verified {
        verdict: Some(judged.verdict().word().to_owned()),
        says: vec![judged.sentence()],
        stand_in: judged.is_of_a_stand_in(),
        ..Verified::default()
    };
    let line = |text: &String| Line(text).to_string();
    if let Some(host) = judged.host() {
        found.leaks.extend(host.leaks.iter().take(SHOWN).map(line));
        found.says.extend(host.inconclusive_because.iter().map(line));
        let spoke = host.doors.iter().filter(|door| door.before.is_none() && door.after.is_none());
        found.strips.push(Strip {
            label: format!("From the host: every TCP and UDP port, {} frames", host.frames),
            doors: spoke.map(|door| door.port).collect(),
            open: Vec::new(),
        });
    }
    if let Some(inside) = judged.inside() {
        found
            .leaks
            .extend(inside.leaks.iter().take(SHOWN).map(|leak| format!("the guest says: {}", Line(leak))));
        found.says.extend(inside.inconclusive_because.iter().map(line));
        found.strips.extend(strips(&inside.probes, judged.doors()));
    }
    found
}

/// Returns one strip for each destination that was tried from inside. A probe's name ends with its ports.
fn strips(probes: &[Answer], doors: &BTreeSet<u16>) -> Vec<Strip> {
    let mut found: Vec<(&str, Strip)> = Vec::new();
    for answer in probes.iter().filter(|answer| answer.id.starts_with("tcp ")) {
        let whom = answer.id.rsplit_once(' ').map_or(answer.id.as_str(), |(whom, _)| whom);
        let at = found.iter().position(|(known, _)| *known == whom).unwrap_or_else(|| {
            let label = format!("From inside, the guest\u{2019}s word: {}", Line(whom));
            found.push((whom, Strip { label, ..Strip::default() }));
            found.len() - 1
        });
        let strip = &mut found[at].1;
        let (spoke, open): (Vec<u16>, Vec<u16>) =
            answer.accepted.iter().partition(|port| doors.contains(port));
        strip.doors.extend(spoke);
        strip.open.extend(open.into_iter().take(SHOWN.saturating_sub(strip.open.len())));
    }
    found.into_iter().take(SHOWN).map(|(_, strip)| strip).collect()
}
