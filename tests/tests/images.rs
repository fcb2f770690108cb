//! Images from a registry: Debian's registry program on loopback, with images that the tests put into it. What
//! broken and hostile registries send is in `cli/images/tests/registry.rs`.

use bottle_harness::https_server::HttpsServer;
use bottle_harness::parent_proxy::{Manner, ParentProxy};
use bottle_harness::registry::{Image, Registry};
use bottle_tests::{Project, ProjectExt, checkout, empty_project, eventually, project_with};
use predicates::prelude::*;
use predicates::str::contains;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

fn registry() -> Registry {
    Registry::start(&checkout(), false).expect("run `make setup`")
}

fn config(slug: &str, image: &str) -> String {
    format!("slug = \"{slug}\"\n[guest]\nimage = \"{image}\"\n[workspace]\nmode = \"none\"\n")
}

/// The files of the store, by their folder.
fn stored(project: &Project, folder: &str) -> Vec<String> {
    let entries = fs::read_dir(project.on_host("cache/images").join(folder));
    let names = entries.into_iter().flatten().flatten().map(|entry| entry.file_name());
    names.map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn the_first_start_fetches_an_image_and_later_ones_need_no_network() {
    let registry = registry();
    let digest = registry.push("tiny:1", &Image::with("etc/marker", "one")).unwrap();
    let image = registry.name("tiny:1");
    let project = project_with(&config("t", &image));
    project.bottle(&["plan"]).assert().success().stdout(contains(format!(
        "fetched   not yet: `bottle images pull {image}` fetches it, and so does the first start\n"
    )));
    assert_eq!(project.json(&["images", "ls", "--json"]), json!([]));
    let fetched = contains(format!("bottle: {image} is {digest}, "));
    project.bottle(&["up"]).assert().success().stderr(fetched.clone().and(contains("t is up")));
    // smolvm got a file, and no name that it would look up.
    let smolfile = fs::read_to_string(project.on_host("state/t/smolfile.toml")).unwrap();
    let archive = project.on_host("cache/images/archives").join(format!("{}.tar", &digest[7..]));
    assert!(smolfile.contains(&format!("image = \"{}\"", archive.display())), "{smolfile}");
    assert!(smolfile.contains("net = false"));
    drop(registry);
    project.bottle(&["-q", "restart"]).assert().success();
    project.bottle(&["-q", "stop"]).assert().success();
    project.bottle(&["up"]).assert().success().stderr(fetched.not());
    project.bottle(&["plan"]).assert().success().stdout(contains(format!("image     {digest}\n")));
    assert_eq!(project.json(&["plan", "--json"])["guest"]["image_digest"], digest.as_str());
    let listed = project.json(&["images", "ls", "--json"]);
    assert_eq!(listed[0]["bottles"], json!(["t"]), "{listed}");
    assert_eq!(listed[0]["fetched"], json!(true), "{listed}");
    // Another bottle with the same image.
    let other = project.environment().project("other").unwrap();
    other.put("bottle.toml", &config("u", &image));
    assert_eq!(other.run_script("echo in the guest"), "in the guest\n");
    // A cache may be emptied at any time, and then the same image is fetched again.
    fs::remove_dir_all(project.on_host("cache")).unwrap();
    project.bottle(&["plan"]).assert().success().stdout(contains("fetched   no longer: "));
    project.bottle(&["-q", "stop"]).assert().success();
    let failed = project.bottle(&["up"]).assert().code(69);
    failed.stderr(contains("cannot be reached").and(contains("help: check whether this machine is online")));
    project.bottle(&["-q", "rm", "-f"]).assert().success();
}

#[test]
fn a_name_means_the_same_image_until_a_person_pulls_it_again() {
    let registry = registry();
    let first = registry.push("tiny:1", &Image::with("etc/marker", "one")).unwrap();
    let image = registry.name("tiny:1");
    let project = project_with(&config("t", &image));
    project.bottle(&["-q", "up"]).assert().success().stderr(contains(&first).not());
    let second = registry.push("tiny:1", &Image::with("etc/marker", "two")).unwrap();
    project.bottle(&["-q", "restart"]).assert().success();
    assert_eq!(project.json(&["plan", "--json"])["guest"]["image_digest"], first.as_str());
    let pulled = project.bottle(&["images", "pull", &image, "--json"]).output().unwrap();
    let said = String::from_utf8_lossy(&pulled.stderr).into_owned();
    assert!(said.contains(&format!("t was made from {first}; `bottle up --renew t`")), "{said}");
    let pulled = bottle_tests::answer(&pulled.stdout).unwrap();
    assert_eq!((&pulled["was"], &pulled["digest"]), (&json!(first), &json!(second)));
    let keeps = contains("t keeps the image that its machine was made from; `bottle up --renew t`");
    project.bottle(&["plan"]).assert().success().stderr(keeps.clone());
    project.bottle(&["restart"]).assert().success().stderr(keeps);
    project.bottle(&["-q", "exec", "--", "true"]).assert().success();
    project.bottle(&["-q", "restart", "--renew"]).assert().success();
    project.bottle(&["plan"]).assert().success().stderr("");
    // What a bottle was made from stays, and the other image goes.
    assert_eq!(stored(&project, "archives").len(), 2);
    project.bottle(&["images", "rm", &image]).assert().code(73).stderr(contains("bottle t uses"));
    project.bottle(&["-q", "images", "prune"]).assert().success().stdout("");
    assert_eq!(stored(&project, "archives"), [format!("{}.tar", &second[7..])]);
    project.bottle(&["-q", "rm", "-f"]).assert().success();
    let gone = project.bottle(&["images", "prune"]).assert().success();
    gone.stdout(format!("{image}\n")).stderr(contains(" freed"));
    for folder in ["archives", "blobs", "partial"] {
        assert!(stored(&project, folder).is_empty(), "{folder}");
    }
    // By its digest, and by a name that nobody looked up.
    project.bottle(&["-q", "images", "pull", &image]).assert().success();
    project.bottle(&["-q", "images", "rm", &second[..20]]).assert().success().stdout(format!("{image}\n"));
    let nothing = project.bottle(&["images", "rm", "other"]).assert().code(2);
    nothing.stderr(contains("there is no image other here").and(contains("`bottle images ls` lists them")));
}

#[test]
fn the_operators_own_login_is_used() {
    let registry = Registry::start(&checkout(), true).expect("run `make setup`");
    registry.push("private:1", &Image::with("etc/marker", "one")).unwrap();
    let image = registry.name("private:1");
    let host = image.split_once('/').unwrap().0;
    let project = empty_project();
    let (home, words) = (project.on_host("docker"), ["images", "pull", &image]);
    fs::create_dir(&home).unwrap();
    let pull = |config: serde_json::Value| {
        fs::write(home.join("config.json"), config.to_string()).unwrap();
        let mut pull = project.bottle(&words);
        pull.env("DOCKER_CONFIG", &home).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
        pull.assert()
    };
    let without = format!("{host} does not give out the image private:1 without an account");
    pull(json!({})).code(69).stderr(contains(without).and(contains(format!("`docker login {host}`"))));
    // "tester:wrong" and "tester:word", as `docker login` stores them.
    let wrong = pull(json!({ "auths": { host: { "auth": "dGVzdGVyOndyb25n" } } })).code(69);
    wrong.stderr(contains("to this account").and(contains("dGVzdGVy").not()));
    pull(json!({ "auths": { host: { "auth": "dGVzdGVyOndvcmQ=" } } })).success();
    // As `podman login` stores them for a folder or a repository.
    pull(json!({ "auths": { host: { "auth": "dGVzdGVyOndyb25n" }, format!("{host}/private"): { "auth": "dGVzdGVyOndvcmQ=" } } }))
        .success();
    fs::write(home.join("config.json"), r#"{"auths":{"#).unwrap();
    let damaged = format!("{} is damaged at line 1", home.join("config.json").display());
    let mut with_damaged = project.bottle(&words);
    with_damaged.env("DOCKER_CONFIG", &home).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    with_damaged.assert().code(69).stderr(contains(damaged));
    // Helper programs, for this registry and for all.
    let helper = |name: &str, script: &str| {
        let draft = project.path(name);
        let path = project.on_host("bin").join(format!("docker-credential-{name}"));
        fs::write(&draft, format!("#!/bin/sh\nread -r server\n{script}\n")).unwrap();
        // Another process writes the file that is run: a child of another test could inherit it while it is open.
        let installed = Command::new("install").args(["-m", "755"]).arg(&draft).arg(&path).status().unwrap();
        assert!(installed.success());
    };
    let login = r#"echo "$server" >> "$0.asked"; echo '{"Username":"tester","Secret":"word"}'"#;
    helper("good", login);
    helper("empty", "echo credentials not found in native keychain; exit 1");
    helper("bad", "echo the secret is hunter2; exit 1");
    for (key, value) in [("credHelpers", json!({ host: "good" })), ("credsStore", json!("good"))] {
        project.bottle(&["-q", "images", "rm", &image]).assert().success();
        pull(json!({ key: value })).success();
    }
    assert_eq!(
        fs::read_to_string(project.on_host("bin/docker-credential-good.asked")).unwrap(),
        format!("{host}\n{host}\n")
    );
    // An empty place says that the login is in the store.
    pull(json!({ "auths": { host: { "auth": "" } }, "credsStore": "good" })).success();
    pull(json!({ "credsStore": "empty" })).code(69).stderr(contains("without an account"));
    let failed = pull(json!({ "credsStore": "bad" })).code(69);
    failed.stderr(contains("`docker-credential-bad` failed").and(contains("hunter2").not()));
}

/// A server that answers each request with what `reply` makes of its head, and the heads that it got.
fn server(reply: impl Fn(&str) -> (String, Vec<u8>) + Send + 'static) -> (u16, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, heads) = (listener.local_addr().unwrap().port(), Arc::new(Mutex::new(Vec::new())));
    let seen = Arc::clone(&heads);
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // A client that tries TLS first writes no lines.
            if head.is_empty() {
                continue;
            }
            let head = head.join("\n").to_ascii_lowercase();
            let (answer, body) = reply(&head);
            seen.lock().unwrap().push(head);
            let answer =
                format!("HTTP/1.1 {answer}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let _ = stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&body));
        }
    });
    (port, heads)
}

