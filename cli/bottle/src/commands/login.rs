//! `bottle login`: takes over a vendor's login, so that a subscription takes the place of a key.

use super::context::Context;
use crate::config::found::shown;
use bottle_core::upstream::Login;
use bottle_host::failure::{Failure, Kind, Outcome};
use bottle_host::out;
use bottle_host::state::{Home, read_short, remove_file};
use bottle_host::tools::in_path;
use bottle_sidecars::keys::login::{Credential, Vendor, lock, place, vendor};
use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::Command;

/// The longest file of a vendor's, in bytes.
const LONGEST: u64 = 1 << 20;

/// How to take a login over.
pub struct Options {
    /// The vendor's file, if it is not where its program keeps it.
    pub from: Option<PathBuf>,
    /// Whether a person has agreed already.
    pub yes: bool,
    /// Whether bottle's own copy is removed instead.
    pub remove: bool,
}

pub fn login(context: &Context, login: Login, options: Options) -> Outcome {
    let home = Home::find()?;
    if options.remove {
        let _lock = lock(&home, login)?;
        if !place(&home, login).exists() {
            context.say(&format!("bottle has no copy of the login {login}"));
            return Ok(());
        }
        remove_file(&place(&home, login))?;
        context.say(&format!("bottle's copy of the login {login} is removed; the vendor still knows it"));
        return Ok(());
    }
    let vendor = vendor(login);
    let is_vendors = options.from.is_none();
    let from = match options.from {
        Some(from) => from,
        None => vendor.place()?,
    };
    if is_vendors && !from.exists() {
        log_in(context, login, &vendor)?;
    }
    let unusable = |why: String| {
        Failure::new(Kind::Unavailable, format!("{}: {why}", shown(&from))).help(format!(
            "log in with the vendor's own program, `{}`, and then again here; --from names another file",
            vendor.command.join(" ")
        ))
    };
    let text = read_short(&from, LONGEST).map_err(|error| {
        unusable(if error.kind() == ErrorKind::NotFound {
            "it is not there".to_owned()
        } else {
            error.to_string()
        })
    })?;
    let credential = vendor.parse(&text).map_err(|error| unusable(format!("{error:#}")))?;
    let kept = place(&home, login);
    out::remark(format_args!(
        "this copies the login of {} to {}, which only you can read. Bottles with `from_login = \"{login}\"` use it through {}, and no guest gets it. bottle renews it from then on, and a vendor may end the login of its own program when it is renewed elsewhere",
        shown(&from),
        shown(&kept),
        login.terms().host
    ));
    if !options.yes && !out::confirmed("copy it?") {
        return Err(Failure::new(Kind::Negative, "nothing was copied"));
    }
    let _lock = lock(&home, login)?;
    Credential::write(&credential, &home, login)?;
    context.say(&format!("the login {login} is there; `bottle {login}` uses it unless a key is set"));
    Ok(())
}

/// Runs the vendor's own login, if its program is here and somebody is there to use it.
fn log_in(context: &Context, login: Login, vendor: &Vendor) -> Outcome {
    let [program, arguments @ ..] = vendor.command else { return Ok(()) };
    if in_path(program).is_none() || !out::is_asked() {
        return Ok(());
    }
    context.say(&format!("there is no login {login} yet: running `{}`", vendor.command.join(" ")));
    let ended = Command::new(program).args(arguments).status().map_err(anyhow::Error::from)?;
    if ended.success() {
        Ok(())
    } else {
        Err(Failure::new(Kind::Unavailable, format!("{program} ended with {ended}")))
    }
}
