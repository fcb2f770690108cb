//! `[[upstream]]`: what a preset says, and what the table says otherwise.

use super::Source;
use super::spanned::Spanned;
use bottle_core::text::EnvName;
use bottle_core::upstream::{HeaderName, Origin, Preset, Secret, SecretSource, Upstream, UpstreamPath};
use bottle_host::failure::Outcome;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpstreamTable {
    preset: Option<Preset>,
    path: Option<UpstreamPath>,
    origin: Option<Origin>,
    headers: Option<BTreeMap<HeaderName, Secret>>,
    env: Option<BTreeMap<EnvName, String>>,
}

/// The upstream of a table.
pub fn from_table(
    table: Spanned<UpstreamTable>,
    source: &Source,
    project: Option<&Path>,
) -> Outcome<Upstream> {
    let span = table.span();
    let fail = |what: &str| source.fail(Some(span.clone()), what);
    let UpstreamTable { preset, path, origin, headers, env } = table.into_inner();
    let preset = preset.map(Preset::upstream).transpose().map_err(|error| fail(&error.to_string()))?;
    let path = path.or_else(|| preset.as_ref().map(|preset| preset.path.clone()));
    let origin = origin.or_else(|| preset.as_ref().map(|preset| preset.origin.clone()));
    let (known, named) = preset.map(|preset| (preset.headers, preset.variables)).unwrap_or_default();
    let mut headers = headers.unwrap_or(known);
    for secret in headers.values_mut() {
        if let SecretSource::File(path) = &mut secret.source {
            *path = whole(project, path).ok_or_else(|| fail("the path of a secret's file is not UTF-8"))?;
        }
    }
    Ok(Upstream {
        path: path.ok_or_else(|| fail("an upstream has a path, like \"/api\", or a preset"))?,
        origin: origin.ok_or_else(|| fail("an upstream has an https origin, or a preset"))?,
        headers,
        variables: env.unwrap_or(named),
    })
}

/// A file's whole path: `~/` is the home folder, everything else is beside `bottle.toml`.
fn whole(project: Option<&Path>, path: &str) -> Option<String> {
    let whole = match (path.strip_prefix("~/"), std::env::home_dir(), project) {
        (Some(rest), Some(home), _) => home.join(rest),
        (_, _, Some(project)) => project.join(path),
        _ => PathBuf::from(path),
    };
    whole.to_str().map(str::to_owned)
}
