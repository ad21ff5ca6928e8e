//! The vault over every store of sealed secrets, and what it does when its key file is not what it should be.

use meshagent::store::postgres::Postgres;
use meshagent::store::sqlite::{DATABASE_FILE, Sqlite};
use meshagent::vault::{
    KEK_FILE, Kek, LIST_PAGE_MAX, MADE_SECRET_BYTES, MemorySecrets, PostgresSecrets, SECRET_BYTES_MAX,
    Secret, SecretId, SecretStore, SqliteSecrets, Vault, VaultError,
};
use std::path::Path;
use std::sync::Arc;

fn id(text: &str) -> SecretId {
    SecretId::new(text).unwrap()
}

fn secret(text: &str) -> Secret {
    Secret::from(text.to_owned())
}

async fn text(vault: &Vault, of: &str) -> Option<String> {
    vault.get(&id(of)).await.unwrap().map(|secret| secret.expose_str().unwrap().to_owned())
}

async fn keeps_secrets(store: Arc<dyn SecretStore>) {
    let vault = Vault::new(Kek::random().unwrap(), Arc::clone(&store));
    assert_eq!(text(&vault, "a/1").await, None);
    vault.put(&id("a/1"), &secret("one")).await.unwrap();
    vault.put(&id("a/2"), &secret("")).await.unwrap();
    vault.put(&id("b_1"), &secret("three")).await.unwrap();
    vault.put(&id("a/1"), &secret("uno")).await.unwrap();
    assert_eq!(text(&vault, "a/1").await.as_deref(), Some("uno"));
    assert_eq!(text(&vault, "a/2").await.as_deref(), Some(""));
    assert_eq!(vault.list_ids("a/", None).await.unwrap(), [id("a/1"), id("a/2")]);
    assert_eq!(vault.list_ids("", Some(&id("a/1"))).await.unwrap(), [id("a/2"), id("b_1")]);
    assert!(vault.list_ids("c", None).await.unwrap().is_empty());
    assert!(vault.delete(&id("a/1")).await.unwrap());
    assert!(!vault.delete(&id("a/1")).await.unwrap());
    assert_eq!(text(&vault, "a/1").await, None);

    let made = vault.get_or_make(&id("server/signing")).await.unwrap();
    assert_eq!(made.expose().len(), MADE_SECRET_BYTES);
    assert_eq!(vault.get_or_make(&id("server/signing")).await.unwrap().expose(), made.expose());

    let too_large = vault.put(&id("big"), &Secret::new(vec![0; SECRET_BYTES_MAX + 1])).await.unwrap_err();
    assert!(too_large.to_string().contains("`big`"), "{too_large}");
    for n in 0..=LIST_PAGE_MAX {
        vault.put(&id(&format!("many/{n:06}")), &secret("x")).await.unwrap();
    }
    let page = vault.list_ids("many/", None).await.unwrap();
    assert_eq!(page.len(), LIST_PAGE_MAX);
    assert_eq!(vault.list_ids("many/", page.last()).await.unwrap().len(), 1);

    let row = store.get(&id("b_1")).await.unwrap().unwrap();
    store.put(&id("a/2"), row).await.unwrap();
    assert!(matches!(vault.get(&id("a/2")).await, Err(VaultError::DoesNotOpen { .. })), "a copied row opens");
}

#[tokio::test]
async fn memory_keeps_secrets() {
    keeps_secrets(Arc::new(MemorySecrets::default())).await;
}

#[tokio::test]
async fn sqlite_keeps_secrets() {
    let directory = tempfile::tempdir().unwrap();
    let database = Arc::new(Sqlite::open(directory.path()).unwrap());
    keeps_secrets(Arc::new(SqliteSecrets::new(Arc::clone(&database)))).await;
    database.close().await;
}

#[tokio::test]
async fn postgres_keeps_secrets() {
    let Some(url) = crate::support::postgres::database().await else { return };
    keeps_secrets(Arc::new(PostgresSecrets::new(Arc::new(Postgres::open(&url).await.unwrap())))).await;
}

async fn sqlite(directory: &Path) -> (Arc<Sqlite>, Arc<dyn SecretStore>) {
    let database = Arc::new(Sqlite::open(directory).unwrap());
    (Arc::clone(&database), Arc::new(SqliteSecrets::new(database)))
}

#[tokio::test]
async fn a_key_file_that_is_missing_or_another_is_found_at_start() {
    let directory = tempfile::tempdir().unwrap();
    let (database, store) = sqlite(directory.path()).await;
    let vault = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap();
    vault.put(&id("k"), &secret("needle-in-the-database")).await.unwrap();
    let again = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap();
    assert_eq!(text(&again, "k").await.as_deref(), Some("needle-in-the-database"));

    std::fs::remove_file(directory.path().join(KEK_FILE)).unwrap();
    let missing = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap_err();
    assert!(matches!(missing, VaultError::KekMissing { .. }), "{missing}");
    assert!(!directory.path().join(KEK_FILE).exists(), "a new key was made over old secrets");

    Kek::generate(&directory.path().join(KEK_FILE)).unwrap();
    let other = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap_err();
    assert!(matches!(other, VaultError::DoesNotOpen { .. }), "{other}");

    database.close().await;
    for file in std::fs::read_dir(directory.path()).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        let found = bytes.windows(6).any(|window| window == b"needle");
        assert!(!found, "the secret stands in plain text on disk");
    }
    assert!(directory.path().join(DATABASE_FILE).exists());
}
