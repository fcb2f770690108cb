//! `bottle allow` and `bottle deny`: rules that change while a bottle runs.

use super::context::Context;
use crate::failure::{Failure, Kind, Outcome};
use crate::keeper::control::{self, Answer, Request};
use bottle_core::egress::HostRule;
use bottle_core::slug::Slug;

pub fn allow(context: &Context, slug: &Slug, host: &str) -> Outcome {
    let rule = parse(host)?;
    tell(context, slug, &Request::Allow { rule: rule.clone(), by: who() })?;
    context.progress(&format!("{slug} may reach {rule}"));
    Ok(())
}

pub fn deny(context: &Context, slug: &Slug, host: &str) -> Outcome {
    let rule = parse(host)?;
    tell(context, slug, &Request::Deny { rule: rule.clone(), by: who() })?;
    context.progress(&format!("{slug} may not reach {}", rule.pattern));
    Ok(())
}

fn parse(host: &str) -> Outcome<HostRule> {
    host.parse().map_err(|error| Failure::new(Kind::Usage, format!("HOST: {error}")))
}

fn tell(context: &Context, slug: &Slug, request: &Request) -> Outcome {
    match control::ask(&context.folder(Some(slug.clone()))?, request)? {
        Answer::Failed { why } => Err(Failure::new(Kind::Internal, why)),
        Answer::Done | Answer::Status(_) => Ok(()),
    }
}

/// Who changes a rule, for the log.
fn who() -> String {
    let name = std::env::var("SUDO_USER").or_else(|_| std::env::var("USER"));
    let id = rustix::process::getuid().as_raw();
    name.map_or_else(|_| format!("uid {id}"), |name| format!("{name} (uid {id})"))
}
