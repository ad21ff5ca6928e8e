//! Toolkits of the room: each tool becomes one of the agent's. Those that stand for a model context protocol server say
//! whether people are asked first, and are remembered as they were described.

use super::pins::{self, SharedPins, Standing};
use super::{CallContext, Tool, ToolError, ToolOutput, ToolSpec};
use crate::client::room::{RoomClient, Target, ToolkitFilter, ToolkitInfo};
use crate::wire::Content;
use serde_json::{Value, json};
use std::sync::Arc;

/// Annotation of the toolkit of such a server: whether people are asked before a call, `always` or `never`.
pub const APPROVAL: &str = "meshagent.mcp.require_approval";
/// Annotation of toolkits that may be searched for tools.
const SEARCHED: &str = "meshagent.tool_search";

/// What a turn gets of the room's toolkits.
#[derive(Default)]
pub struct Attached {
    /// Of the toolkits that are named.
    pub tools: Vec<Arc<dyn Tool>>,
    /// Of the others that may be searched.
    pub searched: Vec<Arc<dyn Tool>>,
    /// What a person should know, in words.
    pub notes: Vec<String>,
}

impl std::fmt::Debug for Attached {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Attached").field("notes", &self.notes).finish_non_exhaustive()
    }
}

/// The tools of the toolkits `names`, as the room lists them now; with `search` also of those that let themselves be searched.
///
/// Error: one is not there.
pub async fn attach(
    client: &RoomClient,
    names: &[String],
    search: bool,
    pins: &SharedPins,
) -> Result<Attached, ToolError> {
    let mut attached = Attached::default();
    if names.is_empty() && !search {
        return Ok(attached);
    }
    let all = client.list_toolkits(&ToolkitFilter::default()).await?;
    if all.iter().any(|toolkit| toolkit.annotations.contains_key(APPROVAL)) {
        pins.load().await;
    }
    for name in names {
        let Some(toolkit) = all.iter().find(|t| t.name == *name) else {
            return Err(format!(
                "toolkit `{name}`, which this agent requires, is not in the room; start it first"
            )
            .into());
        };
        attached.tools.extend(tools(client, toolkit, pins, &mut attached.notes));
    }
    let open = |toolkit: &&ToolkitInfo| {
        let says = toolkit.annotations.get(SEARCHED).and_then(Value::as_str) == Some("true");
        search && says && !names.contains(&toolkit.name)
    };
    for toolkit in all.iter().filter(open) {
        attached.searched.extend(tools(client, toolkit, pins, &mut attached.notes));
    }
    pins.save().await;
    Ok(attached)
}

fn tools(
    client: &RoomClient,
    toolkit: &ToolkitInfo,
    pins: &SharedPins,
    notes: &mut Vec<String>,
) -> Vec<Arc<dyn Tool>> {
    let approval = toolkit.annotations.get(APPROVAL).and_then(Value::as_str);
    let mut all: Vec<Arc<dyn Tool>> = Vec::with_capacity(toolkit.tools.len());
    for (tool, info) in &toolkit.tools {
        let digest = pins::digest(info.clone());
        let changed = approval.is_some() && pins.standing(&toolkit.name, tool, digest) == Standing::Changed;
        if changed {
            notes.push(format!(
                "tool `{tool}` of toolkit `{}` is described otherwise than when it was first used; calls of it wait \
                 for approval",
                toolkit.name
            ));
        }
        let target =
            Target { participant_id: toolkit.participant_id.clone(), ..Target::new(&toolkit.name, tool) };
        let text = |key: &str| info.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let schema = info.pointer("/input_spec/schema").or_else(|| info.get("input_schema"));
        let spec = ToolSpec {
            toolkit: toolkit.name.clone(),
            tool: tool.clone(),
            description: text("description"),
            parameters: schema
                .filter(|s| s.is_object())
                .cloned()
                .unwrap_or_else(|| json!({"type": "object"})),
            strict: false,
            approval: changed || approval == Some("always"),
        };
        let pins = changed.then(|| pins.clone());
        all.push(Arc::new(RoomTool { spec, target, client: client.clone(), pins, digest }));
    }
    all
}

struct RoomTool {
    spec: ToolSpec,
    target: Target,
    client: RoomClient,
    /// Where to note that a person let the tool be called as it is described now.
    pins: Option<SharedPins>,
    digest: [u8; 32],
}

#[async_trait::async_trait]
impl Tool for RoomTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, arguments: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        if let Some(pins) = &self.pins {
            pins.accept(&self.spec.toolkit, &self.spec.tool, self.digest).await;
        }
        let answer = self.client.invoke(&self.target, Content::Json(arguments)).await;
        match answer? {
            Content::Json(Value::String(text)) | Content::Text(text) => Ok(text.into()),
            Content::Json(value) => Ok(value.to_string().into()),
            Content::Empty => Ok(ToolOutput::default()),
            Content::Link { name, url } => Ok(format!("[{name}]({url})").into()),
            Content::File { name, mime_type, data } => match std::str::from_utf8(&data) {
                Ok(text) => Ok(text.into()),
                Err(_) => Err(format!("{name} is a binary file ({mime_type}) and cannot be shown").into()),
            },
            _ => Err("the tool answered with something that is no text".into()),
        }
    }
}
