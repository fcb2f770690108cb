//! What a `devcontainer.json` says in the words of `bottle.toml`.

use super::substitute::{WORKSPACE, substitute};
use bottle_core::environment;
use bottle_core::specification::Published;
use bottle_core::text::{EnvName, ImageRef, MountPath, Word};
use bottle_core::visible;
use bottle_images::Name;
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::num::NonZeroU16;
use std::str::FromStr;

/// What has a counterpart, and what has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translation {
    /// The image.
    pub image: Option<ImageRef>,
    /// The most processors.
    pub cpus: Option<u8>,
    /// The most memory, in MiB.
    pub memory: Option<u32>,
    /// The folder in which commands start.
    pub workdir: Option<MountPath>,
    /// Commands that are run once in a new machine.
    pub setup: Vec<Word>,
    /// Variables.
    pub env: BTreeMap<EnvName, Word>,
    /// Ports on which programs in the guest listen.
    pub publish: Vec<NonZeroU16>,
    /// What was not taken over, and why.
    pub left: Vec<(String, String)>,
}

/// Keys without a counterpart, and why.
const LEFT: [(&str, &str); 34] = [
    ("appPort", "`[[publish]]` with a `guest` port shows one on this machine's loopback"),
    (
        "build",
        "bottle builds no images: build it elsewhere, and name the image or a `docker save` archive of it",
    ),
    ("capAdd", "root in a guest has every capability already"),
    (
        "containerUser",
        "a bottle's commands run as root; `bottle exec --user USER -- COMMAND` runs one as another user",
    ),
    ("customizations", "it is for an editor, which reads it itself"),
    ("dockerComposeFile", "a bottle is one machine, and starts no other containers"),
    (
        "dockerFile",
        "bottle builds no images: build it elsewhere, and name the image or a `docker save` archive of it",
    ),
    ("extensions", "it is for an editor, which reads it itself"),
    (
        "features",
        "they are programs from a registry that run as root: put what you need of them into `setup`",
    ),
    ("init", "a guest has a first process of its own"),
    ("initializeCommand", "it would run on this machine, where bottle runs nothing that a project says"),
    ("mounts", "bottle gives a guest no other folders unasked: `[[guest.volumes]]` does"),
    ("name", "a bottle's name is `slug`"),
    ("otherPortsAttributes", "it is for an editor"),
    ("overrideCommand", "a guest's own command is never run"),
    ("overrideFeatureInstallOrder", "features are not taken over"),
    ("portsAttributes", "it is for an editor"),
    ("postAttachCommand", "it would run at each attachment: run it yourself, with `bottle exec -- COMMAND`"),
    ("postStartCommand", "it would run at each start: run it yourself, with `bottle exec -- COMMAND`"),
    ("privileged", "root in a guest has every capability already"),
    (
        "remoteUser",
        "a bottle's commands run as root; `bottle exec --user USER -- COMMAND` runs one as another user",
    ),
    ("runArgs", "they are for Docker, which does not run a bottle"),
    ("runServices", "a bottle is one machine, and starts no other containers"),
    ("secrets", "a key stays on this machine: `[[upstream]]` adds it where it is needed"),
    ("securityOpt", "it is for Docker, which does not run a bottle"),
    ("service", "a bottle is one machine, and starts no other containers"),
    ("settings", "it is for an editor, which reads it itself"),
    ("shutdownAction", "`bottle stop` stops a bottle, and closing an editor does not"),
    ("updateRemoteUserUID", "no file of this machine is shared under a user's number"),
    ("userEnvProbe", "no shell is asked for its variables"),
    ("waitFor", "a bottle is ready when its setup has ended"),
    ("workspaceMount", "the project is a copy at /workspace; `[workspace]` says how"),
    ("extends", "no other file is read"),
    ("devPort", "it is for an editor"),
];

/// Translates a file's text.
///
/// # Errors
/// Returns the reason if it is no `devcontainer.json`.
pub fn translate(text: &str) -> Result<Translation, String> {
    let options = ParseOptions {
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        ..ParseOptions::default()
    };
    let parsed: Option<Value> = parse_to_serde_value(text, &options).map_err(|error| error.to_string())?;
    let Some(Value::Object(keys)) = parsed else { return Err("it is not an object".to_owned()) };
    let mut translation = Translation::default();
    for (key, value) in &keys {
        translation.take(key, value);
    }
    // They are run in this order, whatever the file's is.
    for key in ["onCreateCommand", "updateContentCommand", "postCreateCommand"] {
        if let Some(value) = keys.get(key) {
            translation.commands(key, value);
        }
    }
    Ok(translation)
}

impl Translation {
    fn take(&mut self, key: &str, value: &Value) {
        match key {
            "$schema" | "onCreateCommand" | "updateContentCommand" | "postCreateCommand" => {}
            "image" => self.image(key, value),
            "containerEnv" | "remoteEnv" => self.variables(key, value),
            "forwardPorts" => self.ports(key, value),
            "hostRequirements" => self.requirements(key, value),
            "workspaceFolder" => self.workdir(key, value),
            _ => {
                let known = LEFT.iter().find(|(known, _)| *known == key);
                self.leave(key, known.map_or("bottle does not know it", |(_, why)| why));
            }
        }
    }

    fn leave(&mut self, key: &str, why: impl Display) {
        self.left.push((key.to_owned(), why.to_string()));
    }

