//! Values that somebody encrypted for this server, in the format of age (age-encryption.org/v1), to X25519 recipients.
//!
//! Only what documents need: armored texts of a few kilobytes are opened with identities that the operator gave. The
//! cryptography is that of aws-lc; this reads the format. Nothing of a key or a value is ever in an error.

use super::{SECRET_BYTES_MAX, Secret};
use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use aws_lc_rs::{hkdf, hmac};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use std::fmt;
use zeroize::Zeroizing;

const INTRO: &[u8] = b"age-encryption.org/v1\n";
const BEGIN: &str = "-----BEGIN AGE ENCRYPTED FILE-----";
const END: &str = "-----END AGE ENCRYPTED FILE-----";
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";
const IDENTITY_PREFIX: &str = "AGE-SECRET-KEY-";
/// Stanzas of one header that are looked at.
const STANZAS_MAX: usize = 64;
/// Identities of one file.
const IDENTITIES_MAX: usize = 64;
const FILE_KEY_BYTES: usize = 16;
const TAG_BYTES: usize = 16;
const NONCE_BYTES: usize = 16;
/// Nonce of a payload's part that is the first and the last. A part has at most 64 KiB, as a secret has.
const LAST_PART: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
const SHARE_BYTES: usize = 32;

/// Why a value cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AgeError {
    #[error("this is not an armored age file")]
    NotAge,
    #[error("this is an age file of another version; version 1 is read")]
    OtherVersion,
    #[error(
        "none of its recipients is this server's; encrypt it to the recipient of an identity that `up --age-identity` names"
    )]
    NoIdentity,
    #[error("its header or its value was changed since it was encrypted")]
    Changed,
    #[error("the value in it is longer than 64 KiB")]
    TooLong,
    #[error("this is not a file of age identities; it has lines that begin with AGE-SECRET-KEY-1")]
    NotIdentities,
}

/// The private half of a recipient.
pub struct Identity {
    secret: Zeroizing<[u8; SHARE_BYTES]>,
    public: [u8; SHARE_BYTES],
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// The identities of a file as `age-keygen` writes it: one a line, with comments.
    pub fn parse_file(text: &str) -> Result<Vec<Self>, AgeError> {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let found = lines.take(IDENTITIES_MAX).map(Self::parse).collect::<Result<Vec<_>, _>>()?;
        if found.is_empty() { Err(AgeError::NotIdentities) } else { Ok(found) }
    }

    fn parse(text: &str) -> Result<Self, AgeError> {
        let bytes = bech32(text, IDENTITY_PREFIX).ok_or(AgeError::NotIdentities)?;
        let secret: [u8; SHARE_BYTES] = bytes.as_slice().try_into().map_err(|_| AgeError::NotIdentities)?;
        let key = PrivateKey::from_private_key(&X25519, &secret).map_err(|_| AgeError::NotIdentities)?;
        let public = key.compute_public_key().map_err(|_| AgeError::NotIdentities)?;
        let public = public.as_ref().try_into().map_err(|_| AgeError::NotIdentities)?;
        Ok(Self { secret: Zeroizing::new(secret), public })
    }

    /// The file key in a stanza, where it is for this identity.
    fn unwrap(&self, share: &[u8], body: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let key = PrivateKey::from_private_key(&X25519, self.secret.as_slice()).ok()?;
        let peer = UnparsedPublicKey::new(&X25519, share);
        let salt = [share, &self.public].concat();
        let wrap = agree(&key, peer, (), |shared| derived(&salt, shared, X25519_INFO).ok_or(())).ok()?;
        let opened = opened(&*wrap, [0; 12], body)?;
        (opened.len() == FILE_KEY_BYTES).then_some(opened)
    }
}

/// Opens an armored text with the first identity that fits.
pub fn open<'a>(
    armored: &str,
    identities: impl IntoIterator<Item = &'a Identity> + Clone,
) -> Result<Secret, AgeError> {
    let bytes = unarmored(armored)?;
    let header = Header::read(&bytes)?;
    let stanzas = header.stanzas.iter().take(STANZAS_MAX);
    let file_key = stanzas
        .flat_map(|(share, body)| {
            identities.clone().into_iter().filter_map(move |one| one.unwrap(share, body))
        })
        .next()
        .ok_or(AgeError::NoIdentity)?;
    let mac_key = derived(&[], &file_key, b"header").ok_or(AgeError::Changed)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &*mac_key);
    hmac::verify(&key, header.signed, &header.mac).map_err(|_| AgeError::Changed)?;
    payload(&file_key, header.payload)
}

fn unarmored(text: &str) -> Result<Vec<u8>, AgeError> {
    let inner = text.trim().strip_prefix(BEGIN).and_then(|text| text.strip_suffix(END));
    let lines: String = inner.ok_or(AgeError::NotAge)?.split_ascii_whitespace().collect();
    STANDARD.decode(lines).map_err(|_| AgeError::NotAge)
}

struct Header<'a> {
    /// What the code of the header is over.
    signed: &'a [u8],
    mac: Vec<u8>,
    /// Share and body of each recipient of the kind that is read.
    stanzas: Vec<(Vec<u8>, Vec<u8>)>,
    payload: &'a [u8],
}

