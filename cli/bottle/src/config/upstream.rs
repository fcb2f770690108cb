//! `[[upstream]]`: a preset, and the keys of the table that override it.

use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
use bottle_core::text::EnvName;
use bottle_core::upstream::{HeaderName, Origin, Preset, Secret, SecretSource, Upstream, UpstreamPath};
use bottle_host::failure::Outcome;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTable {
    /// An API that bottle knows: its path, origin, header and variable.
    preset: Option<Preset>,
    /// Its path on the egress proxy's door: `/api`.
    path: Option<UpstreamPath>,
    /// Where its requests go: `https://api.example.com`.
    origin: Option<Origin>,
    /// Headers that are added to its requests, each from a secret of this machine.
    headers: Option<BTreeMap<HeaderName, Table<Secret>>>,
    /// Variables of the guest that contain its URL, each with the text that follows the URL.
    env: Option<BTreeMap<EnvName, String>>,
}

/// Makes the upstream of a table.
pub fn from_table(
    table: Spanned<Table<UpstreamTable>>,
    source: &Source,
    project: Option<&Path>,
) -> Outcome<Upstream> {
    let span = table.span();
    let fail = |what: &str| source.fail(Some(span.clone()), what);
    let UpstreamTable { preset, path, origin, headers, env } = table.into_inner().0;
    let preset = preset.map(Preset::upstream).transpose().map_err(|error| fail(&error.to_string()))?;
    let path = path.or_else(|| preset.as_ref().map(|preset| preset.path.clone()));
    let origin = origin.or_else(|| preset.as_ref().map(|preset| preset.origin.clone()));
    let (known, named) = preset.map(|preset| (preset.headers, preset.variables)).unwrap_or_default();
    let headers =
        headers.map(|headers| headers.into_iter().map(|(name, Table(secret))| (name, secret)).collect());
    let mut headers: BTreeMap<HeaderName, Secret> = headers.unwrap_or(known);
    for secret in headers.values_mut() {
        if let SecretSource::File(path) = &mut secret.source {
            *path = whole(project, path).ok_or_else(|| fail("the path of a secret's file is not UTF-8"))?;
        }
    }
    Ok(Upstream {
        path: path.ok_or_else(|| fail("an upstream needs a path, like \"/api\", or a preset"))?,
        origin: origin.ok_or_else(|| fail("an upstream needs an https origin, or a preset"))?,
        headers,
        variables: env.unwrap_or(named),
    })
}

/// Returns a file's whole path: `~/` is the home folder, and everything else is relative to `bottle.toml`.
fn whole(project: Option<&Path>, path: &str) -> Option<String> {
    let whole = match (path.strip_prefix("~/"), std::env::home_dir(), project) {
        (Some(rest), Some(home), _) => home.join(rest),
        (_, _, Some(project)) => project.join(path),
        _ => PathBuf::from(path),
    };
    whole.to_str().map(str::to_owned)
}
