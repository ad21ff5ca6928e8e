//! Toolkit `uuid`: fresh identifiers.

use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec, arguments, spec};
use crate::clock::IdSource;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;
use uuid::{Builder, Uuid};

/// Identifiers given by one call.
const COUNT_MAX: usize = 100;

/// The tools of `--uuid`.
pub fn uuid(ids: Arc<dyn IdSource>) -> Vec<Arc<dyn Tool>> {
    let count =
        json!({"type": ["integer", "null"], "description": format!("how many, 1 to {COUNT_MAX}; null is 1")});
    let spec = spec("uuid", "uuid_v4", "Makes random identifiers (UUID version 4).", json!({"count": count}));
    vec![Arc::new(UuidV4 { spec, ids })]
}

struct UuidV4 {
    spec: ToolSpec,
    ids: Arc<dyn IdSource>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Arguments {
    count: Option<usize>,
}

#[async_trait::async_trait]
impl Tool for UuidV4 {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, given: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        let Arguments { count } = arguments(given)?;
        let count = count.unwrap_or(1);
        if !(1..=COUNT_MAX).contains(&count) {
            return Err(format!("count is {count}; want 1 to {COUNT_MAX}").into());
        }
        let uuids: Vec<_> = (0..count).map(|_| version_4(&*self.ids).to_string()).collect();
        Ok(json!({"uuids": uuids}).to_string().into())
    }
}

/// The source gives time-ordered identifiers; two of them have randomness for one of version 4.
fn version_4(ids: &dyn IdSource) -> Uuid {
    let (low, high) = (ids.fresh().as_u128(), ids.fresh().as_u128());
    let mixed = (low & u128::from(u64::MAX)) | (high << 64);
    Builder::from_random_bytes(mixed.to_be_bytes()).into_uuid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_many_as_asked_are_given_all_different() {
        let tool = uuid(Arc::new(crate::clock::System)).remove(0);
        let context = CallContext::new("t", "u", "i");
        let text = tool.run(json!({"count": 50}), &context).await.unwrap().text;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let mut seen: Vec<Uuid> = answer["uuids"]
            .as_array()
            .unwrap()
            .iter()
            .map(|u| u.as_str().unwrap().parse().unwrap())
            .collect();
        assert!(seen.iter().all(|u| u.get_version_num() == 4));
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 50);
        assert!(tool.run(json!({"count": 0}), &context).await.is_err());
    }
}
