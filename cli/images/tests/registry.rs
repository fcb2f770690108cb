//! Images from registries: honest ones, broken ones and hostile ones. Each is on loopback, and does what its
//! test says. Debian's own registry program is asked in `tests/tests/images.rs`.

mod damage;
mod origins;
mod serve;

use bottle_core::text::ImageDigest;
use bottle_host::failure::{Failure, Kind};
use bottle_host::state::Home;
use bottle_images::progress::Quiet;
use bottle_images::{Limits, Name, Pin, Store, pull};
use serde_json::json;
use serve::{Image, Registry, Reply, gzip};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Short times, so that a test does not wait for what does not come.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(2),
    head: Duration::from_millis(500),
    document: Duration::from_millis(800),
    pace: Duration::from_millis(500),
    pace_bytes: 4 << 10,
    tries: 3,
    pause: Duration::from_millis(5),
    unpacked: 8 << 20,
    small: 1 << 20,
};

struct Here {
    store: Store,
    dir: tempfile::TempDir,
}

impl Here {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::of(&Home::at(dir.path().join("state"), dir.path().join("run")));
        Self { store, dir }
    }

    fn pull(&self, name: &Name, wanted: Option<&ImageDigest>) -> Result<Pin, Failure> {
        let _lease = self.store.lease().unwrap();
        pull(&self.store, name, wanted, LIMITS, &Quiet)
    }

    /// Pulls, and returns why that failed.
    fn refused(&self, registry: &Registry) -> Failure {
        let since = Instant::now();
        let failure = self.pull(&registry.name("a:1"), None).expect_err("a refusal");
        assert!(since.elapsed() < Duration::from_secs(20), "a refusal is no hang: {failure}");
        failure
    }

    /// The names of the files in a folder of the store.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.store.root().join(folder)).unwrap().flatten();
        entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
    }
}

fn text() -> Vec<u8> {
    let words = (0..40_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_string());
    words.collect::<Vec<_>>().join(" ").into_bytes()
}

fn says(failure: &Failure, kind: Kind, words: &str) {
    assert!(failure.what().contains(words), "{failure}");
    assert_eq!(failure.kind(), kind, "{failure}");
}

#[test]
fn an_image_is_fetched_once_and_needs_no_network_afterwards() {
    let (image, here) = (Image::of(&[text(), b"upper".to_vec()]), Here::new());
    let registry = Registry::of(image.clone());
    let name = registry.name("a:1");
    let pin = here.pull(&name, None).unwrap();
    assert_eq!(pin.digest, image.digest());
    assert_eq!(pin.size, image.blobs.values().map(|blob| blob.len() as u64).sum::<u64>());
    let archive = here.store.archive(&pin.digest);
    let first = fs::read(&archive).unwrap();
    let asked = registry.requests().len();
    assert_eq!(here.pull(&name, Some(&pin.digest)).unwrap(), pin);
    // Without its archive, the image is put together again from its parts.
    fs::remove_file(&archive).unwrap();
    assert_eq!(here.pull(&name, Some(&pin.digest)).unwrap(), pin);
    assert_eq!(fs::read(&archive).unwrap(), first);
    assert_eq!(registry.requests().len(), asked, "the registry was asked again");
    assert!(here.files("partial").is_empty());
}

#[test]
fn the_digest_in_a_name_and_the_remembered_one_are_what_is_fetched() {
    let (image, here) = (Image::of(&[text()]), Here::new());
    let registry = Registry::of(image.clone());
    let pin = here.pull(&registry.name(&format!("a@{}", image.digest())), None).unwrap();
    assert_eq!(pin.digest, image.digest());
    // A registry that has another image under the remembered digest.
    let other = Image::of(&[b"other".to_vec()]);
    let liar = Registry::start(move |request| match request.path.contains("manifests") {
        true => Reply::Whole(200, Vec::new(), other.manifest.to_string().into_bytes()),
        false => other.reply(request),
    });
    let here = Here::new();
    let failure = here.pull(&liar.name("a:1"), Some(&image.digest())).unwrap_err();
    says(&failure, Kind::Unavailable, "another manifest than sha256:");
    assert!(here.files("blobs").is_empty());
}

