//! Whether a message is from whom it says it is: SPF (RFC 7208), DKIM (RFC 6376) and DMARC (RFC 9989), as the domains
//! of its sender say in the DNS. What servers of others wrote about it before is not believed.

use super::carrier::Resolver;
use super::{Address, message};
use mail_auth::common::headers::HeaderWriter as _;
use mail_auth::dmarc::Policy;
use mail_auth::dmarc::verify::DmarcParameters;
use mail_auth::spf::verify::SpfParameters;
use mail_auth::{
    AuthenticatedMessage, AuthenticationResults, DkimOutput, DkimResult, DmarcOutput, DmarcResult,
    MessageAuthenticator, SpfOutput, SpfResult,
};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Signatures of one message that are looked at.
const SIGNATURES_MAX: usize = 10;
/// How long all look-ups for one message may take.
const LOOKUPS_WAIT: Duration = Duration::from_secs(30);

/// Who brings a message, and who it is from by the envelope.
#[derive(Clone, Debug)]
pub struct Claim {
    pub peer: IpAddr,
    /// What the client called itself.
    pub hello: String,
    /// `None`: `<>`.
    pub from: Option<Address>,
    /// Who the header says it is from.
    pub authors: Vec<Address>,
}

/// How far a message may be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The authors' domains say that it is theirs.
    Proven,
    /// Nothing says so, and nothing says that it is not.
    Unproven,
    /// The author's domain says that such a message is not from it.
    Forged,
    /// The DNS did not answer.
    Unknown,
    /// Its header can be read in two ways, or its authors are of several domains: nobody can speak for it.
    Ambiguous,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proof {
    pub standing: Standing,
    /// The line `Authentication-Results: …` (RFC 8601), with its end.
    pub line: String,
}

/// Looks the proofs up.
pub struct Prover {
    dns: MessageAuthenticator,
    host: String,
}

impl fmt::Debug for Prover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Prover").field("host", &self.host).finish_non_exhaustive()
    }
}

impl Prover {
    /// `host`: this server's name, in what it writes.
    pub fn new(host: String, resolver: Resolver) -> Result<Self, String> {
        let dns = MessageAuthenticator::new(resolver.config, resolver.options).map_err(|e| e.to_string())?;
        Ok(Self { dns, host })
    }

    /// Looks a message up. Its hashes are made on a thread of their own: it may be large.
    pub async fn prove(self: Arc<Self>, claim: Claim, message: Arc<[u8]>) -> Proof {
        let runtime = tokio::runtime::Handle::current();
        let host = self.host.clone();
        let looked = tokio::task::spawn_blocking(move || {
            runtime.block_on(timeout(LOOKUPS_WAIT, self.look(&claim, &message))).ok()
        });
        looked.await.ok().flatten().unwrap_or_else(|| Proof {
            standing: Standing::Unknown,
            line: format!("Authentication-Results: {host}; none\r\n"),
        })
    }

    async fn look(&self, claim: &Claim, message: &[u8]) -> Proof {
        let from = claim.from.as_ref().map(Address::to_string).unwrap_or_default();
        let spf =
            self.dns.verify_spf(SpfParameters::verify(claim.peer, &claim.hello, &self.host, &from)).await;
        let results = AuthenticationResults::new(&self.host).with_spf_mailfrom_result(
            &spf,
            claim.peer,
            &from,
            &claim.hello,
        );
        let Some(mut parsed) = AuthenticatedMessage::parse(message) else {
            return Proof { standing: Standing::Ambiguous, line: results.to_header() };
        };
        if !same_authors(&parsed, &claim.authors) {
            return Proof { standing: Standing::Ambiguous, line: results.to_header() };
        }
        parsed.dkim_headers.truncate(SIGNATURES_MAX);
        let dkim = self.dns.verify_dkim(&parsed).await;
        let sender = claim.from.as_ref().map_or(claim.hello.as_str(), Address::domain);
        let dmarc = self.dns.verify_dmarc(DmarcParameters::new(&parsed, &dkim, sender, &spf)).await;
        let author = claim.authors.first().map(Address::to_string).unwrap_or_default();
        let line = results.with_dkim_results(&dkim, &author).with_dmarc_result(&dmarc).to_header();
        Proof { standing: standing(claim, sender, &spf, &dkim, &dmarc), line }
    }
}

