//! Fills in from an agent's profile what a configuration leaves open.

use super::profile::Profile;
use crate::config::{Agent, Config};
use bottle_core::sidecar::Sidecar;
use bottle_core::slug::Slug;
use bottle_core::specification::SidecarSpec;
use bottle_core::upstream::{self, Login, Preset, Secret, SecretSource};
use bottle_host::failure::{Failure, Kind, Outcome};

/// Makes a configuration one for this agent. Whatever the configuration says itself stays. A login takes the place of a
/// key that is not set.
///
/// # Errors
/// Returns [`Kind::Usage`] if the two contradict each other.
pub fn apply(
    config: &mut Config,
    name: Slug,
    profile: Profile,
    has_login: &dyn Fn(Login) -> bool,
) -> Outcome {
    let fail = |what: String| Failure::new(Kind::Usage, format!("the agent {name}: {what}"));
    let guest = &mut config.guest;
    guest.image = guest.image.take().or_else(|| profile.image.clone());
    if config.setup.run.is_empty() && !config.has_no_setup {
        config.setup.run.clone_from(&profile.setup);
        add(&mut config.setup.allow, &profile.setup_allow);
    }
    add(&mut config.egress.allow, &profile.allow);
    for preset in &profile.upstreams {
        let upstream = chosen(*preset, has_login).upstream().map_err(|error| fail(error.to_string()))?;
        // Whoever names the same path, or says where the agent finds the API, has said which one it asks.
        let is_set = |name| {
            guest.env.contains_key(name)
                || config.upstreams.iter().any(|known| known.variables.contains_key(name))
        };
        let is_known = config.upstreams.iter().any(|known| known.path == upstream.path);
        if is_known || upstream.variables.keys().any(is_set) {
            continue;
        }
        if config.sidecars.get(&Sidecar::Pipelock) != Some(&SidecarSpec::Builtin) {
            let what = format!("its upstream {} needs the built-in egress proxy", upstream.path);
            return Err(fail(what).help("remove `address` and `command` from [pipelock]"));
        }
        config.upstreams.push(upstream);
    }
    for (variable, value) in &profile.env {
        guest.env.entry(variable.clone()).or_insert_with(|| value.clone());
    }
    upstream::check(&config.upstreams, |name| guest.env.contains_key(name))
        .map_err(|conflict| fail(conflict.to_string()))?;
    // The profile tells the agent where to ask.
    config.sidecars.entry(Sidecar::Supervise).or_insert(SidecarSpec::Builtin);
    config.agent = Some(Agent { name, profile: Some(profile) });
    Ok(())
}

/// Returns the preset to use: the one with a key, unless there is none and there is a login.
fn chosen(preset: Preset, has_login: &dyn Fn(Login) -> bool) -> Preset {
    let Some((with_login, login)) = preset.with_login() else { return preset };
    let is_set = |secret: &Secret| match &secret.source {
        SecretSource::Env(name) => std::env::var_os(name.as_str()).is_some_and(|value| !value.is_empty()),
        _ => true,
    };
    let has_key = preset.upstream().is_ok_and(|upstream| upstream.headers.values().all(is_set));
    if !has_key && has_login(login) { with_login } else { preset }
}

fn add<T: PartialEq + Clone>(known: &mut Vec<T>, more: &[T]) {
    for one in more {
        if !known.contains(one) {
            known.push(one.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile::parse(
            "name = \"A\"\nimage = \"theirs\"\nsetup = [\"install\"]\ncommand = [\"a\"]\nupstreams = [\"anthropic\"]\n\
             [env]\nA = \"theirs\"\nB = \"theirs\"\n",
        )
        .unwrap()
    }

    #[test]
    fn what_the_configuration_says_stays() {
        let mut config = Config::default();
        config.guest.image = Some("ours".parse().unwrap());
        config.guest.env.insert("A".parse().unwrap(), "ours".parse().unwrap());
        config.setup.run.push("mine".parse().unwrap());
        let mut ours = Preset::Anthropic.upstream().unwrap();
        ours.origin = "https://ours.test".parse().unwrap();
        config.upstreams.push(ours.clone());
        apply(&mut config, "a".parse().unwrap(), profile(), &|_| false).unwrap();
        assert_eq!(config.guest.image.unwrap().as_str(), "ours");
        let env: Vec<String> = config.guest.env.values().map(ToString::to_string).collect();
        assert_eq!(env, ["ours", "theirs"]);
        assert_eq!(config.setup.run.len(), 1);
        assert_eq!(config.upstreams, [ours]);

        // A gateway of one's own, at another path, or in no upstream at all.
        let mut gateway = Preset::Anthropic.upstream().unwrap();
        gateway.path = "/gateway".parse().unwrap();
        let mut config = Config { upstreams: vec![gateway.clone()], ..Config::default() };
        apply(&mut config, "a".parse().unwrap(), profile(), &|_| false).unwrap();
        assert_eq!(config.upstreams, [gateway]);
        let mut config = Config::default();
        let variable = "ANTHROPIC_BASE_URL".parse().unwrap();
        config.guest.env.insert(variable, "http://x.test".parse().unwrap());
        apply(&mut config, "a".parse().unwrap(), profile(), &|_| false).unwrap();
        assert!(config.upstreams.is_empty());

        let mut config = Config { has_no_setup: true, ..Config::default() };
        apply(&mut config, "a".parse().unwrap(), profile(), &|_| false).unwrap();
        assert!(config.setup.is_empty());
    }

    #[test]
    fn what_it_leaves_open_comes_from_the_profile_with_somewhere_to_ask() {
        let mut config = Config::default();
        apply(&mut config, "a".parse().unwrap(), profile(), &|_| false).unwrap();
        assert_eq!(config.guest.image.unwrap().as_str(), "theirs");
        assert_eq!(config.upstreams, [Preset::Anthropic.upstream().unwrap()]);
        assert!(config.sidecars.contains_key(&Sidecar::Supervise));
        let mut foreign = Config::default();
        foreign.sidecars.insert(Sidecar::Pipelock, SidecarSpec::Command(vec!["x".to_owned()]));
        assert!(apply(&mut foreign, "a".parse().unwrap(), profile(), &|_| false).is_err());
    }
    #[test]
    fn a_login_takes_the_place_of_a_key_that_is_not_set() {
        // No test has a key in its environment.
        assert_eq!(chosen(Preset::Anthropic, &|login| login == Login::Claude), Preset::Claude);
        assert_eq!(chosen(Preset::OpenAi, &|login| login == Login::Claude), Preset::OpenAi);
        assert_eq!(chosen(Preset::GitHub, &|_| true), Preset::GitHub);
    }
}
