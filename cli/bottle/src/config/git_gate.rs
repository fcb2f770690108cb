//! `[git-gate]`: another program, or the built-in one with its repositories.

use super::model::Config;
use super::paths::Site;
use super::places::Item;
use super::sidecar::SidecarTable;
use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
use crate::config::named::{Named, Use};
use bottle_core::git::Policy;
use bottle_core::slug::Slug;
use bottle_core::specification::Repo;
use bottle_host::failure::Outcome;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The name of most repositories' remote.
const ORIGIN: &str = "origin";

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GitGateTable {
    /// Where a program that is already running listens.
    address: Option<SocketAddr>,
    /// A program that bottle starts, with its arguments. `{port}`, `{slug}` and `{stage}` are filled in.
    #[schemars(length(min = 1))]
    command: Option<Vec<String>>,
    /// The repositories of the built-in git-gate. Default: the project alone.
    #[serde(default, rename = "repo")]
    repos: Vec<Spanned<Table<RepoTable>>>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RepoTable {
    /// The last part of its URL. Default: the folder's name.
    name: Option<Slug>,
    /// The repository on this machine, relative to the folder of `bottle.toml`. Default: that folder.
    path: Option<PathBuf>,
    /// Where approved pushes go: a remote of the repository, or a URL.
    #[schemars(extend("default" = ORIGIN))]
    upstream: Option<String>,
    /// What may be pushed.
    #[serde(default)]
    policy: Table<Policy>,
}

/// Adds the repositories to the configuration. The rest of the table is like any other sidecar's.
pub fn from_git_gate(
    table: Spanned<Table<GitGateTable>>,
    config: &mut Config,
    source: &Source,
    site: &Site,
) -> Outcome<Spanned<Table<SidecarTable>>> {
    let span = table.span();
    let GitGateTable { address, command, repos } = table.into_inner().0;
    let foreign = address.is_some() || command.is_some();
    if foreign && !repos.is_empty() {
        return Err(source
            .fail(Some(span), "repositories need the built-in git-gate: remove `address` and `command`"));
    }
    for repo in repos {
        let place = repo.span();
        let (repo, path) = read(repo, config, source, site)?;
        config.paths.push(path);
        if config.git.iter().any(|known| known.name == repo.name) {
            return Err(source.fail(Some(place), &format!("two repositories are called {}", repo.name)));
        }
        config.git.push(repo);
    }
    if !foreign && config.git.is_empty() {
        let bare = Spanned::new(
            span.clone(),
            Table(RepoTable { name: None, path: None, upstream: None, policy: Table::default() }),
        );
        let (repo, path) = read(bare, config, source, site)?;
        config.paths.push(path);
        config.git.push(repo);
    }
    Ok(Spanned::new(span, Table(SidecarTable { address, command })))
}

fn read(
    table: Spanned<Table<RepoTable>>,
    config: &mut Config,
    source: &Source,
    site: &Site,
) -> Outcome<(Repo, Named)> {
    let span = table.span();
    let fail = |what: String| source.fail(Some(span.clone()), &what);
    let RepoTable { name, path, upstream, policy: Table(policy) } = table.into_inner().0;
    let written = site.beside(&path.unwrap_or_else(|| PathBuf::from(".")));
    let path = site.disk.real(&written).ok_or_else(|| fail(format!("{} is not there", written.display())))?;
    if !site.disk.is_repository(&path) {
        return Err(fail(format!("{} is not a git repository", path.display())).help(format!(
            "for a new one: `git init {}`, a commit and a remote `origin`; without git: take [git-gate] out",
            path.display()
        )));
    }
    site.may_clone(&path, &config.allow_sensitive, &mut config.exposed)
        .map_err(|refused| refused.at(source, Some(span.clone())))?;
    let of_folder = || path.file_name().and_then(|name| name.to_str()).and_then(Slug::from_name);
    let name = name.or_else(of_folder).ok_or_else(|| fail("the repository needs a name".to_owned()))?;
    let named = site.named(Use::Repository, &written, Some(&path));
    let path = path.into_os_string().into_string().map_err(|_| fail("its path is not UTF-8".to_owned()))?;
    let upstream = upstream.unwrap_or_else(|| ORIGIN.to_owned());
    config.places.add(Item::Repository(name.clone()), span.clone());
    // The push's destination is determined later, once it is known what the guest can write.
    Ok((Repo { name, path, upstream, url: None, writable: false, exposed: false, policy }, named))
}
