//! `bottle.toml` can start programs on this machine and open doors, so it matters who wrote it.
//!
//! It is trusted if no guest could ever write at its path, or if a person has accepted these very bytes for
//! this very path. A person is shown any other one, and asked. The file itself does not say what a guest
//! could write: bottle records that when a machine starts ([`bottle_host::provenance::writable`]). It also
//! records what a person accepted ([`seen`]). [`pins`] checks the host paths that a configuration names.

pub mod enter;
pub mod pins;
pub mod programs;
pub mod seen;
mod show;

use crate::config::found::shown;
use crate::config::{Config, FILE, Found};
use anyhow::Result;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::walk::{Walk, walk};
use bottle_host::provenance::writable::{How, Within, WritablePaths};
use bottle_host::state::Home;
use seen::Seen;
use show::Shown;
use std::path::{Path, PathBuf};

/// A person's answer to a configuration that is not trusted.
#[derive(Clone, Copy)]
pub enum Answer<'a> {
    /// Use it, whatever it contains.
    Anything,
    /// Use it if this is its digest.
    Exactly(&'a str),
    /// Ask them.
    Ask(&'a dyn Fn(&str) -> bool),
}

impl<'a> Answer<'a> {
    /// Reads `--trust`, `--trust=DIGEST` or neither.
    pub fn of(option: Option<&'a str>, ask: &'a dyn Fn(&str) -> bool) -> Self {
        match option {
            None => Self::Ask(ask),
            Some("") => Self::Anything,
            Some(digest) => Self::Exactly(digest),
        }
    }

    /// Returns whether a person accepted in advance whatever there is.
    pub fn accepts_changes(self) -> bool {
        !matches!(self, Self::Ask(_))
    }
}

/// What a person accepted: a configuration, or that there is none any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acceptance {
    /// The path where it is, or was.
    pub path: PathBuf,
    /// The SHA-256 of its bytes, or of none if it is gone.
    pub digest: String,
}

/// Whether a configuration is trusted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// No guest could ever write at its path.
    Untouched,
    /// A guest could, and a person accepted these very bytes.
    Accepted,
    /// A guest could, and nobody accepted it. Holds what was accepted before it, if anything.
    Unseen(Option<Seen>),
}

/// Returns whether a configuration is trusted.
///
/// # Errors
/// Returns [`Kind::Usage`] if its folder was [`entered`] through a guest's link.
pub fn standing(home: &Home, found: &Found) -> Outcome<Standing> {
    entered(home, &found.entered)?;
    if WritablePaths::read(home)?.around(&found.walk).is_none() {
        return Ok(Standing::Untouched);
    }
    Ok(match Seen::find(home, &found.path, found.folder)? {
        Some(seen) if seen.is(found) => Standing::Accepted,
        before => Standing::Unseen(before),
    })
}

/// Refuses a file of a person's own configuration that a guest could have written. Nobody is asked about it: it belongs
/// to no project, and no guest has a reason to reach it.
///
/// # Errors
/// Returns [`Kind::Usage`] if a guest could have written it.
pub fn own(found: &Found) -> Outcome {
    if !Defence::ConfigProvenance.stands() {
        return Ok(());
    }
    match standing(&Home::find()?, found)? {
        Standing::Untouched => Ok(()),
        Standing::Accepted | Standing::Unseen(_) => Err(Failure::new(
            Kind::Usage,
            format!("{} is where a guest could write, so it is not used", shown(&found.path)),
        )
        .help("look at it, and move it to a folder that no guest gets, with XDG_CONFIG_HOME")),
    }
}

/// Refuses a folder whose path leads through a link that a guest could have made. The person means another
/// folder, and the configuration there may well be accepted.
///
/// # Errors
/// Returns [`Kind::Usage`] if there is such a link.
pub fn entered(home: &Home, folder: &Walk) -> Outcome {
    if !Defence::ConfigProvenance.stands() {
        return Ok(());
    }
    let writable = WritablePaths::read(home)?;
    if writable.shared().all(|shared| shared.holds(folder, true) != Within::Yes) {
        return Ok(());
    }
    let links = folder.stations.iter().filter(|station| station.is_link);
    let links: Vec<String> = links.map(|station| shown(&station.path)).collect();
    let real = shown(&folder.real);
    let what = format!("{} leads to {real}, and a guest could have made that link", links.join(", "));
    Err(Failure::new(Kind::Usage, what).help(format!("if {real} is what you mean, go there")))
}

