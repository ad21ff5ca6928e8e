//! Copies between the files of rooms, file by file; each appears whole.

use super::{BlobError, FilePath, READ_BYTES_MAX, RoomFiles};

/// Most files and folders that one copy of a folder takes.
pub const COPY_ENTRIES_MAX: usize = 100_000;

impl RoomFiles {
    /// Makes an empty folder that stays, with those above it. One that is there already is left as it is.
    pub async fn make_folder(&self, path: &str) -> Result<(), BlobError> {
        let path = FilePath::parse_file(path)?;
        match self.backend.stat(self.room, &path).await? {
            Some(info) if info.is_folder => Ok(()),
            Some(_) => Err(BlobError::AlreadyExists { path: path.to_string() }),
            None => self.backend.make_folder(self.room, &path).await,
        }
    }

    /// Copies a file, or a folder with all below it. With `overwrite` files replace files; a folder is never replaced.
    /// A copy that fails leaves the files that it had copied.
    pub async fn copy(
        &self,
        from: &str,
        target: &RoomFiles,
        to: &str,
        overwrite: bool,
    ) -> Result<(), BlobError> {
        let (from, to) = (FilePath::parse_file(from)?, FilePath::parse_file(to)?);
        let missing = || BlobError::NotFound { path: from.to_string() };
        let info = self.stat(from.as_str()).await?.ok_or_else(missing)?;
        if self.room == target.room && (from == to || to.is_below(&from)) {
            return Err(BlobError::invalid(to.as_str(), "it cannot be copied onto or into itself"));
        }
        if !info.is_folder {
            return self.copy_file(from.as_str(), target, to.as_str(), overwrite).await;
        }
        if target.stat(to.as_str()).await?.is_some_and(|there| !(there.is_folder && overwrite)) {
            return Err(BlobError::AlreadyExists { path: to.to_string() });
        }
        target.make_folder(to.as_str()).await?;
        let mut folders = vec![(from.to_string(), to.to_string())];
        let mut entries = 0;
        while let Some((from, to)) = folders.pop() {
            for entry in self.list(&from).await? {
                entries += 1;
                if entries > COPY_ENTRIES_MAX {
                    return Err(BlobError::TooMany { path: from, limit: COPY_ENTRIES_MAX });
                }
                let (from, to) = (format!("{from}/{}", entry.name), format!("{to}/{}", entry.name));
                if entry.is_folder {
                    target.make_folder(&to).await?;
                    folders.push((from, to));
                } else {
                    self.copy_file(&from, target, &to, overwrite).await?;
                }
            }
        }
        Ok(())
    }

    async fn copy_file(
        &self,
        from: &str,
        target: &RoomFiles,
        to: &str,
        overwrite: bool,
    ) -> Result<(), BlobError> {
        let mut source = self.open_read(from, None).await?;
        let mut copy = target.open_write(to, overwrite).await?;
        while source.left() > 0 {
            copy.write(source.read(READ_BYTES_MAX).await?).await?;
        }
        copy.commit().await.map(drop)
    }
}
