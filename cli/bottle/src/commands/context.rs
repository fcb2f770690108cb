//! What every subcommand starts from.

use crate::agent;
use crate::args::{Args, Command};
use crate::config::found::shown;
use crate::config::{self, Config, Found};
use crate::operator::who;
use crate::owner;
use crate::progress::{Steps, Voice};
use crate::suggest;
use crate::trust::seen::Seen;
use crate::trust::{self, Answer, Standing};
use bottle_core::egress::HostRule;
use bottle_core::slug::Slug;
use bottle_host::audit;
use bottle_host::defence::Defence;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::provenance::walk::walk;
use bottle_host::state::{Folder, Home, private_dir};
use bottle_sidecars::keys::login::place;
use serde_json::json;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// The global options.
#[derive(Clone)]
pub struct Context {
    config: Option<PathBuf>,
    quiet: bool,
    verbose: bool,
    /// Whether a person insists on sharing sensitive folders with a guest.
    pub insisted: bool,
    /// Whether a person said that the project was moved.
    pub moved: bool,
    /// The agent that a person named.
    agent: Option<AgentChoice>,
}

/// An agent that a person named on the command line.
#[derive(Clone, Debug)]
pub struct AgentChoice {
    /// The name of its profile.
    pub name: Slug,
    /// Hosts that may be reached while it is installed.
    pub setup_allow: Vec<HostRule>,
    /// Whether they named a bottle for it, too. It need not be that of the file's agent then.
    pub has_bottle: bool,
}

/// The configuration that applies in a folder, not parsed yet.
struct Applying {
    /// The current folder.
    here: PathBuf,
    /// The accepted configuration that applied here, if it has disappeared.
    gone: Option<Seen>,
    /// The file that applies now, if there is one.
    found: Option<Found>,
}

impl Applying {
    /// Returns whether this bottle can be the one of the project here. It spares most commands that name a
    /// bottle of another project from judging and parsing the configuration.
    fn may_name(&self, home: &Home, slug: &Slug) -> bool {
        let Some(found) = self.found.as_ref().filter(|_| self.gone.is_none()) else { return true };
        let folder = found.path.parent().and_then(Path::file_name);
        let by_folder = folder.and_then(OsStr::to_str).and_then(Slug::from_name);
        // A backslash could spell the name in another way. A file that has changed means what it meant before.
        by_folder.as_ref() == Some(slug)
            || found.text.contains(slug.as_str())
            || found.text.contains('\\')
            || !matches!(Seen::find(home, &found.path, found.folder), Ok(None))
    }
}

impl Context {
    pub fn new(args: &Args) -> Self {
        Self {
            config: args.config.clone(),
            quiet: args.quiet,
            verbose: args.verbose,
            insisted: args.i_know,
            moved: matches!(args.command, Command::Up { moved: true, .. }),
            agent: match &args.command {
                Command::Up { agent: Some(name), slug, .. } => {
                    let has_bottle = slug.is_some();
                    Some(AgentChoice { name: name.clone(), setup_allow: Vec::new(), has_bottle })
                }
                _ => None,
            },
        }
    }

    /// Returns the same for a command that runs this agent.
    pub fn for_agent(&self, agent: AgentChoice) -> Self {
        Self { agent: Some(agent), ..self.clone() }
    }

    /// Returns the current folder.
    pub fn here() -> Outcome<PathBuf> {
        let here = std::env::current_dir()
            .map_err(|error| Failure::new(Kind::Internal, format!("the current folder: {error}")))?;
        // A shell keeps the name by which a person entered the folder, and a guest may have made a link of
        // that name.
        let named = std::env::var_os("PWD").map(PathBuf::from).filter(|named| named.is_absolute());
        if let Some(walked) = named.and_then(|named| walk(&named).ok())
            && walked.real == here
            && let Ok(home) = Home::find()
        {
            trust::entered(&home, &walked)?;
        }
        Ok(here)
    }

    /// Returns the configuration that applies here.
    pub fn config(&self) -> Outcome<Config> {
        let config = config::find(self.config.as_deref(), &Self::here()?, self.insisted)?;
        config.defaults.as_ref().map_or(Ok(()), trust::own)?;
        Ok(config)
    }

    /// Returns the chosen bottle with its configuration, which need not be trusted.
    pub fn configured(&self, named: Option<Slug>) -> Outcome<(Slug, Config)> {
        self.configured_as(self.config()?, named, |slug| slug)
    }

