//! `bottle ssh-config`, and the proxy command that it tells ssh about.

use super::context::Context;
use crate::operator::who;
use crate::suggest;
use crate::trust::programs;
use anyhow::Context as _;
use bottle_core::slug::Slug;
use bottle_core::text::Word;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::process;
use bottle_host::state::{Folder, Home, chosen};
use bottle_host::tools;
use bottle_ssh::entry::{Entry, Unwritable};
use bottle_ssh::{keys, server};
use std::path::Path;

/// Prints a bottle's entry for ssh's configuration, and makes the keys that it names.
pub fn config(context: &Context, slug: Option<Slug>, user: &Word) -> Outcome {
    let folder = context.folder(slug)?;
    if !folder.exists() {
        return Err(suggest::no_such(folder.slug()));
    }
    keys::ensure(&folder)?;
    let entry = Entry {
        alias: keys::alias(&folder),
        user: user.to_string(),
        command: command(&folder)?,
        identity: keys::identity(&folder),
        known_hosts: keys::known_hosts(&folder),
    };
    let text = entry.render().map_err(|Unwritable(value)| {
        Failure::new(Kind::Usage, format!("ssh's configuration cannot hold {value:?}")).help(
            "quotes, backslashes, `$` and control characters do not work there, nor spaces in a user's name",
        )
    })?;
    out::text(text)
}

/// Returns the proxy command. ssh may be started by a desktop, without this process's environment.
fn command(folder: &Folder) -> Outcome<Vec<String>> {
    let text = |path: &Path| {
        let shown = || Failure::new(Kind::Usage, format!("{} is not valid UTF-8", path.display()));
        path.to_str().map(str::to_owned).ok_or_else(shown)
    };
    let mut words = Vec::new();
    let own = text(&std::env::current_exe().context("this program's own path")?)?;
    match chosen() {
        Some(all) => words.extend([own, "--state-dir".to_owned(), text(all)?]),
        None => {
            words.push("env".to_owned());
            for (name, path) in folder.environment() {
                words.push(format!("{name}={}", text(&path)?));
            }
            words.push(own);
        }
    }
    words.extend(["ssh-proxy".to_owned(), folder.slug().to_string()]);
    Ok(words)
}

/// Serves one client of ssh on standard input and output. This is the proxy command's whole life.
pub fn proxy(slug: &Slug) -> Outcome {
    let home = Home::find()?;
    let folder = home.bottle(slug);
    // ssh starts it in whichever folder a person is in, with whatever an editor has open.
    programs::with_own_path()?;
    process::keep_from_children();
    programs::leave_writable_folder(&home, &folder)?;
    server::serve(&folder, tools::smolvm()?, &who())
}
