//! The proxy of model providers, with the operator's keys.

use super::options::Options;
use super::start::StartError;
use super::stores::Stores;
use crate::api::Llm;
use crate::app::outward::Outward;
use crate::clock::Clock;
use crate::control::Provider as Kept;
use crate::llm::Provider;
use crate::llm::upstream::{Endpoint, Upstreams};
use crate::llm::usage::Ledger;
use std::sync::Arc;
use url::Url;

pub(super) fn make(
    options: &Options,
    stores: &Stores,
    clock: &Arc<dyn Clock>,
    outward: &Outward,
) -> Result<(Arc<Llm>, Arc<Ledger>), StartError> {
    let kept = [
        (Provider::OpenAi, &options.control.openai),
        (Provider::Anthropic, &options.control.anthropic),
        (Provider::Grok, &options.grok),
    ];
    let mut operator = Vec::new();
    for (provider, kept) in kept {
        if let Some(kept) = kept {
            operator.push((provider, endpoint(provider, kept)?));
        }
    }
    let upstreams = Upstreams::new(operator, outward.allowed.clone())
        .map_err(|error| StartError::Option(error.to_string()))?;
    let ledger = Arc::new(Ledger::new(Arc::clone(&stores.usage), Arc::clone(clock)));
    Ok((Arc::new(Llm::new(upstreams, Arc::clone(&ledger))), ledger))
}

fn endpoint(provider: Provider, kept: &Kept) -> Result<Endpoint, StartError> {
    let read = |text: &String| {
        Url::parse(text).ok().filter(url::Url::has_host).ok_or_else(|| {
            let name = provider.name().to_uppercase();
            StartError::Option(format!("{name}_BASE_URL is no URL; write it such as {}", provider.address()))
        })
    };
    let base_url = kept.base_url.as_ref().map(read).transpose()?;
    // Servers on one's own machine take any key, and often none.
    let api_key = Some(kept.api_key.clone()).filter(|key| !key.expose().is_empty());
    Ok(Endpoint { base_url, api_key })
}
