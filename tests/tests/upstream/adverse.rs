//! Guests that push keys out of sight, leave in the middle of a renewal or never stop sending, and origins that answer
//! before they have read.

use super::KEY;
use bottle_harness::https_server::HttpsServer;
use bottle_tests::{
    ProjectExt, RunningBottle, RunningBottleExt, children, command_line, eventually, project_with, up_with,
};
use std::collections::BTreeSet;
use std::fs;

/// How many headers of an upstream are renewed together.
const HEADERS: usize = 20;

fn origin() -> HttpsServer {
    HttpsServer::run(include_str!("origin.py"), &["api.test"]).unwrap()
}

/// Brings up a bottle with one upstream whose key stays, and another whose keys are renewed. Each renewal finds other ones.
fn up(server: &HttpsServer, limits: &str, renewed: &[&str]) -> RunningBottle {
    let headers: Vec<String> = renewed
        .iter()
        .map(|name| format!("{name} = {{ from_command = [\"sh\", \"token.sh\"], lifetime = 3600 }}"))
        .collect();
    let project = project_with(&format!(
        "slug = \"t\"\n[egress]\nhosts = {{ \"api.test\" = \"{}\" }}\n{limits}\n\
         [[upstream]]\npath = \"/static\"\norigin = \"https://api.test\"\nheaders = {{ x-api-key = {{ from_env = \"TEST_KEY\" }} }}\n\
         env = {{ STATIC_URL = \"\" }}\n\
         [[upstream]]\npath = \"/renewed\"\norigin = \"https://api.test\"\nenv = {{ RENEWED_URL = \"\" }}\nheaders = {{ {} }}\n",
        server.address(),
        headers.join(", "),
    ));
    let (calls, slow) = (project.on_host("calls").display().to_string(), project.on_host("slow"));
    let slow = slow.display();
    project.put(
        "token.sh",
        &format!("echo x >> {calls}\nnumber=$(wc -l < {calls})\nif test -e {slow}; then sleep 3; fi\nprintf 'token-%04d' $number\n"),
    );
    project.put("upload.py", UPLOAD);
    let authority = server.authority().display().to_string();
    up_with(project, &[("TEST_KEY", KEY), ("SSL_CERT_FILE", &authority)])
}

fn code(running: &RunningBottle, words: &str) -> String {
    running.guest(&format!("curl -sS -m 20 -o /dev/null -w '%{{http_code}}' {words}"))
}

#[test]
fn keys_in_use_are_looked_for_however_many_others_are_renewed() {
    let server = origin();
    let names: Vec<String> = (0..HEADERS).map(|number| format!("x-key-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let running = up(&server, "", &names);
    let mirrored = |path: &str| {
        let said = running.guest(&format!("curl -sS -m 20 {path}/mirror 2>&1"));
        assert!(said.contains("curl: (") || said.contains("broke off"), "{said}");
        said
    };
    assert_eq!(code(&running, "$STATIC_URL/x"), "200");
    assert!(!mirrored("$STATIC_URL").contains(KEY));
    for _ in 0..5 {
        assert_eq!(code(&running, "$RENEWED_URL/refused"), "401");
    }
    let seen: BTreeSet<String> = server
        .requests()
        .iter()
        .flat_map(|seen| names.iter().map(|name| seen["headers"][*name].to_string()))
        .collect();
    // More than were remembered for all upstreams together. The guest cannot have as many as it likes at once.
    assert!((80..=1 + 7 * HEADERS).contains(&seen.len()), "{}", seen.len());
    assert!(!mirrored("$STATIC_URL").contains(KEY));
    assert!(!mirrored("$RENEWED_URL").contains("token-"));
    assert_eq!(code(&running, "$STATIC_URL/x"), "200");
    // A refusal on a connection that closes is the guest's, with its text, and so are many headers.
    assert_eq!(running.guest("curl -sS -m 20 -w '%{http_code}' $RENEWED_URL/closing"), "no\n401");
    assert_eq!(code(&running, "$STATIC_URL/many"), "200");
}

/// The next client finds what was renewed meanwhile.
#[test]
fn a_client_that_leaves_in_the_middle_of_a_renewal_does_not_end_renewals() {
    let server = origin();
    let running = up(&server, "", &["authorization"]);
    assert_eq!(code(&running, "$RENEWED_URL/x"), "200");
    let slow = running.on_host("slow");
    fs::write(&slow, "").unwrap();
    assert_eq!(running.guest("curl -sS -m 1 -o /dev/null $RENEWED_URL/first; echo $?"), "28\n");
    let renewed = fs::read_to_string(running.on_host("calls")).unwrap().lines().count();
    assert_eq!(renewed, 2, "the client left before the command ran");
    fs::remove_file(&slow).unwrap();
    assert_eq!(code(&running, "$RENEWED_URL/first"), "200");
    let seen = server.requests().pop().unwrap();
    assert_eq!(seen["headers"]["authorization"], "token-0002");
}

/// A client that writes all of its body before it reads an answer.
const UPLOAD: &str = r#"
import os, socket, sys, urllib.parse
url = urllib.parse.urlparse(os.environ[sys.argv[1]])
ends = {}
for _ in range(int(sys.argv[2])):
    to = socket.create_connection((url.hostname, url.port))
    to.settimeout(8)
    try:
        to.sendall(f"POST {url.path}/early HTTP/1.1\r\nhost: x\r\ncontent-length: 50000000\r\n\r\n".encode())
        for _ in range(50): to.sendall(bytes(1000000))
        end = "sent"
    except TimeoutError: end = "stuck"
    except OSError: end = "ended"
    ends[end] = ends.get(end, 0) + 1
    to.close()
print(ends)
"#;

#[test]
fn an_origin_that_answers_early_ends_the_upload_and_costs_no_connection() {
    let server = origin();
    let running = up(&server, "[egress.limits]\nconnections = 10\n", &["authorization"]);
    assert_eq!(code(&running, "$STATIC_URL/x"), "200");
    let keeper = running.keeper();
    let holder = children(keeper).into_iter().find(|pid| command_line(*pid).contains(" keys ")).unwrap();
    let open = |pid: u64| fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
    let before = (open(keeper), open(holder));
    for path in ["STATIC_URL", "RENEWED_URL"] {
        assert_eq!(
            running.guest(&format!("timeout 50 python3 upload.py {path} 20")),
            "{'ended': 20}\n",
            "{path}"
        );
    }
    let early = server.requests().iter().filter(|seen| seen["path"] == "/early").count();
    assert_eq!(early, 40);
    assert_eq!(code(&running, "$STATIC_URL/x"), "200");
    eventually("the connections are closed", || open(keeper) <= before.0 + 6 && open(holder) <= before.1 + 6);
}
