//! An image's root folder, as smolvm unpacks it: layer by layer, with whatever a later one says is gone. This host's own
//! programs lie on top of it.

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// Unpacks an archive as `docker save` writes it, unless the machine has its root folder already.
pub(super) fn root(archive: &Path, root: &Path) -> Result<PathBuf> {
    if root.exists() {
        return Ok(root.to_owned());
    }
    let draft = root.with_extension("draft");
    fs::create_dir_all(&draft)?;
    let mut members = BTreeMap::new();
    let mut tar = tar::Archive::new(File::open(archive)?);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.display().to_string();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes)?;
        members.insert(name, bytes);
    }
    let manifest = members.get("manifest.json").context("manifest.json")?;
    let manifest: Value = serde_json::from_slice(manifest)?;
    for layer in manifest[0]["Layers"].as_array().context("Layers")? {
        let bytes = members.get(layer.as_str().context("a name")?).context("a layer")?;
        if bytes.starts_with(&[0x1f, 0x8b]) {
            unpack(GzDecoder::new(&bytes[..]), &draft)?;
        } else {
            unpack(&bytes[..], &draft)?;
        }
    }
    fs::rename(draft, root)?;
    Ok(root.to_owned())
}

fn unpack(layer: impl Read, root: &Path) -> Result<()> {
    let mut tar = tar::Archive::new(layer);
    tar.set_preserve_permissions(true);
    for entry in tar.entries()? {
        let mut entry = entry?;
        let path = entry.path()?.into_owned();
        ensure!(
            path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir)),
            "{path:?}"
        );
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_folder = entry.header().entry_type().is_dir();
        let target = root.join(path.with_file_name(name.strip_prefix(".wh.").unwrap_or(name)));
        let there = target.symlink_metadata().ok();
        if let Some(there) = there.filter(|there| !(is_folder && there.is_dir())) {
            if there.is_dir() { fs::remove_dir_all(&target)? } else { fs::remove_file(&target)? }
        }
        if !name.starts_with(".wh.") {
            entry.unpack_in(root)?;
        }
    }
    Ok(())
}
