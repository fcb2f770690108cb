//! What a layer unpacks to. Its bytes are counted and hashed here, and nothing is made of them: smolvm unpacks
//! them, inside a guest.

use crate::fault::Fault;
use crate::manifest::{Layer, Packing};
use crate::store::{Store, digest_from, hashed};
use bottle_core::text::ImageDigest;
use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::Path;

/// How many bytes are read at once.
const BUFFER: usize = 64 << 10;

/// Opens a layer, unpacked.
///
/// # Errors
/// Returns an error if it cannot be opened.
pub fn open(path: &Path, packing: Packing) -> io::Result<Box<dyn Read>> {
    let file = BufReader::with_capacity(BUFFER, File::open(path)?);
    Ok(match packing {
        Packing::Plain => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(file)),
        Packing::Zstd => Box::new(Frames { source: file, decoder: FrameDecoder::new(), is_inside: false }),
    })
}

/// Checks that a layer in the store unpacks to what its image's configuration says, and to no more than `most` bytes.
/// Returns how much it is.
///
/// # Errors
/// Returns whether the image is wrong, or what is here of it. A part that was damaged here is removed.
pub fn check(store: &Store, layer: &Layer, unpacked: &ImageDigest, most: u64) -> Result<u64, Fault> {
    let digest = &layer.part.digest;
    check_file(&store.blob(digest), layer, unpacked, most).map_err(|why| Fault::of(store, digest, why))
}

/// Checks a layer in a file, and returns why it is refused, as the end of a sentence.
fn check_file(path: &Path, layer: &Layer, unpacked: &ImageDigest, most: u64) -> Result<u64, String> {
    let (hash, length) = measure(open(path, layer.packing), most)
        .map_err(|error| format!("layer {} cannot be unpacked: {error}", layer.part.digest))?;
    if length > most {
        return Err(format!(
            "layer {} of {} bytes unpacks to more than {most} bytes",
            layer.part.digest, layer.part.size
        ));
    }
    if hash != *unpacked {
        return Err(format!("layer {} unpacks to something else than {unpacked}", layer.part.digest));
    }
    Ok(length)
}

/// Reads one byte more than `most` at most.
fn measure(reader: io::Result<Box<dyn Read>>, most: u64) -> io::Result<(ImageDigest, u64)> {
    let (hash, length) = hashed(&mut reader?.take(most.saturating_add(1)))?;
    Ok((digest_from(hash), length))
}

/// Zstandard's frames one after the other, as layers have them that can be read in pieces.
struct Frames<R: BufRead> {
    source: R,
    decoder: FrameDecoder,
    is_inside: bool,
}

impl<R: BufRead> Read for Frames<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if self.is_inside {
                if self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                    let enough = BlockDecodingStrategy::UptoBytes(BUFFER);
                    self.decoder.decode_blocks(&mut self.source, enough).map_err(io::Error::other)?;
                }
                let read = self.decoder.read(buffer)?;
                if read > 0 {
                    return Ok(read);
                }
                self.is_inside = !self.decoder.is_finished();
                continue;
            }
            if self.source.fill_buf()?.is_empty() {
                return Ok(0);
            }
            match self.decoder.reset(&mut self.source) {
                Ok(()) => self.is_inside = true,
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    io::copy(&mut self.source.by_ref().take(length.into()), &mut io::sink())?;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::Part;
    use crate::store::digest_of;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn asked(bytes: &[u8], packing: Packing, unpacked: &ImageDigest, most: u64) -> Result<u64, String> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        let part = Part { digest: digest_of(bytes), size: bytes.len() as u64 };
        check_file(file.path(), &Layer { part, packing }, unpacked, most)
    }

    #[test]
    fn a_layer_unpacks_to_what_was_announced() {
        let text = b"text ".repeat(50_000);
        let is = digest_of(&text);
        assert_eq!(asked(&text, Packing::Plain, &is, 1 << 20), Ok(250_000));
        assert_eq!(asked(&gzip(&text), Packing::Gzip, &is, 1 << 20), Ok(250_000));
        let parts = [gzip(&text[..99]), gzip(&text[99..])].concat();
        assert_eq!(asked(&parts, Packing::Gzip, &is, 1 << 20), Ok(250_000), "gzip's members are one layer");
        let pack = |bytes: &[u8]| {
            ruzstd::encoding::compress_to_vec(bytes, ruzstd::encoding::CompressionLevel::Fastest)
        };
        let skipped = [&[0x50, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"abc"].concat();
        let parts = [pack(&text[..99]), skipped, pack(&text[99..])].concat();
        assert_eq!(asked(&parts, Packing::Zstd, &is, 1 << 20), Ok(250_000), "and so are Zstandard's frames");
        let other = digest_of(b"other");
        assert!(asked(&gzip(&text), Packing::Gzip, &other, 1 << 20).unwrap_err().contains("something else"));
        let broken = asked(&gzip(&text)[..200], Packing::Gzip, &is, 1 << 20);
        assert!(broken.unwrap_err().contains("cannot be unpacked"));
        for packing in [Packing::Gzip, Packing::Zstd] {
            assert!(asked(b"plain", packing, &is, 1 << 20).unwrap_err().contains("cannot be unpacked"));
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_has_gone_off() {
        let zeros = gzip(&vec![0; 40 << 20]);
        let said = asked(&zeros, Packing::Gzip, &digest_of(b""), 30 << 20).unwrap_err();
        assert!(said.contains("unpacks to more than 31457280 bytes"), "{said}");
    }
}