impl<'a> Header<'a> {
    fn read(bytes: &'a [u8]) -> Result<Self, AgeError> {
        let mut rest = match bytes.strip_prefix(INTRO) {
            Some(rest) => rest,
            None if bytes.starts_with(b"age-encryption.org/") => return Err(AgeError::OtherVersion),
            None => return Err(AgeError::NotAge),
        };
        let mut stanzas = vec![];
        loop {
            let line = take_line(&mut rest)?;
            if let Some(mac) = line.strip_prefix("--- ") {
                let end = bytes.len() - rest.len() - (line.len() + 1) + "---".len();
                let signed = bytes.get(..end).ok_or(AgeError::NotAge)?;
                return Ok(Self { signed, mac: plain(mac)?, stanzas, payload: rest });
            }
            let arguments: Vec<&str> = line.strip_prefix("-> ").ok_or(AgeError::NotAge)?.split(' ').collect();
            let mut body = String::new();
            // The last line of a body is shorter than the others, and may be empty.
            loop {
                let line = take_line(&mut rest)?;
                body.push_str(line);
                if line.len() < 64 {
                    break;
                }
            }
            if let ["X25519", share] = arguments.as_slice() {
                stanzas.push((plain(share)?, plain(&body)?));
            }
        }
    }
}

fn take_line<'a>(rest: &mut &'a [u8]) -> Result<&'a str, AgeError> {
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(AgeError::NotAge)?;
    let (line, after) = rest.split_at(end);
    *rest = after.get(1..).unwrap_or_default();
    std::str::from_utf8(line).map_err(|_| AgeError::NotAge)
}

fn plain(text: &str) -> Result<Vec<u8>, AgeError> {
    STANDARD_NO_PAD.decode(text).map_err(|_| AgeError::NotAge)
}

/// The value: one part, which says that it is the last. What has more is longer than a secret may be.
fn payload(file_key: &[u8], bytes: &[u8]) -> Result<Secret, AgeError> {
    let (nonce, sealed) = bytes.split_at_checked(NONCE_BYTES).ok_or(AgeError::Changed)?;
    if sealed.len() > SECRET_BYTES_MAX + TAG_BYTES {
        return Err(AgeError::TooLong);
    }
    let key = derived(nonce, file_key, b"payload").ok_or(AgeError::Changed)?;
    let value = opened(&*key, LAST_PART, sealed);
    value.map(|mut value| Secret::new(std::mem::take(&mut *value))).ok_or(AgeError::Changed)
}

fn derived(salt: &[u8], from: &[u8], info: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    let pseudorandom = hkdf::Salt::new(hkdf::HKDF_SHA256, salt).extract(from);
    let info = [info];
    let material = pseudorandom.expand(&info, hkdf::HKDF_SHA256).ok()?;
    material.fill(&mut *key).ok()?;
    Some(key)
}

fn opened(key: &[u8], nonce: [u8; 12], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = LessSafeKey::new(UnboundKey::new(&CHACHA20_POLY1305, key).ok()?);
    let mut bytes = Zeroizing::new(sealed.to_vec());
    let nonce = Nonce::assume_unique_for_key(nonce);
    let length = key.open_in_place(nonce, Aad::empty(), &mut bytes).ok()?.len();
    bytes.truncate(length);
    Some(bytes)
}

/// The bytes of a Bech32 text in capitals with this prefix; `None` where it is none, or was mistyped.
fn bech32(text: &str, prefix: &str) -> Option<Zeroizing<Vec<u8>>> {
    const LETTERS: &str = "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L";
    const CHECK_LETTERS: usize = 6;
    let letters = text.strip_prefix(prefix)?.strip_prefix('1')?;
    let values: Option<Vec<u8>> =
        letters.chars().map(|c| LETTERS.find(c).and_then(|at| u8::try_from(at).ok())).collect();
    let values = Zeroizing::new(values?);
    // The prefix goes into the sum in small letters.
    let small = prefix.to_ascii_lowercase();
    let head = small.bytes().map(|byte| byte >> 5).chain([0]).chain(small.bytes().map(|byte| byte & 31));
    if checksum(head.chain(values.iter().copied())) != 1 {
        return None;
    }
    let data = values.get(..values.len().checked_sub(CHECK_LETTERS)?)?;
    let mut bytes = Zeroizing::new(Vec::with_capacity(data.len()));
    let (mut held, mut bits) = (0_u32, 0);
    for value in data {
        held = (held << 5) | u32::from(*value);
        bits += 5;
        if bits >= 8 {
            bits -= 8;
            bytes.push(u8::try_from((held >> bits) & 0xff).ok()?);
        }
    }
    // What is left over is padding.
    (bits < 5 && held & ((1 << bits) - 1) == 0).then_some(bytes)
}

fn checksum(values: impl Iterator<Item = u8>) -> u32 {
    const GENERATOR: [u32; 5] = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
    values.fold(1, |sum, value| {
        let top = sum >> 25;
        let shifted = ((sum & 0x01ff_ffff) << 5) ^ u32::from(value);
        let taps = GENERATOR.iter().enumerate().filter(|(at, _)| (top >> at) & 1 == 1);
        taps.fold(shifted, |sum, (_, tap)| sum ^ tap)
    })
}

#[cfg(test)]
#[path = "age_tests.rs"]
mod tests;