/// Returns the nearest accepted configuration that has disappeared from a folder that a guest could write.
/// Another one, or none, would apply in its place.
///
/// # Errors
/// Returns an error if the record cannot be read.
pub fn gone(home: &Home, passed: &[PathBuf]) -> Result<Option<Seen>> {
    if !Defence::ConfigProvenance.stands() {
        return Ok(None);
    }
    let writable = WritablePaths::read(home)?;
    for folder in passed {
        let Ok(walked) = walk(folder) else { continue };
        let Some(end) = walked.end.filter(|_| writable.around(&walked).is_some()) else { continue };
        if let Some(seen) = Seen::find(home, &walked.real.join(FILE), end.identity)? {
            return Ok(Some(seen));
        }
    }
    Ok(None)
}

/// Lets a configuration through that is trusted, or that a person accepts, and remembers it. Returns what a
/// person has just accepted, for the log.
///
/// # Errors
/// Returns [`Kind::Usage`] if nobody accepts it, with what it would change.
pub fn check(home: &Home, config: &Config, answer: Answer, command: &str) -> Outcome<Vec<Acceptance>> {
    if !Defence::ConfigProvenance.stands() {
        return by_its_own_word(home, config, answer, command).map(|()| Vec::new());
    }
    let mut accepted = Vec::new();
    if let Some(gone) = gone(home, &config.passed)? {
        let what = format!("{} has disappeared from a folder that a guest could write", shown(&gone.path));
        let empty = bottle_host::digest::hex(b"");
        agreed(&Shown::of(&what, Some(&gone.text), "", &empty), answer, &empty, command)?;
        accepted.push(Acceptance { path: gone.path.clone(), digest: empty });
        let _lock = home.lock_trust()?;
        gone.forget(home)?;
    }
    let Some(found) = &config.file else { return Ok(accepted) };
    let digest = found.digest();
    match standing(home, found)? {
        standing @ (Standing::Untouched | Standing::Accepted) => {
            if let Answer::Exactly(wanted) = answer
                && wanted != digest
            {
                return Err(Failure::new(
                    Kind::Usage,
                    format!("{} is not what was accepted: its digest is {digest}", shown(&found.path)),
                )
                .help("look at it again"));
            }
            if standing == Standing::Accepted {
                return Ok(accepted);
            }
        }
        Standing::Unseen(before) => {
            let why = match before {
                Some(_) => "has changed since a guest could write to it",
                None => "is where a guest could write, and nobody has accepted it",
            };
            let before = before.as_ref().map(|seen| seen.text.as_str());
            let what = format!("{} {why}", shown(&found.path));
            agreed(&Shown::of(&what, before, &found.text, &digest), answer, &digest, command)?;
            accepted.push(Acceptance { path: found.path.clone(), digest });
        }
    }
    let _lock = home.lock_trust()?;
    Seen::remember(home, found)?;
    Ok(accepted)
}

/// Returns whether a person agrees to what is shown.
fn agreed(shown: &Shown, answer: Answer, digest: &str, command: &str) -> Outcome {
    let yes = match answer {
        Answer::Anything => true,
        Answer::Exactly(wanted) => wanted == digest,
        // Nobody saw what did not fit on the screen.
        Answer::Ask(ask) => shown.is_whole && ask(&shown.text),
    };
    if yes {
        return Ok(());
    }
    let what = match answer {
        Answer::Exactly(_) => format!("the digest differs: the file has changed\n{}", shown.text),
        _ => shown.text.clone(),
    };
    Err(Failure::new(Kind::Usage, what).help(format!(
        "look at it; `{command} --trust={digest}` uses exactly this. `[workspace] mode = \"copy\"` keeps it out of the guest's reach"
    )))
}

/// Stands in for the record without this defence: asks the file itself whether a guest can write to it.
fn by_its_own_word(home: &Home, config: &Config, answer: Answer, command: &str) -> Outcome {
    let Some(found) = config.file.as_ref().filter(|found| config.guest_can_write(&found.path)) else {
        return Ok(());
    };
    let answer = if answer.accepts_changes() { Answer::Anything } else { answer };
    let before = Seen::find(home, &found.path, found.folder)?;
    if let Some(before) = before.filter(|before| !before.is(found)) {
        let what = format!("{} has changed since a guest could write to it", shown(&found.path));
        let digest = found.digest();
        agreed(&Shown::of(&what, Some(&before.text), &found.text, &digest), answer, &digest, command)?;
    }
    Ok(Seen::remember(home, found)?)
}

/// Marks a file or a folder as written by a guest: from now on a person is asked about a configuration there.
/// Call it before something from a guest is written there.
///
/// # Errors
/// Returns an error if it does not exist, or if the mark cannot be recorded.
pub fn touched(home: &Home, path: &Path) -> Result<()> {
    if !Defence::ConfigProvenance.stands() {
        return Ok(());
    }
    let _lock = home.lock_trust()?;
    WritablePaths::read(home)?.add(home, path, How::CameBack, None)
}
