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

async fn many(vault: &Vault) {
    for n in 0..20 {
        vault.put(&id(&format!("k/{n:02}")), &secret(&format!("value {n}"))).await.unwrap();
    }
}

async fn all_open(vault: &Vault) {
    for n in 0..20 {
        assert_eq!(text(vault, &format!("k/{n:02}")).await, Some(format!("value {n}")));
    }
}

#[tokio::test]
async fn a_rekeyed_vault_opens_under_the_new_key_only_and_other_servers_follow() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join(KEK_FILE);
    let (database, store) = sqlite(directory.path()).await;
    let vault = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap();
    let other = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap();
    many(&vault).await;
    let before = std::fs::read_to_string(&file).unwrap();
    let values: Vec<Vec<u8>> = futures_util::future::join_all((0..20).map(|n| {
        let store = Arc::clone(&store);
        async move { store.get(&id(&format!("k/{n:02}"))).await.unwrap().unwrap().value }
    }))
    .await;
    assert_eq!(vault.rekey().await.unwrap(), 20);
    let after = std::fs::read_to_string(&file).unwrap();
    assert!(after.lines().count() == 1 && after != before, "one key, another than before");
    for (n, value) in values.iter().enumerate() {
        let now = store.get(&id(&format!("k/{n:02}"))).await.unwrap().unwrap().value;
        assert_eq!(&now, value, "the values stay as they are, only their keys are wrapped anew");
    }
    all_open(&vault).await;
    all_open(&other).await;
    // What another server writes afterwards is under the new key.
    other.put(&id("late"), &secret("x")).await.unwrap();
    let again = Vault::open(directory.path(), Arc::clone(&store)).await.unwrap();
    assert_eq!(text(&again, "late").await.as_deref(), Some("x"));

    std::fs::write(&file, before).unwrap();
    assert!(Vault::open(directory.path(), store).await.is_err(), "the former key opens nothing");
    database.close().await;
}

/// A store that fails after some rewrites, as a crash would end them.
#[derive(Debug)]
struct Breaks {
    inner: Arc<dyn SecretStore>,
    left: std::sync::atomic::AtomicUsize,
}

#[async_trait::async_trait]
impl SecretStore for Breaks {
    async fn put(&self, id: &SecretId, sealed: meshagent::vault::Sealed) -> Result<(), VaultError> {
        self.inner.put(id, sealed).await
    }
    async fn put_new(&self, id: &SecretId, sealed: meshagent::vault::Sealed) -> Result<bool, VaultError> {
        self.inner.put_new(id, sealed).await
    }
    async fn get(&self, id: &SecretId) -> Result<Option<meshagent::vault::Sealed>, VaultError> {
        self.inner.get(id).await
    }
    async fn rewrap(&self, id: &SecretId, old: &[u8], new: &[u8]) -> Result<bool, VaultError> {
        use std::sync::atomic::Ordering::Relaxed;
        if self.left.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1)).is_err() {
            return Err(VaultError::NoRandomness);
        }
        self.inner.rewrap(id, old, new).await
    }
    async fn delete(&self, id: &SecretId) -> Result<bool, VaultError> {
        self.inner.delete(id).await
    }
    async fn list(&self, prefix: &str, after: Option<&SecretId>) -> Result<Vec<SecretId>, VaultError> {
        self.inner.list(prefix, after).await
    }
}

#[tokio::test]
async fn a_rekeying_that_ended_half_way_loses_nothing_and_goes_on() {
    for done in [0, 1, 7, 19] {
        let directory = tempfile::tempdir().unwrap();
        let store: Arc<dyn SecretStore> = Arc::new(MemorySecrets::default());
        let breaks = Arc::new(Breaks { inner: Arc::clone(&store), left: done.into() });
        let vault = Vault::open(directory.path(), breaks).await.unwrap();
        many(&vault).await;
        assert!(vault.rekey().await.is_err());
        let keys = std::fs::read_to_string(directory.path().join(KEK_FILE)).unwrap();
        assert_eq!(keys.lines().count(), 2, "both keys stay until all is done");
        // The next start.
        let vault = Vault::open(directory.path(), store).await.unwrap();
        all_open(&vault).await;
        assert_eq!(vault.rekey().await.unwrap(), 20 - done as u64);
        let left = std::fs::read_to_string(directory.path().join(KEK_FILE)).unwrap();
        assert_eq!(
            Some(left.trim()),
            keys.lines().next(),
            "the key that was begun with is the one that stays"
        );
        all_open(&vault).await;
    }
}

#[tokio::test]
async fn keys_from_the_environment_rotate_by_the_former_one_beside_them() {
    use meshagent::vault::EnvKeys;
    let store: Arc<dyn SecretStore> = Arc::new(MemorySecrets::default());
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    let open = |current: &str, previous: Option<&str>| {
        let keys = EnvKeys::parse(current, previous).unwrap();
        Vault::open_with(Arc::new(keys), Arc::clone(&store))
    };
    let vault = open(&one, None).await.unwrap();
    many(&vault).await;
    assert!(matches!(vault.rekey().await, Err(VaultError::NotRotated(_))));
    assert!(open(&two, None).await.is_err());
    let vault = open(&two, Some(&one)).await.unwrap();
    all_open(&vault).await;
    assert_eq!(vault.rekey().await.unwrap(), 20);
    all_open(&open(&two, None).await.unwrap()).await;
    for bad in ["", "short", &"zz".repeat(32)] {
        assert!(EnvKeys::parse(bad, None).is_err(), "{bad}");
    }
}
