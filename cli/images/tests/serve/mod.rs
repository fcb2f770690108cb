//! A registry that does what a test says, and images to put into it.

use bottle_core::text::ImageDigest;
use bottle_images::store::digest_of;
use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// A request, as the registry got it.
#[derive(Clone, Debug)]
pub struct Request {
    pub path: String,
    pub headers: BTreeMap<String, String>,
}

/// What the registry does with a request.
pub enum Reply {
    /// Answers with a status, headers and a body.
    Whole(u16, Vec<(&'static str, String)>, Vec<u8>),
    /// Announces so many bytes, sends these, and closes.
    Cut(u64, Vec<u8>),
    /// Sends the body's beginning, if there is one, and nothing more.
    Stall(Option<Vec<u8>>),
    /// Sends a byte now and then.
    Drip(u64),
    /// Sends bytes without end.
    Endless,
}

/// A registry on loopback. It ends with the test's process.
pub struct Registry {
    pub address: SocketAddr,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Registry {
    pub fn start(reply: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, requests) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let (seen, reply) = (Arc::clone(&requests), Arc::new(reply));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (seen, reply) = (Arc::clone(&seen), Arc::clone(&reply));
                thread::spawn(move || {
                    let Some(request) = read(&stream) else { return };
                    seen.lock().unwrap().push(request.clone());
                    answer(stream, reply(&request));
                });
            }
        });
        Self { address, requests }
    }

    /// Serves an image as a registry should.
    pub fn of(image: Image) -> Self {
        Self::start(move |request| image.reply(request))
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }

    /// The paths that were asked for.
    pub fn paths(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| request.path).collect()
    }

    pub fn name(&self, rest: &str) -> bottle_images::Name {
        format!("{}/{rest}", self.address).parse().unwrap()
    }
}

fn read(stream: &TcpStream) -> Option<Request> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next()?.ok()?;
    let path = first.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(": ") else { break };
        headers.insert(name.to_ascii_lowercase(), value.to_owned());
    }
    Some(Request { path, headers })
}

fn answer(mut stream: TcpStream, reply: Reply) {
    let head =
        |length: u64| format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n");
    let _ = match reply {
        Reply::Whole(status, headers, body) => {
            let mut head =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
            headers.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
            stream.write_all(format!("{head}\r\n").as_bytes()).and_then(|()| stream.write_all(&body))
        }
        Reply::Cut(length, body) => {
            stream.write_all(head(length).as_bytes()).and_then(|()| stream.write_all(&body))
        }
        Reply::Stall(body) => {
            if let Some(body) = body {
                let _ = stream.write_all(head(1 << 20).as_bytes()).and_then(|()| stream.write_all(&body));
            }
            thread::sleep(Duration::from_secs(60));
            Ok(())
        }
        Reply::Drip(length) => {
            let mut done = stream.write_all(head(length).as_bytes());
            while done.is_ok() {
                done = stream.write_all(b"x");
                thread::sleep(Duration::from_millis(10));
            }
            done
        }
        Reply::Endless => {
            let mut done = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n");
            while done.is_ok() {
                done = stream.write_all(&[b' '; 64 << 10]);
            }
            done
        }
    };
}

/// An image, with everything that a registry has of it.
#[derive(Clone)]
pub struct Image {
    pub manifest: Value,
    pub blobs: BTreeMap<String, Vec<u8>>,
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

impl Image {
    /// Makes an image of these layers, which are given unpacked.
    pub fn of(layers: &[Vec<u8>]) -> Self {
        let unpacked: Vec<ImageDigest> = layers.iter().map(|layer| digest_of(layer)).collect();
        let architecture = bottle_images::manifest::Platform::here().architecture;
        let config = json!({ "os": "linux", "architecture": architecture,
            "config": { "Cmd": ["/bin/sh"] }, "rootfs": { "type": "layers", "diff_ids": unpacked } });
        let mut image = Self { manifest: Value::Null, blobs: BTreeMap::new() };
        let config = image.add("application/vnd.oci.image.config.v1+json", config.to_string().into_bytes());
        let layers: Vec<Value> = layers
            .iter()
            .map(|layer| image.add("application/vnd.oci.image.layer.v1.tar+gzip", gzip(layer)))
            .collect();
        image.manifest = json!({ "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "config": config, "layers": layers });
        image
    }

    pub fn add(&mut self, kind: &str, bytes: Vec<u8>) -> Value {
        let (digest, size) = (digest_of(&bytes).to_string(), bytes.len());
        self.blobs.insert(digest.clone(), bytes);
        json!({ "mediaType": kind, "digest": digest, "size": size })
    }

    /// The digest of a layer as it is sent.
    pub fn layer(&self, n: usize) -> String {
        self.manifest["layers"][n]["digest"].as_str().unwrap().to_owned()
    }

    pub fn digest(&self) -> ImageDigest {
        digest_of(self.manifest.to_string().as_bytes())
    }

    /// Replies as a registry should that knows ranges.
    pub fn reply(&self, request: &Request) -> Reply {
        let is_this = |wanted: &str| wanted == "1" || wanted == self.digest().as_str();
        if request.path.strip_prefix("/v2/a/manifests/").is_some_and(is_this) {
            return Reply::Whole(200, Vec::new(), self.manifest.to_string().into_bytes());
        }
        let blob = request.path.strip_prefix("/v2/a/blobs/").and_then(|digest| self.blobs.get(digest));
        let Some(blob) = blob else {
            return Reply::Whole(404, Vec::new(), b"{}".to_vec());
        };
        let from = request.headers.get("range").and_then(|range| range.strip_prefix("bytes="));
        match from.and_then(|from| from.trim_end_matches('-').parse::<usize>().ok()) {
            Some(from) => {
                let range = format!("bytes {from}-{}/{}", blob.len() - 1, blob.len());
                Reply::Whole(206, vec![("content-range", range)], blob[from..].to_vec())
            }
            None => Reply::Whole(200, Vec::new(), blob.clone()),
        }
    }
}
