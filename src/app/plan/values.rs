//! Values of secrets that came with documents. Plans see their fingerprints only.

use super::kinds::Key;
use super::problem::{Code, Problem};
use crate::vault;
use aws_lc_rs::hmac;
use std::collections::BTreeMap;

/// What became of the values of one request.
#[derive(Debug, Default)]
pub struct Values {
    by_fingerprint: BTreeMap<String, vault::Secret>,
    refused: BTreeMap<usize, Missing>,
}

/// Why the value of a document is not there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Missing {
    pub path: &'static str,
    pub message: String,
    pub hint: &'static str,
}

impl Missing {
    pub(super) fn problem(&self, document: usize, key: &Key) -> Problem {
        let problem = Problem::of(Code::Invalid, Some(document), key, self.message.as_str());
        problem.at(self.path).hint(self.hint)
    }
}

impl Values {
    #[must_use]
    pub fn get(&self, fingerprint: &str) -> Option<&vault::Secret> {
        self.by_fingerprint.get(fingerprint)
    }

    /// Why the value of a document is not there, where it is not.
    #[must_use]
    pub fn missing(&self, document: usize) -> Option<&Missing> {
        self.refused.get(&document)
    }

    pub fn refuse(&mut self, document: usize, missing: Missing) {
        self.refused.insert(document, missing);
    }

    /// Takes a value in; answers its fingerprint, under the project's key. That of the same value differs from secret to
    /// secret, so that nobody learns that two are the same.
    pub fn add(&mut self, key: &vault::Secret, of: [&str; 2], value: vault::Secret) -> String {
        let mut context = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key.expose()));
        for part in of.map(str::as_bytes).into_iter().chain([value.expose()]) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let digest = hex::encode(context.sign().as_ref());
        let fingerprint = format!("{}{digest}", crate::spec::FINGERPRINT_PREFIX);
        self.by_fingerprint.insert(fingerprint.clone(), value);
        fingerprint
    }
}
