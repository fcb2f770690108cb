//! Fetches an image: its manifest, its parts, and the archive that smolvm reads.
//!
//! No part is removed that is what its digest says, even if the image is refused: another pull may be using it. Those
//! of an image that nobody uses go with `bottle images prune`.

mod part;

use crate::archive::{self, Inside};
use crate::fault::Fault;
use crate::http::Client;
use crate::layer;
use crate::limits::{Limits, RATIO};
use crate::manifest::{self, Document, Image, Platform};
use crate::name::Name;
use crate::pins::Pin;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};
use crate::registry::Registry;
use crate::store::{Store, digest_of};
use anyhow::anyhow;
use bottle_core::text::ImageDigest;
use bottle_host::failure::Outcome;
use part::{Pull, Tries};
use std::collections::BTreeMap;
use tokio::runtime::Builder;

/// How often a part is fetched again that is missing or damaged.
const AGAIN: u32 = 3;

/// Fetches an image, as far as it is not in the store, and repairs what was damaged there. `wanted` is the image that
/// the name meant before; without it, the registry says what the name means now. Whoever calls this holds a lease of
/// the store.
///
/// # Errors
/// Returns an error that says why the image cannot be had. What has arrived of it stays, and is used the next
/// time.
pub fn pull(
    store: &Store,
    name: &Name,
    wanted: Option<&ImageDigest>,
    limits: Limits,
    progress: &dyn Progress,
) -> Outcome<Pin> {
    let runtime = Builder::new_current_thread().enable_all().build().map_err(anyhow::Error::from)?;
    let pulled = runtime.block_on(async {
        let client = Client::new(limits)?;
        let registry = Registry::of(name, &client).await?;
        let again = BTreeMap::new();
        Pull { store, name, registry, limits, progress, again }.carry_out(wanted).await
    });
    // A look-up of a name that does not end must not hold this process up.
    runtime.shutdown_background();
    Ok(pulled?)
}

