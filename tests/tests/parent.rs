//! A machine that reaches the internet only through a parent proxy. The proxy is a stand-in that can do
//! everything wrong, or a real one; the clients, the https server and everything of bottle's are real.

use bottle_harness::https_server::HttpsServer;
use bottle_harness::page::Page;
use bottle_harness::parent_proxy::{Manner, ParentProxy};
use bottle_harness::real_proxy::{Kind, RealProxy};
use bottle_tests::{ProjectExt, RunningBottle, RunningBottleExt, eventually, project_with, up_with};
use predicates::prelude::*;
use std::fs;
use std::net::Ipv4Addr;
use std::thread;
use std::time::{Duration, Instant};

const LOGIN: &str = "ann:pass-word-0123";
/// `Basic` and [`LOGIN`] in base64.
const HEADER: &str = "Basic YW5uOnBhc3Mtd29yZC0wMTIz";
const CONFIG: &str = "slug = \"t\"\n[egress]\nallow = [\"files.test\", \"plain.test:80\", \"localhost\", \"own.test:443,80\"]\n\
     [[upstream]]\npath = \"/api\"\norigin = \"https://files.test\"\n\
     headers = { x-api-key = { from_env = \"TEST_KEY\" } }\nenv = { API_URL = \"/echo\" }\n";

/// Brings up a bottle whose names only the parent proxy can resolve.
fn behind(server: &HttpsServer, config: &str, variables: &[(&str, &str)]) -> RunningBottle {
    let project = project_with(config);
    fs::copy(server.authority(), project.path("ca.pem")).unwrap();
    let authority = server.authority().display().to_string();
    let own = [("SSL_CERT_FILE", authority.as_str()), ("TEST_KEY", "key-0123456789")];
    up_with(project, &[&own[..], variables].concat())
}

fn server() -> HttpsServer {
    let server = HttpsServer::serve(&["files.test", "own.test"]).unwrap();
    fs::write(server.folder().join("hello"), "got it\n").unwrap();
    server
}

const FETCH: &str = "curl -sS -m 20 --cacert ca.pem https://files.test/hello 2>&1";
const REFUSAL: &str = "curl -sS -m 20 http://plain.test/ 2>&1";

