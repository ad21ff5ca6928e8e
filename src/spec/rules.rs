//! Rules between fields, beyond what the schema says.

use super::RoomRole;
use super::problem::{Finding, Path, listing, shown};
use super::tree::{Node, Shape};
use super::{
    Agent, Container, Document, Mailbox, Port, PortNumber, RESERVED_PORT, ScheduledTask, Service,
    ServiceTemplate, Subscription, is_feed_name, is_folder, is_stamp,
};
use super::{
    EVENT_PREFIX, EVENTS, EnvironmentVariable, api_key, git_source_rules, managed_agent_rules, project_rules,
    reconcile, room_roles, route_rules, schedule::Schedule, secret, service_instance,
};
use crate::name::{QueueName, RoomName};
use std::collections::BTreeSet;

/// Everything that the rules of its kind say against a document.
pub(super) fn check(document: &Document) -> Vec<Finding> {
    let mut out = Findings(Vec::new());
    match document {
        Document::Project(project) => out.0.extend(project_rules::check(project)),
        Document::RoomRoles(roles) => out.0.extend(room_roles::check(roles)),
        Document::Room(room) => {
            if let Err(error) = RoomName::new(room.metadata.name.as_str()) {
                out.say("metadata.name", error.to_string());
            }
            out.users(room.users.iter().flatten());
        }
        Document::ServiceAccount(account) => out.name(&account.metadata.name),
        Document::Secret(secret) => out.0.extend(secret::check(secret)),
        Document::ApiKey(key) => out.0.extend(api_key::check(key)),
        Document::Service(service) => out.service(service),
        Document::ServiceTemplate(template) => out.template(template),
        Document::ServiceInstance(instance) => out.0.extend(service_instance::check(instance)),
        Document::ScheduledTask(task) => out.task(task),
        Document::Mailbox(mailbox) => out.mailbox(mailbox),
        Document::Feed(feed) => out.feed_name("metadata.name", &feed.metadata.name),
        Document::Subscription(subscription) => out.feed_subscription(subscription),
        Document::Route(route) => {
            out.name(&route.metadata.name);
            out.0.extend(route_rules::check(route));
        }
        Document::ManagedAgent(agent) => out.0.extend(managed_agent_rules::check(agent)),
        Document::GitSource(source) => out.0.extend(git_source_rules::check(source)),
    }
    if let (
        Document::Service(_)
        | Document::ServiceTemplate(_)
        | Document::ServiceInstance(_)
        | Document::ScheduledTask(_),
        Some(room),
    ) = (document, document.room())
        && let Err(error) = RoomName::new(room)
    {
        let path = Path::of("metadata.annotations").key(super::ROOM);
        out.0.push(Finding::new(path, error.to_string()));
    }
    out.0.extend(reconcile::check(document));
    out.0
}

/// `!template` is rendered in a ServiceTemplate and nowhere else.
pub(super) fn no_template_tags(node: &Node, path: &Path, findings: &mut Vec<Finding>) {
    match &node.shape {
        Shape::Scalar { tagged: true, .. } => {
            let finding = Finding::new(path.clone(), "`!template` works only in a ServiceTemplate");
            findings.push(finding.hint("write the value itself, or make this a ServiceTemplate"));
        }
        Shape::Scalar { .. } => {}
        Shape::Sequence(items) => {
            for (at, item) in items.iter().enumerate() {
                no_template_tags(item, &path.index(at), findings);
            }
        }
        Shape::Mapping(entries) => {
            for (key, value) in entries {
                no_template_tags(value, &path.key(&key.text), findings);
            }
        }
    }
}

struct Findings(Vec<Finding>);

impl Findings {
    fn say(&mut self, path: &str, message: impl Into<String>) {
        self.0.push(Finding::new(Path::of(path), message));
    }

    fn advise(&mut self, path: &str, message: impl Into<String>, hint: &str) {
        self.0.push(Finding::new(Path::of(path), message).hint(hint));
    }

