//! What was damaged here, or left by another command, is fetched again, and what is right is left alone.

use crate::serve::{Image, Registry, Reply, gzip};
use crate::{Here, says, text};
use bottle_host::failure::Kind;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread;

fn replace(path: &Path, bytes: &[u8]) {
    fs::remove_file(path).unwrap();
    fs::write(path, bytes).unwrap();
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1;
    bytes
}

/// The file of a part in a folder of the store.
fn file(here: &Here, folder: &str, digest: &str) -> PathBuf {
    here.store.root().join(folder).join(&digest["sha256:".len()..])
}

#[test]
fn a_refused_image_takes_no_part_of_another_one_with_it() {
    let here = Here::new();
    let good = Image::of(&[text(), b"good".to_vec()]);
    let shared = good.layer(0);
    let registry = Registry::of(good.clone());
    let pin = here.pull(&registry.name("a:1"), None).unwrap();
    // One whose second layer is wrong, and one that says something wrong about the shared layer itself.
    let mut second = Image::of(&[text(), b"bad".to_vec()]);
    second.manifest["layers"][1] = second.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip(b"other"));
    let mut first = Image::of(&[b"bad".to_vec()]);
    first.manifest["layers"][0] = first.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip(&text()));
    for bad in [second, first] {
        let bad = Registry::of(bad);
        says(&here.refused(&bad), Kind::Unavailable, "unpacks to something else than sha256:");
        assert!(file(&here, "blobs", &shared).exists(), "a part that is right was removed");
    }
    fs::remove_file(here.store.archive(&pin.digest)).unwrap();
    let asked = registry.requests().len();
    here.pull(&registry.name("a:1"), Some(&pin.digest)).unwrap();
    assert_eq!(registry.requests().len(), asked);
}

#[test]
fn a_damaged_part_is_fetched_again() {
    let image = Image::of(&[text(), b"upper".to_vec()]);
    let (layer, upper) = (image.layer(0), image.layer(1));
    let config = image.manifest["config"]["digest"].as_str().unwrap().to_owned();
    let bytes = image.blobs[&layer].clone();
    let here = Here::new();
    let registry = Registry::of(image);
    let name = registry.name("a:1");
    let pin = here.pull(&name, None).unwrap();
    let archive = here.store.archive(&pin.digest);
    let right = fs::read(&archive).unwrap();
    for (part, damaged) in [
        (&layer, flipped(&bytes, bytes.len() / 2)),
        (&layer, flipped(&bytes, 4)),
        (&layer, bytes[..99].to_vec()),
        (&layer, [&bytes[..], b"more"].concat()),
        (&upper, Vec::new()),
        (&config, b"{}".to_vec()),
    ] {
        fs::remove_file(&archive).unwrap();
        replace(&file(&here, "blobs", part), &damaged);
        let before = registry.requests().len();
        assert_eq!(here.pull(&name, Some(&pin.digest)).unwrap(), pin);
        let paths = &registry.paths()[before..];
        assert_eq!(paths, [format!("/v2/a/blobs/{part}")], "only the damaged part is fetched");
        assert_eq!(fs::read(&archive).unwrap(), right);
        assert!(here.files("partial").is_empty());
    }
}

#[test]
fn a_damaged_archive_is_written_again_and_missing_parts_are_fetched() {
    let image = Image::of(&[text()]);
    let (layer, here) = (image.layer(0), Here::new());
    let registry = Registry::of(image);
    let name = registry.name("a:1");
    let pin = here.pull(&name, None).unwrap();
    let archive = here.store.archive(&pin.digest);
    let right = fs::read(&archive).unwrap();
    let asked = registry.requests().len();
    for damaged in [right[..2000].to_vec(), flipped(&right, right.len() / 2), Vec::new()] {
        replace(&archive, &damaged);
        assert_eq!(here.store.has_archive(&pin.digest), damaged.len() == right.len());
        here.pull(&name, Some(&pin.digest)).unwrap();
        assert!(here.store.has_archive(&pin.digest));
        assert_eq!(fs::read(&archive).unwrap(), right);
    }
    assert_eq!(registry.requests().len(), asked, "everything was here");
    // A setup needs the parts, too.
    fs::remove_file(file(&here, "blobs", &layer)).unwrap();
    assert!(!bottle_images::compose::is_whole(&here.store, &pin.digest).unwrap());
    here.pull(&name, Some(&pin.digest)).unwrap();
    assert!(bottle_images::compose::is_whole(&here.store, &pin.digest).unwrap());
}

