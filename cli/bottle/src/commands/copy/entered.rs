//! A folder of the host that a person names, opened.

use crate::trust;
use bottle_host::beneath::{self, Folder};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::walk::walk;
use bottle_host::state::Home;
use std::path::Path;

/// Opens a folder that a person names, unless a link that a guest could have made leads there; also
/// where one comes in between while it is opened.
pub fn entered(folder: &Path) -> Outcome<Folder> {
    let usage = |error| Failure::new(Kind::Usage, format!("{}: {error}", folder.display()));
    let walked = std::path::absolute(folder).and_then(|path| walk(&path)).map_err(usage)?;
    trust::entered(&Home::find()?, &walked)?;
    let below = walked.real.strip_prefix("/").unwrap_or(&walked.real);
    beneath::open(Path::new("/")).and_then(|root| root.folder_at(below)).map_err(usage)
}
