//! A machine, as smolvm lists it.

use bottle_core::slug::Slug;
use serde::Deserialize;
use std::collections::BTreeMap;

/// The label that marks a machine as ours.
pub(super) const LABEL: &str = "bottle";
/// The label that says which state folder its bottle belongs to.
pub(super) const STATE_LABEL: &str = "bottle-state";
/// The label of a machine of the pool, with its name there.
pub(super) const POOL_LABEL: &str = "bottle-pool";

/// Returns the name of a machine of the pool.
pub fn pool_machine_name(id: &str) -> String {
    format!("bottle-pool-{id}")
}

/// One machine, as `smolvm machine ls --json` shows it.
#[derive(Clone, Debug, Deserialize)]
pub struct Machine {
    /// Its name.
    pub name: String,
    /// `running`, `stopped`, ...
    pub state: String,
    /// The process of the virtual machine.
    pub pid: Option<i32>,
    /// Whether it is deleted when the call that created it ends.
    #[serde(default)]
    pub ephemeral: bool,
    /// The labels that its creator gave it.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
}

impl Machine {
    /// Returns whether its process runs.
    pub fn is_running(&self) -> bool {
        self.state == "running"
    }

    /// Returns whether it belongs to a bottle of this state folder, or `None` if it does not say. Machines
    /// created by older versions do not.
    pub fn is_of(&self, state_id: &str) -> Option<bool> {
        self.labels.get(STATE_LABEL).map(|label| label == state_id)
    }

    /// Returns the bottle that it belongs to, if both its label and its name say that it is ours.
    pub fn bottle(&self) -> Option<Slug> {
        let slug: Slug = self.labels.get(LABEL)?.parse().ok()?;
        (self.name == slug.machine_name()).then_some(slug)
    }

    /// Returns its name in the pool, if it is one of the pool's.
    pub fn pool_id(&self) -> Option<&str> {
        let id = self.labels.get(POOL_LABEL)?.as_str();
        (self.name == pool_machine_name(id)).then_some(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_a_bottles_by_its_label_and_its_name() {
        let machine = |name: &str| -> Machine {
            let text = format!(r#"{{"name":"{name}","state":"running","pid":1,"labels":{{"bottle":"a"}}}}"#);
            serde_json::from_str(&text).unwrap()
        };
        assert_eq!(machine("bottle-a").bottle(), Some("a".parse().unwrap()));
        assert_eq!(machine("bottle-b").bottle(), None);
        assert_eq!(machine("\\u001b[2J").bottle(), None);
    }
}
