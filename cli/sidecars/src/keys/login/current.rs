//! A login that can be used now.

use super::credential::{Credential, lock};
use super::refresh::TokenService;
use anyhow::Result;
use bottle_core::upstream::Login;
use bottle_host::state::Home;

/// Returns a login that can be used now. `refused` is a token that an origin did not accept.
///
/// # Errors
/// Returns an error if the login is not there, or if its vendor does not renew it.
pub async fn current(
    home: &Home,
    login: Login,
    refused: Option<&str>,
    service: &TokenService,
) -> Result<Credential> {
    let _lock = lock(home, login)?;
    let known = Credential::read(home, login)?;
    // Another bottle may have renewed it meanwhile.
    if known.lasts().is_some() && refused != Some(&known.access_token) {
        return Ok(known);
    }
    let renewed = service.renew(login, &known).await?;
    renewed.write(home, login)?;
    Ok(renewed)
}