impl Pull<'_> {
    async fn carry_out(&mut self, wanted: Option<&ImageDigest>) -> Result<Pin> {
        let (digest, image) = self.image(wanted).await?;
        let pin = Pin { digest, size: image.size() };
        if archive::stays_packed(&image) {
            archive::check_length(&image, &[]).map_err(|fault| self.refuse(fault))?;
        }
        if self.store.has_archive(&pin.digest) {
            self.progress.step("checking what is here");
        }
        let has_archive = archive::is_right(self.store, &pin.digest, &image);
        if has_archive && image.parts().all(|part| self.store.has(&part.digest)) {
            return Ok(pin);
        }
        let config = self.config(&image).await?;
        let unpacked =
            manifest::unpacked(&config, &image, Platform::here()).map_err(|why| self.unusable(why))?;
        let (count, mut done) = (image.layers.len(), image.config.size);
        for (n, part) in image.parts().skip(1).enumerate() {
            done += self.part(&format!("layer {} of {count}", n + 1), part, done, pin.size).await?;
        }
        loop {
            let inside = self.inside(&image, &unpacked).await?;
            if has_archive {
                return Ok(pin);
            }
            self.progress.step("putting the image together");
            match archive::write(self.store, &pin.digest, &image, &inside) {
                Ok(()) => return Ok(pin),
                Err(fault) => self.mend(fault, &image).await?,
            }
        }
    }

    /// Returns the configuration, from the store if it is there.
    async fn config(&mut self, image: &Image) -> Result<Vec<u8>> {
        let part = &image.config;
        self.part("the configuration", part, 0, image.size()).await?;
        loop {
            match self.store.document(&part.digest) {
                Some(config) if config.len() as u64 == part.size => return Ok(config),
                Some(_) => return Err(self.unusable("its configuration has another length than announced")),
                None => {
                    let fault = Fault::of(self.store, &part.digest, "its configuration changes".to_owned());
                    self.mend(fault, image).await?;
                }
            }
        }
    }

    /// Checks what the layers unpack to.
    async fn inside(&mut self, image: &Image, unpacked: &[ImageDigest]) -> Result<Vec<Inside>> {
        self.progress.step("checking the layers");
        let (mut left, mut inside) = (self.limits.unpacked, Vec::with_capacity(image.layers.len()));
        for (layer, digest) in image.layers.iter().zip(unpacked) {
            let most = left.min(layer.part.size.saturating_mul(RATIO).max(self.limits.small));
            let length = loop {
                match layer::check(self.store, layer, digest, most) {
                    Ok(length) => break length,
                    Err(fault) => self.mend(fault, image).await?,
                }
            };
            left -= length;
            inside.push(Inside { digest: digest.clone(), length });
        }
        Ok(inside)
    }

    /// Fetches a part again that is missing or was damaged, a few times at most: another process may remove it, and a
    /// disk may be broken.
    async fn mend(&mut self, fault: Fault, image: &Image) -> Result<()> {
        let Fault::Part(digest) = fault else { return Err(self.refuse(fault)) };
        let times = self.again.entry(digest.clone()).or_default();
        *times += 1;
        let Some(part) = image.parts().find(|part| part.digest == digest).filter(|_| *times <= AGAIN) else {
            let blob = self.store.blob(&digest);
            return Err(anyhow!("{} does not stay as it was written", blob.display()).into());
        };
        let all = image.size();
        self.part("a part that was missing or damaged", part, all - part.size, all).await?;
        Ok(())
    }

    fn refuse(&self, fault: Fault) -> Refusal {
        match fault {
            Fault::Store(error) => error.into(),
            fault => self.unusable(fault.to_string()),
        }
    }

    /// Finds the image, and returns the digest of its manifest.
    async fn image(&mut self, wanted: Option<&ImageDigest>) -> Result<(ImageDigest, Image)> {
        let named = self.name.digest();
        let wanted = wanted.or(named.as_ref());
        let (digest, bytes) = match wanted {
            Some(digest) => (digest.clone(), self.document(digest).await?),
            None => {
                self.progress.step(&format!("asking {} for {}", self.name.host(), self.name));
                let bytes = self.manifest(self.name.wanted()).await?;
                let digest = digest_of(&bytes);
                self.store.put(&digest, &bytes)?;
                (digest, bytes)
            }
        };
        let part = match manifest::parse(&bytes, Platform::here()).map_err(|why| self.unusable(why))? {
            Document::Image(image) => return Ok((digest, image)),
            Document::Chosen(part) => part,
        };
        let bytes = self.document(&part.digest).await?;
        if bytes.len() as u64 != part.size {
            let why = format!("{} bytes of a manifest that was announced with {}", bytes.len(), part.size);
            return Err(Refusal::hostile(self.name.host(), why));
        }
        match manifest::parse(&bytes, Platform::here()).map_err(|why| self.unusable(why))? {
            Document::Image(image) => Ok((part.digest, image)),
            Document::Chosen(_) => Err(self.unusable("its index names another index")),
        }
    }

    /// Returns a manifest by its digest, from the store if it is there.
    async fn document(&mut self, digest: &ImageDigest) -> Result<Vec<u8>> {
        if let Some(bytes) = self.store.document(digest) {
            return Ok(bytes);
        }
        self.progress.step(&format!("asking {} for {}", self.name.host(), self.name));
        let bytes = self.manifest(digest.as_str()).await?;
        if digest_of(&bytes) != *digest {
            return Err(Refusal::hostile(self.name.host(), format!("another manifest than {digest}")));
        }
        self.store.put(digest, &bytes)?;
        Ok(bytes)
    }

    async fn manifest(&mut self, wanted: &str) -> Result<Vec<u8>> {
        let mut tries = Tries::new(self.limits);
        loop {
            match self.registry.manifest(wanted).await {
                Err(error) => tries.again(error, self.progress).await?,
                Ok(bytes) => return Ok(bytes),
            }
        }
    }

    fn unusable(&self, why: impl Into<String>) -> Refusal {
        Refusal::Unusable(self.name.to_string(), why.into())
    }
}
