//! Opens a folder of the host that a person names.

use crate::trust;
use bottle_host::beneath::{self, Folder};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::provenance::walk::walk;
use bottle_host::state::Home;
use std::path::Path;

/// Opens a folder that a person names, unless a link leads there that a guest could have made. A link that
/// appears while it is being opened counts, too.
pub fn entered(folder: &Path) -> Outcome<Folder> {
    let usage = |error| Failure::new(Kind::Usage, format!("{}: {error}", folder.display()));
    let walked = std::path::absolute(folder).and_then(|path| walk(&path)).map_err(usage)?;
    trust::entered(&Home::find()?, &walked)?;
    let below = walked.real.strip_prefix("/").unwrap_or(&walked.real);
    beneath::open(Path::new("/")).and_then(|root| root.folder_at(below)).map_err(usage)
}
