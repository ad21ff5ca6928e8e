//! Whose word is taken for who a message is from: servers in front of this one. Of all others it is looked up.

use super::desk::Envelope;
use crate::mail::proof::{Claim, Proof, Prover, Standing};
use crate::mail::{Facts, Trace};
use ipnet::IpNet;
use std::net::IpAddr;
use std::sync::Arc;

/// Decides what has to be proven.
#[derive(Debug, Default)]
pub struct Gate {
    trusted: Vec<IpNet>,
    prover: Option<Arc<Prover>>,
}

impl Gate {
    /// `prover`: without it nothing can be looked up, and mail of peers that are not trusted has to wait.
    #[must_use]
    pub fn new(trusted: Vec<IpNet>, prover: Option<Prover>) -> Self {
        Self { trusted, prover: prover.map(Arc::new) }
    }

    fn trusts(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        self.trusted.iter().any(|net| net.contains(&peer))
    }

    /// What proves that the message is from whom it says; `None` where the peer is trusted.
    pub(super) async fn proof(
        &self,
        envelope: &Envelope,
        trace: &Trace,
        facts: &Facts,
        message: &Arc<[u8]>,
    ) -> Option<Proof> {
        let peer = trace.peer.filter(|peer| !self.trusts(*peer))?.to_canonical();
        let Some(prover) = &self.prover else {
            return Some(Proof { standing: Standing::Unknown, line: String::new() });
        };
        let claim = Claim {
            peer,
            hello: trace.hello.clone(),
            from: envelope.from.clone(),
            authors: facts.from.clone(),
        };
        Some(Arc::clone(prover).prove(claim, Arc::clone(message)).await)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_are_trusted_whichever_way_an_address_is_written() {
        let gate = Gate::new(vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()], None);
        let trusts = |text: &str| gate.trusts(text.parse().unwrap());
        assert!(trusts("10.1.2.3") && trusts("::ffff:10.1.2.3") && trusts("::1"));
        assert!(
            !trusts("10.2.0.1") && !trusts("::2") && !Gate::default().trusts("127.0.0.1".parse().unwrap())
        );
    }
}
