//! Agents in one word: what a setup may reach, and a real agent's way from the command line to a changed file.

use bottle_harness::agents;
use bottle_harness::environment::Guest;
use bottle_harness::page::Page;
use bottle_tests::{ProjectExt, RunningBottleExt, checkout, up};

#[test]
fn a_setup_reaches_its_hosts_and_nobody_does_afterwards() {
    let page = Page::serve("the page").unwrap();
    let port = page.port();
    let running = up(&format!(
        "slug = \"t\"\n[workspace]\nmode = \"none\"\n\
         [guest]\nsetup = [\"curl -sSf http://page.test:{port}/ > /var/tmp/page\"]\nsetup-allow = [\"page.test:{port}\"]\n\
         [egress]\nhosts = {{ \"page.test\" = \"127.0.0.1\" }}\nallow_private = [\"page.test\"]\n"
    ));
    assert_eq!(running.guest("cat /var/tmp/page"), "the page");
    let refused = format!("curl -sS -o /dev/null -w '%{{http_code}}' http://page.test:{port}/");
    assert_eq!(running.guest(&refused), "403");
    let log = running.said(&["logs"]);
    let at = |word: &str| log.find(word).unwrap_or_else(|| panic!("no {word}: {log}"));
    assert!(at("lent") < at("taken-back") && at("taken-back") < at("refused"), "{log}");
}

#[test]
fn a_real_agent_changes_a_file_with_a_key_that_its_guest_never_has() {
    let codex = agents::AGENTS.iter().find(|agent| agent.name == "codex").unwrap();
    agents::run(&checkout(), codex, Guest::Namespace).unwrap();
}