    /// Returns a text with its variables filled in, if a person can see all of it and `T` can hold it.
    fn text<T: FromStr<Err: Display>>(&mut self, key: &str, value: &Value) -> Option<T> {
        let text = match value {
            Value::String(text) => substitute(text),
            _ => Err("it is not text".to_owned()),
        };
        let parsed = text.and_then(|text| {
            if text.contains(|c| visible::is_hidden(c) && c != '\n' && c != '\t') {
                return Err("it contains characters that are not shown".to_owned());
            }
            text.parse().map_err(|error: T::Err| error.to_string())
        });
        parsed.map_err(|why| self.leave(key, why)).ok()
    }

    /// Takes an image over if it is a registry's. In `bottle.toml` a path is one, too, and nobody but a person names a path
    /// of this machine.
    fn image(&mut self, key: &str, value: &Value) {
        let Some(image) = self.text::<ImageRef>(key, value) else { return };
        if image.as_str().parse::<Name>().is_err() {
            return self.leave(key, "it is not the name of an image in a registry");
        }
        self.image = Some(image);
    }

    fn object<'v>(&mut self, key: &str, value: &'v Value) -> Option<&'v Map<String, Value>> {
        let object = value.as_object();
        if object.is_none() {
            self.leave(key, "it is not an object");
        }
        object
    }

    fn variables(&mut self, key: &str, value: &Value) {
        for (name, value) in self.object(key, value).into_iter().flatten() {
            let at = format!("{key}.{name}");
            match name.parse::<EnvName>() {
                Err(error) => self.leave(&at, error),
                Ok(name) if environment::is_reserved(name.as_str()) => {
                    self.leave(&at, "bottle sets this variable itself");
                }
                Ok(name) => {
                    if let Some(value) = self.text(&at, value) {
                        self.env.insert(name, value);
                    }
                }
            }
        }
    }

    fn ports(&mut self, key: &str, value: &Value) {
        let Some(ports) = value.as_array() else { return self.leave(key, "it is not a list") };
        for port in ports {
            let number = match port {
                Value::Number(number) => number.as_u64(),
                Value::String(text) => {
                    let own = ["localhost:", "127.0.0.1:"].iter().find_map(|host| text.strip_prefix(host));
                    own.and_then(|port| port.parse().ok())
                }
                _ => None,
            };
            match number.and_then(|port| NonZeroU16::new(u16::try_from(port).ok()?)) {
                Some(port) if self.publish.contains(&port) => {}
                Some(port) if self.publish.len() < Published::MOST => self.publish.push(port),
                Some(_) => self.leave(key, format!("a bottle publishes at most {} ports", Published::MOST)),
                None => self.leave(key, format!("{port} is not a port of the guest's own")),
            }
        }
    }

    fn requirements(&mut self, key: &str, value: &Value) {
        for (name, value) in self.object(key, value).into_iter().flatten() {
            let at = format!("{key}.{name}");
            match name.as_str() {
                "cpus" => {
                    match value.as_u64().and_then(|cpus| u8::try_from(cpus).ok()).filter(|cpus| *cpus > 0) {
                        Some(cpus) => self.cpus = Some(cpus),
                        None => self.leave(&at, "it is not a number from 1 to 255"),
                    }
                }
                "memory" => match value.as_str().and_then(mebibytes) {
                    Some(memory) => self.memory = Some(memory),
                    None => self.leave(&at, "it is not a size like 8gb, of at least 128 MiB"),
                },
                _ => self.leave(&at, "a bottle does not ask for it"),
            }
        }
    }

    fn workdir(&mut self, key: &str, value: &Value) {
        let Some(folder) = self.text::<MountPath>(key, value) else { return };
        let below = folder.as_str().strip_prefix(WORKSPACE).map(|below| below.trim_end_matches('/'));
        match below {
            Some("") => {}
            Some(below) if below.starts_with('/') => self.workdir = Some(folder),
            _ => self.leave(key, "the project is at /workspace in a bottle"),
        }
    }

    /// Takes a command over: a line for a shell, a program with its arguments, or several of either.
    fn commands(&mut self, key: &str, value: &Value) {
        match value {
            Value::Object(commands) => {
                for (name, value) in commands {
                    self.command(&format!("{key}.{name}"), value);
                }
            }
            value => self.command(key, value),
        }
    }

    fn command(&mut self, key: &str, value: &Value) {
        let line = match value {
            Value::Array(words) => {
                let words: Option<Vec<String>> = words.iter().map(|word| word.as_str().map(quoted)).collect();
                match words {
                    Some(words) => Value::String(words.join(" ")),
                    None => return self.leave(key, "it is not a list of words"),
                }
            }
            other => other.clone(),
        };
        match self.text::<Word>(key, &line) {
            Some(command) if !command.as_str().trim().is_empty() => self.setup.push(command),
            _ => {}
        }
    }
}

/// Returns a word as a shell reads it unchanged.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns a size like `8gb` in MiB, if a guest can have it.
fn mebibytes(text: &str) -> Option<u32> {
    const LEAST: u64 = 128;
    let text = text.trim().to_ascii_lowercase();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let number: u64 = number.parse().ok()?;
    let bytes = match unit {
        "tb" => number.checked_mul(1 << 40)?,
        "gb" => number.checked_mul(1 << 30)?,
        "mb" => number.checked_mul(1 << 20)?,
        "kb" => number.checked_mul(1 << 10)?,
        _ => return None,
    };
    u32::try_from(bytes >> 20).ok().filter(|mebibytes| u64::from(*mebibytes) >= LEAST)
}

#[cfg(test)]
mod tests;