#[test]
fn a_login_goes_to_no_place_that_another_host_than_the_registry_names() {
    let built = Image::with("etc/marker", "one").build().unwrap();
    let (tokens, asked) = server(|_| ("200 OK".to_owned(), br#"{"token":"x"}"#.to_vec()));
    let wants = format!("401 No\r\nwww-authenticate: Bearer realm=\"http://127.0.0.1:{tokens}/token\"");
    let (elsewhere, redirected) = server(move |_| (wants.clone(), Vec::new()));
    let (registry, heads) = server(move |head| {
        if !head.contains("\nauthorization: basic ") {
            return ("401 No\r\nwww-authenticate: Basic realm=\"x\"".to_owned(), Vec::new());
        }
        match head.contains("/manifests/") {
            true => ("200 OK".to_owned(), built.manifest.clone()),
            false => (format!("307 There\r\nlocation: http://127.0.0.1:{elsewhere}/x"), Vec::new()),
        }
    });
    let project = empty_project();
    let home = project.on_host("docker");
    fs::create_dir(&home).unwrap();
    let host = format!("127.0.0.1:{registry}");
    let logins = json!({ "auths": { &host: { "auth": "dGVzdGVyOndvcmQ=" } } });
    fs::write(home.join("config.json"), logins.to_string()).unwrap();
    let mut pull = project.bottle(&["images", "pull", &format!("{host}/a:1")]);
    pull.env("DOCKER_CONFIG", &home).env_remove("REGISTRY_AUTH_FILE").env_remove("XDG_RUNTIME_DIR");
    pull.assert().code(69).stderr(contains(format!("127.0.0.1:{elsewhere} answered with 401")));
    let has_login = |head: &String| head.contains("\nauthorization: basic ");
    assert!(heads.lock().unwrap().iter().any(has_login), "the registry itself got the login");
    let redirected = redirected.lock().unwrap();
    assert!(!redirected.is_empty() && !redirected.iter().any(has_login), "{redirected:?}");
    assert!(asked.lock().unwrap().is_empty(), "a token was asked for: {asked:?}");
}

#[test]
fn a_registry_on_loopback_may_speak_tls() {
    let registry = Registry::start_with_tls(&checkout()).expect("run `make setup`");
    let digest = registry.push("tiny:1", &Image::with("etc/marker", "one")).unwrap();
    let image = registry.name("tiny:1");
    let project = empty_project();
    let pull = |certificate: Option<PathBuf>| {
        let mut pull = project.bottle(&["images", "pull", &image]);
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            pull.env_remove(name);
        }
        // No proxy reaches this machine's own loopback.
        pull.env("HTTPS_PROXY", "http://127.0.0.1:9");
        certificate.into_iter().for_each(|file| _ = pull.env("SSL_CERT_FILE", file));
        pull.assert()
    };
    pull(None).code(69).stderr(contains(" is not secure: ").and(contains("SSL_CERT_FILE")));
    pull(Some(registry.certificate())).success().stderr(contains(digest));
}

#[test]
fn a_damaged_archive_is_written_again() {
    let registry = registry();
    let digest = registry.push("tiny:1", &Image::with("etc/marker", "one")).unwrap();
    let image = registry.name("tiny:1");
    let project = empty_project();
    project.bottle(&["-q", "images", "pull", &image]).assert().success();
    let archive = project.on_host("cache/images/archives").join(format!("{}.tar", &digest[7..]));
    let right = fs::read(&archive).unwrap();
    let layer =
        fs::read_dir(project.on_host("cache/images/blobs")).unwrap().flatten().map(|entry| entry.path());
    // The layer is packed, and so is no JSON.
    let layer = layer.into_iter().find(|path| fs::read(path).unwrap().starts_with(&[0x1f, 0x8b])).unwrap();
    for with_layer in [true, false] {
        fs::remove_file(&archive).unwrap();
        fs::write(&archive, &right[..right.len() - 600]).unwrap();
        if !with_layer {
            fs::write(&layer, "damaged").unwrap();
        }
        project.bottle(&["-q", "images", "pull", &image]).assert().success();
        assert_eq!(fs::read(&archive).unwrap(), right);
    }
}

#[test]
fn an_image_that_cannot_be_had_starts_nothing() {
    let registry = registry();
    registry.push("tiny:1.0", &Image::with("etc/marker", "one")).unwrap();
    let project = empty_project();
    let near = format!("did you mean `{}`?", registry.name("tiny:1.0"));
    for (image, code, words, help) in [
        (registry.name("tiny:1.1"), 2, "has no image tiny:1.1", near.as_str()),
        (registry.name("other:1"), 2, "has no image other:1", "check its name"),
        ("no.such.host.invalid/a".to_owned(), 69, "the host no.such.host.invalid is not known", "online"),
        ("127.0.0.1:9/a".to_owned(), 69, "127.0.0.1:9 cannot be reached", "online"),
    ] {
        project.put("bottle.toml", &config("t", &image));
        for command in [&["up"][..], &["run", "--", "true"]] {
            let refused = project.bottle(command).assert().code(code);
            refused.stderr(contains(words).and(contains(help)));
            assert_eq!(project.json(&["ls", "--json"]), json!([]), "{image}");
            assert!(!project.on_host("state/t/plan.json").exists(), "{image}");
        }
    }
    project.put("bottle.toml", &config("t", "A:b:c"));
    let place =
        contains("bottle.toml:3:9: \"A:b:c\" is not an image's name").and(contains("`python:3.12-alpine`"));
    project.bottle(&["plan"]).assert().code(2).stderr(place);
    // A file, without the `./` that makes it a path.
    project.put("mine.tar", "");
    project.put("bottle.toml", &config("t", "mine.tar"));
    project.bottle(&["plan"]).assert().code(2).stderr(contains("write the file as a path: \"./mine.tar\""));
    // A folder that smolvm would take for a root folder.
    fs::create_dir(project.path("layout")).unwrap();
    project.put("layout/oci-layout", "{}");
    project.put("bottle.toml", &config("t", "./layout"));
    let refused = project.bottle(&["plan"]).assert().code(2);
    refused.stderr(contains("bottle.toml:3:9: ").and(contains("is an OCI layout")).and(contains("`tar -C ")));
    // A bottle that runs is not stopped for an image that cannot be had.
    project.put("bottle.toml", &config("t", &registry.name("tiny:1.0")));
    project.bottle(&["-q", "up"]).assert().success();
    project.put("bottle.toml", &config("t", &registry.name("tiny:1.1")));
    project.bottle(&["restart", "--trust", "--renew"]).assert().code(2).stderr(contains("has no image"));
    project.bottle(&["-q", "exec", "--", "true"]).assert().success();
    project.bottle(&["-q", "rm", "-f"]).assert().success();
}

/// A registry that sends half of a layer, and then nothing more.
fn stalling() -> u16 {
    let layer = vec![7_u8; 100_000];
    let digest = |bytes: &[u8]| format!("sha256:{}", bottle_host::digest::hex(bytes));
    let config = json!({ "os": "linux", "rootfs": { "diff_ids": [digest(&layer)] },
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" } })
    .to_string();
    let part = |kind: &str, bytes: &[u8]| json!({ "mediaType": format!("application/vnd.oci.image.{kind}"), "digest": digest(bytes), "size": bytes.len() });
    let manifest = json!({ "schemaVersion": 2, "config": part("config.v1+json", config.as_bytes()),
        "layers": [part("layer.v1.tar", &layer)] })
    .to_string();
    let (listener, layer_digest) = (TcpListener::bind("127.0.0.1:0").unwrap(), digest(&layer));
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut first = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let _ = reader.read_line(&mut first);
            let is_layer = first.contains(&layer_digest);
            let body = match (first.contains("/manifests/"), is_layer) {
                (true, _) => manifest.as_bytes(),
                (_, true) => &layer[..],
                _ => config.as_bytes(),
            };
            let head =
                format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", body.len());
            let sent = if is_layer { body.len() / 2 } else { body.len() };
            let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..sent]));
            if is_layer {
                thread::spawn(move || {
                    thread::sleep(Duration::from_secs(60));
                    drop(stream);
                });
            }
        }
    });
    port
}

