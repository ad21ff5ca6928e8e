//! `services`: the services of the room and their state (room protocol §3.12).

use crate::error_code::RoomCode;
use crate::room::toolkit::{Call, ToolError, ToolInfo, Toolkit, ToolkitInfo};
use crate::room::world::{ServiceError, Services as Port};
use crate::wire::Content;
use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;

/// The toolkit.
pub struct Services {
    port: Arc<dyn Port>,
    info: ToolkitInfo,
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

#[derive(Deserialize, JsonSchema)]
struct Nothing {}

#[derive(Deserialize, JsonSchema)]
struct Restart {
    service_id: String,
}

impl Services {
    pub fn new(port: Arc<dyn Port>) -> Self {
        let tools = vec![
            ToolInfo::unary::<Nothing>(
                "list",
                &["json"],
                "Lists the room's services and what they are doing.",
            ),
            ToolInfo::unary::<Restart>("restart", &["empty"], "Stops and starts a service."),
        ];
        let info = ToolkitInfo {
            name: "services",
            title: "Services",
            description: "The services that run in this room.",
            tools,
        };
        Self { port, info }
    }
}

#[async_trait]
impl Toolkit for Services {
    fn describe(&self) -> &ToolkitInfo {
        &self.info
    }

    async fn invoke(&self, call: &mut Call) -> Result<Content, ToolError> {
        let room = call.session.room.id;
        if call.tool == "restart" {
            let args: Restart = call.args()?;
            self.port.restart(room, &args.service_id, &call.caller.name).await?;
            return Ok(Content::Empty);
        }
        let services = self.port.list(room).await?;
        // The clients read each specification from a text of its own.
        let specs: Vec<String> = services.iter().map(|(spec, _)| spec.to_string()).collect();
        let states: Vec<Value> = services.into_iter().map(|(_, state)| state).collect();
        Ok(Content::Json(json!({"services_json": specs, "service_states": states})))
    }
}

impl From<ServiceError> for ToolError {
    fn from(error: ServiceError) -> Self {
        let code = match &error {
            ServiceError::NotFound(_) => RoomCode::ServiceNotFound,
            ServiceError::RestartNotAllowed { .. } => RoomCode::ServiceRestartNotAllowed,
            ServiceError::Failed(_) => RoomCode::OperationFailed,
        };
        Self::new(code, error.to_string())
    }
}
