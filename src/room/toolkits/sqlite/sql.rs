//! SQL of callers.

use super::rows::data_header;
use super::{DatabaseRows, Sqlite, args, grants};
use crate::columnar::ipc;
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::tables::Blocks;
use crate::sqlite_db::{BatchResult, Command, Expect, Outcome};
use crate::wire::Content;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

impl Sqlite {
    pub(super) async fn sql(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Sql = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        let expect = match call.tool {
            "open_sql_query" => Expect::Rows,
            "execute_sql_statement" => Expect::Statement,
            _ => Expect::Anything,
        };
        if expect != Expect::Statement {
            self.cursors.check(&call.caller, 1)?;
        }
        let command = Command { query: args.query, params: args.params };
        match self.databases.execute(&at, grants::of(call, &at), command, expect).await? {
            Outcome::Rows(rows) => {
                let data = ipc::encode_schema(&rows.schema())?;
                let id = self.cursors.open(&call.caller, Box::new(DatabaseRows(rows)));
                Ok(Content::binary(json!({"kind": "query", "query_id": id}), data))
            }
            Outcome::Affected(rows) if call.tool == "execute_sql" => {
                Ok(Content::Json(json!({"kind": "statement", "rows_affected": rows})))
            }
            Outcome::Affected(rows) => Ok(Content::Json(json!({"rows_affected": rows}))),
        }
    }

    pub(super) async fn batch(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Batch = call.args()?;
        let at = args::at(call.session.room.id, args.namespace, args.database);
        // How many of them give rows is not known before they ran.
        self.cursors.check(&call.caller, 1)?;
        let commands =
            args.commands.into_iter().map(|c| Command { query: c.query, params: c.params }).collect();
        let results = self.databases.batch(&at, grants::of(call, &at), commands).await?;
        let mut answers = Vec::with_capacity(results.len());
        for result in results {
            answers.push(match result {
                BatchResult::Affected(rows) => json!({"kind": "statement", "rows_affected": rows}),
                BatchResult::Rows(rows) => {
                    let schema = BASE64.encode(ipc::encode_schema(&rows.schema())?);
                    let id = self.cursors.open(&call.caller, Box::new(DatabaseRows(rows)));
                    json!({"kind": "query", "query_id": id, "schema_base64": schema})
                }
            });
        }
        Ok(Content::Json(json!({"results": Value::Array(answers)})))
    }

    pub(super) async fn read_query(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let args: args::Query = call.args()?;
        self.cursors.read(call, &args.query_id, data_header()).await?;
        Ok(Content::Empty)
    }
}
