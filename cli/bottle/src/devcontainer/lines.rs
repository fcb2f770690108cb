//! What was taken over, as lines of `bottle.toml`.

use super::translate::Translation;
use bottle_core::visible::Line;
use std::path::Path;
use toml::Value;

/// The longest reason or key that a comment shows, in characters.
const LONGEST: usize = 200;

impl Translation {
    /// Returns the lines of `[guest]`, without its heading. `image` is what stands in place of an image that it lacks, and
    /// `installs` says whether something is installed in any case.
    pub fn guest(&self, image: &str, installs: bool) -> String {
        let mut lines = match &self.image {
            Some(image) => format!("image = {}\n", text(image.as_str())),
            None => format!("{image}\n"),
        };
        match self.cpus {
            Some(cpus) => lines.push_str(&format!("cpus = {cpus}\n")),
            None => lines.push_str("# cpus = 4\n"),
        }
        match self.memory {
            Some(memory) => lines.push_str(&format!("memory = {memory}\n")),
            None => {
                lines.push_str("# memory = 8192                   # MiB; only what is touched is taken\n");
            }
        }
        if let Some(workdir) = &self.workdir {
            lines.push_str(&format!("workdir = {}\n", text(workdir.as_str())));
        }
        if !self.setup.is_empty() {
            lines.push_str("# Run once in a new machine, by root, in the project's folder.\nsetup = [\n");
            for command in &self.setup {
                lines.push_str(&format!("    {},\n", text(command.as_str())));
            }
            lines.push_str("]\nsetup-keep = \"disk\"                   # the commands see the project\n");
        }
        if installs || !self.setup.is_empty() {
            lines.push_str(
                "setup-allow = [\n    # \"registry.example.com\",        # a host from which something is installed\n]\n",
            );
        }
        if !self.env.is_empty() {
            lines.push_str("\n[guest.env]\n");
            for (name, value) in &self.env {
                lines.push_str(&format!("{name} = {}\n", text(value.as_str())));
            }
        }
        lines
    }

    /// Returns the tables of ports.
    pub fn publish(&self) -> String {
        let mut lines = String::new();
        if !self.publish.is_empty() {
            lines.push_str(
                "# What the agent serves, on this machine's loopback: `bottle ls` shows at which port.\n",
            );
        }
        for port in &self.publish {
            lines.push_str(&format!("[[publish]]\nguest = {port}\n\n"));
        }
        lines
    }

    /// Returns comments that list what was not taken over.
    pub fn left(&self, file: &Path) -> String {
        let mut lines = format!("# Taken over from {}", comment(&file.display().to_string()));
        if self.left.is_empty() {
            return lines + ", all of it.\n";
        }
        lines.push_str(", but for:\n");
        for (key, why) in &self.left {
            lines.push_str(&format!("# - {}: {}\n", comment(key), comment(why)));
        }
        lines
    }

    /// Counts what was taken over.
    pub fn taken(&self) -> usize {
        let singles =
            [self.image.is_some(), self.cpus.is_some(), self.memory.is_some(), self.workdir.is_some()];
        singles.into_iter().filter(|is_there| *is_there).count()
            + self.setup.len()
            + self.env.len()
            + self.publish.len()
    }
}

/// Returns a value as TOML writes it.
fn text(text: &str) -> String {
    Value::String(text.to_owned()).to_string()
}

/// Returns a text as it stands in a comment: on one line, and not a long one.
fn comment(text: &str) -> String {
    let line: String = Line(text).to_string();
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{} ...", &line[..end]),
        None => line,
    }
}
