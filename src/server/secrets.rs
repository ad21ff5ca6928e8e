//! The vault and the way out, as the operator chose them.

use super::options::Options;
use super::stores::Stores;
use crate::app::outward::Outward;
use crate::net::guard::Allowed;
use crate::vault::{EnvKeys, Secret, Vault, VaultError};
use std::sync::Arc;

/// The vault, under keys of the environment where it has some, else of the key file.
pub(super) async fn vault(options: &Options, stores: &Stores) -> Result<Vault, VaultError> {
    let Some((current, previous)) = &options.kek else {
        return Vault::open(options.shared_dir(), Arc::clone(&stores.secrets)).await;
    };
    let previous = previous.as_ref().and_then(Secret::expose_str);
    let keys = EnvKeys::parse(current.expose_str().unwrap_or_default(), previous)?;
    Vault::open_with(Arc::new(keys), Arc::clone(&stores.secrets)).await
}

/// The way out; the controllers get it too.
pub(super) fn outward(options: &mut Options) -> Arc<Outward> {
    let outward = Arc::new(Outward {
        allowed: Allowed::new(std::mem::take(&mut options.allowed_hosts)),
        webhook_secret: options.webhook_secret.take(),
        ..Outward::default()
    });
    options.control.outward = Arc::clone(&outward);
    outward
}
