//! A managed agent as the service that runs it: this very binary, told by one variable what it is to be.

use crate::id::ManagedAgentId;
use crate::spec::grant::{AgentsGrant, DatasetGrant, LlmGrant, StorageGrant};
use crate::spec::reconcile;
use crate::spec::{
    AGENT_VARIABLE, AgentToolkit, ApiScope, Container, EnvironmentVariable, ManagedAgent, ParticipantRole,
    Port, PortNumber, PortType, RunAs, Service, TokenValue,
};

/// Holds what the tokens of its socket are signed with. The controller of services sets it.
pub const SECRET_VARIABLE: &str = "MESHAGENT_SECRET";

const IMAGE: &str = "meshagent/cli:default";
const COMMAND: &str = "meshagent agent serve";
/// Answers when the agent listens.
const LIVENESS: &str = "/healthz";
const TOKEN_VARIABLE: &str = "MESHAGENT_TOKEN";

/// The service of an agent.
pub(in crate::app) fn of(id: ManagedAgentId, agent: &ManagedAgent) -> Service {
    let name = &agent.metadata.name;
    let variable =
        |name: &str| EnvironmentVariable { name: name.to_owned(), value: None, token: None, secret: None };
    let token =
        TokenValue { identity: name.clone(), api: Some(scope(agent)), role: Some(ParticipantRole::Agent) };
    // What it runs as is the container's; the server's id is nobody's business there.
    let mut document = ManagedAgent { id: Some(id.to_string()), environment: vec![], ..agent.clone() };
    // How it is reconciled is the service's, and no other process.
    document.metadata.annotations = reconcile::without_cadence(&agent.metadata.annotations);
    let document = serde_json::to_string(&document).unwrap_or_default();
    let mut environment = vec![
        EnvironmentVariable { value: Some(document), ..variable(AGENT_VARIABLE) },
        EnvironmentVariable { token: Some(token), ..variable(TOKEN_VARIABLE) },
    ];
    environment.extend(agent.environment.iter().map(|own| EnvironmentVariable {
        value: own.value.clone(),
        secret: own.secret.clone(),
        ..variable(&own.name)
    }));
    let run_as = agent.run_as.as_ref();
    let container = Container {
        command: Some(COMMAND.to_owned()),
        environment: Some(environment),
        run_as: run_as.map(|own| RunAs { email: own.email.clone(), scopes: own.scopes.clone() }),
        ..Container::of_image(IMAGE)
    };
    let port = Port {
        num: PortNumber::Any,
        host_port: None,
        r#type: Some(PortType::Http),
        endpoints: vec![],
        liveness: Some(LIVENESS.to_owned()),
        published: None,
        public: None,
        annotations: None,
    };
    let mut service = Service { container: Some(container), ports: Some(vec![port]), ..Service::named(name) };
    reconcile::take_cadence(&mut service.metadata.annotations, &agent.metadata.annotations);
    service
}

/// What the agent may do in its room, and which models it may use.
fn scope(agent: &ManagedAgent) -> ApiScope {
    let mut models: Vec<String> = agent.models().collect();
    models.extend(agent.toolkits().iter().filter_map(|toolkit| match toolkit {
        AgentToolkit::ImageGeneration { model, .. } => {
            Some(format!("openai/{}", model.as_deref().unwrap_or(crate::spec::IMAGE_MODEL)))
        }
        _ => None,
    }));
    ApiScope {
        dataset: Some(DatasetGrant::default()),
        storage: Some(StorageGrant::default()),
        agents: Some(AgentsGrant::default()),
        llm: Some(LlmGrant { models: Some(models) }),
        ..ApiScope::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::ProjectId;
    use serde_json::json;
    use uuid::Uuid;

    #[test]
    fn an_agent_may_use_its_models_and_its_room_only() {
        let json = json!({"metadata": {"name": "helper"}, "allowed_models": [{"provider": "openai", "model": "gpt-5.4"}],
            "toolkits": [{"type": "image_generation"}], "environment": [{"name": "A", "secret": {"id": "s"}}],
            "run_as": {"email": "ops@x", "scopes": ["secrets:read"]}});
        let agent: ManagedAgent = serde_json::from_value(json).unwrap();
        let service = of(ManagedAgentId::new(ProjectId::PLATFORM, Uuid::nil()), &agent);
        let container = service.container.unwrap();
        let token = container.environment().iter().find_map(|v| v.token.as_ref()).unwrap();
        let api = serde_json::to_value(token.api.as_ref().unwrap()).unwrap();
        assert_eq!(
            api["llm"]["models"],
            json!(["openai/gpt-5.4", format!("openai/{}", crate::spec::IMAGE_MODEL)])
        );
        let grants: Vec<&String> = api.as_object().unwrap().keys().collect();
        assert_eq!(grants, ["agents", "dataset", "llm", "storage"]);
        assert_eq!((container.template, container.run_as.unwrap().email.as_str()), (None, "ops@x"));
        let own = container.environment.unwrap().pop().unwrap();
        assert_eq!((own.name.as_str(), own.secret.unwrap().id.as_str()), ("A", "s"));
    }
}
