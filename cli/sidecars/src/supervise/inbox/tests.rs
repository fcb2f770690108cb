//! Tests of who gets a decision, and when.

use super::*;
use std::sync::Arc;

fn question(text: &str) -> AgentRequest {
    AgentRequest::Question { question: text.to_owned() }
}

fn host(reason: &str) -> AgentRequest {
    AgentRequest::Host { rule: "a.test".parse().unwrap(), reason: reason.to_owned() }
}

fn empty() -> Inbox {
    Inbox::new(Numbers::forgotten(), |_| ())
}

fn on_a_paused_clock(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().start_paused(true).build().unwrap().block_on(test);
}

/// Returns what a call got.
fn got(reply: Result<Reply, Refused>) -> Result<Option<Decision>, Refused> {
    reply.map(|reply| reply.decision)
}

const YES: Decision = Decision { approved: true, says: None };

#[test]
fn every_call_for_the_same_host_gets_the_decision() {
    on_a_paused_clock(async {
        let inbox = Arc::new(empty());
        let call = |reason: &'static str| {
            let inbox = Arc::clone(&inbox);
            tokio::spawn(async move { inbox.ask(host(reason), Duration::from_secs(60)).await })
        };
        let (first, second) = (call("one"), call("in other words"));
        tokio::time::sleep(Duration::from_secs(1)).await;
        let waiting = inbox.waiting();
        assert_eq!((waiting.len(), waiting[0].number, waiting[0].callers), (1, 1, 2));
        assert!(inbox.decide(1, YES) && !inbox.decide(1, YES));
        assert_eq!((got(first.await.unwrap()), got(second.await.unwrap())), (Ok(Some(YES)), Ok(Some(YES))));
        assert!(inbox.waiting().is_empty());
    });
}

#[test]
fn a_call_that_did_not_wait_gets_the_decision_when_it_asks_again() {
    on_a_paused_clock(async {
        let inbox = empty();
        assert_eq!(got(inbox.ask(question("?"), Duration::from_secs(5)).await), Ok(None));
        assert_eq!(inbox.waiting().len(), 1);
        let no = Decision { approved: false, says: Some("because".to_owned()) };
        assert!(inbox.decide(1, no.clone()));
        assert_eq!(got(inbox.ask(question("other"), Duration::ZERO).await), Ok(None));
        tokio::time::sleep(10 * GIVEN_AGAIN).await;
        assert_eq!(got(inbox.ask(question("?"), Duration::ZERO).await), Ok(Some(no.clone())));
        // A decision that was lost on its way is given again. Much later, the request counts as new.
        tokio::time::sleep(GIVEN_AGAIN).await;
        assert_eq!(got(inbox.ask(question("?"), Duration::ZERO).await), Ok(Some(no)));
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert_eq!(got(inbox.ask(question("?"), Duration::ZERO).await), Ok(None));
        assert_eq!(inbox.waiting().last().unwrap().number, 3);
    });
}

#[test]
fn a_decision_for_an_aborted_call_is_not_lost() {
    on_a_paused_clock(async {
        let inbox = Arc::new(empty());
        let asking = Arc::clone(&inbox);
        // The call keeps waiting although nobody listens to it any more.
        let call = tokio::spawn(async move { asking.ask(host("x"), Duration::from_secs(300)).await });
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(inbox.decide(1, YES));
        call.abort();
        assert_eq!(got(inbox.ask(host("again"), Duration::ZERO).await), Ok(Some(YES)));
        // A later rule overrides an earlier decision.
        inbox.forget(|rule| rule.pattern == "a.test".parse().unwrap());
        assert_eq!(got(inbox.ask(host("again"), Duration::ZERO).await), Ok(None));
    });
}

#[test]
fn a_call_goes_on_waiting_by_the_number_that_it_was_given() {
    on_a_paused_clock(async {
        let inbox = empty();
        let number = inbox.ask(question("?"), Duration::ZERO).await.unwrap().number;
        let pending = Reply { number, decision: None };
        assert_eq!(inbox.resume(number, Duration::from_secs(1)).await, Ok(pending));
        assert_eq!(inbox.resume(number + 1, Duration::ZERO).await, Err(Refused::Unknown(number + 1)));
        assert!(inbox.decide(number, YES));
        let decided = Reply { number, decision: Some(YES) };
        assert_eq!(inbox.resume(number, Duration::ZERO).await, Ok(decided.clone()));
        assert_eq!(inbox.ask(question("?"), Duration::ZERO).await, Ok(decided));
        tokio::time::sleep(2 * GIVEN_AGAIN).await;
        assert_eq!(inbox.resume(number, Duration::ZERO).await, Err(Refused::Unknown(number)));
    });
}

#[test]
fn the_number_of_waiting_requests_is_limited() {
    on_a_paused_clock(async {
        let inbox = empty();
        for number in 0..MAX_WAITING {
            assert_eq!(got(inbox.ask(question(&number.to_string()), Duration::ZERO).await), Ok(None));
        }
        assert_eq!(got(inbox.ask(question("more"), Duration::ZERO).await), Err(Refused::Full));
        assert_eq!(got(inbox.ask(question("3"), Duration::ZERO).await), Ok(None));
    });
}

#[test]
fn a_number_is_used_once_even_if_the_keeper_restarts() {
    on_a_paused_clock(async {
        let dir = tempfile::tempdir().unwrap();
        let home = bottle_host::state::Home::at(dir.path().join("state"), dir.path().join("run"));
        let folder = home.bottle(&"t".parse().unwrap());
        fs::create_dir_all(folder.logs()).unwrap();
        for number in 1..4 {
            let inbox = Inbox::new(Numbers::of(&folder).unwrap(), |_| ());
            assert_eq!(got(inbox.ask(question("?"), Duration::ZERO).await), Ok(None));
            assert_eq!(inbox.waiting()[0].number, number);
        }
        // A number that cannot be saved is not used.
        let inbox = Inbox::new(Numbers::of(&folder).unwrap(), |_| ());
        bottle_host::state::remove_dir(folder.state()).unwrap();
        assert!(matches!(inbox.ask(question("?"), Duration::ZERO).await, Err(Refused::Unwritten(_))));
        assert!(inbox.waiting().is_empty());
    });
}
