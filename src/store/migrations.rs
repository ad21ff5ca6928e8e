//! The schema, step by step, for both databases under the same names. A released step is never edited.

/// One step: the same name in `migrations/sqlite/` and in `migrations/postgres/`.
#[derive(Debug, Clone, Copy)]
pub struct Migration {
    pub name: &'static str,
    pub sqlite: &'static str,
    pub postgres: &'static str,
}

macro_rules! migrations {
    ($($name:literal),* $(,)?) => {
        /// All steps in order; the schema version of a database is how many of them it has taken.
        pub const MIGRATIONS: &[Migration] = &[$(Migration {
            name: $name,
            sqlite: include_str!(concat!("../../migrations/sqlite/", $name, ".sql")),
            postgres: include_str!(concat!("../../migrations/postgres/", $name, ".sql")),
        }),*];
    };
}

migrations! {
    "0001_event_log",
    "0002_queue",
    "0003_vault",
    "0004_lease",
    "0005_mail",
    "0006_llm_usage",
    "0007_feeds",
}

/// The schema version this program knows.
#[allow(clippy::cast_possible_wrap, reason = "a handful of steps")]
pub const SCHEMA_VERSION: i64 = MIGRATIONS.len() as i64;
