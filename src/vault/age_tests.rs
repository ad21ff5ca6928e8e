//! Against files that another implementation of age wrote (`tests/fixtures/age`).

use super::*;

fn fixture(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/age").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn identities(name: &str) -> Vec<Identity> {
    Identity::parse_file(&fixture(name)).unwrap()
}

fn value(name: &str, of: &str) -> Result<Vec<u8>, AgeError> {
    open(&fixture(name), &identities(of)).map(|secret| secret.expose().to_vec())
}

#[test]
fn values_open_with_an_identity_of_one_of_their_recipients() {
    assert_eq!(value("value.age", "identity.txt").unwrap(), b"correct horse");
    assert_eq!(value("several.age", "identity.txt").unwrap(), b"battery staple");
    assert_eq!(value("several.age", "other.txt").unwrap(), b"battery staple");
    assert_eq!(value("empty.age", "identity.txt").unwrap(), b"");
    assert_eq!(value("value.age", "other.txt"), Err(AgeError::NoIdentity));
    assert_eq!(value("passphrase.age", "identity.txt"), Err(AgeError::NoIdentity));
}

#[test]
fn what_was_changed_does_not_open() {
    let text = fixture("several.age");
    let bytes = unarmored(&text).unwrap();
    let again = |bytes: &[u8]| {
        let text = format!("{BEGIN}\n{}\n{END}\n", STANDARD.encode(bytes));
        open(&text, &identities("identity.txt")).map(drop)
    };
    assert_eq!(again(&bytes), Ok(()));
    let long = [bytes.clone(), vec![0; SECRET_BYTES_MAX]].concat();
    assert_eq!(again(&long), Err(AgeError::TooLong));
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        assert!(again(&changed).is_err(), "byte {at} may be changed");
    }
    for end in 0..bytes.len() {
        assert!(again(&bytes[..end]).is_err(), "it may end at {end}");
    }
}

#[test]
fn what_is_no_age_file_and_no_identity_is_refused_without_repeating_it() {
    for text in ["", "hunter2", BEGIN, &format!("{BEGIN}\nhunter2\n{END}"), &format!("{BEGIN}\n\n{END}")] {
        assert_eq!(open(text, &identities("identity.txt")).map(drop), Err(AgeError::NotAge), "{text}");
    }
    let newer = STANDARD.encode("age-encryption.org/v2\n");
    let newer = open(&format!("{BEGIN}\n{newer}\n{END}"), &identities("identity.txt"));
    assert_eq!(newer.map(drop), Err(AgeError::OtherVersion));
    let good = fixture("other.txt");
    let mut mistyped = good.trim().to_owned();
    let last = mistyped.pop();
    mistyped.push(if last == Some('Q') { 'P' } else { 'Q' });
    let swapped: String = good.trim().chars().rev().collect();
    for text in [
        "",
        "# nothing\n",
        "hunter2",
        &swapped,
        good.trim_end_matches(|c| c != '1'),
        &format!("{}Q", good.trim()),
    ] {
        assert_eq!(Identity::parse_file(text).map(drop), Err(AgeError::NotIdentities), "{text}");
    }
    assert_eq!(Identity::parse_file(&mistyped).map(drop), Err(AgeError::NotIdentities));
    let identity = identities("identity.txt").remove(0);
    assert_eq!(format!("{identity:?}"), "Identity(…)");
}
