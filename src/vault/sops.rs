//! Opens the value of a document that SOPS encrypted: the key of the document by an identity of age, the value by that key, and
//! the code over all of the document. The format is read here; the cryptography is that of aws-lc and, for nonces of 32 bytes, of
//! `aes-gcm`. Nothing of a key or a value is ever in an error.

use super::age::{self, AgeError, Identity};
use super::{SECRET_BYTES_MAX, Secret};
use crate::spec::sops::Sealed;
use aes_gcm::aead::consts::U32;
use aes_gcm::aead::{Aead, Payload};
use aes_gcm::aes::Aes256;
use aes_gcm::{AesGcm, KeyInit};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What values are bound to: the path of the member.
const VALUE_PATH: &[u8] = b"value:";
const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 32;

/// Why a document cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SopsError {
    #[error("the key of the document cannot be opened: {0}")]
    Key(AgeError),
    #[error("its value was changed since it was encrypted, or is that of another document")]
    Value,
    #[error("the document was changed since SOPS encrypted it: its code is another")]
    Changed,
    #[error("its value is no text; put it in quotes and encrypt it again")]
    NoText,
    #[error("its value is longer than 64 KiB")]
    TooLong,
}

/// The value of a document.
pub fn open<'a>(
    sealed: &Sealed,
    identities: impl IntoIterator<Item = &'a Identity> + Clone,
) -> Result<Secret, SopsError> {
    let key = key_of(sealed, identities)?;
    let (value, kind) = decrypt(&key, &sealed.value, VALUE_PATH).ok_or(SopsError::Value)?;
    let (code, _) = decrypt(&key, &sealed.mac, sealed.last_modified.as_bytes()).ok_or(SopsError::Changed)?;
    verify_slices_are_equal(&code.to_ascii_lowercase(), &code_of(sealed, &value))
        .map_err(|_| SopsError::Changed)?;
    match kind {
        "str" if value.len() <= SECRET_BYTES_MAX => Ok(Secret::new(value.to_vec())),
        "str" => Err(SopsError::TooLong),
        _ => Err(SopsError::NoText),
    }
}

/// The key of the document, by the first of its texts that opens.
fn key_of<'a>(
    sealed: &Sealed,
    identities: impl IntoIterator<Item = &'a Identity> + Clone,
) -> Result<Secret, SopsError> {
    let mut why = AgeError::NoIdentity;
    for armored in &sealed.keys {
        match age::open(armored, identities.clone()) {
            Ok(key) if key.expose().len() == KEY_BYTES => return Ok(key),
            Ok(_) => why = AgeError::Changed,
            // Another of the recipients may be ours; what is ours and does not open says more.
            Err(AgeError::NoIdentity) => {}
            Err(error) => why = error,
        }
    }
    Err(SopsError::Key(why))
}

/// The code over all that is covered, with the value in its place.
fn code_of(sealed: &Sealed, value: &[u8]) -> Vec<u8> {
    let mut hash = digest::Context::new(&digest::SHA512);
    sealed.covered.iter().for_each(|bytes| hash.update(bytes.as_deref().unwrap_or(value)));
    hex::encode(hash.finish().as_ref()).into_bytes()
}

/// A text `ENC[AES256_GCM,data:…,iv:…,tag:…,type:…]` that is bound to `context`, with its type.
fn decrypt<'t>(key: &Secret, text: &'t str, context: &[u8]) -> Option<(Zeroizing<Vec<u8>>, &'t str)> {
    let inner = text.strip_prefix("ENC[AES256_GCM,")?.strip_suffix(']')?;
    let parts: Vec<&str> = inner.split(',').collect();
    let [data, iv, tag, kind] = parts.as_slice() else { return None };
    let part = |part: &str, name: &str| STANDARD.decode(part.strip_prefix(name)?).ok();
    let (mut data, iv, tag) = (part(data, "data:")?, part(iv, "iv:")?, part(tag, "tag:")?);
    let nonce: [u8; NONCE_BYTES] = iv.try_into().ok()?;
    data.extend(tag);
    let cipher = AesGcm::<Aes256, U32>::new_from_slice(key.expose()).ok()?;
    let opened = cipher.decrypt(&nonce.into(), Payload { msg: &data, aad: context }).ok()?;
    Some((Zeroizing::new(opened), kind.strip_prefix("type:")?))
}

#[cfg(test)]
#[path = "sops_tests.rs"]
mod tests;
