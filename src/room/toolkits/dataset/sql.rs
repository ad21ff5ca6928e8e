//! SQL. The tables that a statement names are held against the caller's grants before it runs.

use super::{Dataset, StoreRows, args, data_header};
use crate::columnar::ipc;
use crate::dataset::sql;
use crate::dataset::{Place, SqlOutcome, SqlRequest, SqlTable, TableAt};
use crate::domain::access::TableAction;
use crate::room::guard;
use crate::room::toolkit::{Call, ToolError};
use crate::room::toolkits::tables::{Blocks, Rows};
use crate::wire::Content;
use arrow_array::RecordBatch;
use arrow_select::concat::concat_batches;
use serde_json::json;

impl Dataset {
    pub(super) async fn sql(&self, call: &Call) -> Result<Content, ToolError> {
        let args: args::Sql = call.args()?;
        let place = args.place.clone().of(call.session.room.id);
        let tables = args.tables.unwrap_or_default().into_iter().map(|table| table.of(&place)).collect();
        let request = SqlRequest { query: args.query, tables, params: params(&call.content)? };
        let query = self.allowed(call, &place, &request).await?;
        match (call.tool, query) {
            ("execute_sql_statement", true) => {
                return Err(ToolError::invalid(
                    "this statement gives rows; run it with dataset.execute_sql or dataset.open_sql_query",
                ));
            }
            ("open_sql_query", false) => {
                return Err(ToolError::invalid(
                    "this statement gives no rows; run it with dataset.execute_sql_statement",
                ));
            }
            _ => {}
        }
        if query {
            self.cursors.check(&call.caller, 1)?;
        }
        match self.store.sql(&place, request).await? {
            SqlOutcome::Rows(rows) => {
                let rows = StoreRows(rows);
                let data = ipc::encode_schema(&rows.schema())?;
                let id = self.cursors.open(&call.caller, Box::new(rows));
                let header = json!({"kind": "query", "query_id": id, "content_type": ipc::MIME_TYPE});
                Ok(Content::binary(header, data))
            }
            SqlOutcome::Affected(rows) if call.tool == "execute_sql" => {
                Ok(Content::Json(json!({"kind": "statement", "rows_affected": rows})))
            }
            SqlOutcome::Affected(rows) => Ok(Content::Json(json!({"rows_affected": rows}))),
        }
    }

    pub(super) async fn read_query(&self, call: &mut Call) -> Result<Content, ToolError> {
        Blocks::begin(call)?;
        let args: args::Query = call.args()?;
        self.cursors.read(call, &args.query_id, data_header()).await?;
        Ok(Content::Empty)
    }
}

impl Dataset {
    /// Holds every table that the statement names against the caller's grants; true when it only reads.
    async fn allowed(&self, call: &Call, place: &Place, request: &SqlRequest) -> Result<bool, ToolError> {
        let named = sql::tables_of(&request.query)?;
        let listed = request.tables.is_empty();
        let there = if listed { self.store.list_tables(place).await? } else { vec![] };
        let names: Vec<&str> = if listed {
            there.iter().map(String::as_str).collect()
        } else {
            request.tables.iter().map(|table| table.alias.as_str()).collect()
        };
        let uses = [
            (&named.reads, TableAction::Read),
            (&named.writes, TableAction::Write),
            (&named.alters, TableAction::Alter),
        ];
        for (name, action) in
            uses.into_iter().flat_map(|(names, action)| names.iter().map(move |n| (n, action)))
        {
            // A table that is not there is held against the grants by the name it would have.
            let meant = name.find(&names).unwrap_or(&name.name);
            let (namespace, table) = match request.tables.iter().find(|table| table.alias == meant) {
                Some(table) => (&table.at.place.namespace, table.at.table.as_str()),
                None => (&place.namespace, meant),
            };
            guard::dataset::table(&call.caller.api, namespace, table, action)?;
        }
        Ok(named.writes.is_empty() && named.alters.is_empty())
    }
}

impl args::SqlTable {
    fn of(self, place: &Place) -> SqlTable {
        let place = Place {
            room: place.room,
            namespace: self.namespace.unwrap_or_else(|| place.namespace.clone()),
            branch: self.branch.or_else(|| place.branch.clone()),
        };
        let alias = self.alias.unwrap_or_else(|| self.name.clone());
        SqlTable { at: TableAt { place, table: self.name, version: self.version }, alias }
    }
}

/// The parameters: an Arrow table of one row, or nothing.
fn params(content: &Content) -> Result<Option<RecordBatch>, ToolError> {
    let Content::Binary { data, .. } = content else { return Ok(None) };
    if data.is_empty() {
        return Ok(None);
    }
    let (schema, batches) = ipc::decode(data)?;
    let rows = concat_batches(&schema, &batches).map_err(|error| ToolError::invalid(error.to_string()))?;
    match rows.num_rows() {
        0 if rows.num_columns() == 0 => Ok(None),
        1 => Ok(Some(rows)),
        count => Err(ToolError::invalid(format!(
            "the parameters are {count} rows; send one row whose columns are the parameters"
        ))),
    }
}
