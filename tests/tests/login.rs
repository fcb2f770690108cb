//! Subscriptions in place of keys, and keys that end. The token service and the API are a stand-in that speaks TLS; the
//! vendors' real ones were not tried.

use bottle_harness::https_server::HttpsServer;
use bottle_harness::parent_proxy::{Manner, ParentProxy};
use bottle_tests::{Project, ProjectExt, RunningBottle, RunningBottleExt, eventually, project_with, up_with};
use predicates::prelude::PredicateBooleanExt;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// The names that the vendors' programs ask.
const NAMES: [&str; 4] = ["console.anthropic.com", "api.anthropic.com", "auth.openai.com", "chatgpt.com"];

struct Vendors {
    server: HttpsServer,
    parent: ParentProxy,
}

impl Vendors {
    fn new() -> Self {
        let server = HttpsServer::run(include_str!("../../harness/src/token_service.py"), &NAMES).unwrap();
        // Names like theirs lead to the stand-in.
        let parent = ParentProxy::start((server.address(), 443).into(), Manner::Open).unwrap();
        Self { server, parent }
    }

    fn up(&self, project: Project) -> RunningBottle {
        let authority = self.server.authority().display().to_string();
        up_with(project, &[("SSL_CERT_FILE", &authority), ("HTTPS_PROXY", &self.parent.url())])
    }

    /// The requests for a path so far.
    fn seen(&self, path: &str) -> Vec<Value> {
        self.server
            .requests()
            .into_iter()
            .filter(|seen| seen["path"].as_str().unwrap().ends_with(path))
            .collect()
    }
}

fn kept(project: &Project, login: &str) -> Value {
    let path = project.on_host(&format!("state/.logins/{login}.json"));
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap()
}

