//! Sealing and opening: AES-256-GCM, a data key per secret, the id as associated data.

use super::{KeyEncryption, Secret, SecretId, VaultError};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// Version of the layout below, stored with each row.
const LAYOUT: i16 = 1;
pub(super) const KEY_BYTES: usize = 32;

/// A secret as stored. Each part is the 12 byte nonce, the cipher text and the 16 byte tag, in that order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    pub layout: i16,
    /// The data key under the key-encryption key.
    pub wrapped_key: Vec<u8>,
    /// The value under the data key.
    pub value: Vec<u8>,
}

pub(super) async fn seal(
    keys: &dyn KeyEncryption,
    id: &SecretId,
    secret: &Secret,
) -> Result<Sealed, VaultError> {
    let data_key = Secret::random(KEY_BYTES)?;
    let wrapped_key = keys.wrap(&context(id, b"key"), &data_key).await?;
    let value = encrypt(data_key.expose(), &context(id, b"value"), secret.expose())?;
    Ok(Sealed { layout: LAYOUT, wrapped_key, value })
}

/// `None` when no key opens it, or the value was changed.
pub(super) async fn open(
    keys: &dyn KeyEncryption,
    id: &SecretId,
    sealed: &Sealed,
) -> Result<Option<Secret>, VaultError> {
    if sealed.layout != LAYOUT {
        return Ok(None);
    }
    let unwrapped = keys.unwrap(&context(id, b"key"), &sealed.wrapped_key).await?;
    Ok(unwrapped.and_then(|key| decrypt(key.data_key.expose(), &context(id, b"value"), &sealed.value)))
}

/// The data key wrapped by the key in use; `None` when it is already.
pub(super) async fn rewrap(
    keys: &dyn KeyEncryption,
    id: &SecretId,
    sealed: &Sealed,
) -> Result<Option<Vec<u8>>, VaultError> {
    let context = context(id, b"key");
    let found =
        if sealed.layout == LAYOUT { keys.unwrap(&context, &sealed.wrapped_key).await? } else { None };
    match found {
        Some(key) if key.current => Ok(None),
        Some(key) => keys.wrap(&context, &key.data_key).await.map(Some),
        None => Err(VaultError::DoesNotOpen { id: id.clone() }),
    }
}

/// What a part of a secret is bound to: it opens under this id, as this part, only.
fn context(id: &SecretId, part: &[u8]) -> Vec<u8> {
    [part, b"\0", id.as_str().as_bytes()].concat()
}

pub(super) fn encrypt(key: &[u8], context: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::NoRandomness)?;
    let mut cipher = plain.to_vec();
    let nonce = key
        .seal_in_place_append_tag(Aad::from(context), &mut cipher)
        .map_err(|_| VaultError::NoRandomness)?;
    Ok([nonce.as_ref().as_slice(), &cipher].concat())
}

pub(super) fn decrypt(key: &[u8], context: &[u8], sealed: &[u8]) -> Option<Secret> {
    let (nonce, cipher) = sealed.split_at_checked(NONCE_LEN)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = Zeroizing::new(cipher.to_vec());
    let plain = key.open_in_place(nonce, Aad::from(context), &mut buffer).ok()?;
    Some(Secret::new(plain.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vault::{FixedKey, Kek};

    fn id(text: &str) -> SecretId {
        SecretId::new(text).unwrap()
    }

    fn key() -> FixedKey {
        FixedKey(Kek::random().unwrap())
    }

    #[tokio::test]
    async fn only_the_right_key_id_and_bytes_open_a_secret() {
        let key = key();
        let sealed = seal(&key, &id("a"), &Secret::from("hunter2".to_owned())).await.unwrap();
        assert_eq!(open(&key, &id("a"), &sealed).await.unwrap().unwrap().expose(), b"hunter2");
        assert!(open(&key, &id("b"), &sealed).await.unwrap().is_none());
        assert!(open(&self::key(), &id("a"), &sealed).await.unwrap().is_none());
        for at in 0..sealed.value.len() {
            let mut changed = sealed.clone();
            changed.value[at] ^= 1;
            assert!(open(&key, &id("a"), &changed).await.unwrap().is_none(), "byte {at}");
        }
        let swapped =
            Sealed { wrapped_key: sealed.value.clone(), value: sealed.wrapped_key.clone(), ..sealed };
        assert!(open(&key, &id("a"), &swapped).await.unwrap().is_none());
        let short = Sealed { layout: LAYOUT, wrapped_key: vec![1], value: vec![] };
        assert!(open(&key, &id("a"), &short).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn equal_secrets_do_not_look_equal_when_sealed_and_never_print() {
        let (key, secret) = (key(), Secret::from("hunter2".to_owned()));
        let one = seal(&key, &id("a"), &secret).await.unwrap();
        let two = seal(&key, &id("a"), &secret).await.unwrap();
        assert_ne!(one.value, two.value);
        assert_eq!(format!("{secret:?} {:?}", key.0), "Secret(…) Kek(…)");
    }
}