fn standing(
    claim: &Claim,
    sender: &str,
    spf: &SpfOutput,
    dkim: &[DkimOutput<'_>],
    dmarc: &DmarcOutput,
) -> Standing {
    let signers: Vec<&str> = dkim
        .iter()
        .filter(|one| *one.result() == DkimResult::Pass)
        .filter_map(|one| one.signature().map(|signature| signature.d.as_str()))
        .collect();
    let vouched = |author: &Address| {
        (spf.result() == SpfResult::Pass && speaks_for(sender, author.domain()))
            || signers.iter().any(|signer| speaks_for(signer, author.domain()))
    };
    let of_author = |domain: &str| {
        claim.authors.first().is_some_and(|author| author.domain().eq_ignore_ascii_case(domain))
    };
    if dmarc.result() == DmarcResult::Pass && of_author(dmarc.domain()) {
        return Standing::Proven;
    }
    let later = spf.result() == SpfResult::TempError
        || dkim.iter().any(|one| matches!(one.result(), DkimResult::TempError(_)))
        || matches!(dmarc.spf_result(), DmarcResult::TempError(_))
        || matches!(dmarc.dkim_result(), DmarcResult::TempError(_));
    match dmarc.policy() {
        Policy::Reject | Policy::Quarantine if later => Standing::Unknown,
        Policy::Reject | Policy::Quarantine => Standing::Forged,
        _ if !claim.authors.is_empty() && claim.authors.iter().all(vouched) => Standing::Proven,
        _ if later => Standing::Unknown,
        _ => Standing::Unproven,
    }
}

/// Whether the message has the authors that whoever gets it will see, and all are of one domain.
fn same_authors(message: &AuthenticatedMessage<'_>, authors: &[Address]) -> bool {
    let lower = |texts: Vec<String>| {
        let mut texts: Vec<String> = texts.into_iter().map(|text| text.to_lowercase()).collect();
        texts.sort();
        texts
    };
    let read = lower(message.froms().to_vec());
    let one_domain = authors.windows(2).all(|two| two[0].domain().eq_ignore_ascii_case(two[1].domain()));
    one_domain && read == lower(authors.iter().map(Address::to_string).collect())
}

/// Whether a domain speaks for addresses of another: itself, or one below it.
fn speaks_for(domain: &str, author: &str) -> bool {
    let (domain, author) = (domain.to_ascii_lowercase(), author.to_ascii_lowercase());
    domain == author
        || (domain.contains('.') && author.strip_suffix(&domain).is_some_and(|rest| rest.ends_with('.')))
}

/// The message with what was found out about it, without what others say was found out.
#[must_use]
pub fn stamped(line: &str, text: &[u8]) -> Vec<u8> {
    let header = message::header(text).map_or(0, <[u8]>::len);
    let mut out = Vec::with_capacity(line.len() + text.len());
    out.extend_from_slice(line.as_bytes());
    let mut dropping = false;
    for field in text[..header].split_inclusive(|byte| *byte == b'\n') {
        let goes_on = field.first().is_some_and(|byte| matches!(byte, b' ' | b'\t'));
        dropping = if goes_on { dropping } else { is_results(field) };
        if !dropping {
            out.extend_from_slice(field);
        }
    }
    out.extend_from_slice(&text[header..]);
    out
}

fn is_results(field: &[u8]) -> bool {
    let name = field.split(|byte| *byte == b':').next().unwrap_or_default();
    name.trim_ascii().eq_ignore_ascii_case(b"Authentication-Results")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_speaks_for_itself_and_for_what_is_below_it() {
        assert!(speaks_for("Corp.test", "corp.test") && speaks_for("corp.test", "mail.corp.test"));
        assert!(!speaks_for("mail.corp.test", "corp.test") && !speaks_for("corp.test", "notcorp.test"));
        assert!(!speaks_for("test", "corp.test") && !speaks_for("", "corp.test"));
    }

    #[test]
    fn results_that_others_wrote_are_taken_out() {
        let text = b"Received: from x\r\n\tby y\r\nAUTHENTICATION-results : desk.test;\r\n\tdmarc=pass\r\n header.from=a\r\n\
                     From: a@b.test\r\n\r\nAuthentication-Results: in the body\r\n";
        let stamped = stamped("Authentication-Results: desk.test; dmarc=fail\r\n", text);
        assert_eq!(
            String::from_utf8(stamped).unwrap(),
            "Authentication-Results: desk.test; dmarc=fail\r\nReceived: from x\r\n\tby y\r\n\
             From: a@b.test\r\n\r\nAuthentication-Results: in the body\r\n"
        );
    }
}
