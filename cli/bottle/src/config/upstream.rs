//! `[[upstream]]`: a preset, and the keys of the table that override it.

use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
use bottle_core::text::EnvName;
use bottle_core::upstream::{
    HeaderName, Origin, Preset, RequestRule, Secret, SecretSource, Upstream, UpstreamPath,
};
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
    /// The requests that may be made: `GET /repos/acme/*`, `POST,PUT /v1/messages`. A `*` is one segment of the path, and
    /// at its end everything below. Default: all of them.
    allow: Option<Vec<RequestRule>>,
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
    let UpstreamTable { preset, path, origin, allow, headers, env } = table.into_inner().0;
    let preset = preset.map(Preset::upstream).transpose().map_err(|error| fail(&error.to_string()))?;
    let path = path.or_else(|| preset.as_ref().map(|preset| preset.path.clone()));
    let origin = origin.or_else(|| preset.as_ref().map(|preset| preset.origin.clone()));
    let (known, named) = preset.map(|preset| (preset.headers, preset.variables)).unwrap_or_default();
    let headers =
        headers.map(|headers| headers.into_iter().map(|(name, Table(secret))| (name, secret)).collect());
    let mut headers: BTreeMap<HeaderName, Secret> = headers.unwrap_or(known);
    for secret in headers.values_mut() {
        whole(secret, project).ok_or_else(|| fail("the path of a secret's file is not UTF-8"))?;
    }
    if allow.as_ref().is_some_and(Vec::is_empty) {
        return Err(fail("an empty `allow` lets nothing through: remove it, or the upstream"));
    }
    Ok(Upstream {
        allow: allow.unwrap_or_default(),
        path: path.ok_or_else(|| fail("an upstream needs a path, like \"/api\", or a preset"))?,
        origin: origin.ok_or_else(|| fail("an upstream needs an https origin, or a preset"))?,
        headers,
        variables: env.unwrap_or(named),
    })
}

/// Makes the path of a secret's file whole: `~/` is the home folder, and everything else is relative to
/// `bottle.toml`. Returns `None` if it is not UTF-8 then.
pub fn whole(secret: &mut Secret, project: Option<&Path>) -> Option<()> {
    let SecretSource::File(path) = &mut secret.source else { return Some(()) };
    let whole = match (path.strip_prefix("~/"), std::env::home_dir(), project) {
        (Some(rest), Some(home), _) => home.join(rest),
        (_, _, Some(project)) => project.join(&*path),
        _ => PathBuf::from(&*path),
    };
    *path = whole.to_str()?.to_owned();
    Some(())
}