#[test]
fn tunnels_pages_and_upstreams_go_through_the_parent_and_its_login_stays_on_the_host() {
    let server = server();
    let to = (server.address(), 443).into();
    let parent = ParentProxy::start(to, Manner::Login(HEADER)).unwrap();
    let url = parent.url_for(LOGIN);
    let config = format!("{CONFIG}[egress.hosts]\n\"own.test\" = \"{}\"\n", server.address());
    let running =
        behind(&server, &config, &[("https_proxy", &url), ("HTTP_PROXY", &url), ("NO_PROXY", "x.test")]);

    assert_eq!(running.guest(FETCH), "got it\n");
    // What a client asks in absolute form is asked by the egress proxy itself, over TLS of its own.
    let absolute = "curl -sS -m 20 --request-target https://files.test/hello $HTTPS_PROXY";
    assert_eq!(running.guest(absolute), "got it\n");
    let page = "curl -sS -m 20 http://plain.test/page?x=y -H 'proxy-authorization: Basic Z3Vlc3Q='";
    assert_eq!(running.guest(page), "a page\n");
    let mirror = running.guest("curl -sS -m 20 http://plain.test/mirror 2>&1");
    let ended = mirror.contains("curl: (") || mirror.contains("plain.test broke off");
    assert!(ended && !mirror.contains("YW5u"), "{mirror}");
    assert!(running.said(&["logs", "--denied"]).contains("reason=key"));
    assert!(running.guest("curl -sS -m 20 $API_URL/v1").contains("/echo/v1"));
    let seen = server.requests().pop().unwrap();
    assert_eq!(seen["headers"]["x-api-key"], "key-0123456789");
    let heads = parent.heads();
    for begin in ["CONNECT files.test:443 HTTP/1.1\r\n", "GET http://plain.test/page?x=y HTTP/1.1\r\n"] {
        assert!(heads.iter().any(|head| head.starts_with(begin)), "{begin}: {heads:?}");
    }
    assert!(heads.iter().all(|head| head.contains(HEADER) && !head.contains("Z3Vlc3Q=")), "{heads:?}");
    assert!(heads.iter().all(|head| !head.contains("TRACE")));
    let trace =
        "curl -sS -m 20 -o /dev/null -w '%{http_code}' -X TRACE -H 'max-forwards: 0' http://plain.test/";
    assert_eq!(running.guest(trace), "405");

    // A name that only the egress proxy knows is not the parent's business.
    let before = parent.heads().len();
    assert_eq!(running.guest("curl -sS -m 20 --cacert ca.pem https://own.test/hello"), "got it\n");
    assert_eq!(parent.heads().len(), before);
    // What this machine knows of a name still counts, and so do the rules.
    let refused = |to: &str| {
        running.guest(&format!("curl -sS -m 20 --noproxy x.test -o /dev/null -w '%{{http_connect}}' {to}"))
    };
    assert_eq!((refused("https://localhost/"), refused("https://other.test/")), ("403".into(), "403".into()));
    assert!(!parent.heads().iter().any(|head| head.contains("localhost") || head.contains("other.test")));
    assert!(running.said(&["logs", "--denied"]).contains("localhost leads to "));
    // `deny` closes it as it closes others.
    running.bottle(&["-q", "deny", "t", "files.test"]).assert().success();
    assert_eq!(refused("https://files.test/"), "403");

    let mut planned = running.bottle(&["plan"]);
    let planned = planned.env("HTTPS_PROXY", &url).env("TEST_KEY", "key-0123456789").assert().success();
    let plan = String::from_utf8_lossy(&planned.get_output().stdout).into_owned();
    assert!(plan.contains("https and tunnels by the proxy 127.0.0.1:"), "{plan}");
    assert!(plan.contains(", from $HTTPS_PROXY, with the login in it"), "{plan}");
    // Nobody but the process that talks to the parent has the login.
    let told =
        [plan, running.said(&["audit"]), running.guest("env; cat /proc/*/environ 2>/dev/null")].concat();
    let kept = fs::read_to_string(running.on_host("state/t/plan.json")).unwrap();
    let keeper = running.keeper();
    let environment = fs::read(format!("/proc/{keeper}/environ")).unwrap();
    for place in [&told, &kept, &*String::from_utf8_lossy(&environment)] {
        assert!(!place.contains("pass-word") && !place.contains("YW5u"), "{place}");
    }
    assert!(told.contains("\"parent\":\"127.0.0.1:"));
}

#[test]
fn a_parent_that_refuses_is_named_with_what_helps_and_nothing_hangs() {
    let server = server();
    let to = (server.address(), 443).into();
    for (manner, said) in [
        (Manner::Login(HEADER), "wants a login: put it into the URL"),
        (Manner::Windows, "wants NTLM or Negotiate, and bottle speaks only Basic to it"),
        (Manner::Refusing, "403"),
        (Manner::Mute, "broke off"),
    ] {
        let parent = ParentProxy::start(to, manner).unwrap();
        let config = format!("{CONFIG}[egress.parent]\nurl = \"{}\"\n", parent.url());
        let running = behind(&server, &config, &[]);
        let tunnel = running.guest(&format!("{FETCH}; echo $?"));
        assert!(tunnel.ends_with("56\n"), "{manner:?}: {tunnel}");
        let log = running.said(&["logs"]);
        assert!(log.contains(&format!("the parent proxy {}", &parent.url()[7..])), "{manner:?}: {log}");
        let refused =
            running.guest(&format!("{REFUSAL}; curl -sS -m 20 -w '%{{http_code}}' $API_URL/v1 2>&1"));
        assert!([&log, &refused].iter().any(|text| text.contains(said)), "{manner:?}: {log} {refused}");
        assert!(refused.ends_with("502"), "{manner:?}: {refused}");
    }
}

