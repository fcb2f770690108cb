//! How much a registry can make this machine read, store and wait for.

use std::time::Duration;

/// How long a registry may take, how often it is tried, and what its layers may unpack to.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// For a connection.
    pub connect: Duration,
    /// From a request to the head of its response.
    pub head: Duration,
    /// For a document, from its head to its end.
    pub document: Duration,
    /// The time in which at least [`Limits::pace_bytes`] of a part have to arrive.
    pub pace: Duration,
    /// See [`Limits::pace`].
    pub pace_bytes: u64,
    /// How often a part is asked for that breaks off.
    pub tries: u32,
    /// The pause before the second try. It doubles each time.
    pub pause: Duration,
    /// The most bytes of all layers, unpacked.
    pub unpacked: u64,
    /// What a layer may unpack to whatever its own size is. A larger one is refused if it grows to more than
    /// [`RATIO`] times its size.
    pub small: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(15),
            head: Duration::from_secs(60),
            document: Duration::from_secs(60),
            pace: Duration::from_secs(60),
            pace_bytes: 64 << 10,
            tries: 4,
            pause: Duration::from_secs(1),
            unpacked: 32 << 30,
            small: 1 << 30,
        }
    }
}

/// The most bytes of a manifest or an index. Registries accept manifests of up to 4 MiB.
pub const MANIFEST: u64 = 4 << 20;
/// The most bytes of an image's configuration.
pub const CONFIG: u64 = 8 << 20;
/// The most bytes of a token, a list of tags or an error.
pub const ANSWER: u64 = 1 << 20;
/// The most layers. overlayfs takes 500, and Docker 127.
pub const LAYERS: usize = 500;
/// The most bytes of all layers as they are sent: no more fit into an [archive](ARCHIVE).
pub const SENT: u64 = 8 << 30;
/// The most bytes of an archive. smolvm 1.32.2 refuses larger ones.
pub const ARCHIVE: u64 = 8 << 30;
/// A layer that unpacks to more than this many times its size is refused, unless it is small. gzip makes a
/// thousandth of zeros, and seldom less than a tenth of anything else.
pub const RATIO: u64 = 100;
/// How many redirects are followed.
pub const REDIRECTS: usize = 5;
