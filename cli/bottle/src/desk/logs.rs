//! Follows the logs of bottles that somebody looks at.

use bottle_core::egress::Rules;
use bottle_core::slug::Slug;
use bottle_host::audit::{Merged, now_ms};
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::rules;
use bottle_host::state::Folder;
use bottle_ui::book::Book;
use bottle_ui::desk::Log;
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How many lines are read before time is looked at again.
const AT_ONCE: usize = 500;
/// How long one look may read. A long log is read in several.
const PATIENCE: Duration = Duration::from_millis(200);

/// The logs that somebody looks at.
#[derive(Default)]
pub struct Logs(Mutex<HashMap<Slug, Arc<Mutex<Followed>>>>);

struct Followed {
    lines: Merged,
    book: Book,
    /// The file that it began with. A new bottle of the same name has another one.
    file: Option<u64>,
}

impl Logs {
    /// Returns what a bottle's log says, with the lines after the one with this number.
    ///
    /// # Errors
    /// Returns [`Kind::NoBottle`] if there is no log, and an error if it cannot be read.
    pub fn log(&self, folder: &Folder, after: u64) -> Outcome<Log> {
        let followed = self.followed(folder)?;
        let mut followed = followed.lock().unwrap_or_else(PoisonError::into_inner);
        let Followed { lines, book, .. } = &mut *followed;
        let since = Instant::now();
        let mut reading = true;
        while reading && since.elapsed() < PATIENCE {
            for _ in 0..AT_ONCE {
                match lines.next_line()? {
                    Some(line) => book.add(&line),
                    None => {
                        reading = false;
                        break;
                    }
                }
            }
        }
        let rules = folder.read_plan().and_then(|plan| rules::now(folder, &plan));
        let now = now_ms();
        Ok(book.log(after, &rules.unwrap_or_else(|_| Rules::default()), now, reading))
    }

    fn followed(&self, folder: &Folder) -> Outcome<Arc<Mutex<Followed>>> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let file = folder.decisions().metadata().ok().map(|meta| meta.ino());
        if file.is_none() && !folder.audit().exists() {
            all.remove(folder.slug());
            return Err(Failure::new(Kind::NoBottle, format!("bottle {} has no log", folder.slug())));
        }
        if let Some(known) = all.get(folder.slug()) {
            let same = known.lock().unwrap_or_else(PoisonError::into_inner).file == file;
            if same {
                return Ok(Arc::clone(known));
            }
        }
        let lines = Merged::new(&folder.audit(), &folder.decisions())?;
        let followed = Arc::new(Mutex::new(Followed { lines, book: Book::default(), file }));
        all.insert(folder.slug().clone(), Arc::clone(&followed));
        Ok(followed)
    }
}
