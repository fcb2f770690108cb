//! What a bottle's machine was made from.

use crate::config::Config;
use crate::layer;
use bottle_core::plan::Plan;
use bottle_core::text::ImageDigest;
use bottle_host::state::Folder;

/// What a bottle's machine was made from. It keeps that, whatever the name of its image means by now, and whatever another
/// bottle's setup has made: everything on its disk would be lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MadeFrom {
    /// The image that its name meant.
    pub image: ImageDigest,
    /// What the setup made of it, if its results are kept so.
    pub setup: Option<ImageDigest>,
}

impl MadeFrom {
    /// Returns what a start keeps of the machine that is there: nothing, if that is made anew.
    pub fn kept(folder: &Folder, config: &Config, renew: bool) -> Option<Self> {
        if renew { None } else { Self::of(folder, config) }
    }

    /// Returns what the machine was made from, if there is one that this configuration still means: the same name, and
    /// the same commands.
    pub fn of(folder: &Folder, config: &Config) -> Option<Self> {
        if !folder.machine_smolfile().exists() {
            return None;
        }
        let Plan { guest, setup, .. } = folder.read_plan().ok()?;
        let in_image = layer::is_for_image(config).unwrap_or(false);
        let is_meant = guest.image == config.guest.image
            && setup.run == config.setup.run
            && setup.is_for_image() == in_image;
        let setup = match (setup.is_for_image(), setup.made) {
            (true, None) => return None,
            (_, made) => made,
        };
        Some(Self { image: guest.image_digest?, setup }).filter(|_| is_meant)
    }
}
