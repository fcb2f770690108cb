//! The variables in a `devcontainer.json`: `${localEnv:NAME}` and the like.

/// Where the project is in a guest.
pub const WORKSPACE: &str = "/workspace";

/// Fills in the variables of a text. None is read from this machine.
///
/// # Errors
/// Returns the reason if one of them cannot be filled in.
pub fn substitute(text: &str) -> Result<String, String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, from)) = rest.split_once("${") {
        filled.push_str(before);
        let Some((name, after)) = from.split_once('}') else {
            rest = &rest[before.len()..];
            break;
        };
        match name.split_once(':').map_or(name, |(kind, _)| kind) {
            "containerWorkspaceFolder" => filled.push_str(WORKSPACE),
            "containerWorkspaceFolderBasename" => filled.push_str(&WORKSPACE[1..]),
            "localEnv" | "env" => {
                return Err(format!(
                    "`${{{name}}}` is a variable of this machine, and no guest gets one unasked"
                ));
            }
            "containerEnv" => return Err(format!("`${{{name}}}` is known in the guest only")),
            "localWorkspaceFolder" | "localWorkspaceFolderBasename" => {
                return Err(format!("`${{{name}}}` is a path of this machine"));
            }
            "devcontainerId" => return Err(format!("`${{{name}}}` has no counterpart")),
            // Any other is the shell's.
            _ => filled.push_str(&format!("${{{name}}}")),
        }
        rest = after;
    }
    filled.push_str(rest);
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_this_machine_is_filled_in() {
        for (text, filled) in [
            ("plain $HOME ${HOME} ${x", Some("plain $HOME ${HOME} ${x")),
            ("cd ${containerWorkspaceFolder}/a", Some("cd /workspace/a")),
            ("${containerWorkspaceFolderBasename}", Some("workspace")),
            ("${localEnv:HOME}", None),
            ("a${localEnv:HOME:/root}b", None),
            ("${env:PATH}", None),
            ("${localWorkspaceFolder}/x", None),
            ("${containerEnv:PATH}:/x", None),
            ("${devcontainerId}", None),
        ] {
            assert_eq!(substitute(text).ok().as_deref(), filled, "{text}");
        }
    }
}
