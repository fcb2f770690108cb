//! What the keeper gives up, what it never had, and what happens when one of its helpers dies.

use bottle_harness::page::Page;
use bottle_tests::secure::Secure;
use bottle_tests::{World, allowing, below, eventually, words};
use predicates::prelude::*;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::os::unix::fs::FileExt;

const KEY: &str = "sk-of-the-upstream-0123456789";
const OTHER: &str = "another-secret-of-the-operators-0123456789";

/// A bottle that is up. It is gone with the value.
struct Up(World);

impl Up {
    fn with(config: &str, environment: &[(&str, &str)]) -> Self {
        let world = World::with(config);
        world.bottle(&["-q", "up"]).envs(environment.iter().copied()).assert().success();
        Self(world)
    }

    fn status(&self) -> Value {
        let said = self.0.bottle(&["status", "--json"]).output().unwrap();
        serde_json::from_slice(&said.stdout).unwrap_or_else(|_| panic!("{said:?}"))
    }

    fn keeper(&self) -> u64 {
        self.status()["pid"].as_u64().unwrap()
    }

    fn helper(&self, name: &str) -> Option<u64> {
        below(self.keeper()).into_iter().find(|pid| words(*pid).contains(&format!(" {name} ")))
    }

    fn exec(&self, script: &str) -> String {
        let said = self.0.bottle(&["-q", "exec", "--", "sh", "-c", script]).output().unwrap();
        String::from_utf8(said.stdout).unwrap()
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.0.bottle(&["-q", "rm", "--force"]).output();
    }
}

fn kill(pid: u64) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), Signal::KILL).unwrap();
}

/// Whether a process has these bytes anywhere in its memory. Root can look.
fn has_in_memory(pid: u64, wanted: &str) -> bool {
    let maps = BufReader::new(File::open(format!("/proc/{pid}/maps")).unwrap());
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut looked_at = 0;
    let found = maps.lines().map(Result::unwrap).any(|line| {
        let (range, rest) = line.split_once(' ').unwrap();
        // What can only be read is a file's, and the program's is large.
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
    assert!(found || looked_at > 100_000, "only {looked_at} bytes of {} were looked at", words(pid));
    found
}

fn says(status: &str, name: &str) -> String {
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
fn every_thread_of_the_keeper_and_of_the_keys_is_confined_and_the_status_says_so() {
    let address = Ipv4Addr::new(127, 78, 1, 1);
    let server = Secure::serve(address, &["api.test"]).unwrap();
    let authority = server.authority().display().to_string();
    let up = Up::with(&upstream(address), &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)]);
    // A name is looked up on a thread that is made for it.
    up.exec("curl -sS -m 5 $HTTPS_PROXY/ http://no.such.host.test/");
    for pid in [up.keeper(), up.helper("keys").unwrap()] {
        let mut threads = 0;
        for thread in fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap();
            assert_eq!((says(&status, "Seccomp"), says(&status, "NoNewPrivs")), ("2".into(), "1".into()));
            let capabilities = u64::from_str_radix(&says(&status, "CapEff"), 16).unwrap();
            let overriding = 1 << 1;
            assert_eq!(capabilities & !overriding, 0, "{status}");
            threads += 1;
        }
        assert!(threads >= 1, "{}", words(pid));
    }
    // Who starts programs is not, and reads nothing of a guest's.
    let starter = up.helper("starter").unwrap();
    let status = fs::read_to_string(format!("/proc/{starter}/status")).unwrap();
    assert_eq!(says(&status, "Seccomp"), "0");

    let confined = &up.status()["confined"];
    assert_eq!((&confined["seccomp"], &confined["no_new_privs"]), (&Value::Bool(true), &Value::Bool(true)));
    up.0.bottle(&["status"]).assert().success().stdout(
        predicate::str::is_match("(?m)^  confined  Landlock [0-9]+, seccomp, no new privileges$").unwrap(),
    );
    let log = up.0.bottle(&["audit"]).output().unwrap();
    assert!(String::from_utf8_lossy(&log.stdout).contains("\"confined\":{\"landlock\":"));
}

#[test]
fn no_secret_of_the_operators_is_in_the_keepers_memory() {
    let address = Ipv4Addr::new(127, 78, 1, 2);
    let server = Secure::serve(address, &["api.test"]).unwrap();
    fs::write(server.folder().join("plain"), "plain").unwrap();
    let authority = server.authority().display().to_string();
    let environment = [("TEST_KEY", KEY), ("OTHER_SECRET", OTHER), ("SSL_CERT_FILE", authority.as_str())];
    let up = Up::with(&upstream(address), &environment);
    // It was used: the origin was asked, with the key.
    assert_eq!(up.exec("curl -sS $API_URL/plain"), "plain");
    let (keeper, keys, starter) = (up.keeper(), up.helper("keys").unwrap(), up.helper("starter").unwrap());
    assert!(has_in_memory(keys, KEY), "who has it can be found");
    assert!(has_in_memory(starter, OTHER), "git may need the operator's environment");
    assert!(has_in_memory(keeper, "x-api-key"), "the keeper's plan is found in its memory");
    for secret in [KEY, OTHER] {
        assert!(!has_in_memory(keeper, secret), "{secret}");
    }
    assert!(!has_in_memory(starter, KEY));
}

#[test]
fn without_upstreams_there_is_nobody_to_hold_keys() {
    let up = Up::with("slug = \"t\"\n", &[]);
    assert!(up.helper("starter").is_some() && up.helper("keys").is_none());
}

#[test]
fn a_keeper_whose_starter_dies_ends_and_up_mends_it() {
    let page = Page::serve("the page").unwrap();
    let up = Up::with(&allowing(&page), &[]);
    let fetch = format!("curl -sS -m 5 http://page.test:{}/", page.port());
    assert_eq!(up.exec(&fetch), "the page");
    kill(up.helper("starter").unwrap());
    eventually("the keeper ends", || !up.0.bottle(&["status"]).output().unwrap().status.success());
    assert_eq!(up.exec(&fetch), "", "nothing is reached without a keeper");
    up.0.bottle(&["-q", "up"]).assert().success();
    eventually("the page is reached again", || up.exec(&fetch) == "the page");
}

#[test]
fn without_the_process_that_holds_keys_an_upstream_is_refused_at_once_and_the_rest_goes_on() {
    let address = Ipv4Addr::new(127, 78, 1, 3);
    let server = Secure::serve(address, &["api.test"]).unwrap();
    let page = Page::serve("the page").unwrap();
    let authority = server.authority().display().to_string();
    let config = upstream(address).replace(
        "hosts = {",
        &format!("allow = [\"page.test:{}\"]\nhosts = {{ \"page.test\" = \"127.0.0.1\",", page.port()),
    );
    let up = Up::with(&config, &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)]);
    assert!(!up.exec("curl -sS $API_URL/").contains("ended"));
    kill(up.helper("keys").unwrap());
    eventually("it is said", || {
        up.exec("curl -sS -m 5 $API_URL/").contains("the process that holds the keys has ended")
    });
    assert_eq!(up.exec(&format!("curl -sS -m 5 http://page.test:{}/", page.port())), "the page");
    up.0.bottle(&["-q", "restart"]).env("TEST_KEY", KEY).env("SSL_CERT_FILE", &authority).assert().success();
    assert!(!up.exec("curl -sS $API_URL/").contains("ended"));
}
