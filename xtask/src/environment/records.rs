//! What is known of the images of environments: where each came from, how large it is, when it was last used. A
//! database in the cache folder, shared by processes. Knows no engine: what exists there is asked elsewhere.

use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::model::Diagnostic;

/// So many images are kept on an engine.
pub const DEFAULT_LIMIT: usize = 50;
const VERSION: i64 = 1;
/// How long another process is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

const SCHEMA: &str = "
CREATE TABLE images (
    id INTEGER PRIMARY KEY,
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    tag TEXT NOT NULL,
    environment TEXT NOT NULL,
    content_key TEXT NOT NULL,
    image_id TEXT,
    digest TEXT,
    size_bytes INTEGER,
    created_at INTEGER NOT NULL,
    built_at INTEGER,
    last_used INTEGER NOT NULL,
    uses INTEGER NOT NULL DEFAULT 0,
    build_seconds REAL,
    build_config TEXT NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('building', 'available', 'failed')),
    builder INTEGER,
    error TEXT,
    UNIQUE (scope, name, tag)
);
CREATE INDEX images_by_use ON images (scope, status, last_used);
CREATE INDEX images_by_key ON images (content_key);
";

/// Where the making of an image stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// This process makes it.
    Building {
        pid: u32,
    },
    Available,
    Failed {
        error: String,
    },
}

/// One image on one engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// The engine, as this person names it.
    pub scope: String,
    pub name: String,
    pub tag: String,
    pub environment: String,
    pub content_key: String,
    pub image_id: Option<String>,
    /// In its registry, once it was pushed or pulled.
    pub digest: Option<String>,
    pub size: Option<u64>,
    /// Seconds since 1970.
    pub created_at: u64,
    pub built_at: Option<u64>,
    pub last_used: u64,
    pub uses: u64,
    pub build_seconds: Option<f64>,
    /// JSON: Dockerfile, build args, version.
    pub build_config: String,
    pub status: Status,
}

impl Record {
    /// `name:tag`
    pub fn reference(&self) -> String {
        format!("{}:{}", self.name, self.tag)
    }
}

/// The database.
pub struct Records {
    db: Connection,
}