    fn name(&mut self, name: &str) {
        if name.trim().is_empty() {
            self.say("metadata.name", "the name is empty");
        }
    }

    fn users<'a>(&mut self, users: impl Iterator<Item = (&'a String, &'a BTreeSet<RoomRole>)>) {
        for (user, roles) in users {
            let path = Path::of("users").key(user);
            if user.trim().is_empty() || user.chars().any(char::is_control) {
                self.0.push(Finding::new(path, "a user is named by an address"));
            } else if roles.is_empty() {
                let finding = Finding::new(path, "the user has no role");
                self.0.push(finding.hint("name one, or leave the user out"));
            }
        }
    }

    fn service(&mut self, service: &Service) {
        self.name(&service.metadata.name);
        self.agents(service.agents());
        self.ports(service.ports());
        if let Some(container) = &service.container {
            self.container(container, "container");
        }
    }

    fn template(&mut self, template: &ServiceTemplate) {
        self.name(&template.metadata.name);
        self.agents(template.agents.as_deref().unwrap_or_default());
        self.ports(template.ports.as_deref().unwrap_or_default());
        if let Some(container) = &template.container {
            self.environment(container.environment.as_deref().unwrap_or_default(), "container.environment");
            self.command(container.command.as_deref(), "container.command");
        }
    }

    fn agents(&mut self, agents: &[Agent]) {
        for (at, agent) in agents.iter().enumerate() {
            if agent.name.trim().is_empty() {
                self.say(&format!("agents[{at}].name"), "the name is empty");
            }
            if let Some(text) = agent.annotation(AGENT_SCHEDULE) {
                self.agent_schedule(
                    text,
                    &Path::of(&format!("agents[{at}].annotations")).key(AGENT_SCHEDULE),
                );
            }
            for (key, queue) in agent.annotations.iter().flatten() {
                if let Some(event) = key.strip_prefix(EVENT_PREFIX) {
                    let path = Path::of(&format!("agents[{at}].annotations")).key(key);
                    self.subscription(event, queue.trim(), path);
                }
            }
        }
    }

    /// The annotation names an event, and its value a queue.
    fn subscription(&mut self, event: &str, queue: &str, path: Path) {
        if !EVENTS.contains(&event) {
            let message = format!("there is no event `{}` to subscribe to", shown(event));
            let hint = format!("there are {}", listing(EVENTS.into_iter()));
            self.0.push(Finding::new(path, message).hint(hint));
        } else if let Err(error) = QueueName::new(queue) {
            let finding = Finding::new(path, error.to_string());
            self.0.push(finding.hint("the value is the name of the queue that gets the events"));
        }
    }

    /// The annotation holds the JSON text of a scheduled task.
    fn agent_schedule(&mut self, text: &str, path: &Path) {
        let task = serde_json::from_str(text)
            .map_err(|error| format!("this is not JSON: {error}"))
            .and_then(|value| super::from_json::<ScheduledTask>(value).map_err(|all| super::summary(&all)));
        if let Err(message) = task {
            let finding = Finding::new(path.clone(), message);
            self.0.push(finding.hint("the annotation holds the JSON of a ScheduledTask"));
        }
    }

    fn ports(&mut self, ports: &[Port]) {
        for (at, port) in ports.iter().enumerate() {
            if port.num == PortNumber::Fixed(RESERVED_PORT) {
                let message = format!("port {RESERVED_PORT} is kept for the platform");
                self.advise(
                    &format!("ports[{at}].num"),
                    message,
                    "choose another number, or \"*\" for a free port",
                );
            }
        }
    }

    fn container(&mut self, container: &Container, path: &str) {
        if container.image.trim().is_empty() {
            self.say(&format!("{path}.image"), "the image is empty");
        }
        self.command(container.command.as_deref(), &format!("{path}.command"));
        self.environment(container.environment(), &format!("{path}.environment"));
        let secret = container.environment().iter().position(|variable| variable.secret.is_some());
        if let (Some(at), None) = (secret, &container.run_as) {
            self.advise(
                &format!("{path}.environment[{at}].secret"),
                "`run_as` is required when a variable comes from a secret",
                "add `run_as: {email: <service account>}` to the container",
            );
        }
    }

    fn command(&mut self, command: Option<&str>, path: &str) {
        if command.is_some_and(|command| shlex::split(command).is_none()) {
            self.say(path, "the command has a quote or a backslash that is not closed");
        }
    }

    fn environment(&mut self, variables: &[EnvironmentVariable], path: &str) {
        for (at, variable) in variables.iter().enumerate() {
            if variable.name.is_empty() || variable.name.contains(['=', '\0']) {
                let message = format!("`{}` is not a name for a variable", shown(&variable.name));
                self.say(&format!("{path}[{at}].name"), message);
            }
        }
    }

    fn task(&mut self, task: &ScheduledTask) {
        match (&task.queue, &task.container) {
            (Some(_), Some(_)) | (None, None) => self.advise(
                if task.queue.is_some() { "container" } else { "queue" },
                "a scheduled task requires exactly one of queue or container",
                "write `queue: {name: …}` to fill a queue, or `container: {image: …}` to run one",
            ),
            (Some(queue), None) => self.queue("queue.name", &queue.name),
            (None, Some(container)) => self.container(container, "container"),
        }
        if let Err(error) = Schedule::parse(&task.schedule, task.timezone()) {
            let path = match error {
                super::schedule::InvalidSchedule::UnknownZone { .. } => {
                    Path::of("metadata.annotations").key(super::SCHEDULE_TIMEZONE)
                }
                _ => Path::of("schedule"),
            };
            self.0.push(Finding::new(path, error.to_string()));
        }
    }

    fn queue(&mut self, path: &str, name: &str) {
        if let Err(error) = QueueName::new(name) {
            self.say(path, error.to_string());
        }
    }

    fn mailbox(&mut self, mailbox: &Mailbox) {
        let parts: Vec<&str> = mailbox.address.split('@').collect();
        let blank = mailbox.address.chars().any(|c| c.is_whitespace() || c.is_control());
        if blank || !matches!(parts.as_slice(), [name, domain] if !name.is_empty() && !domain.is_empty()) {
            let message = format!("`{}` is not a mail address", shown(&mailbox.address));
            self.advise("address", message, "write it as name@domain");
        }
        if let Err(error) = RoomName::new(mailbox.room.as_str()) {
            self.say("room", error.to_string());
        }
        self.queue("queue", &mailbox.queue);
    }

    fn feed_name(&mut self, path: &str, name: &str) {
        if !is_feed_name(name) {
            let message = format!("`{}` cannot name a feed", shown(name));
            self.advise(
                path,
                message,
                "use 1 to 63 lowercase letters, digits and hyphens, no hyphen at the ends",
            );
        }
    }

    fn feed_subscription(&mut self, subscription: &Subscription) {
        self.name(&subscription.metadata.name);
        self.feed_name("feed", &subscription.feed);
        if let Err(error) = RoomName::new(subscription.room.as_str()) {
            self.say("room", error.to_string());
        }
        if !is_folder(subscription.folder()) {
            let message = format!("`{}` is no folder of a room", shown(&subscription.path));
            self.advise("path", message, "give a path without `..`, empty segments and control characters");
        }
        if let Some(format) = subscription.filename_datetime_format.as_deref().filter(|text| !is_stamp(text))
        {
            let message = format!("`{}` cannot stand in names of files", shown(format));
            let hint = "use YYYY, MM, DD, hh, mm and ss each at most once, with letters, digits, `-`, `_`, `.` and `/`";
            self.advise("filename_datetime_format", message, hint);
        }
    }
}

/// Annotation of an agent: the JSON text of the scheduled task it wants.
pub const AGENT_SCHEDULE: &str = "meshagent.agent.schedule";
