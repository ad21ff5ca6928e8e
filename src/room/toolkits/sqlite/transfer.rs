//! Whole databases up and down.

use super::{Sqlite, args};
use crate::room::toolkit::{Call, ToolError, kind};
use crate::room::toolkits::tables::{Blocks, Items, give};
use crate::sqlite_db::Backup;
use crate::wire::Content;
use async_trait::async_trait;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

/// What ends an upload.
#[derive(Deserialize)]
struct Complete {
    size: u64,
    sha256: String,
}

/// Chunks, then what they come to, then the end.
struct Copy(Option<Backup>);

#[async_trait]
impl Items for Copy {
    async fn next(&mut self) -> Result<Option<Content>, ToolError> {
        let Some(mut backup) = self.0.take() else { return Ok(None) };
        if let Some(chunk) = backup.next().await? {
            self.0 = Some(backup);
            return Ok(Some(kind("data", chunk)));
        }
        let (size, sha256) = backup.finish();
        Ok(Some(complete(size, &sha256)))
    }
}

impl Sqlite {
    pub(super) async fn backup(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let args: args::Tables = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let backup = self.databases.backup(&at).await?;
        give(call, &mut Copy(Some(backup)), &CancellationToken::new()).await?;
        Ok(Content::Empty)
    }

    pub(super) async fn restore(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let args: args::Tables = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let mut restore = self.databases.restore(&at).await?;
        call.open();
        loop {
            call.send(kind("pull", Bytes::new()));
            let cut = || ToolError::invalid("the upload ended before it was complete; nothing was stored");
            let item = call.next().await?.ok_or_else(cut)?;
            match (item.kind(), item.clone()) {
                (Some("data"), Content::Binary { data, .. }) => restore.write(data).await?,
                (Some("complete"), Content::Binary { headers, .. }) => {
                    let end: Complete = serde_json::from_value(headers.into()).map_err(|error| {
                        ToolError::invalid(format!(
                            "the end of the upload is wrong: {error}; nothing was stored"
                        ))
                    })?;
                    self.databases.finish_restore(restore, end.size, &end.sha256).await?;
                    call.send(complete(end.size, &end.sha256));
                    return Ok(Content::Empty);
                }
                (Some("abort"), _) => {
                    return Err(ToolError::invalid("the upload was given up; nothing was stored"));
                }
                (kind, _) => {
                    return Err(ToolError::invalid(format!(
                        "sqlite.restore wants binary items of kind `data`, `complete` or `abort`, got {:?}; nothing \
                         was stored",
                        kind.unwrap_or("an item without a kind")
                    )));
                }
            }
        }
    }
}

fn complete(size: u64, sha256: &str) -> Content {
    Content::binary(json!({"kind": "complete", "size": size, "sha256": sha256}), Bytes::new())
}