#[test]
fn a_part_that_is_not_what_was_announced_is_forgotten() {
    type Spoil = fn(Vec<u8>) -> Vec<u8>;
    let ways: [(Spoil, &str); 3] = [
        (
            |mut bytes| {
                bytes[5] ^= 1;
                bytes
            },
            "something else than sha256:",
        ),
        (|bytes| [bytes, b"x".to_vec()].concat(), "more than the"),
        (|bytes| bytes[..9].to_vec(), "9 of "),
    ];
    for (spoil, words) in ways {
        let (image, here) = (Image::of(&[text()]), Here::new());
        let layer = image.layer(0);
        let registry = Registry::start(move |request| match image.reply(request) {
            Reply::Whole(_, _, bytes) if request.path.ends_with(&layer) => {
                Reply::Whole(200, Vec::new(), spoil(bytes))
            }
            reply => reply,
        });
        says(&here.refused(&registry), Kind::Unavailable, words);
        assert!(here.files("archives").is_empty(), "{words}");
        let left = here
            .files("partial")
            .iter()
            .map(|name| here.store.root().join("partial").join(name))
            .map(|path| fs::metadata(path).unwrap().len())
            .sum::<u64>();
        assert!(left < 10, "{words}: {left}");
    }
}

#[test]
fn a_layer_that_unpacks_to_too_much_is_refused() {
    let (image, here) = (Image::of(&[vec![0; 2 << 20]]), Here::new());
    assert!(image.blobs[&image.layer(0)].len() < 4096);
    says(&here.refused(&Registry::of(image)), Kind::Unavailable, "unpacks to more than 1048576 bytes");
    assert!(here.files("archives").is_empty() && here.files("partial").is_empty());
    // A layer that lies about what it unpacks to.
    let (mut image, here) = (Image::of(&[text()]), Here::new());
    let packed = gzip(b"something else");
    image.manifest["layers"][0] = image.add("application/vnd.oci.image.layer.v1.tar+gzip", packed);
    says(&here.refused(&Registry::of(image)), Kind::Unavailable, "unpacks to something else than sha256:");
}

/// The names in a layer mean nothing on the host: nothing of it is unpacked here.
#[test]
fn hostile_names_in_a_layer_stay_data() {
    let here = Here::new();
    let outside = here.dir.path().join("outside");
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |name: &str, kind: tar::EntryType, link: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o777);
        header.set_size(if kind == tar::EntryType::Regular { 4 } else { 0 });
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        if !link.is_empty() {
            header.as_gnu_mut().unwrap().linkname[..link.len()].copy_from_slice(link.as_bytes());
        }
        header.set_cksum();
        tar.append(&header, &b"evil"[..if kind == tar::EntryType::Regular { 4 } else { 0 }]).unwrap();
    };
    let path = outside.to_str().unwrap();
    add("../../../../outside", tar::EntryType::Regular, "");
    add(path, tar::EntryType::Regular, "");
    add("link", tar::EntryType::Symlink, path);
    add("link/below", tar::EntryType::Regular, "");
    add("hard", tar::EntryType::Link, "/etc/passwd");
    add("device", tar::EntryType::Block, "");
    let layer = tar.into_inner().unwrap();
    let image = Image::of(&[layer]);
    let packed = image.blobs[&image.layer(0)].clone();
    let pin = here.pull(&Registry::of(image).name("a:1"), None).unwrap();
    assert!(!outside.exists());
    let everything = walk(here.dir.path());
    assert!(everything.iter().all(|path| path.is_dir() || fs::metadata(path).unwrap().is_file()));
    assert_eq!(everything.iter().filter(|path| path.is_file()).count(), 5, "{everything:?}");
    let archive = fs::read(here.store.archive(&pin.digest)).unwrap();
    assert!(archive.windows(packed.len()).any(|window| window == packed));
}