    /// Returns the bottle of a configuration, under the name that `name` makes of the chosen one.
    pub fn configured_as(
        &self,
        mut config: Config,
        named: Option<Slug>,
        name: impl FnOnce(Slug) -> Slug,
    ) -> Outcome<(Slug, Config)> {
        let slug = name(config.slug(named, &Self::here()?)?);
        let home = Home::find()?;
        self.equip(&mut config, &home.bottle(&slug))?;
        // A person is asked about a file that a guest could have written, whatever name it contains.
        let standing = config.file.as_ref().map(|found| trust::standing(&home, found)).transpose()?;
        if !matches!(standing, Some(Standing::Unseen(_))) {
            self.owned(&home, &home.bottle(&slug), &Self::project(&config)?)?;
        }
        Ok((slug, config))
    }

    /// Makes a configuration one for the agent that was named: on the command line, in the file, or when the bottle
    /// was made.
    fn equip(&self, config: &mut Config, folder: &Folder) -> Outcome {
        let chosen = self.agent.as_ref().map(|agent| agent.name.clone());
        let in_file = config.agent.take().map(|agent| agent.name);
        let before = folder.read_plan().ok().and_then(|plan| plan.agent);
        // A bottle beside the file's own stays the one of the agent that it was made for.
        let is_beside = config.slug(None, &Self::here()?).is_ok_and(|own| own != *folder.slug());
        let is_named = self.agent.as_ref().is_some_and(|agent| agent.has_bottle);
        let is_own = is_named || (is_beside && before.is_some());
        let in_file = in_file.filter(|_| !is_own);
        let differs = |of: &str, other: &Slug| {
            let name = chosen.as_ref().map_or("", Slug::as_str);
            let slug = folder.slug();
            Failure::new(Kind::Usage, format!("{of} is for the agent {other}, not for {name}"))
                .help(format!("give it a bottle of its own: `bottle agent {name} --bottle {slug}-{name}`"))
        };
        let found = chosen.as_ref().map(agent::find).transpose()?;
        let name = match (&chosen, &in_file, &before) {
            (Some(chosen), Some(other), _) if chosen != other => return Err(differs("bottle.toml", other)),
            (Some(chosen), None, Some(other)) if chosen != other && folder.machine_smolfile().exists() => {
                return Err(differs(&format!("the bottle {}", folder.slug()), other));
            }
            _ => chosen.or(in_file).or(before),
        };
        let Some(name) = name else { return Ok(()) };
        let profile = found.map_or_else(|| agent::find(&name), Ok)?;
        if config.file.is_none() {
            // An agent works on the folder that it was started in. A file that says nothing means the same.
            let here = config::empty(&Self::here()?, self.insisted)?;
            *config = Config { passed: std::mem::take(&mut config.passed), ..here };
        }
        let home = Home::find()?;
        agent::apply(config, name, profile, &|login| place(&home, login).exists())?;
        let more = self.agent.iter().flat_map(|agent| &agent.setup_allow);
        config.setup_lent.extend(more.cloned());
        Ok(())
    }

    /// Returns the configuration that applies here. Without a file, it is that of a file that says nothing.
    pub fn config_of_project(&self) -> Outcome<Config> {
        let config = self.config()?;
        if config.file.is_some() {
            return Ok(config);
        }
        Ok(Config { passed: config.passed, ..config::empty(&Self::here()?, self.insisted)? })
    }

    /// Returns the project of a configuration: the folder of its file, or the current folder.
    pub fn project(config: &Config) -> Outcome<PathBuf> {
        config.project.clone().map_or_else(Self::here, Ok)
    }

    /// Lets a command go on if the bottle belongs to this project.
    pub fn owned(&self, home: &Home, folder: &Folder, project: &Path) -> Outcome {
        owner::check(home, folder, project, &|question| {
            self.moved || (out::is_asked() && out::confirmed(question))
        })
    }

    /// The folder of the bottle that is meant, for a command that needs no configuration if it is
    /// given a name. A configuration that nobody accepted names none: the one before it does.
    pub fn folder(&self, named: Option<Slug>) -> Outcome<Folder> {
        let home = Home::find()?;
        if !Defence::ConfigProvenance.stands() {
            return Ok(home.bottle(&named.map_or_else(|| Ok(self.configured(None)?.0), Ok::<_, Failure>)?));
        }
        let (slug, project) = match named {
            None => self.meant(&home, self.search(&home)?)?,
            // A person who names a bottle means that one, unless the project here has the same name.
            Some(named) => {
                let here = self.search(&home).ok().filter(|here| here.may_name(&home, &named));
                match here.and_then(|here| self.meant(&home, here).ok()) {
                    Some((slug, project)) if slug == named => (slug, project),
                    _ => return Ok(home.bottle(&named)),
                }
            }
        };
        let folder = home.bottle(&slug);
        self.owned(&home, &folder, &project)?;
        Ok(folder)
    }

    /// Looks for the configuration that applies here, and does not parse it.
    fn search(&self, home: &Home) -> Outcome<Applying> {
        let here = Self::here()?;
        let search = Found::search(self.config.as_deref(), &here)?;
        Ok(Applying { gone: trust::gone(home, &search.passed)?, found: search.found, here })
    }

