//! Toolkits of the room: each tool becomes one of the agent's. Those that stand for a model context protocol server say
//! whether people are asked first, and are remembered as they were described.

use super::pins::{self, Loaded, SharedPins, Standing};
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
    let find = |name: &String| {
        all.iter().find(|t| t.name == *name).ok_or_else(|| {
            format!("toolkit `{name}`, which this agent requires, is not in the room; start it first")
        })
    };
    let named: Vec<&ToolkitInfo> = names.iter().map(find).collect::<Result<_, _>>()?;
    let open = |toolkit: &&ToolkitInfo| {
        let says = toolkit.annotations.get(SEARCHED).and_then(Value::as_str) == Some("true");
        search && says && !names.contains(&toolkit.name)
    };
    let searched: Vec<&ToolkitInfo> = all.iter().filter(open).collect();
    let loaded = if named.iter().chain(&searched).any(|toolkit| !is_own(toolkit)) {
        pins.load().await
    } else {
        Loaded::Yes
    };
    for toolkit in named {
        if let Some(mode) = toolkit.annotations.get(APPROVAL) {
            pins.keep_mode(&toolkit.name, Some(mode)).await;
        }
        attached.tools.extend(tools(client, toolkit, (pins, loaded), &mut attached.notes));
    }
    for toolkit in searched {
        attached.searched.extend(tools(client, toolkit, (pins, loaded), &mut attached.notes));
    }
    Ok(attached)
}

/// Whether a toolkit is the room's own, whose name nobody else can take.
fn is_own(toolkit: &ToolkitInfo) -> bool {
    toolkit.participant_id.is_none() && !toolkit.annotations.contains_key(APPROVAL)
}

fn tools(
    client: &RoomClient,
    toolkit: &ToolkitInfo,
    (pins, loaded): (&SharedPins, Loaded),
    notes: &mut Vec<String>,
) -> Vec<Arc<dyn Tool>> {
    let mode = toolkit.annotations.get(APPROVAL);
    let mut all: Vec<Arc<dyn Tool>> = Vec::with_capacity(toolkit.tools.len());
    for (tool, info) in &toolkit.tools {
        let digest = pins::digest(json!([mode, info]));
        let standing = standing(toolkit, tool, digest, (pins, loaded));
        let changed = standing == Some(Standing::Changed);
        if changed {
            notes.push(format!(
                "tool `{tool}` of toolkit `{}` {}; calls of it wait for approval",
                toolkit.name,
                pins.why()
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
            approval: changed || mode.and_then(Value::as_str) == Some("always"),
        };
        let pins = standing.map(|_| pins.clone());
        all.push(Arc::new(RoomTool {
            spec,
            target,
            client: client.clone(),
            pins,
            mode: mode.cloned(),
            digest,
        }));
    }
    all
}

/// How a tool stands to what is remembered; `None` for one that is of no MCP server and never was. The registering
/// participant writes the annotations, so a toolkit that lost its own is still looked at.
fn standing(
    toolkit: &ToolkitInfo,
    tool: &str,
    digest: [u8; 32],
    (pins, loaded): (&SharedPins, Loaded),
) -> Option<Standing> {
    let mode = toolkit.annotations.get(APPROVAL);
    if is_own(toolkit) || (mode.is_none() && loaded == Loaded::Denied) {
        return None;
    }
    let of_toolkit = pins.mode(&toolkit.name, mode);
    match pins.standing(&toolkit.name, tool, digest) {
        Standing::New if of_toolkit == Standing::Changed => Some(Standing::Changed),
        Standing::New if mode.is_none() => None,
        standing => Some(standing),
    }
}

struct RoomTool {
    spec: ToolSpec,
    target: Target,
    client: RoomClient,
    /// Where the tool is remembered as it is described now, if it is.
    pins: Option<SharedPins>,
    /// The annotation of its toolkit.
    mode: Option<Value>,
    digest: [u8; 32],
}

#[async_trait::async_trait]
impl Tool for RoomTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    async fn run(&self, arguments: Value, _: &CallContext) -> Result<ToolOutput, ToolError> {
        if let Some(pins) = &self.pins {
            if self.mode.is_some() {
                pins.keep_mode(&self.spec.toolkit, self.mode.as_ref()).await;
            }
            pins.admit(&self.spec.toolkit, &self.spec.tool, self.digest, self.spec.approval).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::room::{Options, Token, fake::FakeRoom};

    fn toolkit(mode: Option<&str>, description: &str) -> ToolkitInfo {
        ToolkitInfo {
            name: "wiki".into(),
            title: String::new(),
            description: String::new(),
            participant_id: Some("p-1".into()),
            annotations: mode.map(|mode| (APPROVAL.to_owned(), json!(mode))).into_iter().collect(),
            tools: [("read".to_owned(), json!({"description": description}))].into(),
        }
    }

    #[tokio::test]
    async fn a_toolkit_that_lost_its_annotation_is_still_held_to_what_it_was() {
        let room = FakeRoom::start().await;
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        let pins = SharedPins::new(client.clone(), "bob").begun();
        let asked = |toolkit: &ToolkitInfo, loaded: Loaded| {
            let mut notes = Vec::new();
            let all = tools(&client, toolkit, (&pins, loaded), &mut notes);
            (all.first().unwrap().spec().approval, notes.len())
        };
        let (plain, yes) = (toolkit(None, "reads"), Loaded::Yes);
        assert_eq!(asked(&plain, yes), (false, 0), "of no MCP server");
        pins.keep_mode("wiki", Some(&json!("always"))).await;
        assert_eq!(asked(&toolkit(Some("always"), "reads"), yes), (true, 0));
        assert_eq!(asked(&plain, yes), (true, 1), "the name has been a server's");
        assert_eq!(asked(&toolkit(Some("never"), "reads"), yes), (true, 1), "and asked people");
        let mode = json!("never");
        let reads = pins::digest(json!([Some(&mode), {"description": "reads"}]));
        pins.admit("wiki", "read", reads, true).await.unwrap();
        assert_eq!(asked(&toolkit(Some("never"), "reads"), yes), (false, 0), "a person said so");
        assert_eq!(asked(&plain, yes), (true, 1));
        assert_eq!(asked(&toolkit(Some("never"), "sends"), yes), (true, 1));
        let own = ToolkitInfo { participant_id: None, ..plain };
        assert_eq!(asked(&own, yes), (false, 0), "nobody takes the name of the room's own");
    }

    #[tokio::test]
    async fn what_cannot_be_compared_is_asked_about() {
        let room = FakeRoom::start().await;
        let client = RoomClient::connect(Options::new(room.url.clone(), Token::new("good"))).await.unwrap();
        let pins = SharedPins::new(client.clone(), "bob");
        let asked = |mode: Option<&str>, loaded: Loaded| {
            let all = tools(&client, &toolkit(mode, "reads"), (&pins, loaded), &mut Vec::new());
            all.first().unwrap().spec().approval
        };
        assert!(asked(Some("never"), Loaded::No) && asked(Some("never"), Loaded::Denied));
        assert!(asked(None, Loaded::No));
        assert!(!asked(None, Loaded::Denied), "this agent never had a table to remember in");
    }
}
