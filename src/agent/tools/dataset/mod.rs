//! Toolkit `dataset` (`--table-read`, `--table-write`): SQL over the named tables of the room, and tools for each of them.
//! Tables that may only be read are only read: that is looked at here, before the room's own grants.

mod schema;
mod statement;
mod table;

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::agent::config::TablesConfig;
use crate::client::room::{Executed, RoomClient, RowStream};
use crate::columnar::typed::{self, Form};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use statement::Kind;
use std::sync::Arc;
use table::{Op, TableTool};

/// Rows that one call gives; more are cut off, and the answer says so.
const ROWS_MAX: usize = 1000;
const KIT: &str = "dataset";

/// The tools of the tables as they are now, and what the turn goes without, in words.
pub async fn dataset(
    client: &RoomClient,
    config: &TablesConfig,
) -> Result<(Vec<Arc<dyn Tool>>, Vec<String>), ToolError> {
    let (mut tools, mut notes) = (Vec::<Arc<dyn Tool>>::new(), Vec::new());
    let (mut read, mut write) = (Vec::new(), Vec::new());
    for (name, writable) in config.tables() {
        let place = json!({"table": name, "namespace": config.namespace});
        let columns = match client.datasets().schema(place.clone()).await {
            Ok(columns) => columns,
            Err(error) if error.is_lost() || error.is_final() => return Err(ToolError::Lost(error)),
            Err(error) => {
                notes.push(format!("table `{name}` is left out: {error}"));
                continue;
            }
        };
        let ops: &[Op] = if writable {
            &[Op::Count, Op::Search, Op::Insert, Op::Update, Op::Delete]
        } else {
            &[Op::Count, Op::Search]
        };
        for op in ops {
            tools.push(Arc::new(TableTool::new(*op, name, &place, &columns, client)));
        }
        read.push(name.to_owned());
        if writable {
            write.push(name.to_owned());
        }
    }
    if !read.is_empty() {
        let about = format!(
            "Runs one SQL statement over tables {}: a query, {}.",
            read.join(", "),
            if write.is_empty() {
                "nothing else".to_owned()
            } else {
                format!("or INSERT, UPDATE or DELETE on {}", write.join(", "))
            }
        );
        let properties = json!({
            "query": {"type": "string", "description": "the statement; $name stands for a parameter"},
            "params": {"type": ["object", "null"], "description": "values of the parameters"},
        });
        let spec = ToolSpec { strict: false, ..spec(KIT, "execute_sql", &about, properties) };
        let namespace = config.namespace.clone();
        tools.insert(0, Arc::new(ExecuteSql { spec, client: client.clone(), namespace, read, write }));
    }
    Ok((tools, notes))
}

struct ExecuteSql {
    spec: ToolSpec,
    client: RoomClient,
    namespace: Option<Vec<String>>,
    read: Vec<String>,
    write: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Given {
    query: String,
    params: Option<Map<String, Value>>,
}

#[async_trait::async_trait]
impl Tool for ExecuteSql {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let Given { query, params } = arguments(given)?;
        let tables = match statement::kind(&query)? {
            Kind::Query => &self.read,
            Kind::Change => {
                let target = statement::target(&query)?;
                if !self.write.contains(&target) {
                    return Err(format!("table `{target}` can only be read by this agent").into());
                }
                &self.read
            }
        };
        let named = |name: &String| json!({"name": name, "namespace": self.namespace});
        let headers = json!({
            "query": query,
            "namespace": self.namespace,
            "tables": tables.iter().map(named).collect::<Vec<_>>(),
        });
        let params = params.filter(|params| !params.is_empty()).map(|params| {
            let rows = typed::rows(&[Value::Object(params)], Form::Plain)?;
            typed::batch(&typed::infer(&rows)?, rows)
        });
        let params = params.transpose().map_err(|error| format!("the parameters: {error}"))?;
        let datasets = self.client.datasets();
        match datasets.execute(headers, params.as_ref()).await? {
            Executed::Affected(rows) => {
                Ok(json!({"kind": "statement", "rows_affected": rows}).to_string().into())
            }
            Executed::Rows(query) => {
                let stream = datasets.read_query(&query).await?;
                let answer = gathered(stream).await;
                datasets.close_query(&query).await?;
                let mut answer = answer?;
                answer["kind"] = "query".into();
                Ok(answer.to_string().into())
            }
        }
    }
}

/// The first rows of a stream: `{"rows": […]}`, with `more` where there are more.
async fn gathered(mut stream: RowStream) -> Result<Value, ToolError> {
    let (mut rows, mut more) = (Vec::new(), false);
    while let Some(batch) = stream.next().await? {
        let free = ROWS_MAX - rows.len();
        more = batch.num_rows() > free;
        let batch = batch.slice(0, batch.num_rows().min(free));
        rows.extend(typed::objects(&batch, Form::Plain).map_err(|error| error.to_string())?);
        if more {
            break;
        }
    }
    let mut answer = json!({"rows": rows});
    if more {
        answer["more"] = format!("only the first {ROWS_MAX} rows are shown; ask for fewer").into();
    }
    Ok(answer)
}