fn walk(folder: &Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().flatten() {
        found.push(entry.path());
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
    }
    found
}

#[test]
fn endless_documents_are_cut_off() {
    let here = Here::new();
    let registry = Registry::start(|_| Reply::Endless);
    says(&here.refused(&registry), Kind::Unavailable, "a document of more than 4194304 bytes");
    // The same for a layer, which is not kept.
    let image = Image::of(&[text()]);
    let layer = image.layer(0);
    let registry = Registry::start(move |request| match request.path.ends_with(&layer) {
        true => Reply::Endless,
        false => image.reply(request),
    });
    says(&here.refused(&registry), Kind::Unavailable, "more than the");
    assert!(here.files("partial").is_empty());
}

#[test]
fn an_index_leads_to_an_image_and_to_nothing_else() {
    let image = Image::of(&[text()]);
    let architecture = bottle_images::manifest::Platform::here().architecture;
    let index = |digest: &ImageDigest, size: usize, kind: &str| {
        json!({ "schemaVersion": 2, "manifests": [{ "mediaType": kind, "digest": digest, "size": size,
            "platform": { "os": "linux", "architecture": architecture } }] })
        .to_string()
    };
    let serve = |index: String, image: Image| {
        Registry::start(move |request| match request.path.ends_with("/manifests/1") {
            true => Reply::Whole(200, Vec::new(), index.clone().into_bytes()),
            false => image.reply(request),
        })
    };
    let (digest, size) = (image.digest(), image.manifest.to_string().len());
    let pin = Here::new().pull(&serve(index(&digest, size, ""), image.clone()).name("a:1"), None).unwrap();
    assert_eq!(pin.digest, digest, "the image's digest is remembered, not the index's");
    let wrong = serve(index(&digest, size + 1, ""), image.clone());
    says(&Here::new().refused(&wrong), Kind::Unavailable, "that was announced with");
    // An index inside an index, without saying so.
    let inner = index(&digest, size, "");
    let inner_digest = bottle_images::store::digest_of(inner.as_bytes());
    let outer = index(&inner_digest, inner.len(), "");
    let nested = Registry::start(move |request| {
        let body = if request.path.ends_with("/manifests/1") { &outer } else { &inner };
        Reply::Whole(200, Vec::new(), body.clone().into_bytes())
    });
    says(&Here::new().refused(&nested), Kind::Unavailable, "its index names another index");
    // An index that claims to be the image that it names.
    let itself = index(&digest, size, "");
    let itself = Registry::start(move |_| Reply::Whole(200, Vec::new(), itself.clone().into_bytes()));
    says(&Here::new().refused(&itself), Kind::Unavailable, "another manifest than");
}

#[test]
fn a_registry_that_stalls_is_given_up() {
    let image = Image::of(&[text()]);
    let layer = image.layer(0);
    let size = image.blobs[&layer].len() as u64;
    for (reply, words) in
        [(0, "does not answer: it accepted the request"), (1, "comes too slowly"), (2, "comes too slowly")]
    {
        let (image, layer) = (image.clone(), layer.clone());
        let registry = Registry::start(move |request| match request.path.ends_with(&layer) {
            true => match reply {
                0 => Reply::Stall(None),
                1 => Reply::Stall(Some(b"x".to_vec())),
                _ => Reply::Drip(size),
            },
            false => image.reply(request),
        });
        says(&Here::new().refused(&registry), Kind::Unavailable, words);
    }
    let silent = Registry::start(|_| Reply::Stall(Some(b"{".to_vec())));
    says(&Here::new().refused(&silent), Kind::Unavailable, "comes too slowly");
}

