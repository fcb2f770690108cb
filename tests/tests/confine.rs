//! The keeper's confinement, the secrets that it does not have, and the death of one of its helpers.

use bottle_harness::https_server::HttpsServer;
use bottle_harness::page::Page;
use bottle_tests::{
    ProjectExt, RunningBottle, RunningBottleExt, allowing, children, command_line, eventually, kill,
    project_with, up, up_with,
};
use predicates::prelude::*;
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;

const KEY: &str = "sk-of-the-upstream-0123456789";
const OTHER: &str = "another-secret-of-the-operators-0123456789";

/// Returns the keeper's helper with this name.
fn helper(running: &RunningBottle, name: &str) -> Option<u64> {
    children(running.keeper()).into_iter().find(|pid| command_line(*pid).contains(&format!(" {name} ")))
}

/// Returns whether a process has this text anywhere in its writable memory. Root can look.
fn has_in_memory(pid: u64, wanted: &str) -> bool {
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).unwrap());
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut looked_at = 0;
    let found = maps.lines().map(Result::unwrap).any(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        // Read-only memory comes from files, and the program's is large.
        if !rest.starts_with("rw") {
            return false;
        }
        let end = |text: &str| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = range.split_once('-').map(|(from, to)| (end(from), end(to))).unwrap();
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        if memory.read_exact_at(&mut bytes, from).is_err() {
            return false;
        }
        looked_at += bytes.len();
        bytes.windows(wanted.len()).any(|window| window == wanted.as_bytes())
    });
    assert!(found || looked_at > 100_000, "only {looked_at} bytes of {} were looked at", command_line(pid));
    found
}

fn value_of(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
    line.split_once(':').unwrap().1.trim().to_owned()
}

fn upstream(address: Ipv4Addr) -> String {
    format!(
        "slug = \"t\"\n[egress]\nhosts = {{ \"api.test\" = \"{address}\" }}\n\
         [[upstream]]\npath = \"/api\"\norigin = \"https://api.test\"\n\
         headers = {{ x-api-key = {{ from_env = \"TEST_KEY\" }} }}\nenv = {{ API_URL = \"\" }}\n"
    )
}

#[test]
fn all_threads_of_the_keeper_and_of_the_key_holder_are_confined() {
    let server = HttpsServer::serve(&["api.test"]).unwrap();
    let authority = server.authority().display().to_string();
    let running = up_with(
        project_with(&upstream(server.address())),
        &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)],
    );
    // A name is resolved on a thread made for it.
    running.guest("curl -sS -m 5 $HTTPS_PROXY/ http://no.such.host.test/");
    for pid in [running.keeper(), helper(&running, "keys").unwrap()] {
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap();
            assert_eq!(
                (value_of(&status, "Seccomp"), value_of(&status, "NoNewPrivs")),
                ("2".into(), "1".into())
            );
            let capabilities = u64::from_str_radix(&value_of(&status, "CapEff"), 16).unwrap();
            let overriding = 1 << 1;
            assert_eq!(capabilities & !overriding, 0, "{status}");
            threads += 1;
        }
        assert!(threads >= 1, "{}", command_line(pid));
    }
    // The starter is not confined, and reads nothing that a guest sends.
    let starter = helper(&running, "starter").unwrap();
    let status = fs::read_to_string(format!("/proc/{starter}/status")).unwrap();
    assert_eq!(value_of(&status, "Seccomp"), "0");

    let confined = &running.json(&["status", "--json"])["confined"];
    assert_eq!((&confined["seccomp"], &confined["no_new_privs"]), (&Value::Bool(true), &Value::Bool(true)));
    running.bottle(&["status"]).assert().success().stdout(
        predicate::str::is_match("(?m)^  confined  Landlock [0-9]+, seccomp, no new privileges$").unwrap(),
    );
    assert!(running.said(&["audit"]).contains("\"confined\":{\"landlock\":"));
}

#[test]
fn the_keepers_memory_holds_none_of_the_operators_secrets() {
    let server = HttpsServer::serve(&["api.test"]).unwrap();
    fs::write(server.folder().join("plain"), "plain").unwrap();
    let authority = server.authority().display().to_string();
    let environment = [("TEST_KEY", KEY), ("OTHER_SECRET", OTHER), ("SSL_CERT_FILE", authority.as_str())];
    let running = up_with(project_with(&upstream(server.address())), &environment);
    // The key has been used.
    assert_eq!(running.guest("curl -sS $API_URL/plain"), "plain");
    let (keeper, keys, starter) =
        (running.keeper(), helper(&running, "keys").unwrap(), helper(&running, "starter").unwrap());
    assert!(has_in_memory(keys, KEY), "the holder's key is found in its memory");
    assert!(has_in_memory(starter, OTHER), "git may need the operator's environment");
    assert!(has_in_memory(keeper, "x-api-key"), "the keeper's plan is found in its memory");
    for secret in [KEY, OTHER] {
        assert!(!has_in_memory(keeper, secret), "{secret}");
    }
    assert!(!has_in_memory(starter, KEY));
}

#[test]
fn without_upstreams_no_process_holds_keys() {
    let running = up("slug = \"t\"\n");
    assert!(helper(&running, "starter").is_some() && helper(&running, "keys").is_none());
}

#[test]
fn a_keeper_ends_with_its_starter_and_up_restores_it() {
    let page = Page::serve("the page").unwrap();
    let running = up(&allowing(&page));
    let fetch = format!("curl -sS -m 5 http://page.test:{}/", page.port());
    assert_eq!(running.guest(&fetch), "the page");
    kill(helper(&running, "starter").unwrap());
    eventually("the keeper ends", || !running.bottle(&["status"]).output().unwrap().status.success());
    assert_eq!(running.guest(&fetch), "", "nothing is reached without a keeper");
    running.bottle(&["-q", "up"]).assert().success();
    eventually("the page is reached again", || running.guest(&fetch) == "the page");
}

#[test]
fn without_the_key_holder_upstreams_are_refused_at_once_and_the_rest_works() {
    let server = HttpsServer::serve(&["api.test"]).unwrap();
    let page = Page::serve("the page").unwrap();
    let authority = server.authority().display().to_string();
    let config = upstream(server.address()).replace(
        "hosts = {",
        &format!("allow = [\"page.test:{}\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\",", page.port()),
    );
    let running = up_with(project_with(&config), &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)]);
    assert!(!running.guest("curl -sS $API_URL/").contains("ended"));
    kill(helper(&running, "keys").unwrap());
    eventually("the refusal names the key holder", || {
        running.guest("curl -sS -m 5 $API_URL/").contains("the process that holds the keys has ended")
    });
    assert_eq!(running.guest(&format!("curl -sS -m 5 http://page.test:{}/", page.port())), "the page");
    running
        .bottle(&["-q", "restart"])
        .env("TEST_KEY", KEY)
        .env("SSL_CERT_FILE", &authority)
        .assert()
        .success();
    assert!(!running.guest("curl -sS $API_URL/").contains("ended"));
}