#[test]
fn an_interrupted_pull_leaves_what_has_arrived_and_no_lock() {
    let project = project_with(&config("t", &format!("127.0.0.1:{}/a:1", stalling())));
    let mut up = project.command(&["up"]).stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let half = || {
        let partial = project.on_host("cache/images/partial");
        let sizes = fs::read_dir(partial).into_iter().flatten().flatten();
        sizes.filter_map(|entry| entry.metadata().ok()).any(|meta| meta.len() == 50_000)
    };
    eventually("half a layer", half);
    // Meanwhile, nothing is removed, and nobody else changes the bottle.
    project.bottle(&["images", "prune"]).assert().code(73).stderr(contains("fetching or using an image"));
    project.bottle(&["up"]).assert().code(73).stderr(contains("`bottle up` (process "));
    // Ctrl-C does the same, unless a shell started this test in the background.
    kill_process(Pid::from_child(&up), Signal::TERM).unwrap();
    assert_eq!(up.wait().unwrap().signal(), Some(15));
    assert!(half(), "what had arrived is gone");
    assert_eq!(project.json(&["images", "ls", "--json"]), json!([]));
    assert_eq!(project.json(&["ls", "--json"]), json!([]));
    assert!(!project.on_host("state/t/plan.json").exists());
    project.bottle(&["-q", "images", "prune"]).assert().success();
    assert!(stored(&project, "partial").is_empty());
}

