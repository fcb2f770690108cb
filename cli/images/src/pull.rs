//! Fetches an image: its manifest, its parts, and the archive that smolvm reads.

use crate::archive;
use crate::http::Client;
use crate::layer;
use crate::limits::{CONFIG, Limits, RATIO};
use crate::manifest::{self, Document, Image, Part, Platform};
use crate::name::Name;
use crate::pins::Pin;
use crate::progress::Progress;
use crate::refusal::{Refusal, Result};
use crate::registry::Registry;
use crate::store::{Partial, Store, digest_of};
use bottle_core::text::ImageDigest;
use bottle_host::failure::Outcome;
use std::fs;
use tokio::runtime::Builder;
use tokio::time::sleep;

/// Fetches an image, as far as it is not in the store. `wanted` is the image that the name meant before;
/// without it, the registry says what the name means now. Whoever calls this holds a lease of the store.
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
        let registry = Registry::of(name, &client)?;
        let mut pull = Pull { store, name, registry, limits, progress, fetched: Vec::new() };
        let done = pull.carry_out(wanted).await;
        if let Err(Refusal::Unusable(..) | Refusal::Hostile { .. }) = done {
            // Nobody uses these parts, and the next try must not find them.
            pull.fetched.iter().for_each(|digest| _ = fs::remove_file(store.blob(digest)));
        }
        done
    });
    // A look-up of a name that does not end must not hold this process up.
    runtime.shutdown_background();
    Ok(pulled?)
}

struct Pull<'p> {
    store: &'p Store,
    name: &'p Name,
    registry: Registry<'p>,
    limits: Limits,
    progress: &'p dyn Progress,
    /// The parts that were not in the store before.
    fetched: Vec<ImageDigest>,
}

impl Pull<'_> {
    async fn carry_out(&mut self, wanted: Option<&ImageDigest>) -> Result<Pin> {
        let (digest, image) = self.image(wanted).await?;
        let pin = Pin { digest, size: image.size() };
        if self.store.archive(&pin.digest).is_file() {
            return Ok(pin);
        }
        let platform = Platform::here();
        let mut done = self.part("the configuration", &image.config, 0, pin.size).await?;
        let config = fs::read(self.store.blob(&image.config.digest))?;
        if config.len() as u64 > CONFIG {
            return Err(self.unusable("its configuration is too long"));
        }
        let unpacked = manifest::unpacked(&config, &image, platform).map_err(|why| self.unusable(why))?;
        let count = image.layers.len();
        for (n, part) in image.parts().skip(1).enumerate() {
            done += self.part(&format!("layer {} of {count}", n + 1), part, done, pin.size).await?;
        }
        self.progress.step("checking the layers");
        let (mut left, mut lengths) = (self.limits.unpacked, Vec::with_capacity(count));
        for (layer, unpacked) in image.layers.iter().zip(&unpacked) {
            let most = left.min(layer.part.size.saturating_mul(RATIO).max(self.limits.small));
            let length = layer::check(&self.store.blob(&layer.part.digest), layer, unpacked, most)
                .map_err(|why| self.unusable(why))?;
            left -= length;
            lengths.push(length);
        }
        self.progress.step("putting the image together");
        archive::write(self.store, &pin.digest, &image, &lengths)?;
        Ok(pin)
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

    /// Fetches a part, unless it is there, and returns its length. `before` is what the image has already, of
    /// `all` bytes.
    async fn part(&mut self, what: &str, part: &Part, before: u64, all: u64) -> Result<u64> {
        let waits = || self.progress.step(&format!("waiting for another command that fetches {what}"));
        let Some(mut partial) = self.store.partial(&part.digest, waits)? else {
            self.progress.bytes(before + part.size, all);
            return Ok(part.size);
        };
        self.progress.step(&format!("fetching {what}"));
        let mut tries = Tries::new(self.limits);
        while partial.length() != part.size {
            let had = partial.length();
            if let Err(error) = self.rest(part, &mut partial, before, all).await {
                if !error.is_passing() {
                    if matches!(error, Refusal::Hostile { .. }) {
                        partial.discard();
                    }
                    return Err(error);
                }
                if partial.length() >= had.saturating_add(self.limits.pace_bytes) {
                    tries = Tries::new(self.limits);
                }
                tries.again(error, self.progress).await?;
            }
        }
        if !partial.finish(&part.digest)? {
            return Err(Refusal::hostile(self.name.host(), format!("something else than {}", part.digest)));
        }
        self.fetched.push(part.digest.clone());
        Ok(part.size)
    }

    /// Fetches what is missing of a part.
    async fn rest(&mut self, part: &Part, partial: &mut Partial, before: u64, all: u64) -> Result<()> {
        // More than all of it is nothing of it.
        if partial.length() > part.size {
            partial.empty()?;
        }
        let mut sending = self.registry.part(part, partial.length()).await?;
        if sending.from != partial.length() {
            partial.empty()?;
        }
        while let Some(bytes) = sending.body.chunk().await? {
            if partial.length() + bytes.len() as u64 > part.size {
                let why = format!("more than the {} bytes of {} that it announced", part.size, part.digest);
                return Err(Refusal::hostile(self.name.host(), why));
            }
            partial.add(&bytes)?;
            self.progress.bytes(before + partial.length(), all);
        }
        if partial.length() < part.size {
            let why = format!("{} of {} bytes had arrived", partial.length(), part.size);
            return Err(Refusal::Broken(self.name.host().to_owned(), why));
        }
        Ok(())
    }

    fn unusable(&self, why: impl Into<String>) -> Refusal {
        Refusal::Unusable(self.name.to_string(), why.into())
    }
}

/// How often something is still tried.
struct Tries {
    limits: Limits,
    made: u32,
}

impl Tries {
    fn new(limits: Limits) -> Self {
        Self { limits, made: 0 }
    }

    /// Waits before the next try, if there is one and it may help.
    async fn again(&mut self, error: Refusal, progress: &dyn Progress) -> Result<()> {
        self.made += 1;
        if !error.is_passing() || self.made >= self.limits.tries {
            return Err(error);
        }
        progress.again(&error.to_string());
        sleep(self.limits.pause * 2_u32.pow(self.made - 1)).await;
        Ok(())
    }
}