#[test]
fn a_parent_is_chosen_in_the_file_or_by_the_environment_or_not_at_all() {
    let server = server();
    let parent = ParentProxy::start((server.address(), 443).into(), Manner::Login(HEADER)).unwrap();
    let table =
        |keys: &str| format!("slug = \"t\"\n[egress]\nallow = [\"files.test\"]\n[egress.parent]\n{keys}\n");
    let with_login = table(&format!("url = \"{}\"\nlogin = {{ from_env = \"PROXY_LOGIN\" }}", parent.url()));
    let running =
        behind(&server, &with_login, &[("PROXY_LOGIN", LOGIN), ("HTTPS_PROXY", "http://127.0.0.1:9")]);
    assert_eq!(running.guest(FETCH), "got it\n");
    drop(running);
    project_with(&with_login)
        .bottle(&["up"])
        .assert()
        .code(69)
        .stderr(predicate::str::contains("the login of the parent proxy"));
    let none = behind(&server, &table("url = \"none\""), &[("HTTPS_PROXY", &parent.url_for(LOGIN))]);
    assert!(none.guest(&format!("{FETCH}; echo $?")).ends_with("56\n"));
    eventually("it is in the log", || none.said(&["logs"]).contains("files.test does not resolve"));
    drop(none);
    let odd = project_with("slug = \"t\"\n");
    for command in [&["up"][..], &["plan"], &["run", "--", "true"]] {
        let mut command = odd.bottle(command);
        let refused = command.env("HTTPS_PROXY", "socks5://ann:secret@127.0.0.1:9").assert().code(2);
        let wanted =
            predicate::str::contains("socks5://127.0.0.1:9").and(predicate::str::contains("url = \"none\""));
        refused.stderr(wanted.and(predicate::str::contains("secret").not()));
    }
}

#[test]
fn squid_and_tinyproxy_get_the_login_refuse_another_and_die_without_a_hang() {
    for kind in [Kind::Tinyproxy, Kind::Squid] {
        if !kind.is_here() {
            assert!(std::env::var_os("CI").is_none(), "{} is missing: harness/setup.sh proxies", kind.name());
            eprintln!("not tried with {}, which is not installed: harness/setup.sh proxies", kind.name());
            continue;
        }
        let (server, page) = (server(), Page::serve("a page\n").unwrap());
        let names = [("files.test", server.address()), ("plain.test", Ipv4Addr::LOCALHOST)];
        let mut parent = RealProxy::start(kind, &names, LOGIN.split_once(':')).unwrap();
        let config = CONFIG.replace("plain.test:80", &format!("plain.test:{}", page.port()));
        let url = parent.url_for(LOGIN);
        let running = behind(&server, &config, &[("HTTPS_PROXY", &url), ("HTTP_PROXY", &url)]);
        let plain = format!("curl -sS -m 20 http://plain.test:{}/ 2>&1", page.port());
        assert_eq!(running.guest(FETCH), "got it\n", "{kind:?}");
        assert_eq!(running.guest(&plain), "a page\n", "{kind:?}");
        assert!(running.guest("curl -sS -m 20 $API_URL/v1").contains("/echo/v1"), "{kind:?}");
        assert_eq!(server.requests().pop().unwrap()["headers"]["x-api-key"], "key-0123456789");

        // It dies while a tunnel is open.
        let drip = "curl -sS -N -m 60 -o /tmp/drops --cacert ca.pem https://files.test/drip; echo $?";
        let since = thread::scope(|scope| {
            let broken = scope.spawn(|| running.guest(drip));
            eventually("a tunnel", || running.guest("test -s /tmp/drops && echo open") == "open\n");
            parent.kill().unwrap();
            let since = Instant::now();
            assert!(["18\n", "56\n"].contains(&&*broken.join().unwrap()), "{kind:?}");
            since
        });
        assert!(since.elapsed() < Duration::from_secs(10), "{kind:?}: {:?}", since.elapsed());
        assert!(running.guest(&format!("{FETCH}; echo $?")).ends_with("56\n"), "{kind:?}");
        assert!(running.said(&["logs"]).contains(&format!("127.0.0.1:{}", parent.port())), "{kind:?}");
        parent.start_again().unwrap();
        assert_eq!(running.guest(FETCH), "got it\n", "{kind:?}");
        drop(running);

        let wrong = parent.url_for("ann:another");
        let running = behind(&server, &config, &[("HTTPS_PROXY", &wrong), ("HTTP_PROXY", &wrong)]);
        let upstream = "curl -sS -m 20 -w '%{http_code}' $API_URL/v1 2>&1";
        let refused = running.guest(&format!("{FETCH}; echo $?; {upstream}"));
        assert!(refused.contains("56\n") && refused.ends_with("502"), "{kind:?}: {refused}");
        let said = format!("{refused}{}", running.said(&["logs"]));
        assert!(said.contains("does not accept the login") && !said.contains("another"), "{kind:?}: {said}");
    }
}
