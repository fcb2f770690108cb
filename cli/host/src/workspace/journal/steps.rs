//! Which steps lead from what a project has to what it should have, and where they are prepared.

use super::super::tree::{Entry, STAGE};
use super::file::{StageName, Step, What};
use super::moves::is_no_folder;
use super::request::Request;
use crate::beneath::Folder as Beneath;
use crate::defence::Defence;
use crate::random;
use anyhow::{Context, Result, bail};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// Returns the steps for the requests, and the stages that they need.
pub(super) fn steps(ours: &Beneath, requests: &[Request]) -> Result<(Vec<Step>, Vec<StageName>)> {
    let mut stages = Stages { ours, known: HashMap::new(), names: Vec::new() };
    let mut steps = Vec::new();
    let mut gone: Vec<(usize, &Request)> = requests.iter().enumerate().collect();
    gone.retain(|(_, request)| match (&request.before, &request.after) {
        (Some(Entry::Folder), after) => *after != Some(Entry::Folder),
        (before, after) => before.is_some() && after.is_none(),
    });
    // Whatever is in a folder is removed before the folder.
    gone.sort_by_key(|(_, request)| Reverse(request.path.components().count()));
    for (index, request) in gone {
        let what = match &request.before {
            Some(Entry::Folder) => {
                let (above, name) = ours.above(&request.path)?;
                What::RemoveFolder { mode: above.meta(name)?.mode, may_stay: request.after.is_none() }
            }
            Some(before) => What::Remove(before.clone()),
            None => continue,
        };
        steps.push(Step {
            path: request.path.clone(),
            stage: stages.of(&request.path)?,
            what,
            request: Some(index),
        });
    }
    let mut come: Vec<(usize, &Request)> = requests.iter().enumerate().collect();
    // A file that looks the same has another content: nobody asks for what is there already.
    come.retain(|(_, request)| match &request.after {
        Some(Entry::File { .. }) => true,
        after => after.is_some() && request.before != *after,
    });
    come.sort_by_key(|(_, request)| &request.path);
    let mut folders: HashSet<PathBuf> = HashSet::new();
    for (index, request) in come {
        let above: Vec<&Path> =
            request.path.ancestors().skip(1).take_while(|above| !folders.contains(*above)).collect();
        for above in above.into_iter().rev().filter(|above| !above.as_os_str().is_empty()) {
            folders.insert(above.to_owned());
            let there = ours.above(above).and_then(|(folder, name)| Entry::at(&folder, name));
            match there {
                Ok(Entry::Folder) => {}
                Ok(Entry::Link(_)) if !Defence::Beneath.stands() => {}
                Err(error) if is_no_folder(&error) => {
                    let what = What::Put { before: None, after: Entry::Folder, number: 0 };
                    steps.push(Step {
                        path: above.to_owned(),
                        stage: stages.of(above)?,
                        what,
                        request: None,
                    });
                }
                Ok(_) => bail!("{}: not a folder", above.display()),
                Err(error) => return Err(error).with_context(|| above.display().to_string()),
            }
        }
        let Some(after) = request.after.clone() else { continue };
        if after == Entry::Folder {
            folders.insert(request.path.clone());
        }
        let before = request.before.clone().filter(|before| *before != Entry::Folder);
        let what = What::Put { before, after, number: 0 };
        steps.push(Step {
            path: request.path.clone(),
            stage: stages.of(&request.path)?,
            what,
            request: Some(index),
        });
    }
    Ok((steps, stages.names))
}

/// The stages: one for each file system that the project extends to.
struct Stages<'a> {
    ours: &'a Beneath,
    known: HashMap<PathBuf, usize>,
    names: Vec<StageName>,
}

impl Stages<'_> {
    fn of(&mut self, path: &Path) -> Result<usize> {
        let above = path.parent().unwrap_or(Path::new(""));
        if let Some(known) = self.known.get(above) {
            return Ok(*known);
        }
        let (mut folder, mut at, mut root) = (self.ours.try_clone()?, PathBuf::new(), PathBuf::new());
        let mut device = folder.own_meta()?.device;
        for name in above.components() {
            // A folder that does not exist yet will be on its parent's file system.
            let Ok(next) = folder.folder(name.as_os_str()) else { break };
            at.push(name);
            let its = next.own_meta()?.device;
            if its != device {
                (device, root) = (its, at.clone());
            }
            folder = next;
        }
        let found = self.names.iter().position(|stage| stage.at == root);
        let stage = match found {
            Some(stage) => stage,
            None => {
                // The name is random, so that a guest cannot guess it and put a folder there.
                let random = random::hex::<8>()?;
                self.names.push(StageName {
                    at: root,
                    name: format!("{}{}.{random}", STAGE.escape_ascii(), std::process::id()),
                });
                self.names.len() - 1
            }
        };
        self.known.insert(above.to_owned(), stage);
        Ok(stage)
    }
}