#[test]
fn a_partial_file_that_is_wrong_is_given_up_and_the_part_fetched_from_its_beginning() {
    let image = Image::of(&[text()]);
    let (layer, size) = (image.layer(0), image.blobs[&image.layer(0)].len());
    for wrong in [vec![0; 100], vec![0; size], vec![0; size + 1], vec![0; size - 1]] {
        let here = Here::new();
        drop(here.store.lease().unwrap());
        fs::write(file(&here, "partial", &layer), &wrong).unwrap();
        here.pull(&Registry::of(image.clone()).name("a:1"), None).unwrap();
        assert!(here.files("partial").is_empty());
    }
    // A registry that sends something else is refused after one more try, and nothing of it stays.
    let (here, served, path) = (Here::new(), image.clone(), layer.clone());
    drop(here.store.lease().unwrap());
    fs::write(file(&here, "partial", &layer), vec![0; 100]).unwrap();
    let liar = Registry::start(move |request| match served.reply(request) {
        Reply::Whole(status, headers, bytes) if request.path.ends_with(&path) => {
            Reply::Whole(status, headers, vec![7; bytes.len()])
        }
        reply => reply,
    });
    says(&here.refused(&liar), Kind::Unavailable, "something else than sha256:");
    assert_eq!(liar.paths().iter().filter(|path| path.ends_with(&layer)).count(), 2);
    assert!(here.files("partial").is_empty());
}

#[test]
fn a_registry_that_refuses_a_range_is_asked_for_the_whole_part() {
    let image = Image::of(&[text()]);
    let layer = image.layer(0);
    let blob = image.blobs[&layer].clone();
    let elsewhere = ("content-range", format!("bytes 0-{}/{}", blob.len() - 1, blob.len()));
    for (status, headers) in [
        (416, Vec::new()),
        (400, Vec::new()),
        (501, Vec::new()),
        (403, Vec::new()),
        (404, Vec::new()),
        (206, vec![elsewhere]),
        (206, Vec::new()),
    ] {
        let (here, served, path) = (Here::new(), image.clone(), layer.clone());
        drop(here.store.lease().unwrap());
        fs::write(file(&here, "partial", &layer), &blob[..50]).unwrap();
        let whole = blob.clone();
        let registry = Registry::start(move |request| {
            let is_range = request.path.ends_with(&path) && request.headers.contains_key("range");
            if is_range {
                Reply::Whole(status, headers.clone(), whole.clone())
            } else {
                served.reply(request)
            }
        });
        here.pull(&registry.name("a:1"), None).unwrap();
        let asked = registry.paths().iter().filter(|path| path.ends_with(&layer)).count();
        assert_eq!(asked, 2, "{status}");
    }
    // One that has no such part is asked once more, and no longer.
    let (here, served, path) = (Here::new(), image.clone(), layer.clone());
    drop(here.store.lease().unwrap());
    fs::write(file(&here, "partial", &layer), &blob[..50]).unwrap();
    let without = Registry::start(move |request| match request.path.ends_with(&path) {
        true => Reply::Whole(404, Vec::new(), Vec::new()),
        false => served.reply(request),
    });
    says(&here.refused(&without), Kind::Usage, "has no sha256:");
    assert_eq!(without.paths().iter().filter(|path| path.ends_with(&layer)).count(), 2);
}

#[test]
fn a_part_that_is_always_damaged_is_fetched_a_few_times_only() {
    let (image, here) = (Image::of(&[text()]), Here::new());
    drop(here.store.lease().unwrap());
    let (layer, blob, stop) = (image.layer(0), file(&here, "blobs", &image.layer(0)), AtomicBool::new(false));
    let registry = Registry::of(image);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Relaxed) {
                if blob.exists() {
                    let _ = fs::write(&blob, "damaged");
                }
            }
        });
        let pulled = here.pull(&registry.name("a:1"), None);
        stop.store(true, Relaxed);
        // The pull may have been faster than the thread.
        if let Err(failure) = pulled {
            says(&failure, Kind::Internal, "does not stay as it was written");
        }
    });
    let times = registry.paths().iter().filter(|path| path.ends_with(&layer)).count();
    assert!((1..=4).contains(&times), "{times}");
}