#[test]
fn this_machines_proxy_and_its_certificates_are_used() {
    let server = HttpsServer::serve(&["registry.test"]).unwrap();
    let built = Image::with("etc/marker", "one").build().unwrap();
    built.write(&server.folder(), "team/tiny:1").unwrap();
    let parent = ParentProxy::start((server.address(), 443).into(), Manner::Open).unwrap();
    let project = empty_project();
    let pull = |proxy: String| {
        let mut pull = project.bottle(&["images", "pull", "registry.test/team/tiny:1"]);
        for name in ["SSL_CERT_FILE", "SSL_CERT_DIR"] {
            pull.env_remove(name);
        }
        pull.env("HTTPS_PROXY", proxy);
        pull
    };
    let proxy = parent.url();
    let unknown = contains("the connection to registry.test is not secure: ").and(contains("SSL_CERT_FILE"));
    pull(proxy.clone()).assert().code(69).stderr(unknown);
    let known = pull(proxy).env("SSL_CERT_FILE", server.authority()).assert().success();
    known.stderr(contains("bottle: registry.test/team/tiny:1 is sha256:"));
    assert!(parent.heads().iter().all(|head| head.starts_with("CONNECT registry.test:443 ")));
    pull(String::new()).assert().code(69).stderr(contains("the host registry.test is not known"));
    let odd = pull("socks5://127.0.0.1:9".to_owned()).assert().code(69);
    odd.stderr(contains("the proxy socks5://127.0.0.1:9").and(contains("http://HOST:PORT")));
}

#[test]
fn runs_that_start_at_once_fetch_an_image_together() {
    let registry = registry();
    let digest = registry.push("many:1", &Image::with("etc/marker", "one")).unwrap();
    let project = project_with(&config("t", &registry.name("many:1")));
    let run = |number: usize| {
        let out = format!("kept/{number}");
        project.command(&["-q", "run", "--out", &out, "--", "echo", "here"]).spawn().unwrap()
    };
    let mut running: Vec<std::process::Child> = (0..6).map(run).collect();
    assert!(running.iter_mut().all(|child| child.wait().unwrap().success()));
    for number in 0..6 {
        let text = fs::read_to_string(project.path(format!("kept/{number}/result.json"))).unwrap();
        let result: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(result["digests"]["image"], digest.as_str(), "{result}");
        assert_eq!(fs::read_to_string(project.path(format!("kept/{number}/stdout"))).unwrap(), "here\n");
    }
    assert_eq!(stored(&project, "archives"), [format!("{}.tar", &digest[7..])]);
    assert!(stored(&project, "partial").is_empty());
}