#[test]
fn a_subscription_is_copied_by_consent_renewed_on_the_host_and_never_in_the_guest() {
    let vendors = Vendors::new();
    let project =
        project_with("slug = \"t\"\n[workspace]\nmode = \"none\"\n[[upstream]]\npreset = \"claude\"\n");
    let folder = project.on_host("vendor");
    fs::create_dir(&folder).unwrap();
    let login = |words: &[&str]| {
        let mut login = project.bottle(&[&["login", "claude"], words].concat());
        login.env("CLAUDE_CONFIG_DIR", &folder);
        login
    };
    login(&["--yes"])
        .assert()
        .code(69)
        .stderr(contains("it is not there").and(contains("claude auth login")));
    project.bottle(&["up"]).assert().code(69).stderr(contains("`bottle login claude`"));
    // It has ended long ago.
    let file = folder.join(".credentials.json");
    let text = r#"{"claudeAiOauth":{"accessToken":"access-token-0000","refreshToken":"refresh-token-0000","expiresAt":1000}}"#;
    fs::write(&file, text).unwrap();
    login(&[]).assert().code(1).stderr(contains("which only you can read").and(contains("nobody to ask")));
    assert!(!project.on_host("state/.logins/claude.json").exists());
    let said = login(&["--yes"]).assert().success();
    assert!(!String::from_utf8_lossy(&said.get_output().stderr).contains("token-0000"));
    assert_eq!(kept(&project, "claude")["refresh_token"], "refresh-token-0000");

    let running = vendors.up(project);
    let asked = vendors.seen("/v1/oauth/token");
    let body: Value = serde_json::from_str(asked[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(
        (asked.len(), &body["grant_type"], &body["refresh_token"]),
        (1, &"refresh_token".into(), &"refresh-token-0000".into())
    );
    let ask = |path: &str, body: &str| {
        running.guest(&format!("curl -sS -m 60 $ANTHROPIC_BASE_URL{path} -d '{body}' -H 'anthropic-beta: theirs' -H 'authorization: Bearer placeholder' -w ' %{{http_code}}'"))
    };
    assert_eq!(ask("/v1/messages", "hello"), "{\"said\": \"hello\"} 200");
    let headers = &vendors.seen("/v1/messages")[0]["headers"];
    assert_eq!(headers["authorization"], "Bearer access-token-0001");
    assert_eq!(
        (&headers["anthropic-beta"], &headers["x-api-key"]),
        (&"theirs,oauth-2025-04-20".into(), &Value::Null)
    );

    // A token that the origin refuses is renewed once, and the request is made again.
    assert!(ask("/revoke", "").ends_with(" 200"));
    assert_eq!(ask("/v1/messages", "again"), "{\"said\": \"again\"} 200");
    let statuses: Vec<Value> =
        vendors.seen("/v1/messages").iter().map(|seen| seen["status"].clone()).collect();
    assert_eq!(statuses, [200, 401, 200]);
    assert_eq!(vendors.seen("/v1/oauth/token").len(), 2);
    assert_eq!(kept(&running, "claude")["access_token"], "access-token-0002");
    assert_eq!(fs::read_to_string(&file).unwrap(), text, "the vendor's own file stays as it is");

    // Another bottle uses the same login, and does not renew it again.
    let other = running.environment().project("other").unwrap();
    other.put(
        "bottle.toml",
        "slug = \"u\"\n[workspace]\nmode = \"none\"\n[[upstream]]\npreset = \"claude\"\n",
    );
    let other = vendors.up(other);
    assert!(other.guest("curl -sS -m 60 $ANTHROPIC_BASE_URL/v1/messages -d x").contains("said"));
    assert_eq!(vendors.seen("/v1/oauth/token").len(), 2);
    // It renews it, and the first one finds the new one.
    other.guest(
        "curl -sS -m 60 $ANTHROPIC_BASE_URL/revoke; curl -sS -m 60 $ANTHROPIC_BASE_URL/v1/messages -d x",
    );
    assert_eq!(ask("/v1/messages", "third"), "{\"said\": \"third\"} 200");
    assert_eq!(vendors.seen("/v1/oauth/token").len(), 3);

    // A login that has ended is a 401, and a line in the log.
    ask("/forget", "");
    assert!(ask("/v1/messages", "late").ends_with(" 401"));
    eventually("it is said", || {
        let log = fs::read_to_string(running.on_host("state/t/keeper.log")).unwrap_or_default();
        log.contains("does not renew the login")
            && log.contains("invalid_grant")
            && !log.contains("token-000")
    });
    let told = [running.said(&["audit"]), running.guest("env; cat /proc/*/environ 2>/dev/null")].concat();
    assert!(told.contains("/v1/messages") && !told.contains("token-000"), "{told}");
    running.bottle(&["login", "claude", "--remove"]).assert().success();
    assert!(!running.on_host("state/.logins/claude.json").exists());
}

#[test]
fn codex_has_its_account_and_a_command_is_run_again_when_its_output_ends() {
    let vendors = Vendors::new();
    let project = project_with(
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n[[upstream]]\npreset = \"codex\"\n\
         [[upstream]]\npath = \"/command\"\norigin = \"https://api.anthropic.com\"\nenv = { COMMAND_URL = \"\" }\n\
         headers = { authorization = { from_command = [\"sh\", \"count.sh\"], prefix = \"Bearer \", lifetime = 1 } }\n",
    );
    let (folder, count) = (project.on_host("vendor"), project.on_host("count"));
    fs::create_dir(&folder).unwrap();
    project.put("count.sh", &format!("echo x >> {0}; printf 'command-%04d' $(wc -l < {0})", count.display()));
    // A token of a form that says when it ends, which is in 2001.
    fs::write(
        folder.join("auth.json"),
        r#"{"tokens":{"access_token":"h.eyJleHAiOjEwMDAwMDAwMDB9.s","refresh_token":"refresh-token-0000","account_id":"account-1"}}"#,
    )
    .unwrap();
    project.bottle(&["-q", "login", "codex", "--yes"]).env("CODEX_HOME", &folder).assert().success();
    let running = vendors.up(project);
    assert!(running.guest("curl -sS -m 60 $OPENAI_BASE_URL/responses -d hello").contains("hello"));
    let seen = &vendors.seen("/backend-api/codex/responses")[0]["headers"];
    assert_eq!(
        (&seen["authorization"], &seen["chatgpt-account-id"]),
        (&"Bearer access-token-0001".into(), &"account-1".into())
    );
    let body: Value =
        serde_json::from_str(vendors.seen("/oauth/token")[0]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["scope"], "openid profile email");

    // The API refuses this key, so the command is run once more for each request.
    let ask = || running.guest("curl -sS -m 60 -o /dev/null -w '%{http_code}' $COMMAND_URL/x");
    assert_eq!(ask(), "401");
    let keys: Vec<Value> =
        vendors.seen("/x").iter().map(|seen| seen["headers"]["authorization"].clone()).collect();
    assert_eq!(keys.len(), 2, "{keys:?}");
    assert_ne!(keys[0], keys[1]);
    // And again after its time, without a refusal.
    let runs = || fs::read_to_string(&count).unwrap().lines().count();
    let before = runs();
    eventually("the key has ended", || {
        ask();
        runs() > before + 1
    });
    project_with("[[upstream]]\npath = \"/a\"\norigin = \"https://a.test\"\nheaders = { x-key = { from_env = \"A\", lifetime = 5 } }\n")
        .bottle(&["plan"])
        .assert()
        .code(2)
        .stderr(contains("only a secret with from_command has a lifetime"));
}