impl Records {
    /// Opens or makes it. One that is damaged or of another version is set aside: it only holds what can be found again.
    pub fn open(file: &Path) -> Result<Self, Diagnostic> {
        let failed = |error: rusqlite::Error| {
            Diagnostic::error(format!("image records `{}` cannot be opened", file.display())).cause(error)
        };
        match Self::try_open(file) {
            Ok(records) => Ok(records),
            Err(error) if is_damage(&error) => {
                set_aside(file).map_err(|cause| failed(error).cause(cause))?;
                Self::try_open(file).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// SQLite does not wait where two processes make the file a WAL at once, so the waiting is done here.
    fn try_open(file: &Path) -> Result<Self, rusqlite::Error> {
        let start = Instant::now();
        loop {
            match Self::open_once(file) {
                Err(error) if is_busy(&error) && start.elapsed() < PATIENCE => std::thread::sleep(PATIENCE / 1000),
                result => return result,
            }
        }
    }

    fn open_once(file: &Path) -> Result<Self, rusqlite::Error> {
        let mut db = Connection::open(file)?;
        db.busy_timeout(PATIENCE)?;
        db.pragma_update(None, "journal_mode", "WAL")?;
        db.pragma_update(None, "synchronous", "NORMAL")?;
        // Who notes a use does not wait for the disk: the journal stays, and is taken over when it has grown.
        db.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        let transaction = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
        if version != VERSION {
            transaction.execute_batch("DROP TABLE IF EXISTS images;")?;
            transaction.execute_batch(SCHEMA)?;
            transaction.pragma_update(None, "user_version", VERSION)?;
        }
        transaction.commit()?;
        Ok(Self { db })
    }

    /// Writes a record, in place of an older one of this name and tag on this engine; its uses go on counting.
    pub fn put(&self, record: &Record) -> Result<(), Diagnostic> {
        let (status, builder, error) = match &record.status {
            Status::Building { pid } => ("building", Some(*pid), None),
            Status::Available => ("available", None, None),
            Status::Failed { error } => ("failed", None, Some(error)),
        };
        self.db
            .execute(
                "INSERT INTO images (scope, name, tag, environment, content_key, image_id, digest, size_bytes, created_at,
                    built_at, last_used, uses, build_seconds, build_config, status, builder, error)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17)
                 ON CONFLICT (scope, name, tag) DO UPDATE SET
                    environment = excluded.environment, content_key = excluded.content_key,
                    image_id = excluded.image_id, digest = excluded.digest, size_bytes = excluded.size_bytes,
                    built_at = coalesce(excluded.built_at, built_at), last_used = excluded.last_used,
                    build_seconds = coalesce(excluded.build_seconds, build_seconds),
                    build_config = excluded.build_config, status = excluded.status, builder = excluded.builder,
                    error = excluded.error",
                params![
                    record.scope,
                    record.name,
                    record.tag,
                    record.environment,
                    record.content_key,
                    record.image_id,
                    record.digest,
                    record.size.map(whole),
                    whole(record.created_at),
                    record.built_at.map(whole),
                    whole(record.last_used),
                    whole(record.uses),
                    record.build_seconds,
                    record.build_config,
                    status,
                    builder,
                    error,
                ],
            )
            .map(drop)
            .map_err(|error| cannot_write(&error))
    }

    /// Notes a use. False where there is no such image that is available.
    pub fn used(&self, scope: &str, content_key: &str, image_id: &str, now: u64) -> Result<bool, Diagnostic> {
        let changed = self.db.execute(
            "UPDATE images SET last_used = ?4, uses = uses + 1
             WHERE scope = ?1 AND content_key = ?2 AND image_id = ?3 AND status = 'available'",
            params![scope, content_key, image_id, whole(now)],
        );
        changed.map(|count| count > 0).map_err(|error| cannot_write(&error))
    }

    /// All records of an engine, or of all, the one that was used last first.
    pub fn list(&self, scope: Option<&str>) -> Result<Vec<Record>, Diagnostic> {
        let read = || -> Result<Vec<Record>, rusqlite::Error> {
            let mut query = self
                .db
                .prepare("SELECT * FROM images WHERE ?1 IS NULL OR scope = ?1 ORDER BY last_used DESC, id DESC")?;
            query.query_map(params![scope], record)?.collect()
        };
        read().map_err(|error| cannot_read(&error))
    }

    /// The record of one image.
    pub fn find(&self, scope: &str, name: &str, tag: &str) -> Result<Option<Record>, Diagnostic> {
        self.db
            .query_row(
                "SELECT * FROM images WHERE scope = ?1 AND name = ?2 AND tag = ?3",
                params![scope, name, tag],
                record,
            )
            .optional()
            .map_err(|error| cannot_read(&error))
    }

    pub fn forget(&self, record: &Record) -> Result<(), Diagnostic> {
        self.db
            .execute(
                "DELETE FROM images WHERE scope = ?1 AND name = ?2 AND tag = ?3",
                params![record.scope, record.name, record.tag],
            )
            .map(drop)
            .map_err(|error| cannot_write(&error))
    }
}

fn record(row: &Row<'_>) -> Result<Record, rusqlite::Error> {
    let status: String = row.get("status")?;
    let maybe = |name: &str| row.get::<_, Option<i64>>(name).map(|number| number.map(i64::unsigned_abs));
    let count = |name: &str| row.get::<_, i64>(name).map(i64::unsigned_abs);
    Ok(Record {
        scope: row.get("scope")?,
        name: row.get("name")?,
        tag: row.get("tag")?,
        environment: row.get("environment")?,
        content_key: row.get("content_key")?,
        image_id: row.get("image_id")?,
        digest: row.get("digest")?,
        size: maybe("size_bytes")?,
        created_at: count("created_at")?,
        built_at: maybe("built_at")?,
        last_used: count("last_used")?,
        uses: count("uses")?,
        build_seconds: row.get("build_seconds")?,
        build_config: row.get("build_config")?,
        status: match status.as_str() {
            "available" => Status::Available,
            "building" => Status::Building { pid: row.get::<_, Option<u32>>("builder")?.unwrap_or(0) },
            _ => Status::Failed { error: row.get::<_, Option<String>>("error")?.unwrap_or_default() },
        },
    })
}

/// SQLite's numbers have a sign.
fn whole(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Renames the database, and removes its journal: that of another one would be read as its own.
fn set_aside(file: &Path) -> std::io::Result<()> {
    std::fs::rename(file, file.with_extension("damaged"))?;
    for end in ["-wal", "-shm"] {
        let mut name = file.as_os_str().to_owned();
        name.push(end);
        match std::fs::remove_file(name) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn is_damage(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
    matches!(error.sqlite_error_code(), Some(DatabaseCorrupt | NotADatabase))
}

fn is_busy(error: &rusqlite::Error) -> bool {
    use rusqlite::ErrorCode::{DatabaseBusy, DatabaseLocked};
    matches!(error.sqlite_error_code(), Some(DatabaseBusy | DatabaseLocked))
}

fn cannot_write(error: &rusqlite::Error) -> Diagnostic {
    Diagnostic::error("the image records cannot be written").cause(error)
}

fn cannot_read(error: &rusqlite::Error) -> Diagnostic {
    Diagnostic::error("the image records cannot be read").cause(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(tag: &str, last_used: u64) -> Record {
        Record {
            scope: "here".into(),
            name: "environments/a_environment".into(),
            tag: tag.into(),
            environment: "a_environment".into(),
            content_key: format!("key of {tag}"),
            image_id: Some(format!("sha256:{tag}")),
            digest: None,
            size: Some(5),
            created_at: 1,
            built_at: Some(2),
            last_used,
            uses: 0,
            build_seconds: Some(0.5),
            build_config: "{}".into(),
            status: Status::Available,
        }
    }

    #[test]
    fn many_may_make_it_at_once() {
        for _ in 0..20 {
            let dir = tempfile::tempdir().unwrap();
            let file = dir.path().join("images.db");
            std::thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| Records::open(&file).unwrap().put(&sample("one", 1)).unwrap());
                }
            });
        }
    }

    #[test]
    fn records_are_shared_replaced_and_sorted_by_use() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.db");
        let (one, two) = (Records::open(&file).unwrap(), Records::open(&file).unwrap());
        one.put(&sample("old", 10)).unwrap();
        two.put(&sample("new", 20)).unwrap();
        let tags = |records: &Records| -> Vec<String> {
            records.list(Some("here")).unwrap().into_iter().map(|record| record.tag).collect()
        };
        assert_eq!(tags(&one), ["new", "old"]);
        assert!(one.used("here", "key of old", "sha256:old", 30).unwrap());
        assert!(!one.used("there", "key of old", "sha256:old", 30).unwrap());
        assert_eq!(tags(&two), ["old", "new"]);
        let failed = Record { status: Status::Failed { error: "why".into() }, image_id: None, ..sample("old", 40) };
        two.put(&failed).unwrap();
        let found = one.find("here", "environments/a_environment", "old").unwrap().unwrap();
        assert_eq!((found.status, found.uses), (Status::Failed { error: "why".into() }, 1));
        assert!(!one.used("here", "key of old", "sha256:old", 50).unwrap(), "it is not available");
        one.forget(&failed).unwrap();
        assert_eq!(tags(&two), ["new"]);
    }

    #[test]
    fn a_damaged_database_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.db");
        std::fs::write(&file, "this is no database, but long enough to be looked at as one".repeat(40)).unwrap();
        let records = Records::open(&file).unwrap();
        assert_eq!(records.list(None).unwrap(), []);
        assert!(file.with_extension("damaged").exists());
    }

    #[test]
    fn the_journal_of_a_damaged_database_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("images.db");
        let records = Records::open(&file).unwrap();
        records.put(&sample("old", 1)).unwrap();
        drop(records);
        assert!(dir.path().join("images.db-wal").metadata().unwrap().len() > 0, "what was noted waits in the journal");
        assert_eq!(Records::open(&file).unwrap().list(None).unwrap().len(), 1);
        set_aside(&file).unwrap();
        assert_eq!(Records::open(&file).unwrap().list(None).unwrap(), []);
    }
}
