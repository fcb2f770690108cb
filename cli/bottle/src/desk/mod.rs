//! What a person sees and decides, whichever way: the functions below `inbox`, `allow`, `git`, `apply` and
//! `verify`, and the one interface over them that `bottle ui` and `bottle watch` use.

pub mod changes;
pub mod key;
pub mod logs;
pub mod overview;
pub mod project;
pub mod pushes;
pub mod requests;
pub mod resources;
pub mod rules;
pub mod verified;

use crate::suggest;
use bottle_core::slug::Slug;
use bottle_host::failure::{Failure, Outcome};
use bottle_host::state::{Folder, Home};
use bottle_ui::desk::{
    Answer, Apply, Changes, Compared, Desk, Log, Overview, Push, PushDecision, PushName, Rule, Scope,
    Verified,
};
use logs::Logs;
use overview::Glance;
use verified::Verifications;

/// The desk of the person who runs this command.
pub struct Operator {
    home: Home,
    glance: Glance,
    logs: Logs,
    verifications: Verifications,
}

impl Operator {
    /// Returns the desk for this user's bottles.
    ///
    /// # Errors
    /// Returns an error if there is no home folder to keep state in.
    pub fn new() -> Outcome<Self> {
        Ok(Self {
            home: Home::find()?,
            glance: Glance::default(),
            logs: Logs::default(),
            verifications: Verifications::default(),
        })
    }

    fn folder(&self, slug: &Slug) -> Outcome<Folder> {
        let folder = self.home.bottle(slug);
        if folder.exists() { Ok(folder) } else { Err(suggest::no_such(slug)) }
    }
}

impl Desk for Operator {
    fn overview(&self) -> Outcome<Overview> {
        self.glance.overview(&self.home)
    }

    fn log(&self, slug: &Slug, after: u64) -> Outcome<Log> {
        self.logs.log(&self.folder(slug)?, after)
    }

    fn answer(&self, answer: &Answer) -> Outcome<String> {
        let done = requests::answer(&self.folder(&answer.bottle)?, answer)?;
        self.glance.forget();
        Ok(done)
    }

    fn rule(&self, rule: &Rule) -> Outcome<String> {
        let folder = self.folder(&rule.bottle)?;
        match rule.scope {
            Scope::Bottle => rules::allow(&folder, rules::narrow(&rule.host)?),
            Scope::Not => rules::deny(&folder, rules::parse(&rule.host)?.pattern),
            Scope::Project => {
                let opened = rules::narrow(&rule.host)?;
                let written = project::allow(&self.home, &folder, &opened)?;
                Ok(format!("{}; {written}", rules::allow(&folder, opened)?))
            }
        }
    }

    fn pushes(&self, slug: &Slug) -> Outcome<Vec<Push>> {
        pushes::list(&self.folder(slug)?)
    }

    fn push(&self, name: &PushName) -> Outcome<Compared> {
        pushes::compare(&self.folder(&name.bottle)?, name)
    }

    fn decide(&self, decision: &PushDecision) -> Outcome<String> {
        let done = pushes::decide(&self.folder(&decision.bottle)?, decision)?;
        self.glance.forget();
        Ok(done)
    }

    fn changes(&self, slug: &Slug) -> Outcome<Changes> {
        changes::list(&self.folder(slug)?)
    }

    fn apply(&self, apply: &Apply) -> Outcome<String> {
        changes::apply(&self.home, &self.folder(&apply.bottle)?, &apply.picked)
    }

    fn verify(&self, slug: &Slug) -> Outcome {
        let folder = self.folder(slug)?;
        if !folder.has_keeper() {
            return Err(not_running(slug));
        }
        self.verifications.begin(folder)
    }

    fn verified(&self, slug: &Slug) -> Verified {
        self.verifications.of(slug)
    }
}

/// Makes the failure of something that needs a bottle that is up.
fn not_running(slug: &Slug) -> Failure {
    Failure::new(bottle_host::failure::Kind::NoBottle, format!("bottle {slug} is not running"))
        .help(format!("start it with `bottle up {slug}`"))
}
