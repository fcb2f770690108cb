//! `bottle config`: shows a person's defaults for all their bottles.

use super::context::Context;
use crate::config::defaults::{self, Defaults};
use crate::config::found::shown;
use crate::output::{OwnDefault, OwnDefaults};
use bottle_core::visible::Line;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::{out, outln};

pub fn config(context: &Context, json: bool) -> Outcome {
    let folder = defaults::folder().ok_or_else(|| {
        Failure::new(Kind::Unavailable, "there is no home folder to keep defaults in")
            .help("set HOME or XDG_CONFIG_HOME to an absolute path")
    })?;
    let file = folder.join(defaults::FILE);
    let defaults = Defaults::find()?;
    let may_set: Vec<&str> = defaults::names().collect();
    if json {
        let keys = defaults.written.iter().map(|written| OwnDefault {
            key: written.key.clone(),
            value: written.value.clone(),
            line: written.line,
        });
        return out::json(&OwnDefaults {
            exists: defaults.file.is_some(),
            file,
            keys: keys.collect(),
            may_set,
        });
    }
    if defaults.file.is_none() {
        outln!("{} is not there, so every default is bottle's own", shown(&file))?;
    } else {
        outln!("{}", shown(&file))?;
    }
    for written in &defaults.written {
        let (key, value) = (Line(&written.key).to_string(), Line(&written.value).to_string());
        outln!("  {key:<24} {value:<40} line {}", written.line)?;
    }
    context.say(&format!(
        "it may set {}; `bottle plan --explain` shows what counts in a project",
        may_set.join(", ")
    ));
    Ok(())
}
