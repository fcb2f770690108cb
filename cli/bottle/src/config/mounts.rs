//! Checks where volumes are mounted: each at a path of its own, and none over bottle's own paths.

use super::source::Source;
use bottle_core::helper::{GUEST_SOCKET, HELPER_DIR};
use bottle_core::specification::WORKSPACE;
use bottle_core::text::MountPath;
use bottle_host::failure::Outcome;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// Paths that the guest uses already.
const TAKEN: [(&str, &str); 8] = [
    (HELPER_DIR, "where bottle's helper is"),
    (GUEST_SOCKET, "the guest's way to its network"),
    ("/var/run", "a link to /run, and so around the guest's way to its network"),
    ("/etc/resolv.conf", "written by bottle itself"),
    ("/etc/hosts", "written by bottle itself"),
    ("/dev", "where the guest's own devices are"),
    ("/proc", "where the guest's own processes are"),
    ("/sys", "where the guest's own kernel is"),
];

/// The paths that are taken, each with its use.
pub struct Mounts<'s> {
    source: &'s Source,
    taken: Vec<(PathBuf, String)>,
}

impl<'s> Mounts<'s> {
    /// Returns the paths that are taken before any volume.
    pub fn new(source: &'s Source, workspace: bool) -> Self {
        let workspace = workspace.then_some((WORKSPACE, "the workspace"));
        let taken = TAKEN.iter().copied().chain(workspace);
        Self { source, taken: taken.map(|(path, what)| (path.into(), what.to_owned())).collect() }
    }

    /// Takes a path for a volume.
    ///
    /// # Errors
    /// Returns an error with the volume's line if the path is taken, or is inside or around one that is.
    pub fn add(&mut self, guest: &MountPath, span: Range<usize>) -> Outcome {
        let fail = |what: String, help: &str| Err(self.source.fail(Some(span.clone()), &what).help(help));
        let path = Path::new(guest.as_str());
        if path.components().any(|part| part == Component::ParentDir) {
            return fail(format!("{guest} has `..` in it"), "write the path in the guest without `..`");
        }
        // The path without `.` and doubled slashes.
        let path: PathBuf = path.components().collect();
        if path.parent().is_none() {
            return fail(
                format!("{guest} is the guest's whole disk"),
                "`[guest] image = \"./FOLDER\"` boots from a folder",
            );
        }
        for (taken, what) in &self.taken {
            let place = taken.display();
            if *taken == path {
                return fail(format!("{guest} is {what}"), "put the volume elsewhere in the guest");
            }
            if path.starts_with(taken) {
                return fail(
                    format!("{guest} is inside {place}, {what}"),
                    "put the volume beside it; one inside another would depend on their order",
                );
            }
            if taken.starts_with(&path) {
                return fail(
                    format!("{guest} would hide {place}, {what}"),
                    "put the volume at a folder of its own, like \"/data\"",
                );
            }
        }
        self.taken.push((path, "another volume".to_owned()));
        Ok(())
    }
}
