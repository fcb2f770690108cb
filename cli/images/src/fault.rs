//! Why an image cannot be put together from the parts that are here.

use crate::limits::ARCHIVE;
use crate::store::Store;
use bottle_core::text::ImageDigest;

/// Why an image cannot be put together from the parts that are here.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// A part is not here, or was damaged here and has been removed. It helps to fetch it again.
    #[error("its part {0} is missing, or was damaged")]
    Part(ImageDigest),
    /// The image itself is one that cannot be used.
    #[error("{0}")]
    Image(String),
    /// The store cannot be used.
    #[error("{0:#}")]
    Store(#[from] anyhow::Error),
}

impl Fault {
    /// Finds out whose fault it is that a part does not fit: the image's, for this reason, unless the part was
    /// damaged here.
    pub fn of(store: &Store, part: &ImageDigest, why: String) -> Self {
        match store.remove_damaged(part) {
            Ok(true) => Self::Part(part.clone()),
            Ok(false) => Self::Image(why),
            Err(error) => Self::Store(error),
        }
    }

    /// Makes a fault of an archive that would be too long.
    pub fn too_long(length: u64) -> Self {
        Self::Image(format!(
            "smolvm takes archives of up to {} GiB, and this image makes one of {length} bytes",
            ARCHIVE >> 30
        ))
    }
}

impl From<std::io::Error> for Fault {
    fn from(error: std::io::Error) -> Self {
        Self::Store(error.into())
    }
}