    /// Returns the bottle that a trusted configuration names, and its project.
    fn meant(&self, home: &Home, applying: Applying) -> Outcome<(Slug, PathBuf)> {
        let here = applying.here;
        if let Some(seen) = applying.gone {
            return Ok((seen.slug()?, seen.path.parent().unwrap_or(&here).to_owned()));
        }
        let Some(found) = applying.found else { return Ok((Config::default().slug(None, &here)?, here)) };
        let slug = match trust::standing(home, &found)? {
            Standing::Untouched | Standing::Accepted => {
                config::parse_found(&found, self.config.as_deref(), self.insisted)?.slug(None, &here)
            }
            Standing::Unseen(Some(before)) => before.slug(),
            Standing::Unseen(None) => Err(Failure::new(
                Kind::Usage,
                format!("{} is where a guest could write, and nobody has accepted it", shown(&found.path)),
            )
            .help("name the bottle: `bottle ls` lists them")),
        };
        Ok((slug?, found.path.parent().unwrap_or(&here).to_owned()))
    }

    /// Returns the folder of the chosen bottle, which has to be up.
    pub fn running(&self, named: Option<Slug>) -> Outcome<Folder> {
        let folder = self.folder(named)?;
        if folder.has_keeper() {
            return Ok(folder);
        }
        let slug = folder.slug();
        if !folder.exists() && suggest::similar(slug).is_some() {
            return Err(suggest::no_such(slug));
        }
        Err(Failure::new(Kind::NoBottle, format!("bottle {slug} is not running"))
            .help(format!("start it with `bottle up {slug}`")))
    }

    /// Lets a configuration through that a guest cannot have changed, or that a person accepts. `command` is
    /// what they would type to accept it. Their answer goes into the bottle's log.
    pub fn trust(&self, folder: &Folder, config: &Config, option: Option<&str>, command: &str) -> Outcome {
        let ask = |shown: &str| out::is_asked() && out::confirmed(&format!("{shown}\nUse it?"));
        for accepted in trust::check(&Home::find()?, config, Answer::of(option, &ask), command)? {
            private_dir(&folder.logs())?;
            let details = json!({ "file": accepted.path, "digest": accepted.digest, "by": who() });
            audit::decided(folder, "trust", "accepted", details)?;
        }
        Ok(())
    }

    /// Notes that bottle would ask about a configuration before it uses it.
    pub fn note_trust(&self, home: &Home, config: &Config) -> Outcome {
        if !Defence::ConfigProvenance.stands() {
            return Ok(());
        }
        if let Some(seen) = trust::gone(home, &config.passed)? {
            out::note(format_args!(
                "{} has disappeared, and was accepted; `bottle up` asks",
                shown(&seen.path)
            ));
        }
        if let Some(found) = &config.file
            && let Standing::Unseen(_) = trust::standing(home, found)?
        {
            out::note(format_args!("{} is not trusted yet; `bottle up` asks", shown(&found.path)));
        }
        Ok(())
    }

    /// Returns the command that is being carried out, as a person would type it again.
    pub fn again(&self, verb: &str) -> String {
        let moved = if self.moved { " --moved" } else { "" };
        match &self.config {
            Some(path) => format!("bottle --config {} {verb}{moved}", shown(path)),
            None => format!("bottle {verb}{moved}"),
        }
    }

    /// Reports what was done, or why nothing was.
    pub fn say(&self, what: &str) {
        if !self.quiet {
            out::remark(what);
        }
    }

    /// Returns whether this command runs an agent.
    pub fn is_for_agent(&self) -> bool {
        self.agent.is_some()
    }

    /// Reports a line of a longer step, if somebody watches.
    pub fn detail(&self, line: &str) {
        if self.tells_details() {
            out::remark(line);
        }
    }

    /// Returns whether details are told.
    pub fn tells_details(&self) -> bool {
        self.verbose || (!self.quiet && out::is_watched())
    }

    /// Returns how much a person wants to be told.
    pub fn voice(&self) -> Voice {
        match (self.quiet, self.verbose) {
            (true, _) => Voice::Quiet,
            (false, true) => Voice::Verbose,
            (false, false) => Voice::Normal,
        }
    }

    /// Begins something that takes a while, and tells how far it is as long as the returned value lives.
    pub fn steps(&self, name: &Slug) -> Steps {
        Steps::of(self.voice(), name.as_str())
    }

    /// Does something that takes a while, and tells how long it has taken so far.
    pub fn during<T>(&self, name: &Slug, what: &str, act: impl FnOnce() -> T) -> T {
        let steps = self.steps(name);
        steps.step(what);
        act()
    }

    /// Reports a step that takes a while, if somebody watches.
    pub fn progress(&self, what: &str) {
        self.detail(&format!("{what} ..."));
    }
}