#[test]
fn what_breaks_off_is_fetched_from_where_it_broke_off() {
    let (image, here) = (Image::of(&[text()]), Here::new());
    let (layer, tries) = (image.layer(0), Arc::new(AtomicUsize::new(0)));
    let blob = image.blobs[&layer].clone();
    let (half, size) = (blob.len() / 2, blob.len() as u64);
    let (served, path, count) = (image.clone(), layer.clone(), Arc::clone(&tries));
    let registry = Registry::start(move |request| match request.path.ends_with(&path) {
        true if count.fetch_add(1, Relaxed) == 0 => Reply::Cut(size, blob[..half].to_vec()),
        _ => served.reply(request),
    });
    here.pull(&registry.name("a:1"), None).unwrap();
    let ranges: Vec<Option<String>> = registry
        .requests()
        .into_iter()
        .filter(|request| request.path.ends_with(&layer))
        .map(|request| request.headers.get("range").cloned())
        .collect();
    assert_eq!(ranges, [None, Some(format!("bytes={half}-"))]);
}

#[test]
fn a_later_command_goes_on_with_what_an_earlier_one_left_and_so_does_a_registry_without_ranges() {
    for knows_ranges in [true, false] {
        let (image, here) = (Image::of(&[text()]), Here::new());
        let layer = image.layer(0);
        let blob = image.blobs[&layer].clone();
        let (half, size) = (blob.len() / 2, blob.len() as u64);
        let part = here.store.root().join("partial").join(&layer["sha256:".len()..]);
        let (served, path) = (image.clone(), layer.clone());
        let broken = Registry::start(move |request| match request.path.ends_with(&path) {
            true if !request.headers.contains_key("range") => Reply::Cut(size, blob[..half].to_vec()),
            true => Reply::Whole(500, Vec::new(), Vec::new()),
            false => served.reply(request),
        });
        says(&here.refused(&broken), Kind::Unavailable, "answered with 500");
        assert_eq!(fs::metadata(&part).unwrap().len(), half as u64);
        let served = image.clone();
        let registry = Registry::start(move |request| {
            let mut request = request.clone();
            if !knows_ranges {
                request.headers.remove("range");
            }
            served.reply(&request)
        });
        here.pull(&registry.name("a:1"), None).unwrap();
        let asked = registry.requests().into_iter().find(|request| request.path.ends_with(&layer)).unwrap();
        assert_eq!(asked.headers["range"], format!("bytes={half}-"));
        assert!(here.files("partial").is_empty());
    }
}

