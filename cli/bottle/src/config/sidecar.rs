//! `[pipelock]`, `[git-gate]` and `[supervise]`: the programs that serve sidecars.

use super::model::Config;
use super::places::Item;
use super::source::Source;
use super::spanned::Spanned;
use super::table::Table;
use bottle_core::sidecar::Sidecar;
use bottle_core::specification::SidecarSpec;
use bottle_host::failure::Outcome;
use schemars::JsonSchema;
use serde::Deserialize;
use std::net::SocketAddr;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SidecarTable {
    /// Where a program that is already running listens.
    pub address: Option<SocketAddr>,
    /// A program that bottle starts, with its arguments. `{port}`, `{slug}` and `{stage}` are filled in.
    #[schemars(length(min = 1))]
    pub command: Option<Vec<String>>,
}

/// Adds the sidecars to the configuration.
pub fn sidecars(
    config: &mut Config,
    tables: [(Sidecar, Option<Spanned<Table<SidecarTable>>>); 3],
    source: &Source,
) -> Outcome {
    for (sidecar, table) in tables {
        let Some(table) = table else { continue };
        let span = table.span();
        let fail = |what: &str| Err(source.fail(Some(span.clone()), what));
        let form = match table.into_inner().0 {
            SidecarTable { address: Some(_), command: Some(_) } => {
                return fail("a sidecar takes an address or a command, not both");
            }
            SidecarTable { address: Some(address), .. } => SidecarSpec::Address(address),
            SidecarTable { command: Some(words), .. } if words.is_empty() => {
                return fail("the command is empty");
            }
            SidecarTable { command: Some(words), .. } => {
                config.places.add(Item::Sidecar(sidecar), span.clone());
                SidecarSpec::Command(words)
            }
            SidecarTable { .. } => SidecarSpec::Builtin,
        };
        let shared = config.sidecars.iter().find(|(other, known)| {
            **other != sidecar && matches!(known, SidecarSpec::Address(_)) && **known == form
        });
        if let Some((other, _)) = shared {
            return fail(&format!("{sidecar} and {other} cannot share an address"));
        }
        config.sidecars.insert(sidecar, form);
    }
    Ok(())
}
