//! Sealing and opening: AES-256-GCM, a data key per secret, the id as associated data.

use super::{Kek, Secret, SecretId, VaultError};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// Version of the layout below, stored with each row.
const LAYOUT: i16 = 1;
const KEY_BYTES: usize = 32;

/// A secret as stored. Each part is the 12 byte nonce, the cipher text and the 16 byte tag, in that order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sealed {
    pub layout: i16,
    /// The data key under the key-encryption key.
    pub wrapped_key: Vec<u8>,
    /// The value under the data key.
    pub value: Vec<u8>,
}

pub(super) fn seal(kek: &Kek, id: &SecretId, secret: &Secret) -> Result<Sealed, VaultError> {
    let data_key = Secret::random(KEY_BYTES)?;
    let wrapped_key = encrypt(kek.bytes(), id, b"key", data_key.expose())?;
    let value = encrypt(data_key.expose(), id, b"value", secret.expose())?;
    Ok(Sealed { layout: LAYOUT, wrapped_key, value })
}

pub(super) fn open(kek: &Kek, id: &SecretId, sealed: &Sealed) -> Result<Secret, VaultError> {
    let opened = || {
        let data_key =
            (sealed.layout == LAYOUT).then(|| decrypt(kek.bytes(), id, b"key", &sealed.wrapped_key))??;
        decrypt(data_key.expose(), id, b"value", &sealed.value)
    };
    opened().ok_or_else(|| VaultError::DoesNotOpen { id: id.clone() })
}

fn associated(id: &SecretId, part: &[u8]) -> Aad<Vec<u8>> {
    Aad::from([part, b"\0", id.as_str().as_bytes()].concat())
}

fn encrypt(key: &[u8], id: &SecretId, part: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| VaultError::NoRandomness)?;
    let mut cipher = plain.to_vec();
    let nonce = key
        .seal_in_place_append_tag(associated(id, part), &mut cipher)
        .map_err(|_| VaultError::NoRandomness)?;
    Ok([nonce.as_ref().as_slice(), &cipher].concat())
}

fn decrypt(key: &[u8], id: &SecretId, part: &[u8], sealed: &[u8]) -> Option<Secret> {
    let (nonce, cipher) = sealed.split_at_checked(NONCE_LEN)?;
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut buffer = Zeroizing::new(cipher.to_vec());
    let plain = key.open_in_place(nonce, associated(id, part), &mut buffer).ok()?;
    Some(Secret::new(plain.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> SecretId {
        SecretId::new(text).unwrap()
    }

    #[test]
    fn only_the_right_key_id_and_bytes_open_a_secret() {
        let kek = Kek::random().unwrap();
        let sealed = seal(&kek, &id("a"), &Secret::from("hunter2".to_owned())).unwrap();
        assert_eq!(open(&kek, &id("a"), &sealed).unwrap().expose(), b"hunter2");
        assert!(open(&kek, &id("b"), &sealed).is_err());
        assert!(open(&Kek::random().unwrap(), &id("a"), &sealed).is_err());
        for at in 0..sealed.value.len() {
            let mut changed = sealed.clone();
            changed.value[at] ^= 1;
            assert!(open(&kek, &id("a"), &changed).is_err(), "byte {at}");
        }
        let swapped =
            Sealed { wrapped_key: sealed.value.clone(), value: sealed.wrapped_key.clone(), ..sealed };
        assert!(open(&kek, &id("a"), &swapped).is_err());
        let short = Sealed { layout: LAYOUT, wrapped_key: vec![1], value: vec![] };
        assert!(open(&kek, &id("a"), &short).is_err());
    }

    #[test]
    fn equal_secrets_do_not_look_equal_when_sealed_and_never_print() {
        let (kek, secret) = (Kek::random().unwrap(), Secret::from("hunter2".to_owned()));
        let one = seal(&kek, &id("a"), &secret).unwrap();
        let two = seal(&kek, &id("a"), &secret).unwrap();
        assert_ne!(one.value, two.value);
        assert_eq!(format!("{secret:?} {kek:?}"), "Secret(…) Kek(…)");
    }
}