/// Where a request leads that was answered with this redirect.
fn redirected(image: &Image, location: String) -> Registry {
    let (image, layer) = (image.clone(), image.layer(0));
    Registry::start(move |request| {
        let has_token = request.headers.get("authorization").is_some_and(|value| value == "Bearer secret");
        if request.path.starts_with("/token") {
            assert!(request.path.contains("scope=repository%3Aa%3Apull"), "{}", request.path);
            return Reply::Whole(200, Vec::new(), br#"{"token":"secret"}"#.to_vec());
        }
        if !has_token {
            let host = &request.headers["host"];
            let wants = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            return Reply::Whole(401, vec![("www-authenticate", wants)], Vec::new());
        }
        match request.path.ends_with(&layer) {
            true => Reply::Whole(307, vec![("location", location.clone())], Vec::new()),
            false => image.reply(request),
        }
    })
}

#[test]
fn a_token_is_used_and_does_not_follow_a_redirect_to_another_host() {
    let image = Image::of(&[text()]);
    let elsewhere = Registry::of(image.clone());
    let location = format!("http://{}/v2/a/blobs/{}", elsewhere.address, image.layer(0));
    let registry = redirected(&image, location);
    Here::new().pull(&registry.name("a:1"), None).unwrap();
    let asked = elsewhere.requests();
    assert_eq!(asked.len(), 1);
    assert!(!asked[0].headers.contains_key("authorization"), "{asked:?}");
    assert_eq!(registry.paths().iter().filter(|path| path.starts_with("/token")).count(), 1);
}

#[test]
fn a_redirect_out_of_http_is_not_followed_and_neither_is_an_endless_one() {
    let image = Image::of(&[text()]);
    for location in ["file:///etc/passwd", "http://192.0.2.1/x", "ftp://127.0.0.1/", "gopher:x", ""] {
        let failure = Here::new().refused(&redirected(&image, location.to_owned()));
        says(&failure, Kind::Unavailable, "sent what no registry sends: a redirect to");
    }
    let failure = Here::new().refused(&redirected(&image, format!("/v2/a/blobs/{}", image.layer(0))));
    says(&failure, Kind::Unavailable, "more than 5 redirects");
}

#[test]
fn a_token_is_not_asked_for_where_a_password_would_be_read_on_the_way() {
    for wants in [
        "Bearer realm=\"http://192.0.2.1/token\"",
        "Bearer realm=\"file:///token\"",
        "Digest realm=\"x\", nonce=\"y\"",
        "Bearer realm=\"http",
    ] {
        let registry = Registry::start(move |_| {
            Reply::Whole(401, vec![("www-authenticate", wants.to_owned())], Vec::new())
        });
        says(&Here::new().refused(&registry), Kind::Unavailable, "a request for");
    }
}

#[test]
fn each_refusal_says_what_helps() {
    let answers = |status: u16, header: (&'static str, &'static str)| {
        Registry::start(move |_| {
            Reply::Whole(
                status,
                vec![(header.0, header.1.to_owned())],
                br#"{"errors":[{"code":"X"}]}"#.to_vec(),
            )
        })
    };
    let none = ("x-nothing", "");
    for (registry, kind, words, help) in [
        (
            answers(401, ("www-authenticate", "Basic realm=\"x\"")),
            Kind::Unavailable,
            "without an account",
            "docker login 127.0.0.1:",
        ),
        (answers(403, none), Kind::Unavailable, "without an account", "docker login"),
        (answers(404, none), Kind::Usage, " has no image a:1", "check its name"),
        (
            answers(429, ("retry-after", "77")),
            Kind::Unavailable,
            "it asks to wait for 77 s",
            "wait, or log in",
        ),
        (answers(503, none), Kind::Unavailable, "answered with 503 (X)", "try again later"),
        (answers(418, none), Kind::Unavailable, "answered with 418", "check the name"),
    ] {
        let failure = Here::new().refused(&registry);
        says(&failure, kind, words);
        assert!(failure.hint().unwrap().contains(help), "{failure}");
    }
    let tags = Registry::start(|request| match request.path.as_str() {
        "/v2/a/tags/list?n=1000" => {
            Reply::Whole(200, Vec::new(), br#"{"tags":["3.11","1.0","10"]}"#.to_vec())
        }
        _ => Reply::Whole(404, Vec::new(), Vec::new()),
    });
    let failure = Here::new().pull(&tags.name("a:1.00"), None).unwrap_err();
    assert!(failure.hint().unwrap().ends_with("/a:1.0`?"), "{failure}");
    let nobody = "127.0.0.1:9/a:1".parse().unwrap();
    let failure = Here::new().pull(&nobody, None).unwrap_err();
    says(&failure, Kind::Unavailable, "127.0.0.1:9 cannot be reached: ");
    let unknown = "registry.invalid/a:1".parse().unwrap();
    let failure = Here::new().pull(&unknown, None).unwrap_err();
    says(&failure, Kind::Unavailable, "the host registry.invalid is not known");
}

#[test]
fn commands_at_the_same_time_fetch_a_layer_once() {
    let (image, here) = (Image::of(&[text()]), Here::new());
    let (registry, layer) = (Registry::of(image.clone()), image.layer(0));
    let name = registry.name("a:1");
    std::thread::scope(|scope| {
        let pulls: Vec<_> = (0..4).map(|_| scope.spawn(|| here.pull(&name, None))).collect();
        pulls.into_iter().for_each(|pull| _ = pull.join().unwrap().unwrap());
    });
    assert_eq!(registry.paths().iter().filter(|path| path.ends_with(&layer)).count(), 1);
    assert!(here.files("partial").is_empty());
}
