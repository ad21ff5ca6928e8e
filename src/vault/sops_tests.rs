//! Against files that another implementation wrote (`tests/fixtures/sops`), which opens those of SOPS 3.10 too.

use super::*;

fn fixture(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read_to_string(path).unwrap()
}

fn opened(text: &str, of: &str) -> Result<String, SopsError> {
    let identities = Identity::parse_file(&fixture(&format!("age/{of}.txt"))).unwrap();
    let value = open(&Sealed::read(text).unwrap(), &identities)?;
    Ok(String::from_utf8(value.expose().to_vec()).unwrap())
}

#[test]
fn values_open_with_an_identity_of_one_of_their_recipients() {
    let value = |name: &str, of: &str| opened(&fixture(&format!("sops/{name}.yaml")), of);
    assert_eq!(value("value", "identity").unwrap(), "correct horse battery");
    for of in ["identity", "other"] {
        assert_eq!(value("several", of).unwrap(), "battery staple\nin two lines\n");
    }
    assert_eq!(value("value", "other"), Err(SopsError::Key(AgeError::NoIdentity)));
    assert_eq!(value("elsewhere", "identity"), Err(SopsError::Key(AgeError::NoIdentity)));
    assert_eq!(value("number", "identity"), Err(SopsError::NoText));
}

#[test]
fn what_was_changed_does_not_open() {
    let text = fixture("sops/value.yaml");
    let with = |from: &str, to: &str| {
        assert!(text.contains(from), "{from}");
        opened(&text.replacen(from, to, 1), "identity")
    };
    // What is plain is under the code, and so is its order.
    assert_eq!(with("name: token", "name: other"), Err(SopsError::Changed));
    assert_eq!(with("http_only: false", "http_only: true"), Err(SopsError::Changed));
    assert_eq!(
        with("account: default\nhttp_only: false", "http_only: false\naccount: default"),
        Err(SopsError::Changed)
    );
    assert_eq!(with("rate: '1.50'", "rate: '1.5'"), Err(SopsError::Changed));
    assert_eq!(with("2026-11-22T02:00:00Z", "2026-11-22T02:00:01Z"), Err(SopsError::Changed));
    // The value of another file, and one that is bound to another place.
    let another = Sealed::read(&fixture("sops/several.yaml")).unwrap().value;
    let own = Sealed::read(&text).unwrap();
    assert_eq!(with(&own.value, &another), Err(SopsError::Value));
    assert_eq!(with(&own.value, &own.mac), Err(SopsError::Value));
    assert_eq!(with(&own.mac, &own.value), Err(SopsError::Changed));
    assert_eq!(
        with(&own.value, "ENC[AES256_GCM,data:AA==,iv:AA==,tag:AA==,type:str]"),
        Err(SopsError::Value)
    );
    assert_eq!(with(&own.value, "ENC[PGP,data:AA==]"), Err(SopsError::Value));
    let only = fixture("sops/only.yaml");
    assert_eq!(
        opened(&only.replace("    mac_only_encrypted: true\n", ""), "identity"),
        Err(SopsError::Changed)
    );
}

#[test]
fn errors_and_debug_output_have_nothing_of_the_value() {
    let text = fixture("sops/value.yaml").replace("name: token", "name: other");
    let error = opened(&text, "identity").unwrap_err();
    assert!(!format!("{error} {error:?}").contains("correct"));
}
